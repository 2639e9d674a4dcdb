"""Regression: the squared error against NumPy, units, scores against scikit-learn, a whole run on diabetes."""

import json

import numpy as np
import pytest
from sklearn.linear_model import Ridge
from sklearn.metrics import r2_score, root_mean_squared_error
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from deepr_hw import cli, data, reference
from deepr_hw.data.scaling import fit_output
from deepr_hw.ir import netfile
from deepr_hw.ir.tasks import measure
from deepr_hw.train.config import config_from, load_config
from deepr_hw.train.loop import train
from deepr_hw.train.methods import METHODS


def quietly(metrics, n_epochs):
    pass


@pytest.fixture(scope="module")
def diabetes():
    return data.load("diabetes", "regression")


@pytest.fixture(scope="module")
def trained(diabetes, tmp_path_factory):
    folder = tmp_path_factory.mktemp("diabetes")
    return folder, train(load_config("diabetes"), diabetes, folder, progress=quietly)


def linear(n=300, n_in=12, n_out=3, seed=0):
    """Targets of very different units, linear in the inputs but for a little noise."""
    rng = np.random.default_rng(seed)
    x = rng.normal(5, 3, (n, n_in))
    y = (x - 5) @ rng.normal(0, 1, (n_in, n_out)) + rng.normal(0, 0.5, (n, n_out))
    y = y * np.array([1e-4, 1.0, 2e6])[:n_out] + np.array([3.0, -1e3, 1e7])[:n_out]
    return {"x_train": x[:200], "y_train": y[:200], "x_test": x[200:], "y_test": y[200:]}


def test_diabetes_is_learnt_as_well_as_by_ridge_regression(diabetes, trained):
    _, result = trained
    x, y = diabetes.x_train, diabetes.y_train
    ridge = make_pipeline(StandardScaler(), Ridge(10.0)).fit(x, y).score(diabetes.x_test, diabetes.y_test)
    assert result.test["r2"] > max(0.45, ridge - 0.05)
    assert result.net.n_connections == 100
    assert result.net.task == "regression"
    assert result.net.class_labels == ("progression",)


def test_scores_are_those_of_the_file_in_the_users_unit(diabetes, trained):
    folder, result = trained
    net = netfile.load(folder / "net.safetensors")
    answers = net.decode(reference.logits(net, net.encode(diabetes.x_test)))
    assert answers.dtype == np.float32
    assert result.test["r2"] == pytest.approx(r2_score(diabetes.y_test, answers), rel=1e-12)
    assert result.test["rmse"] == pytest.approx(root_mean_squared_error(diabetes.y_test, answers), rel=1e-12)
    assert result.history[-1].test == result.test
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert (lines[-1]["test_r2"], lines[-1]["test_rmse"]) == (result.test["r2"], result.test["rmse"])
    assert lines[-1]["val_r2"] is None
    assert not any("accuracy" in key for key in lines[-1])


def test_scores_equal_scikit_learns():
    rng = np.random.default_rng(0)
    for n_out in (1, 4):
        y = rng.normal(0, 1, (30, n_out)) * 10.0 ** np.arange(n_out)
        z = y + rng.normal(0, 0.5, y.shape)
        found = measure("regression", z, y)
        z = z.astype(np.float32)
        assert found["r2"] == pytest.approx(r2_score(y, z), rel=1e-9)
        assert found["rmse"] == pytest.approx(root_mean_squared_error(y, z), rel=1e-9)
    same = np.full((5, 1), 2.0)
    assert measure("regression", same, same) == {"r2": 1.0, "rmse": 0.0}
    assert measure("regression", same + 1, same) == {"r2": 0.0, "rmse": 1.0}


def test_several_outputs_of_any_unit(tmp_path):
    arrays = linear()
    np.savez(tmp_path / "d.npz", **arrays, class_labels=np.array(["a", "b", "c"]))
    loaded = data.load(str(tmp_path / "d.npz"), "regression")
    config = config_from(
        {
            "data": {"task": "regression"},
            "network": {"hidden": [64]},
            "budget": {"global": 300},
            "training": {"epochs": 60},
        }
    )
    result = train(config, loaded, tmp_path / "run", progress=quietly)
    net = result.net
    answers = net.decode(reference.logits(net, net.encode(loaded.x_test)))
    assert r2_score(arrays["y_test"], answers, multioutput="raw_values").min() > 0.8
    assert result.test["r2"] == pytest.approx(r2_score(arrays["y_test"], answers))
    assert net.class_labels == ("a", "b", "c")


def test_the_unit_of_outputs():
    y = np.array([[5.0, 1e30, -3.0], [7.0, 1e30, -3.0 + 1e-12]])
    unit = fit_output(y)
    np.testing.assert_array_equal(unit(np.zeros((1, 3))), np.float32([[6.0, 1e30, -3.0]]))
    np.testing.assert_array_equal(unit.inverse(y)[:, 0], [-1, 1])
    assert (np.abs(unit.inverse(y)) <= 1).all()
    again = unit(unit.inverse(y))
    np.testing.assert_allclose(again, y, rtol=1e-6)


@pytest.mark.parametrize("value", [0.0, 5.0, -1e-20])
def test_constant_targets_are_answered(tmp_path, value):
    x = np.random.default_rng(0).normal(0, 1, (40, 4))
    samples = data.make_dataset("constant", x, np.full(40, value), x, np.full(40, value), None, "regression")
    config = config_from(
        {
            "data": {"task": "regression"},
            "network": {"hidden": [8]},
            "budget": {"global": 20},
            "training": {"epochs": 20},
        }
    )
    result = train(config, samples, tmp_path, progress=quietly)
    assert result.test["rmse"] <= 1e-29 + 1e-6 * abs(value)


@pytest.mark.parametrize("method", METHODS)
def test_every_method_learns_a_regression(diabetes, tmp_path, method):
    langevin = ["training.optimizer=sgd", "training.l1=1e-5", "training.learning_rate=0.05", "training.idle=0"]
    shared = [f"training.method={method}", "budget.per_layer=[80, 20]"]
    config = load_config("diabetes", [*shared, *(langevin if method == "soft_deep_r" else [])])
    result = train(config, diabetes, tmp_path, progress=quietly)
    assert result.test["r2"] > 0.3
    assert result.net.n_connections <= 100


def test_a_resumed_regression_is_the_same_bit_for_bit(diabetes, trained, tmp_path):
    folder, _ = trained

    def stop(metrics, n_epochs):
        if metrics.epoch == 20:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(load_config("diabetes"), diabetes, tmp_path, progress=stop)
    train(load_config("diabetes"), diabetes, tmp_path, resume=True, progress=quietly)
    assert (tmp_path / "net.safetensors").read_bytes() == (folder / "net.safetensors").read_bytes()


def test_training_and_stopping_look_at_held_out_samples(diabetes, tmp_path):
    overrides = ["data.validation=60", "training.patience=2", "training.epochs=400"]
    result = train(load_config("diabetes", overrides), diabetes, tmp_path, progress=quietly)
    assert len(result.history) < 400
    assert set(result.history[-1].val) == {"r2", "rmse"}


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["data.task=classification"], "data.task = 'classification': diabetes is a regression; set data.task to that"),
        (["data.task=regresion"], "data.task = 'regresion': expected one of classification, regression"),
        (["data.name=digits"], "data.task = 'regression': digits is a classification"),
    ],
)
def test_a_task_that_does_not_fit_is_one_line(tmp_path, capsys, overrides, message):
    options = [word for override in overrides for word in ("--set", override)]
    assert cli.main(["train", "diabetes", "--out", str(tmp_path / "run"), *options]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("key", ["class_weight=balanced", "label_smoothing=0.1"])
def test_what_is_for_classes_is_refused(tmp_path, capsys, key):
    assert cli.main(["train", "diabetes", "--out", str(tmp_path / "run"), "--set", f"training.{key}"]) == 2
    assert "is for a classification; data.task is a regression" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"y_train": np.full((200, 2), np.nan)}, "y_train[0, 0] = nan: targets lie in"),
        ({"y_train": np.full(200, 1e40)}, "y_train[0] = 1e+40: targets lie in"),
        ({"y_train": np.zeros((200, 2))}, "y_train has 2 targets per sample, y_test 3"),
        ({"y_train": np.zeros((200, 2, 2))}, "y_train: has shape (200, 2, 2)"),
        ({"y_train": np.array(["a"] * 200)}, "y_train: has shape (200,) of <U1"),
        ({"class_labels": np.array(["a"])}, "class_labels: has shape (1,), expected a name for each of 3 targets"),
    ],
)
def test_unsound_targets_are_refused(tmp_path, change, message):
    np.savez(tmp_path / "d.npz", **(linear() | change))
    with pytest.raises(ValueError, match="npz") as caught:
        data.load(str(tmp_path / "d.npz"), "regression")
    assert message in str(caught.value)


def test_fractions_as_labels_are_refused_with_the_task_to_set(tmp_path):
    arrays = linear(n_out=1)
    np.savez(tmp_path / "d.npz", **{key: a.ravel() if key.startswith("y") else a for key, a in arrays.items()})
    with pytest.raises(ValueError, match=r'numbers to be predicted need data\.task = "regression"'):
        data.load(str(tmp_path / "d.npz"))

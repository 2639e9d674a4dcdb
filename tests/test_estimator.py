"""The scikit-learn estimator: scikit-learn's own checks, the same integers as its frozen network, odd data."""

import pickle
import subprocess
import sys

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.metrics import r2_score
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

from deepr_hw import DeepRClassifier, DeepRRegressor, engines, netfile, reference
from deepr_hw.config import METHODS
from deepr_hw.export import onnx_flavours, onnx_qdq
from deepr_hw.export.onnx_session import run_model
from deepr_hw.share import share_out, share_per_layer

# scikit-learn says that two of its checks can't run here: no pandas, and no SciPy in array API mode
pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.SkipTestWarning")


@parametrize_with_checks([DeepRClassifier(), DeepRClassifier(hidden=(20,), n_connections=20, budget="global"),
                          DeepRRegressor(), DeepRRegressor(hidden=(20,), n_connections=80, budget="global")])
@pytest.mark.filterwarnings("ignore:n_connections = .0. the network has only:UserWarning")
def test_scikit_learns_own_checks(estimator, check):
    check(estimator)


@pytest.fixture(scope="module")
def digits():
    x, y = load_digits(return_X_y=True)
    return x[:1400], y[:1400], x[1400:], y[1400:]


def small(**parameters):
    return DeepRClassifier(**{"hidden": (40,), "n_connections": 800, "epochs": 10, "random_state": 0, **parameters})


@pytest.fixture(scope="module")
def fitted(digits):
    return small().fit(*digits[:2])


def test_predictions_are_the_frozen_networks(fitted, digits):
    x = digits[2]
    net, codes = fitted.to_intnet(), fitted.encode(x)
    assert codes.dtype == net.x_format.dtype
    np.testing.assert_array_equal(fitted.predict(x), fitted.classes_[reference.predict(net, codes)])
    np.testing.assert_array_equal(fitted.decision_function(x) * 2.0**net.logit_frac, reference.logits(net, codes))
    np.testing.assert_allclose(fitted.predict_proba(x).sum(axis=1), 1)
    assert fitted.score(x, digits[3]) > 0.85
    assert net.n_connections == fitted.n_connections_ == 800
    assert net.class_labels == tuple("0123456789")


def test_data_sorted_by_class_is_learnt_as_well(digits):
    order = np.argsort(digits[1], kind="stable")
    assert small().fit(digits[0][order], digits[1][order]).score(*digits[2:]) > 0.85


def test_labels_may_be_anything_and_two_classes_give_one_decision(digits):
    x, y = digits[0], np.where(digits[1] < 5, "small", "large")
    model = small().fit(x, y)
    net = model.to_intnet()
    assert net.class_labels == ("large", "small")
    logits = reference.logits(net, model.encode(x)).astype(np.int64)
    np.testing.assert_array_equal(model.decision_function(x) * 2.0**net.logit_frac, logits[:, 1] - logits[:, 0])
    np.testing.assert_array_equal(model.predict(x) == "small", model.decision_function(x) > 0)


def test_same_seed_same_bits_and_pickles(fitted, digits):
    again = clone(fitted).fit(*digits[:2])
    copy = pickle.loads(pickle.dumps(fitted))
    for other in (again, copy):
        np.testing.assert_array_equal(other.decision_function(digits[2]), fitted.decision_function(digits[2]))
    other = small(random_state=1).fit(*digits[:2])
    assert (other.decision_function(digits[2]) != fitted.decision_function(digits[2])).any()


def test_a_pickle_trains_on_as_the_original_would(digits):
    x, y = digits[:2]
    one = small(epochs=2).fit(x, y)
    two = pickle.loads(pickle.dumps(one))
    one.partial_fit(x, y)
    two.partial_fit(x, y)
    np.testing.assert_array_equal(one.decision_function(x), two.decision_function(x))


def test_warm_start_goes_on(digits):
    x, y = digits[:2]
    model = small(warm_start=True, epochs=3).fit(x, y)
    before, loss = model.to_intnet(), model.loss_curve_[-1]
    model.set_params(epochs=2).fit(x, y)
    assert model.n_iter_ == len(model.loss_curve_) == 5
    assert model.loss_curve_[-1] < loss
    assert model.to_intnet() is not before
    assert small(epochs=3).fit(x, y).fit(x, y).n_iter_ == 3, "without warm_start every fit starts anew"


@pytest.mark.parametrize("changed", [{"hidden": (30,)}, {"n_connections": 700}, {"budget": "global"}, {"bias": False}])
def test_warm_start_refuses_another_network(digits, changed):
    model = small(warm_start=True, epochs=1).fit(*digits[:2])
    with pytest.raises(ValueError, match="changed since the network was made"):
        model.set_params(**changed).fit(*digits[:2])


def test_partial_fit_learns_from_parts(digits):
    x, y, x_test, y_test = digits
    model = small()
    for _ in range(5):
        for part in range(0, 1400, 350):
            model.partial_fit(x[part : part + 350], y[part : part + 350], classes=range(10))
    assert model.score(x_test, y_test) > 0.8
    assert model.n_iter_ == 20
    assert model.to_intnet().n_connections == 800


def test_partial_fit_knows_its_classes(digits):
    x, y = digits[:2]
    with pytest.raises(ValueError, match="classes must be given in the first call"):
        small().partial_fit(x, y)
    model = small().partial_fit(x[y < 3], y[y < 3], classes=[0, 1, 2, 3])  # class 3 stays empty
    assert model.decision_function(x).shape == (1400, 4)
    assert set(model.predict(x[y < 3])) <= {0, 1, 2}
    with pytest.raises(ValueError, match="has the label 4, which is not one of the classes"):
        model.partial_fit(x[y == 4], y[y == 4])
    with pytest.raises(ValueError, match="differs from the first call's"):
        model.partial_fit(x[y < 3], y[y < 3], classes=[0, 1, 2])


def test_more_connections_than_positions_is_a_dense_network(digits):
    x, y = digits[:2]
    model = small(hidden=(5,), n_connections=10_000, epochs=1)
    with pytest.warns(UserWarning, match="n_connections = 10000: the network has only 370 positions and is dense"):
        model.fit(x, y)
    assert model.n_connections_ == model.to_intnet().n_connections == model.to_intnet().n_positions == 64 * 5 + 5 * 10


@pytest.mark.parametrize("k", [9, 0, -5, 2.5, True, "many", None])
def test_fewer_connections_than_classes_are_refused(digits, k):
    with pytest.raises(ValueError, match=r"n_connections = .*: must be a whole number, at least one for each of"):
        small(n_connections=k).fit(*digits[:2])
    assert small(n_connections=10, epochs=1).fit(*digits[:2]).n_connections_ == 10


@pytest.mark.parametrize(("parameters", "message"), [
    ({"epochs": 0}, "epochs = 0: lies in 1.."),
    ({"epochs": "3"}, "epochs = '3': expected integer"),
    ({"hidden": (9,) * 9, "n_connections": 10, "bias": False, "l1": -1}, "l1 = -1.0: lies in 0.."),
    ({"hidden": (9,) * 19, "n_connections": 10}, "10 connections: 20 layers"),
    ({"learning_rate": -1}, "learning_rate = -1.0: lies in 0.."),
    ({"weight_bits": 9}, "weight_bits = 9: lies in 2..8"),
    ({"hidden": (0,)}, r"hidden = \[0\]: lies in 1"),
    ({"hidden": 50}, "hidden = 50: expected a list of integers"),
    ({"budget": "tight"}, "budget = 'tight': expected 'per_layer', 'global' or a dictionary"),
    ({"budget": {"lane": 8}}, "budget.lane: unknown key; did you mean lanes"),
    ({"optimizer": "lion"}, "optimizer = 'lion': expected one of sgd"),
    ({"method": "magic"}, "method = 'magic': expected one of"),
    ({"learning_rate": 1e30}, "training diverged"),
])
def test_impossible_parameters_and_divergence(digits, parameters, message):
    with pytest.raises(ValueError, match=message):
        small(**parameters).fit(*digits[:2])


def test_one_class_is_refused():
    with pytest.raises(ValueError, match="y has 1 class, 'a': a classifier needs at least two"):
        small().fit(np.eye(4), ["a"] * 4)


@pytest.mark.parametrize("value", [0.0, 5.0, -1e-3, 1e300, 1e-300])
def test_constant_inputs_give_the_most_frequent_class(value):
    y = np.array([0] * 5 + [1] * 20 + [2] * 10)
    model = small(n_connections=50, hidden=(10,)).fit(np.full((35, 3), value), y)
    assert set(model.predict(np.full((4, 3), value))) == {1}


@pytest.mark.parametrize("scale", [1e-9, 1.0, 1e9])
def test_the_unit_of_the_data_does_not_matter(digits, scale):
    x, y, x_test, _ = digits
    factor = 2.0 ** np.round(np.log2(scale))
    model = small().fit(x * factor, y)
    reference_model = small().fit(x, y)
    np.testing.assert_array_equal(model.decision_function(x_test * factor), reference_model.decision_function(x_test))
    expected = np.clip((x_test - x.mean(axis=0)) / np.maximum(x.std(axis=0), 1e-30) * 32, -128, 127)
    assert np.abs(model.encode(x_test * factor) - np.where(x.std(axis=0) > 0, expected, 0)).max() <= 0.5001


def test_what_exceeds_the_learnt_range_saturates(fitted):
    says_something = fitted.to_intnet().input_map.factor > 0
    for value, code in ((1e308, 127), (-1e308, -128)):
        np.testing.assert_array_equal(fitted.encode(np.full((1, 64), value))[0], np.where(says_something, code, 0))


def test_a_budget_shaped_like_an_engine(digits):
    net = small(budget={"lanes": 8}, epochs=1).fit(*digits[:2]).to_intnet()
    assert net.n_connections == 800
    for layer in net.layers:
        held = np.bincount(layer.out_idx % 8, minlength=8)
        assert held.max() - held.min() <= 1


@pytest.mark.parametrize("method", METHODS)
def test_every_method_ends_within_the_budget(digits, method):
    langevin = {"optimizer": "sgd", "l1": 1e-5, "learning_rate": 0.3, "batch_size": 10}
    model = small(method=method, epochs=9, **(langevin if method == "soft_deep_r" else {})).fit(*digits[:2])
    net = model.to_intnet()
    assert 700 <= net.n_connections == model.n_connections_ <= 800
    assert model.score(*digits[2:]) > 0.7
    np.testing.assert_array_equal(model.predict(digits[2]), reference.predict(net, model.encode(digits[2])))


def test_momentum_and_a_cosine(digits):
    model = small(optimizer="momentum", batch_size=10, learning_rate=0.05, label_smoothing=0.1).fit(*digits[:2])
    assert model.score(*digits[2:]) > 0.85
    assert model.partial_fit(*digits[:2]).n_iter_ == 11


def test_the_network_goes_to_file_and_engine(fitted, digits, tmp_path):
    net, codes = fitted.to_intnet(), fitted.encode(digits[2])
    netfile.save(net, tmp_path / "net.safetensors")
    run = engines.get_engine("onnx")(netfile.load(tmp_path / "net.safetensors"), codes, tmp_path)
    np.testing.assert_array_equal(run.logits * 2.0**-net.logit_frac, fitted.decision_function(digits[2]))


def test_grid_search(digits):
    search = GridSearchCV(small(epochs=2), {"n_connections": np.array([200, 800]), "method": ["deep_r", "fixed"]}, cv=2)
    search.fit(digits[0][:400], digits[1][:400])
    assert search.best_params_["n_connections"] == 800


def test_the_package_alone_stays_light():
    code = "import sys, deepr_hw; assert not {'numpy', 'sklearn', 'numba'} & set(sys.modules); deepr_hw.DeepRClassifier"
    subprocess.run([sys.executable, "-c", code], check=True)
    with pytest.raises(AttributeError, match="nothing"):
        __import__("deepr_hw").nothing  # noqa: B018


def test_shares_add_up_within_the_positions():
    assert share_per_layer(3552, (784, 300, 100, 10)) == (2416, 891, 245)
    rng = np.random.default_rng(0)
    for _ in range(500):
        positions = rng.integers(1, 50, rng.integers(1, 6)).tolist()
        total = int(rng.integers(len(positions), sum(positions) + 1))
        shares = share_out(total, rng.random(len(positions)) + 0.01, positions)
        assert sum(shares) == total
        assert all(1 <= share <= n for share, n in zip(shares, positions, strict=True))
    with pytest.raises(ValueError, match=r"11 connections: 2 layers with 4 \+ 6 positions can share out 2 to 10"):
        share_out(11, (1, 1), (4, 6))


# Regression

def linear(n_out=3, n=300, seed=0):
    """Samples and targets of very different units, linear but for a little noise."""
    rng = np.random.default_rng(seed)
    x = rng.normal(5, 3, (n, 12))
    y = (x - 5) @ rng.normal(0, 1, (12, n_out)) + rng.normal(0, 0.5, (n, n_out))
    return x, y * np.array([1e-4, 1.0, 2e6])[:n_out] + np.array([3.0, -1e3, 1e7])[:n_out]


def regressor(**parameters):
    return DeepRRegressor(**{"hidden": (24,), "n_connections": 200, "epochs": 20, "random_state": 0, **parameters})


@pytest.fixture(scope="module")
def regression():
    x, y = linear()
    return regressor().fit(x[:200], y[:200]), x[200:], y[200:]


def test_a_regressor_learns_targets_of_any_unit(regression):
    model, x, y = regression
    assert model.score(x, y) > 0.85
    assert min(r2_score(y, model.predict(x), multioutput="raw_values")) > 0.8
    net = model.to_intnet()
    assert (net.task, net.n_connections, model.n_connections_, model.n_outputs_) == ("regression", 200, 200, 3)
    natural = np.ldexp(reference.logits(net, model.encode(x)).astype(np.float64), -net.logit_frac).astype(np.float32)
    by_hand = (natural - net.output_map.offset) * net.output_map.factor
    np.testing.assert_array_equal(model.predict(x), by_hand.astype(np.float64))


def test_answers_are_shaped_as_y_was():
    x, y = linear(1)
    flat, column = regressor(epochs=2).fit(x, y[:, 0]), regressor(epochs=2).fit(x, y)
    assert flat.predict(x).shape == (300,)
    assert column.predict(x).shape == (300, 1)
    np.testing.assert_array_equal(flat.predict(x), column.predict(x)[:, 0])


@pytest.mark.parametrize("dtype", [np.int64, np.uint8, bool, object])
def test_whole_numbers_are_targets_too(dtype):
    x, y = linear(1)
    whole = (y[:, 0] > 3 if dtype is bool else np.round((y[:, 0] - 3) * 1e5) + 100).astype(dtype)
    np.testing.assert_array_equal(regressor(epochs=2).fit(x, whole).predict(x),
                                  regressor(epochs=2).fit(x, whole.astype(np.float64)).predict(x))


def test_a_regressors_onnx_files_give_what_it_predicts(regression, tmp_path):
    model, x, _ = regression
    net, values = model.to_intnet(), x.astype(np.float32)
    paths = {name: onnx_flavours.export(net, tmp_path, name, batch="n")["path"] for name in ("qdq", "qonnx")}
    found = run_model(paths["qdq"], values, options=onnx_qdq.SESSION_OPTIONS)
    np.testing.assert_array_equal(found["prediction"], model.predict(x))
    np.testing.assert_array_equal(net.output_map(run_model(paths["qonnx"], values)["logits"]), model.predict(x))


def test_a_regressors_file_keeps_the_unit(regression, tmp_path):
    model, x, _ = regression
    netfile.save(model.to_intnet(), tmp_path / "net.safetensors")
    net = netfile.load(tmp_path / "net.safetensors")
    np.testing.assert_array_equal(net.decode(reference.logits(net, net.encode(x))), model.predict(x))


def test_a_regressor_learns_from_parts_and_goes_on_from_a_pickle():
    x, y = linear()
    one = regressor(n_connections=300)
    for _ in range(8):
        for part in range(0, 300, 100):
            one.partial_fit(x[part : part + 100], y[part : part + 100])
    assert one.score(x, y) > 0.8
    two = pickle.loads(pickle.dumps(one))
    np.testing.assert_array_equal(one.partial_fit(x, y).predict(x), two.partial_fit(x, y).predict(x))
    with pytest.raises(ValueError, match="y has 2 outputs, the network has 3"):
        one.partial_fit(x, y[:, :2])


@pytest.mark.parametrize(("y", "message"), [
    (np.full(300, 1e40), r"y\[0\] = 1e\+40: targets lie in -2\*\*100 to 2\*\*100"),
    (np.full((300, 2), np.nan), "Input y contains NaN"),
    (np.zeros((300, 201)), "n_connections = 200: must be a whole number, at least one for each of the 201 outputs"),
])
def test_targets_that_no_regression_can_have(y, message):
    with pytest.raises(ValueError, match=message):
        regressor().fit(linear()[0], y)


def test_constant_targets_are_answered_exactly_enough():
    x, _ = linear()
    np.testing.assert_allclose(regressor(epochs=3).fit(x, np.full(300, 7.25)).predict(x), 7.25, rtol=1e-6)


def test_a_regressor_in_pipeline_and_search():
    x, y = linear(1)
    pipeline = make_pipeline(StandardScaler(), regressor(epochs=3))
    search = GridSearchCV(pipeline, {"deeprregressor__n_connections": [12, 200]}, cv=3).fit(x, y[:, 0])
    assert search.best_params_ == {"deeprregressor__n_connections": 200}
    assert clone(regressor(n_connections=50)).n_connections == 50

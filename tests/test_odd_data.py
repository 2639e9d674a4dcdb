"""Data and budgets at the edge, through the whole trainer: a clear message, or a network that is sane."""

import numpy as np
import pytest

from deepr_hw import cli, data, reference
from deepr_hw.ir import netfile
from deepr_hw.train.config import config_from
from deepr_hw.train.loop import train
from deepr_hw.train.scales import activation_format, weight_format


def dataset(x, y, class_labels=None):
    half = max(1, len(x) // 2)
    labels = None if class_labels is None else np.array(class_labels)
    return data.make_dataset("odd", x, y, x[:half], y[:half], labels)


def run(tmp_path, samples, budget, **training):
    """Result of four epochs on ``samples``; the file holds the network that the result tells of."""
    config = config_from(
        {
            "budget": budget,
            "network": {"hidden": [12], "bias": training.pop("bias", False)},
            "training": {"epochs": 4, "batch_size": 8, "learning_rate": 0.3, **training},
            "quantization": {"calibrate_epochs": 4},
        }
    )
    result = train(config, samples, tmp_path, progress=lambda metrics, n_epochs: None)
    net = netfile.load(tmp_path / "net.safetensors")
    codes = net.encode(samples.x_test)
    assert result.test["accuracy"] == np.mean(reference.predict(net, codes) == samples.y_test)
    assert all(np.isfinite(m.loss) and m.active_min == m.active_max == net.n_connections for m in result.history)
    return result, reference.predict(net, net.encode(samples.x_train))


@pytest.fixture
def blobs():
    rng = np.random.default_rng(0)
    y = np.arange(120) % 4
    return np.clip(rng.normal(0.15, 0.05, (120, 8)) + 0.6 * (np.arange(8) // 2 == y[:, None]), 0, 1), y


@pytest.mark.parametrize("labels", [None, "abcd"])
def test_an_empty_class_is_never_answered(tmp_path, blobs, labels):
    x, y = blobs
    kept = y != (1 if labels is None else 3)  # without names the last class would not be known
    samples = dataset(x[kept], y[kept], None if labels is None else list(labels))
    result, answers = run(tmp_path, samples, {"global": 100}, epochs=30)
    assert result.net.n_out == 4
    assert set(answers) == set(y[kept])
    assert result.test["accuracy"] > 0.9


@pytest.mark.parametrize("value", [0.0, 0.7, 3.0, -1e-30])
def test_constant_inputs_give_the_most_frequent_class(tmp_path, value):
    y = np.repeat([0, 1, 2], (10, 40, 20))
    samples = dataset(np.full((70, 5), value), y)
    _, answers = run(tmp_path, samples, {"global": 30}, bias=True)
    assert set(answers) == {1}


def test_constant_inputs_without_biases_still_train(tmp_path):
    run(tmp_path, dataset(np.zeros((30, 5)), np.arange(30) % 3), {"global": 30})


@pytest.mark.parametrize("budget", [{"global": 1}, {"global": 3}, {"per_layer": [2, 1]}, {"per_layer": [50, 0]}])
def test_fewer_connections_than_outputs_hold_to_the_budget(tmp_path, blobs, budget):
    """An output without a connection is legal: its logit is its bias, here 0."""
    result, _ = run(tmp_path, dataset(*blobs), budget)
    assert result.net.n_connections == sum(budget.get("per_layer", [budget.get("global")]))
    assert (result.net.layers[-1].matrix.fan_in == 0).any()


def test_no_connection_at_all_is_refused(tmp_path, blobs):
    with pytest.raises(ValueError, match="budget per_layer: all limits are 0, so there is no connection to train"):
        run(tmp_path, dataset(*blobs), {"per_layer": [0, 0]})


def test_one_sample_and_one_class(tmp_path):
    result, answers = run(tmp_path, dataset(np.ones((1, 3)), np.zeros(1, int)), {"global": 10})
    assert result.test["accuracy"] == 1
    assert set(answers) == {0}


def test_batches_larger_than_the_data(tmp_path, blobs):
    result, _ = run(tmp_path, dataset(*blobs), {"global": 100}, batch_size=1000, epochs=60, learning_rate=1.0)
    assert result.test["accuracy"] > 0.5


def test_one_input_one_connection_per_layer(tmp_path):
    x = np.linspace(0, 1, 40)[:, None]
    result, _ = run(
        tmp_path, dataset(x, (x[:, 0] > 0.5).astype(int)), {"per_layer": [12, 24]}, bias=True, epochs=40, decay=1.0
    )
    assert result.test["accuracy"] > 0.8


@pytest.mark.parametrize(
    ("rate", "message"),
    [
        (1e30, "training diverged in epoch"),
        (1e30, "lower training.learning_rate"),
    ],
)
def test_divergence_says_where_and_what_to_do(tmp_path, blobs, rate, message):
    with pytest.raises(ValueError, match=message):
        run(tmp_path, dataset(*blobs), {"global": 100}, learning_rate=rate)
    assert not (tmp_path / "net.safetensors").exists()


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda a: a["x_train"].__setitem__((3, 1), np.nan), "x_train[3, 1] = nan: samples must be finite"),
        (lambda a: a["x_test"].__setitem__((0, 7), np.inf), "x_test[0, 7] = inf: samples must be finite"),
        (lambda a: a["y_train"].__setitem__(5, -1), "y_train[5] = -1: a label is a whole number from 0"),
        (lambda a: a["y_test"].__setitem__(2, 9), "y_test[2] = 9: label out of range, the classes are 0..3"),
    ],
)
def test_unsound_data_is_one_line_and_no_network(tmp_path, blobs, capsys, spoil, message):
    x, y = blobs
    arrays = {"x_train": x.copy(), "y_train": y.copy(), "x_test": x.copy(), "y_test": y.copy()}
    spoil(arrays)
    np.savez(tmp_path / "odd.npz", **arrays)
    out = tmp_path / "run"
    assert cli.main(["train", "digits", "--out", str(out), "--set", f"data.name={tmp_path / 'odd.npz'}"]) == 2
    error = capsys.readouterr().err.strip()
    assert message in error
    assert "\n" not in error
    assert not (out / "net.safetensors").exists()


def test_vanished_weights_and_activations_get_formats_that_a_layer_can_have():
    w_format = weight_format(np.full(10, 1e-12), 8)
    y_format = activation_format(np.full(10, 1e-14), 8, 8 + w_format.frac)
    assert 0 <= 8 + w_format.frac - y_format.frac <= 31
    assert activation_format(np.full(10, 1e-14), 8, 60).frac == 31

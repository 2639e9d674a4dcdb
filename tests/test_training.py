"""A whole run on the digits: accuracy, exactness against the reference, budget, log, reproducibility."""

import json
import os

import numpy as np
import pytest

from deepr_hw import data, reference
from deepr_hw.evidence.info import describe
from deepr_hw.ir import netfile
from deepr_hw.train.checkpoint import load_checkpoint
from deepr_hw.train.config import load_config
from deepr_hw.train.freeze import freeze
from deepr_hw.train.loop import run_epoch, start, train
from deepr_hw.train.scales import weight_format

QUICK = ["training.epochs=4", "quantization.warmup_epochs=1", "quantization.calibrate_epochs=2"]


@pytest.fixture(scope="module")
def digits():
    return data.load("digits")


def quietly(metrics, n_epochs):
    pass


def run(digits, folder, *overrides, **options):
    return train(load_config("digits", overrides), digits, folder, progress=quietly, **options)


def test_digits_are_learnt(digits, tmp_path):
    result = run(digits, tmp_path)
    assert result.test["accuracy"] > 0.95
    assert result.net.n_connections == 1000
    assert [layer.matrix.n_connections for layer in result.net.layers] == [600, 300, 100]
    assert all(m.active_min == m.active_max == 1000 for m in result.history)
    assert sum(m.rewired for m in result.history) > 0
    net = netfile.load(tmp_path / "net.safetensors")
    assert np.mean(reference.predict(net, net.encode(digits.x_test)) == digits.y_test) == result.test["accuracy"]


def test_log_has_one_json_line_per_epoch(digits, tmp_path):
    run(digits, tmp_path, *QUICK)
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert [line["epoch"] for line in lines] == [0, 1, 2, 3]
    assert lines[0]["test_accuracy"] is None, "the warm-up has no integer network"
    assert lines[-1]["test_accuracy"] > 0.5
    assert load_config(tmp_path / "config.toml") == load_config("digits", QUICK)


def test_same_seed_same_bits(digits, tmp_path):
    files = [
        (run(digits, tmp_path / name, *QUICK), (tmp_path / name / "net.safetensors").read_bytes())[1]
        for name in ("a", "b")
    ]
    assert files[0] == files[1]
    run(digits, tmp_path / "c", *QUICK, "training.seed=1")
    assert (tmp_path / "c" / "net.safetensors").read_bytes() != files[0]


@pytest.mark.parametrize("budget", ["budget.lanes=4", "budget.per_output=6", "budget.global=1000"])
def test_the_budget_log_shows_every_group(digits, tmp_path, budget):
    net = run(digits, tmp_path, *QUICK, budget).net
    log = json.loads((tmp_path / "budget.json").read_text())
    assert log["limits"] == log["active_min"] == log["active_max"] == list(net.budget.limits)
    assert log["n_connections"] == sum(log["limits"]) == net.n_connections
    assert log["steps"] == 4 * 180
    assert log["kind"] == net.budget.kind
    assert "positions" in log["arithmetic"]
    shown = describe(net, tmp_path / "net.safetensors")["budget"]["log"]
    assert (shown["steps"], shown["active_min"]) == (4 * 180, log["active_min"])
    (tmp_path / "budget.json").write_text("{}")
    assert describe(net, tmp_path / "net.safetensors")["budget"]["log"] is None
    if "per_output" in budget:
        assert all((layer.matrix.fan_in == 6).all() for layer in net.layers)


def test_global_budget_moves_between_layers(digits, tmp_path):
    net = run(digits, tmp_path, *QUICK, "budget.global=1000").net
    assert net.n_connections == 1000
    assert [layer.matrix.n_connections for layer in net.layers] != [600, 300, 100]


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("budget.global=100000", r"budget\.global = 100000: the network has only 6464 positions"),
        ("budget.per_layer=[5000,300,100]", r"budget\.per_layer\[0\] = 5000: layer 0 has only 4096 positions"),
        ("budget.per_layer=[100,100]", r"has 2 entries for 3 layers"),
        ("data.validation=5000", r"data\.validation = 5000: leaves nothing"),
        ("training.learning_rate=1e30", r"diverged in epoch"),
    ],
)
def test_refuses_what_does_not_fit(digits, tmp_path, override, message):
    with pytest.raises(ValueError, match=message):
        run(digits, tmp_path, *QUICK, override)


def test_every_logit_of_mnist_equals_the_reference(tmp_path):
    """Training's own forward pass in evaluation mode, all 10,000 test images."""
    if not data.mnist_at_hand() and not os.environ.get("CI"):
        pytest.skip("MNIST is not at hand and this test does not download")
    mnist = data.encoded(data.load("mnist"))
    config = load_config("mnist_paper", ["training.epochs=1", "quantization.warmup_epochs=0"])
    state = start(config, mnist)
    run_epoch(config, mnist, state, 0)
    logits = state.model.logits(mnist.x_test)
    assert logits.shape == (10_000, 10)
    np.testing.assert_array_equal(logits, reference.logits(freeze(state.model), mnist.x_test))


@pytest.mark.parametrize("last", [0, 1, 3])
def test_scales_are_found_anew_up_to_calibrate_epochs_and_then_stay(tmp_path, digits, last):
    """Weight formats of every epoch, beside those that follow from the weights that it began with."""
    used, fresh = [], []

    def look(metrics, n_epochs):
        read = load_checkpoint(tmp_path / "checkpoint.safetensors")
        layers = np.split(read.tensors["weight"], read.tensors["indptr"][[64, 128]])  # from 64 inputs, 64 neurons
        used.append(read.formats[0]["w_formats"])
        fresh.append([weight_format(weight, 8) for weight in layers])

    train(
        load_config(
            "digits",
            [
                "training.epochs=7",
                "training.learning_rate=2.0",
                "training.decay=1.0",
                "quantization.warmup_epochs=1",
                f"quantization.calibrate_epochs={last}",
                "quantization.calibrate_every=0",
            ],
        ),
        digits,
        tmp_path,
        progress=look,
    )
    last = max(last, 1)  # the first quantized epoch needs scales
    assert used[0] == [None] * 3
    assert used[1 : last + 1] == fresh[:last]
    assert used[last + 1 :] == [fresh[last - 1]] * (6 - last)
    assert fresh[last:] != [fresh[last - 1]] * (7 - last), "new scales would have shown"

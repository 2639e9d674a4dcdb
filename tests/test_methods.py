"""Rival methods: they end inside the budget, learn, refuse what they can't hold, and resume."""

import numpy as np
import pytest

from deepr_hw import data, reference
from deepr_hw.sparse_set.budget import make_partition
from deepr_hw.sparse_set.connections import make_connections
from deepr_hw.sparse_set.draw import LOW
from deepr_hw.sparse_set.share import chain
from deepr_hw.train.config import BudgetConfig, load_config
from deepr_hw.train.loop import train
from deepr_hw.train.methods import METHODS
from deepr_hw.train.methods.base import dense_partition, keep_largest, rank_in_group
from deepr_hw.train.methods.rigl import largest_gradients
from deepr_hw.train.model import Model
from deepr_hw.train.sparse_linear import LinearStage

SHORT = ["training.epochs=30", "quantization.calibrate_epochs=25", "training.batch_size=10"]
LANGEVIN = ["training.optimizer=sgd", "training.l1=1e-5"]


@pytest.fixture(scope="module")
def digits():
    return data.load("digits")


def settings(method):
    extra = {"soft_deep_r": [*LANGEVIN, "training.learning_rate=0.1"], "l1": ["training.l1=1e-3"]}
    return [*SHORT, f"training.method={method}", *extra.get(method, [])]


@pytest.mark.parametrize("method", METHODS)
def test_every_method_ends_inside_the_budget(digits, tmp_path, method):
    result = train(load_config("digits", settings(method)), digits, tmp_path, progress=lambda *_: None)
    assert result.test["accuracy"] > (0.8 if method == "fixed" else 0.88)
    held = [layer.matrix.n_connections for layer in result.net.layers]
    assert all(n <= limit for n, limit in zip(held, (600, 300, 100), strict=True))
    if method in ("deep_r", "fixed", "set", "rigl"):
        assert held == [600, 300, 100]
        assert all(m.active_min == m.active_max == 1000 for m in result.history)
    assert (sum(m.rewired for m in result.history) > 0) == (method in ("deep_r", "set", "rigl"))
    answers = reference.predict(result.net, result.net.encode(digits.x_test))
    assert np.mean(answers == digits.y_test) == result.history[-1].test["accuracy"]


@pytest.mark.parametrize("method", ["gradual", "rigl", "soft_deep_r"])
def test_interrupted_rivals_resume(digits, tmp_path, method):
    config = load_config("digits", [*settings(method), "training.epochs=12"])
    train(config, digits, tmp_path / "whole", progress=lambda *_: None)

    def interrupt(metrics, n_epochs):
        if metrics.epoch == 8:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(config, digits, tmp_path / "parts", progress=interrupt)
    train(config, digits, tmp_path / "parts", resume=True, progress=lambda *_: None)
    nets = [(tmp_path / name / "net.safetensors").read_bytes() for name in ("whole", "parts")]
    assert nets[0] == nets[1]


def test_ranks_are_those_of_a_loop():
    rng = np.random.default_rng(0)
    values, groups = rng.integers(0, 9, 200).astype(float), rng.integers(0, 5, 200)
    for i, rank in enumerate(rank_in_group(values, groups)):
        mine = [(values[j], j) for j in range(200) if groups[j] == groups[i]]
        assert sorted(mine).index((values[i], i)) == rank


def test_pruning_keeps_the_largest_of_each_group():
    rng = np.random.default_rng(1)
    partition = dense_partition(make_partition(BudgetConfig(per_layer=(10, 6)), chain((8, 5, 4))), "magnitude")
    model = Model(make_connections(partition, rng, n_moments=1), [LinearStage((8, 5, 4), True)], False)
    c = model.connections
    c.moments[0] = c.weight
    before = {(s, o): w for s, o, w in zip(c.sources(), c.out_idx, c.weight, strict=True)}
    keep_largest(model, np.array([10, 6]))
    c = model.connections
    c.check()
    np.testing.assert_array_equal(c.moments[0], c.weight)
    for layer, n, rows in ((0, 10, range(8)), (1, 6, range(8, 13))):
        largest = sorted((abs(w) for (s, _), w in before.items() if s in rows), reverse=True)[:n]
        held = sorted(np.abs(c.weight[c.matrices() == layer]).tolist(), reverse=True)
        np.testing.assert_array_equal(held, largest)


@pytest.mark.parametrize("budget", [{"total": 30}, {"per_layer": (20, 10)}, {"per_output": 3}])
def test_largest_gradients_are_those_of_the_dense_product(budget, monkeypatch):
    rng, sizes = np.random.default_rng(2), (12, 6, 4)
    c = make_connections(make_partition(BudgetConfig(**budget), chain(sizes)), rng)
    model = Model(c, [LinearStage(sizes, True)], False)
    machine = model.machine(16)
    (chain_arrays,) = machine.stages
    chain_arrays.act[:], chain_arrays.acc[:] = rng.standard_normal((2, 22, 16)).astype(np.float32)
    wanted, steps = np.full(c.partition.n_groups, 2), np.array([0.5, 2.0], np.float32)
    chain_arrays.steps[:, 0] = steps
    held = set(zip(c.sources().tolist(), c.out_idx.tolist(), strict=True))
    candidates: dict[int, list] = {}
    for s in range(18):
        layer, first = (0, 12) if s < 12 else (1, 18)
        for o in range(sizes[layer + 1]):
            if (s, o) not in held:
                size = abs(steps[layer] * np.dot(chain_arrays.act[s], chain_arrays.acc[first + o]))
                candidates.setdefault(int(c.partition.groups(s, layer, o)), []).append((size, s, o))
    expected = {(s, o) for found in candidates.values() for _, s, o in sorted(found, reverse=True)[:2]}
    for block in (1 << 20, 7):
        monkeypatch.setattr("deepr_hw.train.methods.rigl._BLOCK", block)
        keys = largest_gradients(model, machine, wanted)
        assert {(int(key >> 32), int(key & LOW)) for key in keys} == expected
        assert (np.diff(keys) > 0).all()


def test_dense_methods_refuse_a_size_and_say_why(digits, tmp_path):
    config = load_config(
        "digits", [*LANGEVIN, "training.method=soft_deep_r", "network.hidden=[10000, 10000]", "budget.global=1000"]
    )
    with pytest.raises(ValueError, match=r"a value for each of the 100,740,000 positions"):
        train(config, digits, tmp_path)


def test_soft_deep_r_needs_l1_and_sgd():
    with pytest.raises(ValueError, match="defined for sgd only"):
        load_config("digits", ["training.method=soft_deep_r", "training.l1=1e-5", "training.optimizer=adam"])
    with pytest.raises(ValueError, match="l1 = 'auto': soft_deep_r needs a number"):
        load_config("digits", ["training.method=soft_deep_r", "training.optimizer=sgd"])
    config = load_config("digits", [*LANGEVIN, "training.method=soft_deep_r", "training.l1=0"])
    with pytest.raises(ValueError, match="needs it, theta_min"):
        METHODS["soft_deep_r"].theta_min(config, make_partition(config.budget, chain((64, 64, 32, 10))))


def test_theta_min_is_the_formula():
    config = load_config("digits", ["budget.global=646", "training.l1=1e-4", "training.temperature=1e-8"])
    assert METHODS["soft_deep_r"].theta_min(
        config, make_partition(config.budget, chain((64, 64, 32, 10)))
    ) == pytest.approx(-1e-8 * (1 - 646 / 6464) / (1e-4 * 646 / 6464))

"""Every kind of budget: groups against a count written out in loops, combinations, refusals, the arithmetic."""

import itertools

import numpy as np
import pytest

from deepr_hw.sparse_set.budget import explain, make_partition
from deepr_hw.sparse_set.connections import make_connections
from deepr_hw.sparse_set.draw import as_arrays, as_groups
from deepr_hw.sparse_set.rewire import rewire
from deepr_hw.sparse_set.share import chain
from deepr_hw.train.config import BudgetConfig

SIZES = (30, 12, 8, 4)

CASES = {
    "global": ({"total": 200}, lambda layer, i, o: 0),
    "per_layer": ({"per_layer": (100, 50, 20)}, lambda layer, i, o: layer),
    "density": ({"density": (0.5, 0.5, 1.0)}, lambda layer, i, o: layer),
    "per_output": ({"per_output": 4}, lambda layer, i, o: (layer, o)),
    "per_output, a list": ({"per_output": (5, 4, 3)}, lambda layer, i, o: (layer, o)),
    "lanes": ({"per_layer": (96, 48, 20), "lanes": 4}, lambda layer, i, o: (layer, o % 4)),
    "lanes of a total": ({"total": 150, "lanes": 2}, lambda layer, i, o: (layer, o % 2)),
    "more lanes than outputs": ({"per_layer": (96, 48, 20), "lanes": 8}, lambda layer, i, o: (layer, o % 8)),
    "tiles": ({"total": 150, "tiles": (16, 5)}, lambda layer, i, o: (layer, i // 16, o // 5)),
    "bytes": ({"bytes": 600}, lambda layer, i, o: 0),
    "lanes in bytes": ({"bytes": 600, "lanes": 4}, lambda layer, i, o: (layer, o % 4)),
    "outputs in lanes": ({"per_output": 3, "lanes": 4}, lambda layer, i, o: (layer, o)),
    "layers in a total": ({"total": 170, "per_layer": (100, 50, 20)}, lambda layer, i, o: layer),
}


def held(connections, group_of):
    """Connections per group, counted in a loop, by a key that the test itself gives."""
    starts, counts = np.cumsum((0, *SIZES)), {}
    for source, layer, out in zip(connections.sources(), connections.matrices(), connections.out_idx, strict=True):
        key = group_of(int(layer), int(source - starts[layer]), int(out))
        counts[key] = counts.get(key, 0) + 1
    return counts


@pytest.mark.parametrize("case", CASES)
def test_groups_hold_their_limits_through_rewiring(case):
    budget, group_of = CASES[case]
    partition, rng = make_partition(BudgetConfig(**budget), chain(SIZES)), np.random.default_rng(0)
    connections, stream = make_connections(partition, rng), np.array([1, 2, 3, 4], np.uint64)
    before = held(connections, group_of)
    assert sorted(before.values()) == sorted(partition.limits[partition.limits > 0].tolist())
    net, groups = as_arrays(connections), as_groups(partition, connections.group_counts())
    for _ in range(30):
        net.grad[:] = np.where(rng.random(partition.n_connections) < 0.3, -1, 1)
        rewire(net, groups, stream)
        connections.check()
    assert held(connections, group_of) == before


def test_lanes_differ_by_at_most_one_slot():
    partition = make_partition(BudgetConfig(per_layer=(2352, 900, 300), lanes=8), chain((784, 300, 100, 10)))
    per_lane = partition.limits.reshape(3, 8)
    np.testing.assert_array_equal(per_lane.sum(axis=1), (2352, 900, 300))
    assert (per_lane.max(axis=1) - per_lane.min(axis=1) <= 1).all()


def test_tiles_share_by_their_positions():
    partition = make_partition(BudgetConfig(per_layer=(2352, 900, 300), tiles=(256, 256)), chain((784, 300, 100, 10)))
    density = partition.limits / partition.n_positions
    assert density[:8].std() / density[:8].mean() < 0.1


@pytest.mark.parametrize(
    ("budget", "message"),
    [
        ({"per_output": 20}, r"budget\.per_output = 20: layer 1 has only 12 inputs"),
        ({"per_output": 4, "lanes": 3}, r"layer 1 has 8 outputs, which lanes can't share equally"),
        ({"per_output": 4, "tiles": (4, 4)}, "cuts across budget.per_output"),
        ({"total": 50, "lanes": 2, "tiles": (4, 4)}, "cuts across budget.lanes"),
        ({"total": 100, "per_output": 4}, r"96 connections per layer exceed|the layers add up to 96"),
        ({"total": 90, "per_layer": (50, 30, 20)}, "100 connections per layer exceed the 90 that budget.global allows"),
        ({"total": 101, "per_layer": (50, 30, 20)}, "the layers add up to 100"),
        ({"bytes": 50}, "no connection fits"),
        ({"bytes": 600, "per_layer": (100, 50, 20)}, "170 connections per layer exceed the 136"),
        ({"bytes": 600, "total": 137}, "137 connections don't fit"),
        ({"per_layer": (20, 20, 30), "lanes": 3}, r"30 connections, 10 of them in block 1, which has only 8"),
        ({"per_layer": (1, 2)}, "has 2 entries for 3 layers"),
    ],
)
def test_refuses_the_impossible_with_the_reason(budget, message):
    with pytest.raises(ValueError, match=message):
        make_partition(BudgetConfig(**budget), chain(SIZES))


@pytest.mark.parametrize(
    ("budget", "message"),
    [
        ({}, "says nowhere how many"),
        ({"lanes": 4}, "says nowhere how many"),
        ({"bytes": 10, "device": "ecp5-25k"}, "the same in two ways"),
        ({"device": "z80"}, "expected one of spinnaker2-core"),
        ({"total": 10, "tiles": (1, 2, 3)}, r"is \[inputs, outputs\]"),
        ({"total": 10, "lanes": 0}, r"budget\.lanes = 0: lies in 1"),
    ],
)
def test_refuses_what_says_nothing_sound(budget, message):
    with pytest.raises(ValueError, match=message):
        BudgetConfig(**budget)


def test_the_arithmetic_is_printed():
    sizes = chain((784, 300, 100, 10))
    text = explain(BudgetConfig(device="spinnaker2-core"), sizes)
    assert "(65,536 bytes - 1,194 of activations - 0 of biases) / 4 bytes per slot = 16,085 connections" in text
    assert "K = 16,085 of 266,200 = 784 x 300 + 300 x 100 + 100 x 10 positions (6.042 %)" in text
    assert "- 1,640 of biases" in explain(BudgetConfig(bytes=65_536), sizes, bias=True)
    assert "K = 3,552" in explain(BudgetConfig(per_layer=(2352, 900, 300)), sizes)


def test_memory_larger_than_the_network_holds_all_of_it():
    partition = make_partition(BudgetConfig(device="ecp5-85k"), chain(SIZES))
    assert partition.n_connections == sum(a * b for a, b in itertools.pairwise(SIZES))

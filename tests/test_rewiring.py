"""Rewiring: the in-place edit against its NumPy reading, distinctness, strict groups, uniform draws, noise."""

import numpy as np
import pytest

from deepr_hw.kernel.noise import NORMAL_TABLE, below, normal, seed_state
from deepr_hw.sparse_set.budget import Partition, make_partition
from deepr_hw.sparse_set.connections import choose_distinct, draw_positions, first_partition, make_connections
from deepr_hw.sparse_set.draw import as_arrays, as_groups, recount
from deepr_hw.sparse_set.rewire import grow_connections, insert, remove, rewire
from deepr_hw.sparse_set.share import chain, share_per_matrix
from deepr_hw.sparse_set.step import update
from deepr_hw.train.config import BudgetConfig
from tests.oracles.rewire import rewire_numpy

SIZES = (7, 5, 4)


def partition_of(kind: str) -> Partition:
    if kind == "odd":  # 6 groups across both layers, which no hardware asks for
        source_part, target_part = np.array([0, 3, 0, 3, 3, 0, 3, 0, 3, 0, 3, 0]), np.array([0, 1, 2, 0, 1, 2, 0, 1, 2])
        return Partition("odd", chain(SIZES), np.full(6, 3), source_part, target_part)
    return make_partition(
        BudgetConfig(total=30) if kind == "global" else BudgetConfig(per_layer=(20, 10)), chain(SIZES)
    )


KINDS = ("global", "per_layer", "odd")


@pytest.mark.parametrize("kind", KINDS)
def test_hundred_rewirings_keep_every_group_strict(kind):
    partition, rng = partition_of(kind), np.random.default_rng(1)
    connections, stream = make_connections(partition, rng, n_moments=2), np.array([1, 2, 3, 4], np.uint64)
    net, k = as_arrays(connections), partition.n_connections
    groups = as_groups(partition, connections.group_counts())
    for _ in range(100):
        net.grad[:] = np.where(rng.random(k) < rng.choice((0.0, 0.1, 0.9, 1.0)), -1, 1)
        n_dead = np.count_nonzero(net.grad < 0)
        assert rewire(net, groups, stream) == n_dead
        connections.check()
        np.testing.assert_array_equal(groups.active, partition.limits)


@pytest.mark.parametrize("kind", KINDS)
def test_survivors_keep_their_values_and_newcomers_start_at_zero(kind):
    partition, rng = partition_of(kind), np.random.default_rng(2)
    connections = make_connections(partition, rng, n_moments=1)
    net, k = as_arrays(connections), partition.n_connections
    net.moments[:] = net.code[:] = np.arange(1, k + 1)
    rows = zip(connections.sources(), net.out_idx, net.weight, net.code, strict=True)
    before = {(s, o): (w, c) for s, o, w, c in rows}
    net.grad[:] = np.where(np.arange(k) % 3 == 0, -1, 1)
    survivors = {key for i, key in enumerate(before) if i % 3}
    groups = as_groups(partition, connections.group_counts())
    rewire(net, groups, np.array([1, 2, 3, 4], np.uint64))
    for s, o, w, c, m in zip(connections.sources(), net.out_idx, net.weight, net.code, net.moments[0], strict=True):
        if (s, o) in survivors:
            assert (w, c, m) == (*before[s, o], c)
        else:
            assert (w, c, m) == (0, 0, 0)


def test_removal_and_insertion_equal_sorting_anew():
    rng = np.random.default_rng(3)
    for _ in range(50):
        partition = partition_of("global")
        connections = make_connections(partition, rng)
        net, k = as_arrays(connections), partition.n_connections
        dead = np.flatnonzero(rng.random(k) < rng.random())
        before = connections.sources() << 32 | net.out_idx
        kept = np.delete(before, dead)
        free = np.setdiff1d([s << 32 | o for s in range(12) for o in range(5 if s < 7 else 4)], kept)
        new = np.sort(rng.choice(free, dead.size, replace=False))
        groups = as_groups(partition, connections.group_counts())
        remove(net, groups, dead)
        assert groups.active.sum() == k - dead.size
        insert(net, new, np.array([1, 2, 3, 4], np.uint64))
        np.testing.assert_array_equal(connections.sources() << 32 | net.out_idx, np.sort(np.concatenate([kept, new])))


@pytest.mark.parametrize("kind", KINDS)
def test_draws_are_as_frequent_as_the_numpy_version(kind):
    """Chi-square of the positions that replace a fixed set of dead connections: compiled against expected uniform."""
    partition = partition_of(kind)
    start = make_connections(partition, np.random.default_rng(4))
    dead = np.arange(partition.n_connections) % 5 == 0
    kept = set(zip(start.sources()[~dead].tolist(), start.out_idx[~dead].tolist(), strict=True))
    stream, visits, rounds = np.array([9, 8, 7, 6], np.uint64), np.zeros((2, 12, 5)), 4000
    rng = np.random.default_rng(6)
    for i in range(rounds):
        for version in (0, 1) if i % 10 == 0 else (0,):
            c = make_connections(partition, np.random.default_rng(4))
            net = as_arrays(c)
            if version == 0:
                net.grad[:] = np.where(dead, -1, 1)
                rewire(net, as_groups(partition, c.group_counts()), stream)
            else:
                rewire_numpy(c, dead, rng)
                c.check()
            visits[version, c.sources(), c.out_idx] += 1
    positions = [(s, o) for s in range(12) for o in range(5 if s < 7 else 4) if (s, o) not in kept]
    groups = np.array([partition.groups(s, int(s >= 7), o) for s, o in positions])
    counts = np.array([visits[0][p] for p in positions])
    per_group = np.bincount(groups, counts, 6) / np.maximum(np.bincount(groups, minlength=6), 1)
    expected = per_group[groups]
    share = expected / rounds  # draws without replacement: variance share * (1 - share)
    free = expected > 0
    chi2 = np.sum((counts - expected)[free] ** 2 / (expected * np.maximum(1 - share, 1e-9))[free])
    assert chi2 < free.sum() + 5 * np.sqrt(2 * free.sum())
    few = np.array([visits[1][p] for p in positions]) / (rounds / 10)
    assert np.abs(few - share).max() < 5 * np.sqrt(0.25 / (rounds / 10))


def test_a_full_group_gets_its_own_dead_back():
    partition = make_partition(BudgetConfig(per_layer=(35, 20)), chain(SIZES))
    c = make_connections(partition, np.random.default_rng(0))
    net = as_arrays(c)
    net.grad[:] = -1
    assert rewire(net, as_groups(partition, c.group_counts()), np.array([1, 2, 3, 4], np.uint64)) == 55
    c.check()


def test_the_dead_of_a_full_group_start_anew_in_place():
    partition = make_partition(BudgetConfig(per_layer=(35, 10)), chain(SIZES))
    c = make_connections(partition, np.random.default_rng(0), n_moments=1)
    net = as_arrays(c)
    c.moments[:] = 1
    before, kept = c.out_idx.copy(), c.weight.copy()
    net.grad[:] = np.where(np.arange(45) % 2 == 0, -1, 1)
    assert rewire(net, as_groups(partition, c.group_counts()), np.array([1, 2, 3, 4], np.uint64)) == 23
    c.check()
    np.testing.assert_array_equal(c.out_idx[:35], before[:35])
    np.testing.assert_array_equal(c.weight[:35], np.where(np.arange(35) % 2 == 0, 0, kept[:35]))
    np.testing.assert_array_equal(c.moments[0, :35], np.arange(35) % 2)
    assert {sign for sign in np.signbit(c.weight[0:35:2])} == {True, False}


def test_update_is_the_formula():
    rng = np.random.default_rng(7)
    weight = rng.standard_normal(1000).astype(np.float32) * 0.01
    weight[:2] = 0.0, -0.0
    before, grad = weight.copy(), rng.standard_normal(1000).astype(np.float32)
    theta = grad.copy()
    update(weight, theta, 0.1, 0.02, 0.0, np.uint32(1), NORMAL_TABLE, True)
    sign = np.where(np.signbit(before), -1, 1)
    expected = np.abs(before) - 0.1 * sign * grad - 0.1 * 0.02
    np.testing.assert_allclose(theta, expected, atol=1e-6)
    np.testing.assert_allclose(weight, sign * expected, atol=1e-6)
    fixed = grad.copy()
    update(before.copy(), fixed, 0.1, 0.02, 0.0, np.uint32(1), NORMAL_TABLE, False)
    assert (fixed > 0).all(), "a fixed set never dies"


def test_noise_is_normal_and_independent_between_steps():
    values = [np.array([normal(k, np.uint32(key), NORMAL_TABLE) for k in range(200_000)]) for key in (1, 2)]
    v = values[0].astype(float)
    assert abs(v.mean()) < 0.01
    assert abs(v.std() - 1) < 0.006
    assert abs(np.mean(v**3)) < 0.03
    assert abs(np.mean(v**4) - 3) < 0.06
    assert 3.9 < np.abs(v).max() < 5.5
    lags = [np.corrcoef(values[0][: -lag or None], values[1][lag:])[0, 1] for lag in range(20)]
    assert np.abs(lags).max() < 0.012, "two steps' noise must not be shifted copies"


def test_below_is_uniform():
    state = seed_state(np.random.default_rng(0))
    counts = np.bincount([below(state, 13) for _ in range(65_000)], minlength=13)
    assert np.sum((counts - 5000) ** 2 / 5000) < 12 + 5 * np.sqrt(24)
    assert below(state, 1) == 0
    assert {below(state, 10**12) < 10**12 for _ in range(100)} == {True}


@pytest.mark.parametrize(("n", "k"), [(10, 10), (10, 0), (10**12, 1000), (10**6, 200_000), (1, 1)])
def test_chosen_integers_are_distinct(n, k):
    chosen = choose_distinct(np.random.default_rng(0), n, k)
    assert chosen.size == k == np.unique(chosen).size
    assert ((chosen >= 0) & (chosen < n)).all()


@pytest.mark.parametrize("budget", [BudgetConfig(total=300), BudgetConfig(per_layer=(200, 60, 40))])
def test_the_papers_first_positions_are_uniform_in_their_groups(budget):
    partition = make_partition(budget, chain((30, 20, 10, 5)))
    made = make_connections(partition, np.random.default_rng(3), init="n_in")
    source, out_idx = draw_positions(partition, np.random.default_rng(3))
    np.testing.assert_array_equal(made.sources(), source)
    np.testing.assert_array_equal(made.out_idx, out_idx)
    ours = make_connections(partition, np.random.default_rng(3))
    assert not np.array_equal(ours.sources(), source)


def test_first_positions_fill_every_group():
    partition = partition_of("odd")
    source, out_idx = draw_positions(partition, np.random.default_rng(0))
    groups = partition.groups(source, (source >= 7).astype(int), out_idx)
    np.testing.assert_array_equal(np.bincount(groups), partition.limits)


@pytest.mark.parametrize("make", [make_connections, grow_connections])
@pytest.mark.parametrize("kind", KINDS)
def test_a_new_set_is_sound_and_uniform(kind, make):
    """Uniform in each group; a global one is shared out first: 30 in proportion to 7 + 5 and 5 + 4 are 17 and 13."""
    partition, visits = partition_of(kind), np.zeros((12, 5))
    for seed in range(2000):
        c = make(partition, np.random.default_rng(seed), n_moments=1)
        visits[c.sources(), c.out_idx] += 1
    c.check()
    drawn = partition_of("per_layer") if kind == "global" else partition
    limits = np.array([17, 13]) if kind == "global" else partition.limits
    for g in range(drawn.n_groups):
        cells = [
            visits[s, o] for s in range(12) for o in range(5 if s < 7 else 4) if drawn.groups(s, int(s >= 7), o) == g
        ]
        share = limits[g] / len(cells)
        assert np.abs(np.array(cells) / 2000 - share).max() < 5 * np.sqrt(share * (1 - share) / 2000)


@pytest.mark.parametrize("make", [make_connections, grow_connections])
def test_first_weights_keep_the_size_of_a_signal(make):
    """One over the root of a layer's connections per output, at least 1; of its inputs in the paper."""
    sizes = (400, 300, 200, 100)
    partition = make_partition(BudgetConfig(per_layer=(30_000, 20_000, 50)), chain(sizes))
    for init, expected in (("fan_in", (100, 100, 1)), ("n_in", (400, 300, 200))):
        c = make(partition, np.random.default_rng(0), init=init)
        for where, n in zip(c.matrix_slices(), expected, strict=True):
            assert np.std(c.weight[where]) * np.sqrt(n) == pytest.approx(
                1, rel=0.02 if n > 1 and where.stop < 50_001 else 0.3
            )
    assert first_partition(make_partition(BudgetConfig(total=2), chain(sizes))).n_groups == 1, (
        "too few to be shared out"
    )


def complete(c):
    """Share of the connections on a complete path, by following every one of them step by step."""
    sizes = [c.shapes[0][0], *(n_out for _, n_out in c.shapes)]
    level = np.cumsum((0, *sizes))
    rows = zip(c.sources(), c.out_idx, c.matrices(), strict=True)
    edges = [(int(s), int(level[layer + 1] + o)) for s, o, layer in rows]
    forth, back = set(range(sizes[0])), set(range(int(level[-2]), int(level[-1])))
    for _ in sizes:
        forth |= {b for a, b in edges if a in forth}
        back |= {a for a, b in edges if b in back}
    return np.mean([a in forth and b in back for a, b in edges])


@pytest.mark.parametrize(
    ("sizes", "k"),
    [
        ((64, 300, 100, 10), 502),
        ((64, 300, 100, 10), 120),
        ((4, 300, 100, 3), 315),
        ((64, 64, 64, 64, 64, 10), 164),
        ((64, 16, 10), 24),
        ((2, 300, 100, 2), 308),
    ],
)
@pytest.mark.parametrize("budget", ["total", "per_layer"])
def test_first_connections_lead_somewhere(sizes, k, budget):
    limits = share_per_matrix(k, chain(sizes)) if budget == "per_layer" else k
    partition = make_partition(BudgetConfig(**{budget: limits}), chain(sizes))
    for seed in range(5):
        c = make_connections(partition, np.random.default_rng(seed))
        c.check()
        assert complete(c) == 1


def test_recount_sees_what_is_unsound():
    partition = partition_of("per_layer")
    c = make_connections(partition, np.random.default_rng(0))
    net, active = as_arrays(c), np.zeros(2, np.int64)
    groups = as_groups(partition, active)
    assert recount(net, groups, active)
    np.testing.assert_array_equal(active, partition.limits)
    for spoil in (
        lambda: c.out_idx.__setitem__(1, c.out_idx[0]),
        lambda: c.out_idx.__setitem__(1, 99),
        lambda: c.indptr.__setitem__(-1, 3),
    ):
        kept = c.out_idx.copy(), c.indptr.copy()
        spoil()
        assert not recount(net, groups, active)
        c.out_idx[:], c.indptr[:] = kept


def test_partition_refuses_more_than_its_positions():
    with pytest.raises(ValueError, match="group 0 shall hold 100 connections but has only 55 positions"):
        Partition("global", chain(SIZES), np.array([100]), np.zeros(12, int), np.zeros(9, int))

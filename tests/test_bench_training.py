"""The training benches run, and their rivals do what they are said to do."""

import queue

import numpy as np
import pytest

from bench.dense_rivals import make_numpy_mask, make_scipy
from bench.scale import measure as measure_scale
from bench.training_step import make_ours, measure

SIZES = (64, 30, 10)


@pytest.fixture
def samples():
    rng = np.random.default_rng(0)
    return rng.integers(0, 256, (600, 64)).astype(np.uint8), rng.integers(0, 10, 600)


def test_contestants_take_steps(samples):
    contestants = {
        "ours": make_ours(SIZES, 0.2, 10, *samples),
        "mask": make_numpy_mask(SIZES, 0.2, 10, *samples),
        "scipy": make_scipy(SIZES, 0.2, 10, *samples),
    }
    taken = measure(contestants, rounds=1, seconds=0.001)
    assert set(taken) == set(contestants)
    assert all(0 < ms < 1000 for ms in taken.values())
    assert contestants["ours"](50) >= 0


def test_scale_counts_what_it_replaces():
    answer: queue.Queue = queue.Queue()
    measure_scale(50, 1000, answer)
    row = answer.get()
    assert row["k"] == 1000
    assert row["replaced"] == 5
    assert set(row["seconds"]) == {"forward", "backward", "update", "encode", "rewire"}

"""Random numbers inside compiled kernels: a stream for drawing positions, a keyed hash for Gaussian noise.

Both are pure functions of a state that fits a checkpoint: the same state gives the same bits.
"""

from statistics import NormalDist

import numpy as np

from .jit import kernel

_BITS = 12


def _normal_table() -> np.ndarray:
    """(4096,) float32 quantiles of N(0, 1), scaled so that the sum of two draws has variance 1 exactly."""
    normal = NormalDist()
    quantiles = np.array([normal.inv_cdf((i + 0.5) / (1 << _BITS)) for i in range(1 << _BITS)])
    return (quantiles / np.sqrt(2 * np.mean(quantiles**2))).astype(np.float32)


NORMAL_TABLE = _normal_table()


def seed_state(rng: np.random.Generator) -> np.ndarray:
    """(4,) uint64 state of the kernels' stream, drawn from ``rng``."""
    return rng.integers(1, 1 << 63, 4, dtype=np.uint64)


@kernel
def next_u64(state: np.ndarray) -> np.uint64:
    """Next 64 random bits of ``state`` (4,) uint64, which advances. Source: Blackman & Vigna, xoshiro256++ 1.0."""
    s0, s1, s2, s3 = state[0], state[1], state[2], state[3]
    total = s0 + s3
    result = ((total << np.uint64(23)) | (total >> np.uint64(41))) + s0
    state[2] = s2 ^ s0
    state[3] = s3 ^ s1
    state[1] = s1 ^ state[2]
    state[0] = s0 ^ state[3]
    state[2] ^= s1 << np.uint64(17)
    state[3] = (state[3] << np.uint64(45)) | (state[3] >> np.uint64(19))
    return result


@kernel
def below(state: np.ndarray, n: int) -> np.int64:
    """Uniform integer in 0..n-1 (1 <= n < 2**62), exact: draws above n are rejected."""
    mask = np.uint64(n - 1)
    for shift in (1, 2, 4, 8, 16, 32):
        mask |= mask >> np.uint64(shift)
    while True:
        draw = np.int64(next_u64(state) & mask)
        if draw < n:
            return draw


@kernel
def two_below(state, n, m):
    """Independent uniform integers in 0..n-1 and 0..m-1 (1 <= n, m <= 2**32), exact, mostly from one draw.

    Source: Lemire, Fast random integer generation in an interval, ACM TOMACS 2019.
    """
    half, low = np.uint64(32), np.uint64(0xFFFFFFFF)
    n, m = np.uint64(n), np.uint64(m)
    while True:
        draw = next_u64(state)
        a, b = (draw >> half) * n, (draw & low) * m
        if ((a & low) >= n or (a & low) >= ((low + np.uint64(1)) - n) % n) and (
            (b & low) >= m or (b & low) >= ((low + np.uint64(1)) - m) % m
        ):
            return np.int64(a >> half), np.int64(b >> half)


@kernel(inline="always")
def hash32(index: np.uint32, key: np.uint32) -> np.uint32:
    """32 random bits for ``index`` under ``key``.

    The key enters between two mixing rounds: were it added to the index, two steps' noise would be shifted copies.
    Source: the multipliers and shifts of C. Wellons' "lowbias32".
    """
    h = np.uint32(index)
    h = np.uint32(h ^ np.uint32(h >> np.uint32(16)))
    h = np.uint32(h * np.uint32(0x7FEB352D))
    h = np.uint32(h ^ np.uint32(h >> np.uint32(15)))
    h = np.uint32(h ^ key)
    h = np.uint32(h * np.uint32(0x846CA68B))
    h = np.uint32(h ^ np.uint32(h >> np.uint32(16)))
    h = np.uint32(h * np.uint32(0x7FEB352D))
    return np.uint32(h ^ np.uint32(h >> np.uint32(15)))


@kernel(inline="always")
def normal(index: int, key: np.uint32, table: np.ndarray) -> np.float32:
    """N(0, 1) noise for ``index`` under ``key``: two quantiles of ``table`` (``NORMAL_TABLE``) added.

    Up to 4.9 sigma; excess kurtosis below 0.005.
    """
    h = hash32(np.uint32(index), key)
    return table[h & np.uint32(0xFFF)] + table[np.uint32(h >> np.uint32(20))]

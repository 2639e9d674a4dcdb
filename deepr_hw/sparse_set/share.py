"""Sharing a budget of K connections out among matrices."""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np


def chain(sizes: Sequence[int]) -> tuple[tuple[int, int], ...]:
    """Shapes of the matrices between levels of ``sizes`` neurons."""
    return tuple(pairwise(sizes))


def count_positions(shapes: Sequence[tuple[int, int]]) -> list[int]:
    """Potential connections of each matrix, ``n_in * n_out``."""
    return [n_in * n_out for n_in, n_out in shapes]


def share_out(total: int, weights: Sequence[float], positions: Sequence[int]) -> tuple[int, ...]:
    """Whole numbers in proportion to ``weights`` that add up to ``total``, each at least 1 and at most its layer's
    ``positions``; what a full layer can't take goes to the others, what is left of rounding to the largest fractions.

    Raises ``ValueError`` when ``total`` is below one per layer or above all positions.
    """
    if not len(positions) <= total <= sum(positions):
        raise ValueError(
            f"{total} connections: {len(positions)} layers with {' + '.join(map(str, positions))} "
            f"positions can share out {len(positions)} to {sum(positions)}"
        )
    limit, weight = np.array(positions, np.float64), np.array(weights, np.float64)
    low, high = 0.0, total / weight[weight > 0].min() + limit.max() / weight[weight > 0].min()
    for _ in range(200):  # the factor at which the clipped shares add up; their sum rises with it
        middle = (low + high) / 2
        low, high = (low, middle) if np.clip(middle * weight, 1, limit).sum() >= total else (middle, high)
    real = np.clip(high * weight, 1, limit)
    shares = np.floor(real + 1e-9)
    for i in np.argsort(shares - real, kind="stable")[: round(float(total - shares.sum()))]:
        shares[i] += 1
    return tuple(int(share) for share in shares)


def share_per_matrix(total: int, shapes: Sequence[tuple[int, int]]) -> tuple[int, ...]:
    """``total`` connections in proportion to ``n_in + n_out`` of each matrix, so that small ones are denser.

    For 784-300-100-10 and 3552 that is (2416, 891, 245), close to the DEEP R authors' (2352, 900, 300).
    Source: Mocanu et al. 2018 (SET, arXiv 1707.04780), the Erdős-Rényi density of a layer.
    """
    return share_out(total, [n_in + n_out for n_in, n_out in shapes], count_positions(shapes))

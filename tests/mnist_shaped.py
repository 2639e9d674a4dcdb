"""Random networks of the shape 784-300-100-10 inside K = 2352 + 900 + 300, balanced over lanes or not."""

import numpy as np

from deepr_hw.ir import Budget, IntNet, sparse_linear
from deepr_hw.ir.fixed import Format

WIDTHS = (784, 300, 100, 10)
BUDGET = (2352, 900, 300)


def _positions(rng: np.random.Generator, n_in: int, n_out: int, k: int, lanes: int) -> np.ndarray:
    groups = min(lanes, n_out)
    chosen = []
    for lane in range(groups):
        outputs = np.arange(lane, n_out, lanes)
        quota = k // groups + (lane < k % groups)
        position = rng.choice(outputs.size * n_in, quota, replace=False)
        chosen.append(outputs[position // n_in] * n_in + position % n_in)
    return np.sort(np.concatenate(chosen))


def shaped(widths: tuple[int, ...], budget: tuple[int, ...], lanes: int, seed: int = 0) -> IntNet:
    """Every lane (outputs of equal ``o mod lanes``) holds the same number of connections; 1 lane is unbalanced."""
    rng = np.random.default_rng(seed)
    x_format, layers = Format(8, False, 8), []
    for i, (k, n_in, n_out) in enumerate(zip(budget, widths[:-1], widths[1:], strict=True)):
        position = _positions(rng, n_in, n_out, k, lanes)
        y_format = None if i == len(budget) - 1 else Format(8, False, 4)
        layers.append(
            sparse_linear(
                n_in,
                n_out,
                position % n_in,
                position // n_in,
                rng.integers(-128, 128, k),
                None,
                x_format,
                Format(8, True, 7),
                y_format,
            )
        )
        x_format = y_format or x_format
    return IntNet(tuple(layers), Budget("lanes", budget))


def mnist_shaped(lanes: int, seed: int = 0) -> IntNet:
    """784-300-100-10 inside K = 2352 + 900 + 300, balanced over ``lanes``."""
    return shaped(WIDTHS, BUDGET, lanes, seed)

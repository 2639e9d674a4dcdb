"""Random integer networks that visit the corners: empty outputs, single connections, ties, saturation, every shift."""

import numpy as np

from deepr_hw.ir import Budget, IntNet, SparseLinear, sparse_linear
from deepr_hw.ir.fixed import PIXEL, Format
from deepr_hw.sparse_set.connections import choose_distinct

CORNERS = (
    "plain",
    "ties",
    "saturate_high",
    "saturate_low",
    "max_accumulator",
    "shift_0",
    "single",
    "signed_input",
    "narrow",
    "bias_only",
)


def random_layer(
    rng: np.random.Generator, n_in: int, n_out: int, x_format: Format, last: bool, corner: str = "plain"
) -> SparseLinear:
    """A layer of random connections; about a third of the outputs of a ``plain`` one stay empty."""
    positions = n_in * n_out
    n = 1 if corner == "single" else 0 if corner == "bias_only" else int(rng.integers(1, max(2, positions // 3) + 1))
    n = positions if corner == "max_accumulator" else min(n, positions)
    if corner == "plain":  # keep the connections to a subset of the outputs
        outputs = rng.choice(n_out, max(1, (2 * n_out) // 3), replace=False)
        pool = np.sort((outputs[:, None] * n_in + np.arange(n_in)).ravel())
        position = np.sort(rng.choice(pool, min(n, pool.size), replace=False))
    else:
        position = np.sort(rng.choice(positions, n, replace=False))
    bits = int(rng.integers(2, 8)) if corner == "narrow" else 8
    w_format = Format(bits, True, int(rng.integers(0, 8)))
    weight = rng.integers(w_format.lo, w_format.hi + 1, n)
    bias = rng.integers(-3000, 3000, n_out) if corner in ("bias_only", "ties") or rng.random() < 0.5 else None
    if corner == "max_accumulator":
        weight = np.where(rng.random() < 0.5, w_format.lo, w_format.hi) * np.ones(n, int)
    if corner == "saturate_low":
        weight = -np.abs(weight)
    if corner == "saturate_high":
        weight = np.abs(weight + (weight == -128))
    y_format = None
    if not last:
        shift = {"shift_0": 0, "saturate_high": 1, "saturate_low": 1}.get(corner, int(rng.integers(1, 11)))
        shift = 4 if corner == "ties" else shift
        if corner == "ties":  # multiples of 8 under a shift of 4: half of the accumulators are ties
            weight = (weight // 8) * 8
            bias = (bias // 8) * 8
        y_format = Format(
            8 if corner != "narrow" else int(rng.integers(2, 9)),
            bool(rng.random() < 0.4),
            x_format.frac + w_format.frac - shift,
        )
    return sparse_linear(n_in, n_out, position % n_in, position // n_in, weight, bias, x_format, w_format, y_format)


def random_net(seed: int, max_width: int = 40, max_layers: int = 4) -> IntNet:
    """Network ``seed``: 1 to ``max_layers`` layers of 1 to ``max_width`` units, each layer in a random corner."""
    rng = np.random.default_rng(seed)
    n_layers = int(rng.integers(1, max_layers + 1))
    widths = rng.integers(1, max_width + 1, n_layers + 1)
    corners = [CORNERS[(seed + i * 3) % len(CORNERS)] for i in range(n_layers)]
    x_format = Format(8, corners[0] == "signed_input", int(rng.integers(0, 9)))
    layers: list[SparseLinear] = []
    for i in range(n_layers):
        layers.append(random_layer(rng, int(widths[i]), int(widths[i + 1]), x_format, i == n_layers - 1, corners[i]))
        x_format = layers[-1].y_format or x_format
    return IntNet(tuple(layers), Budget("per_layer", tuple(layer.matrix.n_connections for layer in layers)))


EXTREMES = ("any_shift", "shift_of_the_width", "extreme_bias", "empty", "dense")
EXTREME_WIDTHS = (1, 2, 3, 10, 17, 40, 300)


def extreme_layer(
    rng: np.random.Generator, n_in: int, n_out: int, x_format: Format, last: bool, corner: str
) -> SparseLinear:
    """A layer at a limit of the IR: shifts up to 31, beyond the accumulator's width too; biases with which sums reach
    both ends of int32; no connection at all; all of them, of weight -128.
    """
    n = {"empty": 0, "dense": n_in * n_out if n_in * n_out < 3000 else 3000}.get(
        corner, int(rng.integers(1, min(n_in * n_out, 4 * n_out) + 1))
    )
    position = np.sort(rng.choice(n_in * n_out, n, replace=False))
    in_idx, out_idx = position % n_in, position // n_in
    weight = np.full(n, -128) if corner == "dense" else rng.integers(-128, 128, n)
    bias = rng.integers(-300, 300, n_out)
    if corner == "shift_of_the_width":  # of one sign, so that the largest inputs give the largest sums
        weight = np.abs(weight.clip(-127)) * rng.choice([-1, 1])
    if corner == "extreme_bias":
        products = np.stack([weight * x_format.lo, weight * x_format.hi])
        low, high = (np.bincount(out_idx, each, n_out).astype(int) for each in (products.min(0), products.max(0)))
        ends = np.stack([-(2**31) - low, 2**31 - 1 - high, 2**30 - high, -(2**30) - low])
        bias = ends[rng.integers(0, 4, n_out), np.arange(n_out)]
    raw = sparse_linear(n_in, n_out, in_idx, out_idx, weight, bias, x_format, Format(8, True, 0), None)
    if last:
        return raw
    shift = int(rng.integers(0, 32))
    if corner == "shift_of_the_width":
        shift = min(31, raw.acc_bits + int(rng.integers(-1, 3)))
    elif corner == "extreme_bias":
        shift = int(rng.integers(22, 32))
    y_frac = min(int(rng.integers(-4, 5)), 31 - shift + x_format.frac)
    y_format = Format(8, bool(rng.random() < 0.5), y_frac)
    w_format = Format(8, True, y_format.frac + shift - x_format.frac)
    return sparse_linear(n_in, n_out, in_idx, out_idx, weight, bias, x_format, w_format, y_format)


def extreme_net(seed: int) -> IntNet:
    """Network ``seed`` of 1 to 6 layers of 1 to 300 units, each layer at a limit of the IR."""
    rng = np.random.default_rng(seed)
    n_layers = 1 + seed % 6
    widths = rng.choice(EXTREME_WIDTHS, n_layers + 1)
    x_format = Format(8, seed % 2 == 1, 0)
    layers: list[SparseLinear] = []
    for i in range(n_layers):
        corner = EXTREMES[(seed + 2 * i) % len(EXTREMES)]
        layers.append(extreme_layer(rng, int(widths[i]), int(widths[i + 1]), x_format, i == n_layers - 1, corner))
        x_format = layers[-1].y_format or x_format
    return IntNet(tuple(layers), Budget("per_layer", tuple(layer.matrix.n_connections for layer in layers)))


def random_codes(net: IntNet, n: int, seed: int = 0) -> np.ndarray:
    """(n, n_in) input codes; the first rows hold the extremes: all lowest, all highest, all zero."""
    rng = np.random.default_rng(seed)
    fmt = net.x_format
    x = rng.integers(fmt.lo, fmt.hi + 1, (n, *net.in_shape)).astype(fmt.dtype)
    for row, code in zip(x, (fmt.lo, fmt.hi, 0), strict=False):
        row[...] = code
    return x


def one_layer(n_in: int, n_out: int, n: int, seed: int = 0) -> IntNet:
    """One layer of ``n`` connections at random positions, without a dense array."""
    rng = np.random.default_rng(seed)
    position = np.sort(choose_distinct(rng, n_in * n_out, n))
    layer = sparse_linear(
        n_in,
        n_out,
        position % n_in,
        position // n_in,
        rng.integers(-128, 128, n),
        None,
        PIXEL,
        Format(8, True, 7),
        None,
    )
    return IntNet((layer,), Budget("global", (n,)))

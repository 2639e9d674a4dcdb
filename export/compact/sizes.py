"""Bytes of the compact container, and the entropies that it comes close to."""

import lzma
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from deepr_hw.ir import IntNet
from deepr_hw.target import Size

from .container import pack, position_bits


def sizes(net: IntNet, folder: Path) -> Iterator[Size]:
    """Rows of the table of sizes: the container, alone and compressed, and two entropies."""
    try:
        packed = pack(net)
    except ValueError as error:
        yield Size("compact container", "file", None, str(error))
    else:
        yield Size("compact container", "file", len(packed))
        yield Size("compact container, xz", "file", len(lzma.compress(packed, preset=9 | lzma.PRESET_EXTREME)))
    positions, gaps, weights = position_bits(net), gap_entropy_bits(net), weight_entropy_bits(net)
    per_weight = f"weights: {weights / max(1, net.n_connections):.2f} bits each"
    remark = f"log2(N over K) per layer, {per_weight}"
    yield Size("positions and weights", "entropy", (positions + weights) / 8, remark)
    yield Size("gaps and weights", "entropy", (gaps + weights) / 8, f"of this network's own gaps, {per_weight}")


def gap_entropy_bits(net: IntNet) -> float:
    """Empirical entropy of the gaps between ascending positions."""
    positions = (matrix.out_idx.astype(np.int64) * matrix.n_in + matrix.in_idx for _, matrix in net.matrices)
    return sum(_entropy_bits(np.diff(position, prepend=-1)) for position in positions)


def weight_entropy_bits(net: IntNet) -> float:
    """Empirical entropy of the weights' codes."""
    return sum(_entropy_bits(matrix.code) for _, matrix in net.matrices)


def _entropy_bits(symbols: np.ndarray) -> float:
    """Bits for all ``symbols`` by an ideal code for their frequencies."""
    _, counts = np.unique(symbols, return_counts=True)
    return float((counts * np.log2(symbols.size / counts)).sum())

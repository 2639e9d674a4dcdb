"""Bytes per connection of every way to write a network down, side by side.

``computed`` rows count the bytes of plain arrays (connections and biases, no header); ``file`` rows are whole files as
written, with names, formats and labels; ``entropy`` rows are what an ideal code of these symbols spends, each layer
with frequencies of its own that cost nothing. A code that knows more than them (which inputs are used, say) can do
better.
"""

import importlib
import lzma
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from onnx import helper, numpy_helper

from deepr_hw.ir import IntNet, SparseMatrix, netfile

from .compact import container
from .onnx import flavours as onnx_flavours


@dataclass(frozen=True)
class Size:
    """One row: what it is, whether ``computed``, ``file`` or ``entropy``, its bytes (None: can't hold the network) and
    a remark."""

    name: str
    kind: str
    n_bytes: float | None
    remark: str = ""


def sizes(net: IntNet) -> list[Size]:
    """The rows of the table for ``net``; files are written to a temporary folder and measured."""
    rows = [
        Size("dense int8", "computed", _arrays(net, lambda matrix: matrix.n_positions)),
        Size("COO, int32 indices", "computed", _arrays(net, lambda matrix: 9 * matrix.n_connections)),
        Size("CSR, int32 indices", "computed", _arrays(net, _csr), "what scipy.sparse keeps for int8 values"),
        Size("narrow indices", "computed", _arrays(net, _narrow), "IntNet in memory: int8, smallest unsigned indices"),
        Size("ONNX sparse_initializer", "computed", _sparse_initializers(net), "int64 indices are the standard's"),
    ]
    with TemporaryDirectory(prefix="deepr_hw_") as folder:
        netfile.save(net, Path(folder) / "net.safetensors")
        rows.append(Size("IntNet .safetensors", "file", (Path(folder) / "net.safetensors").stat().st_size))
        for flavour in onnx_flavours.FLAVOURS:
            try:
                written = onnx_flavours.export(net, Path(folder), flavour)["bytes"]
                rows.append(Size(f"ONNX {flavour}", "file", float(str(written))))
            except ValueError as error:
                rows.append(Size(f"ONNX {flavour}", "file", None, str(error)))
    rows.append(_rtl_image(net))
    packed = container.pack(net)
    rows.append(Size("compact container", "file", len(packed)))
    rows.append(Size("compact container, xz", "file", len(lzma.compress(packed, preset=9 | lzma.PRESET_EXTREME))))
    positions, gaps, weights = container.position_bits(net), gap_entropy_bits(net), weight_entropy_bits(net)
    per_weight = f"weights: {weights / max(1, net.n_connections):.2f} bits each"
    rows.append(
        Size("positions and weights", "entropy", (positions + weights) / 8, f"log2(N over K) per layer, {per_weight}")
    )
    rows.append(Size("gaps and weights", "entropy", (gaps + weights) / 8, f"of this network's own gaps, {per_weight}"))
    return rows


def _arrays(net: IntNet, connections: Callable[[SparseMatrix], int]) -> float:
    """Bytes of all matrices, counted by ``connections``, and of biases and tables."""
    further = sum(array.nbytes for layer in net.layers for array in layer.arrays.values())
    return float(sum(connections(matrix) for _, matrix in net.matrices) + further)


def _csr(matrix: SparseMatrix) -> int:
    return 5 * matrix.n_connections + 4 * (matrix.n_out + 1)


def _narrow(matrix: SparseMatrix) -> int:
    return matrix.code.nbytes + matrix.in_idx.nbytes + matrix.out_idx.nbytes


def _sparse_initializers(net: IntNet) -> float:
    """Serialized SparseTensorProtos (linear int64 indices), biases and tables."""
    total = 0
    for _, matrix in net.matrices:
        if matrix.n_positions >= 1 << 63:
            return math.nan
        position = matrix.in_idx.astype(np.int64) * matrix.n_out + matrix.out_idx
        order = np.argsort(position)
        values = numpy_helper.from_array(matrix.code[order], "weight")
        indices = numpy_helper.from_array(position[order], "indices")
        total += helper.make_sparse_tensor(values, indices, [matrix.n_in, matrix.n_out]).ByteSize()
    total += sum(
        numpy_helper.from_array(array, name).ByteSize() for layer in net.layers for name, array in layer.arrays.items()
    )
    return float(total)


def _rtl_image(net: IntNet, lanes: int = 8) -> Size:
    name = f"RTL image, {lanes} lanes"
    try:
        image = importlib.import_module(".rtl.image", __package__).build(net, lanes)
    except (ModuleNotFoundError, ValueError) as error:
        return Size(name, "computed", None, str(error))
    return Size(name, "computed", 4.0 * len(image.writes), "32-bit words: slots with index and padding, biases, layers")


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


def as_rows(net: IntNet) -> list[dict[str, object]]:
    """``sizes`` for JSON, with bytes and bits per connection."""
    n = max(1, net.n_connections)
    return [
        {
            "name": size.name,
            "kind": size.kind,
            "bytes": size.n_bytes,
            "bytes_per_connection": None if size.n_bytes is None else size.n_bytes / n,
            "remark": size.remark,
        }
        for size in sizes(net)
    ]

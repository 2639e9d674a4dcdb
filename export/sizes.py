"""Bytes per connection of every way to write a network down, side by side.

``computed`` rows count the bytes of plain arrays (connections and biases, no header); ``file`` rows are whole files as
written, with names, formats and labels; ``entropy`` is what no container can undercut on average.
"""

import importlib
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from onnx import helper, numpy_helper

from deepr_hw import netfile
from deepr_hw.ir import IntNet, Layer

from . import compact, onnx_flavours


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
        Size("dense int8", "computed", _arrays(net, lambda layer: layer.n_positions)),
        Size("COO, int32 indices", "computed", _arrays(net, lambda layer: 9 * layer.n_connections)),
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
    rows.append(Size("compact container", "file", len(compact.pack(net))))
    rows.append(Size("indices + 8 bits per weight", "entropy", compact.bound_bits(net) / 8, "log2(N over K) per layer"))
    rows.append(Size("gaps + 8 bits per weight", "entropy", gap_entropy_bits(net) / 8, "of this network's own gaps"))
    return rows


def _arrays(net: IntNet, connections: Callable[[Layer], int]) -> float:
    n_biases = sum(layer.n_out for layer in net.layers if layer.bias is not None)
    return float(sum(map(connections, net.layers)) + 4 * n_biases)


def _csr(layer: Layer) -> int:
    return 5 * layer.n_connections + 4 * (layer.n_out + 1)


def _narrow(layer: Layer) -> int:
    return layer.weight.nbytes + layer.in_idx.nbytes + layer.out_idx.nbytes


def _sparse_initializers(net: IntNet) -> float:
    """Serialized SparseTensorProtos (linear int64 indices) and biases."""
    total = 0
    for layer in net.layers:
        if layer.n_positions >= 1 << 63:
            return math.nan
        position = layer.in_idx.astype(np.int64) * layer.n_out + layer.out_idx
        order = np.argsort(position)
        values = numpy_helper.from_array(layer.weight[order], "weight")
        indices = numpy_helper.from_array(position[order], "indices")
        total += helper.make_sparse_tensor(values, indices, [layer.n_in, layer.n_out]).ByteSize()
        total += 0 if layer.bias is None else numpy_helper.from_array(layer.bias, "bias").ByteSize()
    return float(total)


def _rtl_image(net: IntNet, lanes: int = 8) -> Size:
    name = f"RTL image, {lanes} lanes"
    try:
        image = importlib.import_module(".rtl_image", __package__).build(net, lanes)
    except (ModuleNotFoundError, ValueError) as error:
        return Size(name, "computed", None, str(error))
    return Size(name, "computed", 4.0 * len(image.writes), "32-bit words: slots with index and padding, biases, layers")


def gap_entropy_bits(net: IntNet) -> float:
    """Empirical entropy of the gaps between ascending positions, plus 8 bits per weight: what an ideal code of this
    network's gap histogram would spend, the histogram itself not counted."""
    bits = 8.0 * net.n_connections
    for layer in net.layers:
        position = layer.out_idx.astype(np.int64) * layer.n_in + layer.in_idx
        _, counts = np.unique(np.diff(position, prepend=-1), return_counts=True)
        bits += float(-(counts * np.log2(counts / max(1, counts.sum()))).sum())
    return bits


def as_rows(net: IntNet) -> list[dict[str, object]]:
    """``sizes`` for JSON, with bytes and bits per connection."""
    n = max(1, net.n_connections)
    return [{"name": size.name, "kind": size.kind, "bytes": size.n_bytes,
             "bytes_per_connection": None if size.n_bytes is None else size.n_bytes / n, "remark": size.remark}
            for size in sizes(net)]

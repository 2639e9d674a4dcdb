"""The ONNX flavours by name.

integer : integer operators; exact in a plain onnxruntime session on every CPU, every layer size      ``integer.onnx``
qdq     : QuantizeLinear / DequantizeLinear; exact with the session option that its metadata names    ``qdq.onnx``
qonnx   : Quant nodes, for FINN and hls4ml; exact in qonnx and, by its model function, onnxruntime    ``qonnx.onnx``
"""

import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from onnx import helper, numpy_helper

from deepr_hw.ir import IntNet
from deepr_hw.target import Size

from . import integer as onnx_integer
from . import qdq as onnx_qdq
from . import qonnx_export

FLAVOURS: dict[str, Callable[..., dict[str, object]]] = {
    "integer": onnx_integer.export,
    "qdq": onnx_qdq.export,
    "qonnx": qonnx_export.export,
}
"""Flavour -> ``export(net, out_dir, **options) -> dict``."""

OPTIONS = {
    "integer": {"float_input", "licence", "batch"},
    "qdq": {"float_input", "dense", "licence", "batch"},
    "qonnx": {"dense", "licence", "batch"},
}
"""What may be asked of a flavour beside its default."""


def export(net: IntNet, out_dir: Path, flavour: str = "integer", **options: Any) -> dict[str, object]:
    """Write ``out_dir/<flavour>.onnx``; returns flavour, path, bytes, connections counted in the written graph and, for
    qdq, the session options under which it is exact.

    options : ``float_input`` (input in the user's unit instead of codes), ``dense`` (stored matrices instead of
              connections), ``licence`` of the network, ``batch`` (a number, or a name for an open one)

    Raises ``ValueError`` for an unknown flavour, an option that it doesn't have or a network that it can't hold.
    """
    if flavour not in FLAVOURS:
        raise ValueError(f"flavour {flavour!r}: expected one of {', '.join(FLAVOURS)}")
    unknown = options.keys() - OPTIONS[flavour]
    if unknown:
        known = ", ".join(sorted(OPTIONS[flavour]))
        raise ValueError(f"flavour {flavour}: has no option {min(unknown)!r}, only {known}")
    return {"flavour": flavour, **FLAVOURS[flavour](net, out_dir, **options)}


def sizes(net: IntNet, folder: Path) -> Iterator[Size]:
    """Rows of the table of sizes: the standard's own sparse tensors, and each flavour."""
    yield Size("ONNX sparse_initializer", "computed", _sparse_initializers(net), "int64 indices are the standard's")
    for flavour in FLAVOURS:
        try:
            yield Size(f"ONNX {flavour}", "file", float(str(export(net, folder, flavour)["bytes"])))
        except ValueError as error:
            yield Size(f"ONNX {flavour}", "file", None, str(error))


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

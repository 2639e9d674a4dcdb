"""The ONNX flavours by name.

integer : integer operators; exact in a plain onnxruntime session on every CPU, every layer size      ``integer.onnx``
qdq     : QuantizeLinear / DequantizeLinear; exact with the session option that its metadata names    ``qdq.onnx``
qonnx   : Quant nodes, for FINN and hls4ml; exact in qonnx and, by its model function, onnxruntime    ``qonnx.onnx``
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from deepr_hw.ir import IntNet

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

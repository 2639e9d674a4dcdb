"""The golden model's arithmetic as an ``onnx.backend.base.Backend``: one more reader of our files, judged by ONNX.

QuantizeLinear, MatMulInteger and QLinearMatMul go through ``fixed`` and ``reference``, the very functions that every
target is compared with; the operators that only move data are NumPy's. ONNX's own backend node tests then say whether
these functions mean what the standard means.

Source: ONNX operators, opset 21 to 26; ``onnx.backend.base``.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper
from onnx.backend.base import Backend, BackendRep

from deepr_hw import reference
from deepr_hw.ir import SparseLinear, fixed, sparse_linear
from deepr_hw.ir.fixed import Format

Arrays = list[Any]


def quantize_linear(
    x: np.ndarray,
    scale: np.ndarray,
    zero: np.ndarray | None = None,
    *,
    axis: int = 1,
    block_size: int = 0,
    output_dtype: int = 0,
    saturate: int = 1,
    precision: int = 0,
) -> np.ndarray:
    """``saturate(round_half_even(x / scale) + zero)``; by shift where ``x`` are integers and the scale is 2**s."""
    default = np.dtype(np.uint8) if not output_dtype else helper.tensor_dtype_to_np_dtype(output_dtype)
    dtype = default if zero is None else zero.dtype
    if dtype.kind not in "iu":
        raise ValueError(f"QuantizeLinear to {dtype}: integers only")
    spread_scale = _spread(scale, x.shape, axis, block_size)
    shift = _shift_of(scale)
    if shift is not None and (x == np.rint(x)).all() and np.abs(x).max(initial=0) < 1 << 62:
        codes = fixed.round_half_even_shift(x.astype(np.int64), shift)
    else:
        codes = np.clip(np.rint(x / spread_scale), -(1 << 40), 1 << 40).astype(np.int64)
    offset = 0 if zero is None else _spread(zero, x.shape, axis, block_size).astype(np.int64)
    return fixed.saturate(codes + offset, Format(8 * dtype.itemsize, dtype.kind == "i", 0))


def dequantize_linear(
    x: np.ndarray,
    scale: np.ndarray,
    zero: np.ndarray | None = None,
    *,
    axis: int = 1,
    block_size: int = 0,
    output_dtype: int = 0,
) -> np.ndarray:
    """``(x - zero) * scale`` in the scale's type."""
    offset = 0 if zero is None else _spread(zero, x.shape, axis, block_size).astype(np.int64)
    values = (x.astype(np.int64) - offset).astype(scale.dtype)
    return values * _spread(scale, x.shape, axis, block_size)


def matmul_integer(
    a: np.ndarray, b: np.ndarray, a_zero: np.ndarray | None = None, b_zero: np.ndarray | None = None
) -> np.ndarray:
    """``(a - a_zero) @ (b - b_zero)`` in int32, by ``reference.accumulate`` over the elements of ``b`` that differ from
    its zero point: sum of (a - za) w = sum of a w - za * sum of w."""
    if b.ndim > 2:
        stacks = np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
        a, b = (np.broadcast_to(m, (*stacks, *m.shape[-2:])) for m in (a, b))
        return np.stack([matmul_integer(*pair, a_zero, b_zero) for pair in zip(a, b, strict=True)])
    weight = b.astype(np.int64) - (0 if b_zero is None else b_zero.astype(np.int64))
    offset = 0 if a_zero is None else int(a_zero.reshape(-1)[0])
    rows = a.reshape(-1, a.shape[-1])
    acc = np.zeros((len(rows), weight.shape[1]), np.int32)
    while weight.any():  # a difference of two 8-bit codes has 9 bits: it takes two layers of int8 weights
        part = np.clip(weight, -128, 127)
        acc += reference.accumulate(_layer(part, offset, a.dtype), rows)
        weight = weight - part
    return acc.reshape(*a.shape[:-1], -1)


def _layer(weight: np.ndarray, offset: int, dtype: np.dtype) -> SparseLinear:
    out_idx, in_idx = np.nonzero(weight.T)
    bias = (-offset * weight.sum(axis=0)).astype(np.int32)
    n_in, n_out = weight.shape
    x_format, w_format = Format(8, dtype.kind == "i", 0), Format(8, True, 0)
    return sparse_linear(n_in, n_out, in_idx, out_idx, weight[in_idx, out_idx], bias, x_format, w_format, None)


def qlinear_matmul(
    a: np.ndarray,
    a_scale: np.ndarray,
    a_zero: np.ndarray,
    b: np.ndarray,
    b_scale: np.ndarray,
    b_zero: np.ndarray,
    y_scale: np.ndarray,
    y_zero: np.ndarray,
) -> np.ndarray:
    """``saturate(round_half_even(acc * a_scale * b_scale / y_scale) + y_zero)``; by shift where that is 2**-s."""
    acc = matmul_integer(a, b, a_zero, b_zero)
    factor = np.asarray(a_scale, np.float64) * b_scale.astype(np.float64) / y_scale.astype(np.float64)
    shift = _shift_of(1.0 / factor)
    scaled = np.rint(acc * factor).astype(np.int64) if shift is None else fixed.round_half_even_shift(acc, shift)
    return fixed.saturate(scaled + y_zero.astype(np.int64), Format(8, y_zero.dtype.kind == "i", 0))


def _shift_of(scale: np.ndarray) -> int | None:
    """s where the only scale is 2**s with 0 <= s <= 62, else None."""
    mantissa, exponent = np.frexp(np.asarray(scale, np.float64).reshape(-1)[:1])
    single = np.size(scale) == 1 and mantissa[0] == 0.5 and 1 <= exponent[0] <= 63
    return int(exponent[0]) - 1 if single else None


def _spread(values: np.ndarray, shape: tuple[int, ...], axis: int, block_size: int) -> np.ndarray:
    """Per-tensor, per-axis or blocked ``values`` against a tensor of ``shape``."""
    if block_size:
        return np.repeat(values, block_size, axis)[tuple(slice(n) for n in shape)]
    if values.ndim == 1 and values.size > 1:
        return values.reshape([-1 if i == axis % len(shape) else 1 for i in range(len(shape))])
    return values.reshape(())


def _scatter_nd(
    data: np.ndarray, indices: np.ndarray, updates: np.ndarray, *, reduction: bytes = b"none"
) -> np.ndarray:
    if reduction != b"none":
        raise ValueError(f"ScatterND: reduction {reduction.decode()} is not emitted")
    filled = data.copy()
    filled[tuple(np.moveaxis(indices, -1, 0))] = updates
    return filled


def _cum_sum(x: np.ndarray, axis: np.ndarray, *, exclusive: int = 0, reverse: int = 0) -> np.ndarray:
    flipped = np.flip(x, int(axis)) if reverse else x
    total = np.cumsum(flipped, int(axis), dtype=x.dtype)
    total = total - flipped if exclusive else total
    return np.flip(total, int(axis)) if reverse else total


def _pad(
    x: np.ndarray,
    pads: np.ndarray,
    value: np.ndarray | None = None,
    axes: np.ndarray | None = None,
    *,
    mode: bytes = b"constant",
) -> np.ndarray:
    if mode != b"constant":
        raise ValueError(f"Pad: mode {mode.decode()} is not emitted")
    widths = [(0, 0)] * x.ndim
    for axis, low, high in zip(range(x.ndim) if axes is None else axes, *np.split(pads, 2), strict=True):
        widths[int(axis)] = int(low), int(high)
    return np.pad(x, widths, constant_values=x.dtype.type(0 if value is None else value))


def _arg_max(x: np.ndarray, *, axis: int = 0, keepdims: int = 1, select_last_index: int = 0) -> np.ndarray:
    if select_last_index:
        found = x.shape[axis] - 1 - np.argmax(np.flip(x, axis), axis, keepdims=bool(keepdims))
    else:
        found = np.argmax(x, axis, keepdims=bool(keepdims))
    return np.asarray(found, np.int64)


def _clip(x: np.ndarray, low: np.ndarray | None = None, high: np.ndarray | None = None) -> np.ndarray:
    above = x if low is None else np.maximum(x, low)
    return above if high is None else np.minimum(above, high)


def _constant_of_shape(shape: np.ndarray, *, value: onnx.TensorProto | None = None) -> np.ndarray:
    fill = np.zeros(1, np.float32) if value is None else numpy_helper.to_array(value)
    return np.full(tuple(shape), fill.reshape(-1)[0])


OPERATORS: dict[str, Callable[..., np.ndarray]] = {
    "QuantizeLinear": quantize_linear,
    "DequantizeLinear": dequantize_linear,
    "MatMulInteger": matmul_integer,
    "QLinearMatMul": qlinear_matmul,
    "Add": np.add,
    "ArgMax": _arg_max,
    "Cast": lambda x, *, to: x.astype(helper.tensor_dtype_to_np_dtype(to)),
    "Clip": _clip,
    "Concat": lambda *parts, axis: np.concatenate(parts, axis),
    "ConstantOfShape": _constant_of_shape,
    "CumSum": _cum_sum,
    "Gather": lambda x, index, *, axis=0: np.take(x, index, axis),
    "MatMul": np.matmul,
    "Mul": np.multiply,
    "Pad": _pad,
    "Relu": lambda x: np.maximum(x, x.dtype.type(0)),
    "Round": np.rint,
    "ScatterND": _scatter_nd,
    "Shape": lambda x, *, start=0, end=None: np.array(x.shape[start:end], np.int64),
    "Sub": np.subtract,
    "Transpose": lambda x, *, perm=None: np.transpose(x, perm),
}
"""Every operator that the integer and QDQ flavours emit, and QLinearMatMul."""


class IntegerBackend(Backend):
    """Runs models made of ``OPERATORS``."""

    @classmethod
    def prepare(cls, model: onnx.ModelProto, device: str = "CPU", **options: Any) -> "IntegerModel":
        """Raises ``ValueError`` naming a node whose operator is none of ``OPERATORS``."""
        onnx.checker.check_model(model)
        return IntegerModel(model)

    @classmethod
    def supports_device(cls, device: str) -> bool:
        """The CPU is the only device."""
        return device == "CPU"


class IntegerModel(BackendRep):
    """A model ready to run."""

    def __init__(self, model: onnx.ModelProto) -> None:
        for node in model.graph.node:
            if node.op_type not in OPERATORS or node.domain:
                raise ValueError(f"node {node.name!r}: no operator {node.op_type} here")
        self.graph = model.graph
        self.stored = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}

    def run(self, inputs: Any, **options: Any) -> tuple[Any, ...]:
        """The graph's outputs for ``inputs``, arrays in the order of its inputs."""
        names = [info.name for info in self.graph.input if info.name not in self.stored]
        tensors = {**self.stored, **dict(zip(names, inputs, strict=True)), "": None}
        for node in self.graph.node:
            attributes = {entry.name: helper.get_attribute_value(entry) for entry in node.attribute}
            operands = [tensors[name] for name in node.input]
            tensors[node.output[0]] = np.asarray(OPERATORS[node.op_type](*operands, **attributes))
        return tuple(tensors[info.name] for info in self.graph.output)

"""Folding the constant part of an ONNX graph, keeping in sight which codes and connections a constant is made of."""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper
from onnx.reference import ReferenceEvaluator

SHAPING = ("Identity", "Flatten", "Reshape", "Squeeze", "Unsqueeze", "Dropout", "Cast")
"""Operators that leave the values alone."""

MAX_DENSE = 1 << 28
"""Most elements of a sparse initializer: it becomes a matrix here."""


@dataclass(frozen=True, eq=False)
class Const:
    """A constant; where it is dequantized also its codes (zero point off) and single step, and which elements are
    connections."""

    values: np.ndarray
    codes: np.ndarray | None = None
    step: float | None = None
    connected: np.ndarray | None = None

    def reshape_by(self, change: Callable[[np.ndarray], np.ndarray]) -> "Const":
        """The same change of shape applied to every part."""
        parts = [None if part is None else change(part) for part in (self.values, self.codes, self.connected)]
        assert parts[0] is not None
        return Const(parts[0], parts[1], self.step, parts[2])


def stored_constants(graph: onnx.GraphProto) -> dict[str, Const]:
    """Every initializer by name; the positions that a sparse one names are its connections.

    Raises ``ValueError`` naming a sparse one that contradicts itself.
    """
    dense = {tensor.name: Const(numpy_helper.to_array(tensor)) for tensor in graph.initializer}
    return dense | {tensor.values.name: _from_sparse(tensor) for tensor in graph.sparse_initializer}


def _from_sparse(tensor: onnx.SparseTensorProto) -> Const:
    shape, name = tuple(tensor.dims), tensor.values.name
    values, position = numpy_helper.to_array(tensor.values), numpy_helper.to_array(tensor.indices).astype(np.int64)
    size = math.prod(shape)
    if not 0 <= size <= MAX_DENSE:
        raise ValueError(f"sparse initializer {name!r}: shape {shape}, at most {MAX_DENSE} elements can be imported")
    place = position if position.ndim == 1 else None
    if position.ndim == 2 and position.shape[1] == len(shape):
        inside = (position >= 0) & (position < np.array(shape))
        place = np.where(inside.all(axis=1), position @ np.cumprod([1, *shape[:0:-1]])[::-1], -1)
    if place is None or place.size != values.size or (place < 0).any() or (place >= size).any():
        raise ValueError(
            f"sparse initializer {name!r}: {values.size} values at indices of shape {position.shape} "
            f"that are not one for each, or lie outside of {shape}"
        )
    whole, connected = np.zeros(size, values.dtype), np.zeros(size, bool)
    whole[place], connected[place] = values.reshape(-1), True
    return Const(whole.reshape(shape), connected=connected.reshape(shape))


def fold(model: onnx.ModelProto, node: onnx.NodeProto, consts: list[Any]) -> Const:
    """The output of ``node`` of ``model`` on constants. Raises ``ValueError`` where it can't be computed."""
    first = consts[0] if consts else None
    if node.op_type == "Constant" and (sparse := attribute(node, "sparse_value", None)) is not None:
        return _from_sparse(sparse)
    if node.op_type == "DequantizeLinear" and first is not None:
        zero = consts[2].values if len(consts) > 2 and consts[2] is not None else None
        return dequantized(first, array_of(consts, 1), zero, attribute(node, "axis", 1))
    if node.op_type in ("Quant", "IntQuant") and first is not None:
        return _quant_constant(first, array_of(consts, 1), array_of(consts, 2), array_of(consts, 3), node)
    arrays = [None if const is None else const.values for const in consts]
    run = _evaluator(model, node)
    if first is not None and node.op_type in (*SHAPING, "Transpose"):
        if node.op_type == "Cast":
            return replace(first, values=run(*arrays))
        return first.reshape_by(lambda part: run(part, *arrays[1:]))
    values = run(*arrays)
    if node.op_type in ("QuantizeLinear", "Clip") and first is not None:
        connected = first.connected if first.connected is not None else _nonzero(node, first.values)
        return Const(values, connected=connected)
    if node.op_type == "ScatterND":
        connected = np.zeros(values.shape, bool)
        connected[tuple(np.moveaxis(np.asarray(arrays[1]), -1, 0))] = True
        return Const(values, connected=connected)
    return Const(values)


def _evaluator(model: onnx.ModelProto, node: onnx.NodeProto) -> Callable[..., np.ndarray]:
    """The node on arrays, by ONNX's reference evaluator."""
    opsets = {entry.domain: entry.version for entry in model.opset_import}

    def run(*arrays: np.ndarray | None) -> np.ndarray:
        try:
            evaluator = ReferenceEvaluator(node, opsets=opsets, functions=list(model.functions))
            feeds = {name: array for name, array in zip(node.input, arrays, strict=True) if name}
            outputs: Any = evaluator.run(None, feeds)
            return np.asarray(outputs[0])
        except Exception as error:
            raise ValueError(f"can't be folded ({error})") from error

    return run


def attribute(node: onnx.NodeProto, name: str, default: Any) -> Any:
    """The value of an attribute, or ``default``."""
    return next((helper.get_attribute_value(entry) for entry in node.attribute if entry.name == name), default)


def _nonzero(node: onnx.NodeProto, values: np.ndarray) -> np.ndarray | None:
    return values != 0 if node.op_type == "QuantizeLinear" else None


def dequantized(codes: Const, step: Any, zero: Any = None, axis: int = 1) -> Const:
    """``(codes - zero) * step``, per tensor or along ``axis``."""
    whole = codes.values.astype(np.int64) - _along(0 if zero is None else np.asarray(zero, np.int64), codes, axis)
    steps = np.asarray(step, np.float64)
    connected = codes.connected if codes.connected is not None else whole != 0
    if steps.size == 1:
        single = float(steps.reshape(-1)[0])
        return Const(whole * single, whole, single, connected)
    return Const(whole * _along(steps, codes, axis), connected=connected)


def _along(values: Any, codes: Const, axis: int) -> Any:
    """Per-axis ``values`` against the shape of ``codes``."""
    if np.size(values) == 1:
        return np.reshape(values, ())
    return np.reshape(values, [-1 if i == axis % codes.values.ndim else 1 for i in range(codes.values.ndim)])


def quant_limits(node: onnx.NodeProto, bits: np.ndarray) -> tuple[int, int]:
    """Lowest and highest code of a QONNX Quant node."""
    signed, narrow = attribute(node, "signed", 1), attribute(node, "narrow", 0)
    width = int(np.asarray(bits).reshape(-1)[0])
    if np.size(bits) != 1 or width < 2 - (not signed):
        raise ValueError(f"bit widths {np.asarray(bits).tolist()}: expected one of at least {2 - (not signed)}")
    low = -(1 << (width - 1)) + narrow if signed else 0
    return low, ((1 << (width - 1)) - 1 if signed else (1 << width) - 1 - narrow)


def _quant_constant(source: Const, step: np.ndarray, zero: np.ndarray, bits: np.ndarray, node: onnx.NodeProto) -> Const:
    low, high = quant_limits(node, bits)
    mode = attribute(node, "rounding_mode", b"ROUND").decode().upper()
    if mode not in ("ROUND", "HALF_EVEN"):
        raise ValueError(f"rounding mode {mode}: only ROUND is understood")
    codes = np.rint(np.clip(source.values.astype(np.float64) / step + zero, low, high)) - zero
    connected = source.connected if source.connected is not None else source.values != 0
    connected = np.broadcast_to(connected, codes.shape)
    if step.size > 1:
        return Const(codes * step, connected=connected)
    single = float(step.reshape(-1)[0])
    return Const(codes * single, codes.astype(np.int64), single, connected)


def array_of(others: list[Any], i: int, default: float | None = None) -> np.ndarray:
    """Operand ``i`` as float64. Raises ``ValueError`` where it is missing and has no ``default``."""
    const = others[i] if i < len(others) else None
    if const is None:
        if default is None:
            raise ValueError(f"input {i + 1} is missing")
        return np.asarray(default)
    return np.asarray(const.values, np.float64)

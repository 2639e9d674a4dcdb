"""What may stand on the data path of an ONNX graph, and what it does to the chain of dense layers read so far."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import onnx
from onnx import helper

from .dense_chain import Chain, Dense, Quantizer
from .onnx_fold import Const, array_of, attribute, dequantized, quant_limits


@dataclass(frozen=True, eq=False)
class Path:
    """The data path up to some tensor: the chain so far, an affine map not yet folded, and, between a QuantizeLinear
    and its DequantizeLinear, (step, zero point, lowest, highest) of the codes; step 0: codes are the graph's input."""

    chain: Chain
    scale: Any = 1.0
    offset: Any = 0.0
    codes: tuple[float, int, int, int] | None = None


def _single(others: list[Any], i: int, default: float | None = None) -> float:
    values = array_of(others, i, default)
    if values.size != 1:
        raise ValueError(f"input {i + 1} has {values.size} values; activations have one step and zero point here")
    return float(values.reshape(-1)[0])


def shaped(node: onnx.NodeProto, path: Path, others: list[Any], n_features: int | None = None) -> Path:
    """The same path, if the operator only flattens the ``n_features`` of a sample (None: unknown) or changes the type
    of real numbers."""
    if node.op_type == "Cast":
        return _cast(node, path)
    if node.op_type == "Reshape":
        shape = array_of(others, 0).astype(int).tolist()
        flat = len(shape) == 2 and shape[0] >= -1 and (shape[0] in (-1, 0, 1) or shape[1] == -1)
        if not flat or (n_features is not None and shape[1] not in (-1, 0, n_features)):
            raise ValueError(f"reshapes to {shape}; only flattening to (batch, features) is understood")
    if node.op_type == "Flatten" and attribute(node, "axis", 1) != 1:
        raise ValueError("flattens the batch")
    return path


def _cast(node: onnx.NodeProto, path: Path) -> Path:
    target = helper.tensor_dtype_to_np_dtype(attribute(node, "to", 0))
    if target.kind in "iub":
        raise ValueError(f"casts to {target}, which drops the fraction; only QuantizeLinear makes codes")
    if path.codes is None:
        return path
    if path.codes[0] != 0:
        raise ValueError("casts codes; only DequantizeLinear makes values of them")
    return decoded(path, 1.0, 0)


def settle(path: Path) -> Path:
    """The affine map folded into the open last layer, or, before the first layer, into the input's."""
    if np.all(np.asarray(path.scale) == 1) and np.all(np.asarray(path.offset) == 0):
        return path
    chain = path.chain
    if chain.layers and chain.layers[-1].is_open:
        last, scale = chain.layers[-1], np.asarray(path.scale)
        uniform = scale.size == 1 and float(scale.reshape(-1)[0]) > 0
        last = replace(
            last,
            weight=last.weight * scale,
            bias=last.bias * scale + path.offset,
            codes=last.codes if uniform else None,
            step=last.step * float(scale.reshape(-1)[0]) if uniform and last.step else None,
        )
        return Path(replace(chain, layers=(*chain.layers[:-1], last)))
    if not chain.layers and chain.quantizer is None:
        return Path(replace(chain, scale=chain.scale * path.scale, offset=chain.offset * path.scale + path.offset))
    return path


def _affine(node: onnx.NodeProto, path: Path, others: list[Any], place: int) -> Path:
    values = array_of(others, 0)
    values = values.reshape(-1) if values.size > 1 else values.reshape(())
    if node.op_type == "Add":
        return replace(path, offset=path.offset + values)
    if node.op_type == "Sub":
        return (
            replace(path, offset=path.offset - values)
            if place == 0
            else replace(path, scale=-path.scale, offset=values - path.offset)
        )
    if node.op_type == "Div" and place:
        raise ValueError("divides by the data")
    factor = values if node.op_type == "Mul" else 1.0 / values
    return replace(path, scale=path.scale * factor, offset=path.offset * factor)


def _scaler(node: onnx.NodeProto, path: Path, others: list[Any], place: int) -> Path:
    """scikit-learn's StandardScaler: (x - offset) * scale."""
    offset, scale = (
        np.asarray(attribute(node, name, [default]), np.float64) for name, default in (("offset", 0.0), ("scale", 1.0))
    )
    return replace(path, scale=path.scale * scale, offset=(path.offset - offset) * scale)


def _batch_normalization(node: onnx.NodeProto, path: Path, others: list[Any], place: int) -> Path:
    gamma, beta, mean, variance = (array_of(others, i) for i in range(4))
    factor = gamma / np.sqrt(variance + attribute(node, "epsilon", 1e-5))
    return replace(path, scale=path.scale * factor, offset=(path.offset - mean) * factor + beta)


def _product(node: onnx.NodeProto, path: Path, matrix: Const, bias: np.ndarray | float) -> Path:
    """A new layer; an affine map before it becomes part of it."""
    path = settle(path)
    weight, scale = np.asarray(matrix.values, np.float64), np.asarray(path.scale)
    if weight.ndim != 2:
        raise ValueError(f"weight of shape {weight.shape}; only matrices are understood")
    n_known = path.chain.layers[-1].weight.shape[1] if path.chain.layers else weight.shape[0]
    if n_known != weight.shape[0]:
        raise ValueError(f"takes {weight.shape[0]} features, its input has {n_known}")
    connected = matrix.connected if matrix.connected is not None else weight != 0
    offsets = np.broadcast_to(path.offset, weight.shape[0]) @ weight + bias
    uniform = scale.size == 1 and float(scale.reshape(-1)[0]) > 0
    layer = Dense(
        node.name or node.output[0],
        weight * scale.reshape(-1, 1),
        connected,
        np.broadcast_to(offsets, weight.shape[1]).astype(np.float64),
        matrix.codes if uniform else None,
        matrix.step * float(scale.reshape(-1)[0]) if uniform and matrix.step else None,
    )
    return Path(replace(path.chain, layers=(*path.chain.layers, layer)))


def _matmul(node: onnx.NodeProto, path: Path, others: list[Any], place: int) -> Path:
    if place:
        raise ValueError("its data is the second operand")
    return _product(node, path, others[0], 0.0)


def _gemm(node: onnx.NodeProto, path: Path, others: list[Any], place: int) -> Path:
    if place or attribute(node, "transA", 0):
        raise ValueError("its data is transposed or not the first operand")
    matrix = others[0].reshape_by(np.transpose) if attribute(node, "transB", 0) else others[0]
    alpha = attribute(node, "alpha", 1.0)
    if alpha != 1.0:
        matrix = Const(matrix.values * alpha, connected=matrix.connected)
    bias = attribute(node, "beta", 1.0) * array_of(others, 1, 0.0).reshape(-1)
    return _product(node, path, matrix, bias)


def _relu(node: onnx.NodeProto, path: Path, others: list[Any], place: int) -> Path:
    return _bounded(path, 0.0, np.inf)


def _clip(node: onnx.NodeProto, path: Path, others: list[Any], place: int) -> Path:
    low = _single(others, 0, attribute(node, "min", -np.inf))
    high = _single(others, 1, attribute(node, "max", np.inf))
    if path.codes is None:
        return _bounded(path, low, high)
    step, zero, lowest, highest = path.codes
    return replace(path, codes=(step, zero, int(max(lowest, low)), int(min(highest, high))))


def _bounded(path: Path, low: float, high: float) -> Path:
    """The last values, of a layer or of the input, clipped to ``low``..``high``."""
    chain = folded(path)
    place: Any = chain.layers[-1] if chain.layers else chain
    quantizer = None if place.quantizer is None else place.quantizer.within(low, high)
    return _changed(chain, low=max(place.low, low), high=min(place.high, high), quantizer=quantizer)


def _changed(chain: Chain, **changes: Any) -> Path:
    """The path behind ``chain`` with its last layer, or its input, changed."""
    if not chain.layers:
        return Path(replace(chain, **changes))
    return Path(replace(chain, layers=(*chain.layers[:-1], replace(chain.layers[-1], **changes))))


def folded(path: Path) -> Chain:
    """The chain of a path whose affine map could be folded into it. Raises ``ValueError`` for one that can't be."""
    layers = path.chain.layers
    scaled = np.any(np.asarray(path.scale) != 1) or np.any(np.asarray(path.offset) != 0)
    if scaled and layers and layers[-1].quantizer is not None and replace(layers[-1], quantizer=None).is_open:
        notes = (*layers[-1].notes, "quantizer between the product and its scaling left out")
        path = replace(path, chain=_changed(path.chain, quantizer=None, notes=notes).chain)
    settled = settle(path)
    if np.any(np.asarray(settled.scale) != 1) or np.any(np.asarray(settled.offset) != 0):
        raise ValueError("works on activations that were scaled or shifted after their quantizer or rectifier")
    return settled.chain


def _quantize_linear(node: onnx.NodeProto, path: Path, others: list[Any], place: int) -> Path:
    zero = others[1] if len(others) > 1 else None
    dtype = np.dtype(np.uint8) if zero is None else zero.values.dtype
    if zero is None and attribute(node, "output_dtype", 0):
        dtype = helper.tensor_dtype_to_np_dtype(attribute(node, "output_dtype", 0))
    if dtype.kind not in "iu":
        raise ValueError(f"quantizes to {dtype}; only integers are understood")
    return _coded(path, _single(others, 0), int(_single(others, 1, 0.0)), dtype)


def _coded(path: Path, step: float, zero: int, dtype: np.dtype) -> Path:
    limits = np.iinfo(dtype)
    return replace(Path(folded(path)), codes=(step, zero, int(limits.min), int(limits.max)))


def _dequantize_linear(node: onnx.NodeProto, path: Path, others: list[Any], place: int) -> Path:
    return decoded(path, _single(others, 0), int(_single(others, 1, 0.0)))


def decoded(path: Path, step: float, zero: int) -> Path:
    """The path behind a DequantizeLinear with ``step`` and ``zero`` point."""
    if path.codes is None:
        raise ValueError("dequantizes what nothing quantized")
    given, given_zero, lowest, highest = path.codes
    if given == 0:  # the graph's input is codes
        chain = replace(path.chain, scale=step, offset=-zero * step)
    elif (given, given_zero) == (step, zero):
        chain = path.chain
    else:
        raise ValueError(f"has step {step:g} and zero point {zero}, the codes have {given:g} and {given_zero}")
    return _quantized(chain, Quantizer(step, lowest - zero, highest - zero))


def _quantized(chain: Chain, quantizer: Quantizer) -> Path:
    place: Any = chain.layers[-1] if chain.layers else chain
    if place.quantizer is None:
        return _changed(chain, quantizer=quantizer)
    if place.quantizer.step == quantizer.step:
        return _changed(
            chain,
            quantizer=quantizer.within(
                place.quantizer.lowest * quantizer.step, place.quantizer.highest * quantizer.step
            ),
        )
    if not chain.layers:
        raise ValueError("quantizes the input a second time, with another step")
    low, high = place.quantizer.lowest * place.quantizer.step, place.quantizer.highest * place.quantizer.step
    return _changed(
        chain,
        quantizer=quantizer,
        low=max(place.low, low),
        high=min(place.high, high),
        notes=(*place.notes, f"quantized twice, the step {place.quantizer.step:g} left out"),
    )


def _quant(node: onnx.NodeProto, path: Path, others: list[Any], place: int) -> Path:
    mode = attribute(node, "rounding_mode", b"ROUND").decode().upper()
    if mode not in ("ROUND", "HALF_EVEN"):
        raise ValueError(f"rounding mode {mode}; activations are rounded half to even here")
    zero = _single(others, 1)
    low, high = quant_limits(node, array_of(others, 2))
    if zero != round(zero):
        raise ValueError(f"zero point {zero:g} is no integer")
    return _quantized(folded(path), Quantizer(_single(others, 0), low - int(zero), high - int(zero)))


def _qlinear(node: onnx.NodeProto, path: Path, others: list[Any], place: int) -> Path:
    """QLinearMatMul(a, sa, za, b, sb, zb, sy, zy) and QGemm(a, sa, za, b, sb, zb, c, sy, zy)."""
    if place:
        raise ValueError("its data is not the first operand")
    gemm = node.op_type == "QGemm"
    transposed = gemm and bool(attribute(node, "transB", 0))
    matrix = dequantized(others[2], others[3].values, others[4] and others[4].values, axis=0 if transposed else 1)
    matrix = matrix.reshape_by(np.transpose) if transposed else matrix
    step = _single(others, 0)
    bias: Any = 0.0
    if gemm and others[5] is not None:
        bias = array_of(others, 5) * step * array_of(others, 3).reshape(-1)
    result = _product(node, decoded(path, step, int(_single(others, 1))), matrix, bias)
    if len(others) < 6 + gemm:
        return result
    zero = others[6 + gemm]
    return _coded(result, _single(others, 5 + gemm), int(_single(others, 6 + gemm)), zero.values.dtype)


def _matmul_integer(node: onnx.NodeProto, path: Path, others: list[Any], place: int) -> Path:
    """(codes - zero) @ (b - b_zero): the product of the decoded values, in steps of its own."""
    if place or path.codes is None:
        raise ValueError("its first operand is no quantized data")
    step, zero = path.codes[0] or 1.0, int(_single(others, 1, 0.0))
    matrix = dequantized(others[0], 1.0 / step, others[2].values if len(others) > 2 and others[2] else None)
    return _product(node, decoded(path, step, zero), matrix, 0.0)


STEPS: dict[str, Callable[[onnx.NodeProto, Path, list[Any], int], Path]] = {
    "Add": _affine,
    "Sub": _affine,
    "Mul": _affine,
    "Div": _affine,
    "BatchNormalization": _batch_normalization,
    "MatMul": _matmul,
    "Gemm": _gemm,
    "Relu": _relu,
    "Clip": _clip,
    "QuantizeLinear": _quantize_linear,
    "DequantizeLinear": _dequantize_linear,
    "Quant": _quant,
    "IntQuant": _quant,
    "QLinearMatMul": _qlinear,
    "QGemm": _qlinear,
    "MatMulInteger": _matmul_integer,
    "Scaler": _scaler,
}
"""What may stand on the data path: operator -> (node, path, other operands, place of the data) -> path."""

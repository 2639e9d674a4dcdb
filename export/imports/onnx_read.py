"""Other people's ONNX files as a ``Chain`` of dense layers: float, QuantizeLinear / DequantizeLinear, or Quant nodes.

Everything that depends on constants only is folded; the one path from input to logits must consist of dense products,
what can be folded into them, rectifiers and quantizers. Anything else is refused by its node's name.
"""

import math
from typing import Any

import numpy as np
import onnx
from onnx import helper

from .dense_chain import Chain
from .onnx_fold import SHAPING, Const, attribute, fold, stored_constants
from .onnx_head import Head
from .onnx_path import STEPS, Path, decoded, folded, shaped

_PRODUCTS = ("MatMul", "Gemm", "QGemm", "QLinearMatMul", "MatMulInteger")
_ON_CODES = ("DequantizeLinear", "Clip", *(op for op in _PRODUCTS if op not in ("MatMul", "Gemm")))
_CONVOLUTIONS = ("Conv", "ConvTranspose", "ConvInteger", "QLinearConv")


def read_chain(model: onnx.ModelProto, head: Head) -> Chain:
    """The chain that ``model`` computes from its input to the logits of its ``head``.

    Raises ``ValueError`` naming the node that has no place in such a chain.
    """
    return head.finished(_Reader(model, head.tensor).read())


class _Reader:
    def __init__(self, model: onnx.ModelProto, wanted: str) -> None:
        self.model, self.wanted = model, wanted
        self.tensors: dict[str, Const | Path] = dict(stored_constants(model.graph))
        self.needed = {wanted}
        for node in reversed(model.graph.node):
            if self.needed & set(node.output):
                self.needed |= set(node.input)
        inputs = [info for info in model.graph.input if info.name not in self.tensors]
        if len(inputs) != 1:
            names = ", ".join(info.name for info in inputs)
            raise ValueError(f"model: {len(inputs)} inputs ({names}), expected one")
        self.tensors[inputs[0].name] = Path(Chain(()), codes=_input_codes(inputs[0]))
        self.shapes = _shapes(model)

    def read(self) -> Chain:
        for node in self.model.graph.node:
            if node.op_type in _CONVOLUTIONS and self._is_needed(node):
                raise _at(node, "convolutions can't be imported yet, only dense layers")
        for node in self.model.graph.node:
            operands = [self.tensors.get(name) if name else None for name in node.input]
            paths = [operand for operand in operands if isinstance(operand, Path)]
            if any(operand is None and name for operand, name in zip(operands, node.input, strict=True)):
                continue  # behind a part that the logits don't need
            try:
                result = self._follow(node, operands) if paths else _fold(self.model, node, operands)
            except ValueError as error:
                if not self._is_needed(node):
                    continue
                raise _at(node, error) from None
            self.tensors[node.output[0]] = result
        output = self.tensors.get(self.wanted)
        if not isinstance(output, Path) or not output.chain.layers:
            raise ValueError(f"output {self.wanted!r}: no dense layer leads to it")
        try:
            return folded(output if output.codes is None else decoded(output, *output.codes[:2]))
        except ValueError as error:
            raise ValueError(f"output {self.wanted!r}: {error}") from None

    def _is_needed(self, node: onnx.NodeProto) -> bool:
        """Whether the logits depend on ``node``."""
        return bool(self.needed & set(node.output))

    def _follow(self, node: onnx.NodeProto, operands: list[Any]) -> Path | Const:
        place = next(i for i, operand in enumerate(operands) if isinstance(operand, Path))
        path, shape = operands[place], self.shapes.get(node.input[place])
        others = [operand for i, operand in enumerate(operands) if i != place]
        if any(isinstance(operand, Path) for operand in others):
            raise ValueError("joins two paths; only a plain chain of layers can be imported")
        _check_real(others)
        if node.op_type == "Shape":
            return _shape_constant(node, shape)
        if node.op_type in SHAPING:
            return shaped(node, path, others, _n_features(shape))
        step = STEPS.get(node.op_type)
        if step is None:
            raise ValueError("no dense layer, rectifier or quantizer, so it can't be imported")
        if path.codes is not None and node.op_type not in _ON_CODES:
            raise ValueError("works on integer codes; only quantized products and DequantizeLinear do")
        if node.op_type in _PRODUCTS and shape is not None and (len(shape) < 2 or set(shape[1:-1]) - {1}):
            axes = ", ".join("batch" if i == 0 else str(size or "?") for i, size in enumerate(shape))
            raise ValueError(f"its data has the axes ({axes}); it must be flattened to (batch, features) before")
        return step(node, path, others, place)


def _at(node: onnx.NodeProto, error: object) -> ValueError:
    return ValueError(f"node {node.name or node.output[0]!r} ({node.op_type}): {error}")


def _fold(model: onnx.ModelProto, node: onnx.NodeProto, operands: list[Any]) -> Const:
    _check_real(operands)
    return fold(model, node, operands)


def _check_real(operands: list[Any]) -> None:
    if any(operand is not None and np.iscomplexobj(operand.values) for operand in operands):
        raise ValueError("its constant is complex; only real weights can be imported")


def _input_codes(info: onnx.ValueInfoProto) -> tuple[float, int, int, int] | None:
    """Codes of an input of integers, for ``Path.codes``; None for real numbers."""
    kind = info.type.tensor_type.elem_type
    dtype = helper.tensor_dtype_to_np_dtype(kind) if kind else None
    if dtype is None or dtype.kind in "OUSc":
        raise ValueError(f"input {info.name!r}: holds no real numbers, so it can't be imported")
    if dtype.kind not in "iu":
        return None
    limits = np.iinfo(dtype)
    return 0.0, 0, int(limits.min), int(limits.max)


def _shapes(model: onnx.ModelProto) -> dict[str, list[int | None]]:
    """Shapes as far as they can be inferred, None for an open size."""
    try:
        graph = onnx.shape_inference.infer_shapes(model).graph
    except Exception:  # of many kinds; a shape that isn't known is not checked
        graph = model.graph
    types = {info.name: info.type.tensor_type for info in (*graph.value_info, *graph.input, *graph.output)}
    return {
        name: [dim.dim_value if dim.HasField("dim_value") else None for dim in known.shape.dim]
        for name, known in types.items()
        if known.HasField("shape")
    }


def _n_features(shape: list[int | None] | None) -> int | None:
    """Values of a sample, where the shape tells."""
    inner = None if shape is None else [size for size in shape[1:] if size is not None]
    return None if shape is None or inner is None or len(inner) < len(shape) - 1 else math.prod(inner)


def _shape_constant(node: onnx.NodeProto, shape: list[int | None] | None) -> Const:
    """The shape of the data as a constant, -1 for the batch: what a Reshape that flattens is told."""
    sizes = None if shape is None else [-1, *shape[1:]][attribute(node, "start", 0) : attribute(node, "end", None)]
    if sizes is None or None in sizes:
        raise ValueError("asks for a shape that the file leaves open")
    return Const(np.array(sizes, np.int64))

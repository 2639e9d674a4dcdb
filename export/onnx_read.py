"""Other people's ONNX files as a ``Chain`` of dense layers: float, QuantizeLinear / DequantizeLinear, or Quant nodes.

Everything that depends on constants only is folded; the one path from input to output must consist of dense products,
what can be folded into them, rectifiers and quantizers. Anything else is refused by its node's name.
"""

from dataclasses import replace
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

from .dense_chain import Chain
from .onnx_fold import SHAPING, Const, fold
from .onnx_path import STEPS, Path, decoded, folded, shaped

ENDINGS = ("Softmax", "LogSoftmax", "ArgMax")
"""What may follow the logits: it doesn't change the class."""

_ON_CODES = ("DequantizeLinear", "Clip", "QGemm", "QLinearMatMul", "MatMulInteger")


def read_chain(model: onnx.ModelProto) -> Chain:
    """The chain that ``model`` computes from its input to its first output.

    Raises ``ValueError`` naming the node that has no place in such a chain.
    """
    return _Reader(model).read()


class _Reader:
    def __init__(self, model: onnx.ModelProto) -> None:
        self.model = model
        self.tensors: dict[str, Const | Path] = {
            tensor.name: Const(numpy_helper.to_array(tensor)) for tensor in model.graph.initializer}
        inputs = [info.name for info in model.graph.input if info.name not in self.tensors]
        if len(inputs) != 1:
            raise ValueError(f"model: {len(inputs)} inputs ({', '.join(inputs)}), expected one")
        kind = next(info for info in model.graph.input if info.name == inputs[0]).type.tensor_type.elem_type
        dtype = helper.tensor_dtype_to_np_dtype(kind)
        limits = np.iinfo(dtype) if dtype.kind in "iu" else None
        codes = None if limits is None else (0.0, 0, int(limits.min), int(limits.max))
        self.tensors[inputs[0]] = Path(Chain(()), codes=codes)

    def read(self) -> Chain:
        for node in self.model.graph.node:
            operands = [self.tensors.get(name) if name else None for name in node.input]
            paths = [operand for operand in operands if isinstance(operand, Path)]
            if any(operand is None and name for operand, name in zip(operands, node.input, strict=True)):
                continue  # behind a part that the first output doesn't need
            try:
                result = self._follow(node, operands) if paths else fold(self.model, node, operands)
            except ValueError as error:
                if not self._needed(node):
                    continue
                raise ValueError(f"node {node.name or node.output[0]!r} ({node.op_type}): {error}") from None
            self.tensors[node.output[0]] = result
        output = self.tensors.get(self.model.graph.output[0].name)
        if not isinstance(output, Path) or not output.chain.layers:
            raise ValueError(f"output {self.model.graph.output[0].name!r}: no dense layer leads to it")
        return self._end(output)

    def _end(self, path: Path) -> Chain:
        try:
            return folded(path if path.codes is None else decoded(path, *path.codes[:2]))
        except ValueError as error:
            raise ValueError(f"output {self.model.graph.output[0].name!r}: {error}") from None

    def _needed(self, node: onnx.NodeProto) -> bool:
        """Whether the first output depends on ``node``."""
        wanted = {self.model.graph.output[0].name}
        for other in reversed(self.model.graph.node):
            if wanted & set(other.output):
                wanted |= set(other.input)
        return bool(wanted & set(node.output))

    def _follow(self, node: onnx.NodeProto, operands: list[Any]) -> Path:
        place = next(i for i, operand in enumerate(operands) if isinstance(operand, Path))
        path = operands[place]
        others = [operand for i, operand in enumerate(operands) if i != place]
        if any(isinstance(operand, Path) for operand in others):
            raise ValueError("joins two paths; only a plain chain of layers can be imported")
        if path.chain.ending:
            raise ValueError(f"stands behind {path.chain.ending}")
        if node.op_type in SHAPING:
            return shaped(node, path, others)
        if node.op_type in ENDINGS:
            return replace(path, chain=replace(folded(path), ending=node.op_type))
        step = STEPS.get(node.op_type)
        if step is None:
            raise ValueError("no dense layer, rectifier or quantizer, so it can't be imported")
        if path.codes is not None and node.op_type not in _ON_CODES:
            raise ValueError("works on integer codes; only quantized products and DequantizeLinear do")
        return step(node, path, others, place)

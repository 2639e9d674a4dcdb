"""What stands behind the logits of a classifier in other people's ONNX files: probabilities, the class, its label."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import onnx
from onnx import numpy_helper

from .dense_chain import Chain, Dense
from .onnx_fold import attribute

_ENDINGS = ("Softmax", "LogSoftmax", "Sigmoid", "ArgMax")
_PASSING = ("Identity", "Cast", "Reshape", "Flatten", "Squeeze", "Unsqueeze", "Dropout")


@dataclass(frozen=True)
class Head:
    """Where a model's logits are and what was made of them.

    tensor : name of the logits
    ending : the operators behind them, in order; none of them changes which class is the largest
    labels : names of the classes, where the model has some
    """

    tensor: str
    ending: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()

    def finished(self, chain: Chain) -> Chain:
        """``chain`` with its ending named; a single logit behind a sigmoid becomes two classes, of 0 and the logit."""
        last = chain.layers[-1]
        if "Sigmoid" in self.ending and last.weight.shape[1] == 1:
            chain = replace(chain, layers=(*chain.layers[:-1], _two_classes(last)))
        return replace(chain, ending=" and ".join(self.ending))


def find_head(model: onnx.ModelProto) -> Head:
    """The head of the model's first output; without one the output itself.

    Raises ``ValueError`` naming the node that takes its maximum or sum over the batch.
    """
    producers = {name: node for node in model.graph.node for name in node.output}
    stored = {tensor.name: tensor for tensor in model.graph.initializer}
    tensor, head = model.graph.output[0].name, Head(model.graph.output[0].name)
    labels: tuple[str, ...] = ()
    while (node := producers.get(tensor)) is not None and node.input:
        tensor = node.input[0]
        if node.op_type == "ZipMap":
            labels = _texts(attribute(node, "classlabels_strings", None) or attribute(node, "classlabels_int64s", ()))
        elif node.op_type == "ArrayFeatureExtractor" and tensor in stored:
            labels, tensor = _texts(numpy_helper.to_array(stored[tensor]).reshape(-1)), node.input[1]
        elif node.op_type == "Concat" and (sigmoid := _pair(node, producers)) is not None:
            tensor = sigmoid
        elif node.op_type in _ENDINGS:
            _check_axis(node, model)
            head = Head(tensor, (node.op_type, *head.ending), labels)
            if node.op_type != "ArgMax":
                break
        elif node.op_type not in _PASSING:
            break
    return head


def _check_axis(node: onnx.NodeProto, model: onnx.ModelProto) -> None:
    opset = max([entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")], default=1)
    usual = 0 if node.op_type == "ArgMax" else -1 if opset >= 13 else 1
    axis = attribute(node, "axis", usual)
    if node.op_type != "Sigmoid" and axis not in (1, -1):
        raise ValueError(
            f"node {node.name or node.output[0]!r} ({node.op_type}): works along axis {axis}, not along the classes"
        )


def _pair(node: onnx.NodeProto, producers: dict[str, onnx.NodeProto]) -> str | None:
    """Name of p, where ``node`` puts 1 - p and p side by side."""
    if len(node.input) != 2 or (other := producers.get(node.input[0])) is None or other.op_type != "Sub":
        return None
    return node.input[1] if other.input[1] == node.input[1] else None


def _texts(values: Any) -> tuple[str, ...]:
    return tuple(value.decode(errors="replace") if isinstance(value, bytes) else str(value) for value in values)


def _two_classes(layer: Dense) -> Dense:
    def beside(column: np.ndarray | None) -> np.ndarray | None:
        return None if column is None else np.concatenate([np.zeros_like(column), column], axis=-1)

    weight, connected, bias = beside(layer.weight), beside(layer.connected), beside(layer.bias)
    assert weight is not None
    assert connected is not None
    assert bias is not None
    return replace(
        layer,
        weight=weight,
        connected=connected,
        bias=bias,
        codes=beside(layer.codes),
        notes=(*layer.notes, "its single output became that of the second of two classes"),
    )

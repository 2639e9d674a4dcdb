"""Count the connections of an exported ONNX file by walking its graph, trusting nothing that it says about itself."""

import numpy as np
import onnx
from onnx import numpy_helper

OPERATORS = frozenset(
    {
        "Add",
        "ArgMax",
        "Cast",
        "Clip",
        "Concat",
        "ConstantOfShape",
        "CumSum",
        "DequantizeLinear",
        "Gather",
        "Identity",
        "MatMul",
        "MatMulInteger",
        "Mul",
        "Pad",
        "Quant",
        "QuantizeLinear",
        "Relu",
        "Round",
        "ScatterND",
        "Shape",
        "Sub",
        "Transpose",
    }
)
"""Operators of our files; a weight can't hide in any other."""


class _Walk:
    """Upstream steps through a graph."""

    def __init__(self, model: onnx.ModelProto) -> None:
        self.nodes = list(model.graph.node)
        self.producer = {name: node for node in self.nodes for name in node.output}
        self.stored = {tensor.name: tensor for tensor in model.graph.initializer}
        self.inputs = {info.name for info in model.graph.input}
        self.outputs = {info.name for info in model.graph.output}

    def initializer(self, tensor: str, through: tuple[str, ...] = ("Cast",)) -> np.ndarray:
        """The stored array behind ``tensor``, seen through the given one-input operators."""
        start = tensor
        while tensor not in self.stored:
            node = self.producer.get(tensor)
            if node is None or node.op_type not in through:
                raise ValueError(
                    f"tensor {start!r}: no stored array stands behind it "
                    f"({'a graph input' if node is None else f'node {node.name!r}, {node.op_type}'})"
                )
            tensor = node.input[0]
        return numpy_helper.to_array(self.stored[tensor])

    def made_by(self, tensor: str, op: str) -> onnx.NodeProto | None:
        """The node that makes ``tensor`` if it is an ``op``."""
        node = self.producer.get(tensor)
        return node if node is not None and node.op_type == op else None


def count_connections(model: onnx.ModelProto) -> list[int]:
    """Connections of every layer, in graph order: (input, output) positions that hold a weight.

    A matrix filled in by ScatterND has the positions it names; a prefix-sum layer has the positions that ``in_idx`` and
    ``fan_in`` name; a stored matrix has its elements that differ from its zero point; sums filled with 0 have none.

    Raises ``ValueError`` naming the node when weights and indices differ in number, a position occurs twice, or a node
    has no place in our files.
    """
    walk = _Walk(model)
    counts = []
    for node in walk.nodes:
        _check_known(walk, node)
        if node.op_type in ("MatMulInteger", "MatMul"):
            counts.append(_count_matrix(walk, node))
        elif node.op_type == "CumSum" and (pad := walk.made_by(node.input[0], "Pad")) is not None:
            counts.append(_count_prefix_sum(walk, node, pad))
        elif node.op_type == "Pad" and not any(
            user.op_type == "CumSum" and user.input[0] == node.output[0] for user in walk.nodes
        ):
            raise ValueError(f"node {node.name!r}: pads what no prefix sum counts")
        elif node.op_type == "ConstantOfShape" and walk.made_by(node.input[0], "Concat") is not None:
            counts.append(0)
    return counts


def _check_known(walk: _Walk, node: onnx.NodeProto) -> None:
    if node.op_type not in OPERATORS:
        raise ValueError(f"node {node.name!r}: operator {node.op_type} is none of ours, so it may hide connections")
    if node.op_type == "Mul":
        factor = walk.stored.get(node.input[1])
        summed = any(pad.op_type == "Pad" and pad.input[0] == node.output[0] for pad in walk.nodes)
        single = factor is not None and numpy_helper.to_array(factor).size == 1
        if not (summed or single or (factor is not None and _scales_an_end(walk, node))):
            raise ValueError(f"node {node.name!r}: scales by more than one number, so it may hide connections")


def _scales_an_end(walk: _Walk, node: onnx.NodeProto) -> bool:
    """Whether ``node`` works on the graph's input, clipped or not, or that minus a constant, and only a quantizer takes
    the result; or so on an output, and its result is one that nothing takes."""
    shifted = walk.made_by(node.input[0], "Sub")
    source = node.input[0] if shifted is None or shifted.input[1] not in walk.stored else shifted.input[0]
    if clip := walk.made_by(source, "Clip"):
        source = clip.input[0]
    users = [user.op_type for user in walk.nodes if node.output[0] in user.input]
    if source in walk.outputs:
        return node.output[0] in walk.outputs and not users
    return source in walk.inputs and set(users) <= {"Clip", "QuantizeLinear", "Quant"}


def _count_matrix(walk: _Walk, node: onnx.NodeProto) -> int:
    source = node.input[1]
    while (step := walk.producer.get(source)) is not None and step.op_type in ("DequantizeLinear", "Quant"):
        source = step.input[0]
    if walk.made_by(source, "ConstantOfShape"):
        return 0
    scatter = walk.made_by(source, "ScatterND")
    if scatter is None:
        return int(np.count_nonzero(walk.initializer(source) != _zero_point(walk, node)))
    if not walk.made_by(scatter.input[0], "ConstantOfShape"):
        raise ValueError(f"node {scatter.name!r}: scatters into something that is not empty")
    weight = walk.initializer(scatter.input[2], through=("Cast", "Mul"))
    concat = walk.made_by(scatter.input[1], "Concat")
    if concat is None:
        position = walk.initializer(scatter.input[1])
    else:
        columns = [walk.initializer(name) for name in concat.input]
        _same_size(scatter, weight, *columns)
        position = np.concatenate([column.reshape(-1, 1).astype(np.int64) for column in columns], axis=1)
    return _distinct(scatter, weight, position)


def _count_prefix_sum(walk: _Walk, node: onnx.NodeProto, pad: onnx.NodeProto) -> int:
    product = walk.made_by(pad.input[0], "Mul")
    if product is None:
        raise ValueError(f"node {node.name!r}: sums something else than products of connections")
    weight = walk.initializer(product.input[1])
    picked = walk.producer[product.input[0]]
    gather = walk.made_by(picked.input[0], "Gather")
    if gather is None:
        raise ValueError(f"node {product.name!r}: multiplies something else than gathered inputs")
    in_idx = walk.initializer(gather.input[1])
    ends = [
        walk.producer[user.input[1]]
        for user in walk.nodes
        if user.op_type == "Gather" and user.input[0] == node.output[0]
    ]
    fan_in = {end.input[0]: walk.initializer(end.input[0]) for end in ends if end.op_type == "CumSum"}
    if len(fan_in) != 1:
        raise ValueError(f"node {node.name!r}: expected one array of fan-ins, found {len(fan_in)}")
    counts = next(iter(fan_in.values())).astype(np.int64)
    _same_size(node, weight, in_idx, np.empty(counts.sum()))
    return _distinct(node, weight, np.stack([in_idx.astype(np.int64), np.repeat(np.arange(counts.size), counts)], 1))


def _zero_point(walk: _Walk, node: onnx.NodeProto) -> np.ndarray | int:
    return walk.initializer(node.input[3]) if node.op_type == "MatMulInteger" and len(node.input) > 3 else 0


def _same_size(node: onnx.NodeProto, *arrays: np.ndarray) -> None:
    sizes = [array.size for array in arrays]
    if len(set(sizes)) != 1:
        raise ValueError(f"node {node.name!r}: its weights and indices differ in number: {sizes}")


def _distinct(node: onnx.NodeProto, weight: np.ndarray, position: np.ndarray) -> int:
    if len(position) != weight.size:
        raise ValueError(f"node {node.name!r}: {weight.size} weights for {len(position)} positions")
    n_distinct = len(np.unique(position, axis=0))
    if n_distinct != weight.size:
        raise ValueError(f"node {node.name!r}: {weight.size - n_distinct} of its positions occur twice")
    return n_distinct

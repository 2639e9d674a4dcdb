"""Small helpers to write ONNX graphs that read like the network: named nodes, initializers, model metadata."""

import json
from dataclasses import asdict
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

from deepr_hw.ir import IntNet, netfile
from deepr_hw.ir.affine import Affine
from deepr_hw.ir.answer import describe_output
from deepr_hw.version import __version__

OPSET = 21
"""Operator set of every file: the first with 16-bit and int32 QuantizeLinear, known to onnxruntime since 1.18."""

IR_VERSION = 10
"""The IR version that belongs to opset 21. The library's default (13 and up) is refused by most installed runtimes."""

DYNAMIC = "batch"
"""Name of the batch's dimension in files whose batch is left open."""

TYPES = {
    np.dtype(t): helper.np_dtype_to_tensor_dtype(np.dtype(t))
    for t in (np.int8, np.uint8, np.uint16, np.uint32, np.int32, np.int64, np.float32, np.float64)
}
"""NumPy type -> ONNX element type."""


def batch_size(batch: int | str) -> int | str:
    """``batch`` as the dimension of a graph: a number, also one written as text, or the name of an open one.

    Raises ``ValueError`` for what is neither a positive number below 2**31 nor a name.
    """
    if isinstance(batch, str) and batch.isidentifier():
        return batch
    number = int(batch) if isinstance(batch, int) or (batch.isascii() and batch.isdigit() and len(batch) < 20) else 0
    if not 1 <= number < 1 << 31:
        raise ValueError(
            f"batch {batch!r}: expected a number of samples from 1 to 2**31 - 1, or a name such as "
            f"{DYNAMIC!r} for an open one"
        )
    return number


class Graph:
    """A graph under construction. Tensor and node names are paths such as ``layer0/acc``; a node is named after its
    (first) output, so that an error message of any runtime names the place in the network."""

    def __init__(self, name: str, batch: int | str = DYNAMIC) -> None:
        self.name = name
        self.batch = batch_size(batch)
        self._nodes: list[onnx.NodeProto] = []
        self._initializers: dict[str, onnx.TensorProto] = {}
        self._inputs: list[onnx.ValueInfoProto] = []
        self._outputs: list[onnx.ValueInfoProto] = []

    def input(self, name: str, dtype: np.dtype | type, shape: tuple[int, ...]) -> str:
        """Declare an input of shape (batch, *shape); a batch given as text is dynamic."""
        self._inputs.append(helper.make_tensor_value_info(name, TYPES[np.dtype(dtype)], [self.batch, *shape]))
        return name

    def output(self, name: str, dtype: np.dtype | type, shape: tuple[int, ...]) -> None:
        """Declare the existing tensor ``name`` as an output of shape (batch, *shape)."""
        self._outputs.append(helper.make_tensor_value_info(name, TYPES[np.dtype(dtype)], [self.batch, *shape]))

    def constant(self, name: str, values: object, dtype: np.dtype | type) -> str:
        """Store ``values`` as initializer ``name`` (little endian raw data, no padding)."""
        if name in self._initializers:
            raise AssertionError(f"initializer {name} exists")
        self._initializers[name] = numpy_helper.from_array(np.asarray(values, dtype), name)
        return name

    def node(self, op: str, inputs: list[str], output: str, domain: str = "", **attributes: Any) -> str:
        """Append the node ``output = op(*inputs)``; returns ``output``."""
        self._nodes.append(helper.make_node(op, inputs, [output], name=output, domain=domain, **attributes))
        return output

    def cast(self, source: str, dtype: np.dtype | type, output: str) -> str:
        """Append a cast of ``source`` to ``dtype``."""
        return self.node("Cast", [source], output, to=TYPES[np.dtype(dtype)])

    def model(
        self, doc: str, metadata: dict[str, str], functions: tuple[onnx.FunctionProto, ...] = ()
    ) -> onnx.ModelProto:
        """The finished model, checked, with inferred shapes; ``functions`` define operators of other domains.

        Raises ``onnx.checker.ValidationError`` / ``onnx.shape_inference.InferenceError`` for an unsound graph.
        """
        graph = helper.make_graph(
            self._nodes, self.name, self._inputs, self._outputs, list(self._initializers.values()), doc_string=doc
        )
        domains = sorted({function.domain for function in functions})
        opsets = [helper.make_opsetid("", OPSET), *(helper.make_opsetid(domain, 1) for domain in domains)]
        model = helper.make_model(
            graph,
            functions=functions,
            opset_imports=opsets,
            ir_version=IR_VERSION,
            producer_name="deepr_hw",
            producer_version=__version__,
            doc_string=doc,
        )
        helper.set_model_props(model, metadata)
        onnx.checker.check_model(model, full_check=True)
        return onnx.shape_inference.infer_shapes(model, check_type=True, strict_mode=True)


def natural_input(graph: Graph, net: IntNet) -> str:
    """Declare the input ``values`` (batch, *in_shape) float32 in the user's unit and append what brings it to natural
    units: ``(values - offset) * factor``, both left out where they change nothing; infinities become the largest
    float32 where a factor is 0."""
    values = graph.input("values", np.float32, net.in_shape)
    if not net.input_map.factor.all():  # infinity * 0 is no number
        top = np.finfo(np.float32).max
        ends = [
            graph.constant(f"input/{end}", value, np.float32) for end, value in (("lowest", -top), ("highest", top))
        ]
        values = graph.node("Clip", [values, *ends], "input/finite")
    return _affine(graph, net.input_map, values, "input", net.in_shape)


def answer(graph: Graph, net: IntNet, natural: bool) -> None:
    """Append what is made of ``logits``: output ``class`` (batch,) int64, the largest, ties to the lowest; of a
    regression whose logits are ``natural`` units output ``prediction`` (batch, n_out) float32 in the user's unit, as
    ``IntNet.decode`` gives it."""
    if net.task == "classification":
        graph.node("ArgMax", ["logits"], "class", axis=1, keepdims=0)
        graph.output("class", np.int64, ())
    elif natural:
        _affine(graph, net.output_map, "logits", "output", (net.n_out,), "prediction")
        graph.output("prediction", np.float32, (net.n_out,))


def _affine(graph: Graph, unit: Affine, x: str, name: str, shape: tuple[int, ...], y: str | None = None) -> str:
    """``(x - offset) * factor``, both left out where they change nothing; the result is called ``y`` where that is
    given."""
    steps = [
        (op, key, stored)
        for op, key, stored, neutral in (("Sub", "offset", unit.offset, 0), ("Mul", "factor", unit.factor, 1))
        if (stored != neutral).any()
    ]
    for i, (op, key, stored) in enumerate(steps):
        constant = graph.constant(f"{name}/{key}", stored.reshape(shape if unit.size > 1 else ()), np.float32)
        x = graph.node(op, [x, constant], y if y and i + 1 == len(steps) else f"{name}/{op.lower()}")
    return graph.node("Identity", [x], y) if y and not steps else x


def describe(net: IntNet, flavour: str, licence: str | None = None) -> dict[str, str]:
    """Metadata of every flavour: K, budget, formats, class labels, licence, versions. JSON where it is not plain text.

    ``licence`` of the network (weights inherit no licence from this program); default: the provenance's, if any.
    """
    layers = [
        {
            "kind": layer.kind,
            "in_shape": layer.in_shape,
            "out_shape": layer.out_shape,
            "n_connections": {name: matrix.n_connections for name, matrix in layer.matrices.items()},
            "x_format": str(layer.x_format),
            "w_format": {name: str(matrix.w_format) for name, matrix in layer.matrices.items()},
            "y_format": layer.y_format and str(layer.y_format),
            "acc_bits": layer.acc_bits,
        }
        for layer in net.layers
    ]
    return {
        "flavour": flavour,
        "generator": f"deepr_hw {__version__}",
        "n_connections": str(net.n_connections),
        "n_positions": str(net.n_positions),
        "budget": json.dumps(asdict(net.budget)),
        "x_format": str(net.x_format),
        "logit_frac": str(net.logit_frac),
        "layers": json.dumps(layers),
        "class_labels": json.dumps(net.class_labels),
        "task": net.task,
        **({"output": json.dumps(describe_output(net))} if net.task == "regression" else {}),
        "licence": licence or net.provenance.get("licence", "not stated"),
        "intnet_sha256": netfile.digest(net),
        "provenance": json.dumps(dict(net.provenance), sort_keys=True),
    }

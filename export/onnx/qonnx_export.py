"""``IntNet`` to QONNX: standard float operators and ``Quant`` nodes, what FINN and hls4ml read.

    Quant(x, step, zero, bits) = (clamp(round(x / step + zero)) - zero) * step,   round half to even ("ROUND")

Exact wherever the sums are (see ``onnx_qdq``): a step is a power of two and every value a float32. The file brings the
definition of ``Quant`` along as a model function of standard operators, so that plain onnxruntime and ONNX's reference
evaluator, which don't know that domain, run it too; tools that know it use their own.

The batch is 1, as FINN's and qonnx's tools expect it (``qonnx.transformation.change_batchsize`` makes it another), and
the logits are the only output, because neither takes an ArgMax. Run ``qonnx.util.cleanup.cleanup_model`` first, as for
any QONNX file: it folds the connections into matrices.

Source: A. Pappalardo et al., "QONNX: Representing arbitrary-precision quantized neural networks", arXiv:2206.07527,
section 4; qonnx, ``docs/qonnx-custom-ops/intquant_op.md``.
"""

from functools import singledispatch
from pathlib import Path

import numpy as np
import onnx
from onnx import helper

from deepr_hw.files import make_folder, write_bytes
from deepr_hw.ir import IntNet, Layer, SparseLinear
from deepr_hw.ir.fixed import Format, signed_bits
from deepr_hw.target import EngineRun

from .count import count_connections
from .graph import DYNAMIC, OPSET, Graph, describe, natural_input
from .qdq import check_float32, to_codes
from .session import run_encoder, run_model
from .weights import dense_weights, place_weights

DOMAIN = "qonnx.custom_op.general"


def build(net: IntNet, dense: bool = False, batch: int | str = 1, licence: str | None = None) -> onnx.ModelProto:
    """The network as a QONNX model: input ``values`` (batch, *in_shape) float32 in the user's unit, output ``logits``
    (batch, n_out) float32 in natural units; how they come to a regression's unit is in the metadata, ``output``. The
    values of the codes are the tensor ``input/values``.

    dense : store matrices instead of connections, for tools that don't fold constants
    batch : a number, or a name for an open one (runs in onnxruntime; qonnx's own executor refuses it)

    Raises ``ValueError`` for no such batch, or naming the layer whose accumulators float32 can't hold, that is too
    large for a matrix or of a kind that has no such form.
    """
    graph = Graph("deepr_hw QONNX network", batch)
    values = _quant(graph, "input/quant", natural_input(graph, net), net.x_format, "input/values")
    for i, layer in enumerate(net.layers):
        check_float32(layer, f"layer{i}")
        y = "logits" if i == len(net.layers) - 1 else f"layer{i}/values"
        values = add_layer(layer, graph, f"layer{i}", values, y, dense)
    graph.output("logits", np.float32, (net.n_out,))
    doc = f"{net.n_connections} connections of {net.n_positions} positions, quantized to 8 bits."
    return graph.model(doc, describe(net, "qonnx", licence), (quant_function(),))


@singledispatch
def add_layer(layer: Layer, graph: Graph, name: str, x: str, y: str, dense: bool) -> str:
    """Append ``layer`` to ``graph``, reading the values ``x`` and giving ``y``; node names start with ``name``/."""
    raise ValueError(f"{name}: no QONNX form for a layer of kind {layer.kind!r}")


@add_layer.register
def _(layer: SparseLinear, graph: Graph, name: str, x: str, y: str, dense: bool) -> str:
    last, step = layer.y_format is None, layer.matrix.w_format.step
    if dense:
        matrix = graph.constant(f"{name}/weight", dense_weights(layer, np.float32, step), np.float32)
    else:
        matrix = place_weights(layer, graph, name, np.float32, step=step)
    weight = _quant(graph, f"{name}/weight_quant", matrix, layer.matrix.w_format, f"{name}/weight_quantized")
    total = graph.node("MatMul", [x, weight], y if last and layer.bias is None else f"{name}/sum")
    if layer.bias is not None:
        total = graph.node("Add", [total, _bias(layer, graph, name)], y if last else f"{name}/acc")
    if layer.y_format is None:
        return y
    if not layer.y_format.signed:
        total = graph.node("Relu", [total], f"{name}/relu")
    return _quant(graph, f"{name}/quant", total, layer.y_format, y)


def _bias(layer: SparseLinear, graph: Graph, name: str) -> str:
    assert layer.bias is not None
    bits = max(2, signed_bits(int(layer.bias.min()), int(layer.bias.max())))
    values = np.ldexp(layer.bias.astype(np.float64), -layer.acc_frac)
    graph.constant(f"{name}/bias", values, np.float32)
    fmt = Format(bits, True, 0)
    return _quant(graph, f"{name}/bias_quant", f"{name}/bias", fmt, f"{name}/bias_quantized", 2.0**-layer.acc_frac)


def _quant(graph: Graph, name: str, x: str, fmt: Format, y: str, step: float | None = None) -> str:
    settings = {"step": fmt.step if step is None else step, "zero": 0.0, "bits": float(fmt.bits)}
    stored = [graph.constant(f"{name}/{key}", value, np.float32) for key, value in settings.items()]
    return graph.node("Quant", [x, *stored], y, domain=DOMAIN, signed=int(fmt.signed), narrow=0, rounding_mode="ROUND")


def quant_function() -> onnx.FunctionProto:
    """``Quant`` with rounding half to even as a function of standard operators, for any width, sign and narrowness.

    lowest  = -signed * 2**(bits - signed) + signed * narrow
    highest = 2**(bits - signed) - 1 - (1 - signed) * narrow
    """

    def attribute(name: str) -> list[onnx.NodeProto]:
        constant = helper.make_node("Constant", [], [f"{name}_int"])
        reference = helper.make_attribute_ref("value_int", onnx.AttributeProto.INT)
        reference.ref_attr_name = name
        constant.attribute.append(reference)
        return [constant, helper.make_node("CastLike", [f"{name}_int", "x"], [name])]

    def number(name: str, value: float) -> list[onnx.NodeProto]:
        return [
            helper.make_node("Constant", [], [f"{name}_float"], value_float=value),
            helper.make_node("CastLike", [f"{name}_float", "x"], [name]),
        ]

    steps = [
        ("Sub", "bits signed", "value_bits"),
        ("Pow", "two value_bits", "power"),
        ("Mul", "signed power", "reach"),
        ("Mul", "signed narrow", "narrow_low"),
        ("Sub", "narrow_low reach", "lowest"),
        ("Sub", "narrow narrow_low", "narrow_high"),
        ("Sub", "power one", "top"),
        ("Sub", "top narrow_high", "highest"),
        ("Div", "x step", "scaled"),
        ("Add", "scaled zero", "shifted"),
        ("Min", "shifted highest", "below"),
        ("Max", "below lowest", "clamped"),
        ("Round", "clamped", "rounded"),
        ("Sub", "rounded zero", "code"),
        ("Mul", "code step", "y"),
    ]
    nodes = [
        *attribute("signed"),
        *attribute("narrow"),
        *number("one", 1.0),
        *number("two", 2.0),
        *(helper.make_node(op, inputs.split(), [output]) for op, inputs, output in steps),
    ]
    return helper.make_function(
        DOMAIN,
        "Quant",
        ["x", "step", "zero", "bits"],
        ["y"],
        nodes,
        [helper.make_opsetid("", OPSET)],
        ["signed", "narrow", "rounding_mode"],
    )


def export(
    net: IntNet, out_dir: Path, dense: bool = False, licence: str | None = None, batch: int | str = 1
) -> dict[str, object]:
    """Write ``out_dir/qonnx.onnx``; returns its path, size and connections counted in the written graph."""
    model = build(net, dense, batch, licence)
    path = make_folder(Path(out_dir)) / "qonnx.onnx"
    write_bytes(path, model.SerializeToString(deterministic=True))
    return {"path": str(path), "bytes": path.stat().st_size, "n_connections": sum(count_connections(model))}


def run(net: IntNet, x: np.ndarray, workdir: Path) -> EngineRun:
    """Logits of codes ``x`` (n, *in_shape) from qonnx's own executor, on the exported file after its clean-up. Raises
    ``ValueError`` for a code that no value has."""
    from qonnx.core.modelwrapper import ModelWrapper
    from qonnx.core.onnx_exec import execute_onnx
    from qonnx.util.cleanup import cleanup_model

    path = str(export(net, workdir)["path"])
    model = cleanup_model(ModelWrapper(path), override_inpsize=len(x))
    (logits,) = execute_onnx(model, {model.graph.input[0].name: net.values(x)}).values()
    return EngineRun(to_codes(logits, net.logit_frac))


def run_as_functions(net: IntNet, x: np.ndarray, workdir: Path) -> EngineRun:
    """Logits of codes ``x`` (n, *in_shape) from plain onnxruntime, by the ``Quant`` function in the file. Raises
    ``ValueError`` for a code that no value has."""
    data = build(net, batch=DYNAMIC).SerializeToString()
    return EngineRun(to_codes(run_model(data, net.values(x))["logits"], net.logit_frac))


def encode(net: IntNet, values: np.ndarray, workdir: Path) -> np.ndarray:
    """Encoder: what plain onnxruntime makes of ``values`` (n, *in_shape) in the exported graph, in steps of codes."""
    return to_codes(run_encoder(build(net, batch=DYNAMIC), values, "input/values"), net.x_format.frac)

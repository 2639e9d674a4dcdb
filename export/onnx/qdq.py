"""``IntNet`` to ONNX with QuantizeLinear / DequantizeLinear pairs around float operators ("QDQ").

The form that quantization tools, OpenVINO and TensorRT read. As ONNX defines it the graph is exact: all scales are
powers of two, and every accumulator is an integer of at most 2**24 in magnitude times a power of two, hence a float32,
in whatever order it is summed. onnxruntime's default session however replaces the pairs by fused uint8 x int8 kernels
(signed activations are turned into unsigned ones first), and on an x86 CPU without VNNI these add pairs of products in
saturating 16 bits: wrong logits, without a warning. ``SESSION_OPTIONS`` turns the replacement off; the file's metadata
carries it as ``session_options``, and also as ``ort_config``, which onnxruntime itself obeys where the environment says
``ORT_LOAD_CONFIG_FROM_MODEL=1``.

Source: ONNX operators QuantizeLinear-21, DequantizeLinear-21; onnxruntime,
``onnxruntime_session_options_config_keys.h`` and ``inference_session_utils.cc``.
"""

import json
from functools import singledispatch
from pathlib import Path

import numpy as np
import onnx

from deepr_hw.files import make_folder, write_bytes
from deepr_hw.ir import IntNet, Layer, SparseLinear
from deepr_hw.ir.fixed import Format
from deepr_hw.target import EngineRun

from .count import count_connections
from .graph import DYNAMIC, Graph, answer, describe, natural_input
from .session import run_encoder, run_model
from .weights import dense_weights, place_weights

SESSION_OPTIONS = {"session.disable_quant_qdq": "1"}
"""onnxruntime session configuration under which the file is exact."""

FLOAT32_EXACT = 1 << 24
"""Integers up to this magnitude are float32 values."""

MATRIX_POSITIONS = 1 << 26
"""Most positions of a layer: the form has a matrix in memory (4 bytes per position) wherever it runs."""


def build(
    net: IntNet, float_input: bool = True, dense: bool = False, licence: str | None = None, batch: int | str = DYNAMIC
) -> onnx.ModelProto:
    """The network as an ONNX model.

    Input   ``values`` (batch, *in_shape) float32 in the user's unit, which the graph turns into ``input/codes`` (see
            ``IntNet.encode``), or, without ``float_input``, ``codes`` uint8 / int8
    Outputs ``logits`` (batch, n_out) float32 in natural units; of a classification ``class`` (batch,) int64, ties to
            the lowest; of a regression ``prediction`` (batch, n_out) float32 in the user's unit (see ``IntNet.decode``)

    dense : store matrices instead of connections, for tools that don't fold constants
    batch : a number, for runtimes that want every shape fixed, or a name for an open one

    Raises ``ValueError`` for no such batch, or naming the layer whose accumulators float32 can't hold, that is too
    large for a matrix or of a kind that has no such form.
    """
    graph = Graph("deepr_hw QDQ network", batch)
    fmt = net.x_format
    if float_input:
        codes = quantize(graph, "input", natural_input(graph, net), fmt, "input/codes")
    else:
        codes = graph.input("codes", fmt.dtype, net.in_shape)
    values = dequantize(graph, "input", codes, fmt.step, fmt.dtype, "input/values")
    for i, layer in enumerate(net.layers):
        check_float32(layer, f"layer{i}")
        y = "logits" if i == len(net.layers) - 1 else f"layer{i}/values"
        values = add_layer(layer, graph, f"layer{i}", values, y, dense)
    graph.output("logits", np.float32, (net.n_out,))
    answer(graph, net, natural=True)
    about = describe(net, "qdq", licence)
    about["session_options"] = json.dumps(SESSION_OPTIONS)
    about["ort_config"] = json.dumps({"session_options": {"graph_optimization_level": 1}})
    doc = (
        f"{net.n_connections} connections of {net.n_positions} positions, quantized to 8 bits. Exact in onnxruntime "
        f"with the session options {about['session_options']}."
    )
    return graph.model(doc, about)


def check_float32(layer: Layer, name: str) -> None:
    """Raises ``ValueError`` when float32 sums or a matrix of ``layer`` are out of the question."""
    low, high = layer.acc_range
    if max(-low, high) > FLOAT32_EXACT:
        raise ValueError(
            f"{name}: acc_bits = {layer.acc_bits}, accumulators {low}..{high} exceed the "
            "integers of float32 (2**24); use the integer flavour"
        )
    n_positions = max((matrix.n_positions for matrix in layer.matrices.values()), default=0)
    if n_positions > MATRIX_POSITIONS:
        raise ValueError(
            f"{name}: {n_positions} positions are too many for a matrix at run time "
            f"(at most {MATRIX_POSITIONS}); use the integer flavour"
        )


@singledispatch
def add_layer(layer: Layer, graph: Graph, name: str, x: str, y: str, dense: bool) -> str:
    """Append ``layer`` to ``graph``, reading the values ``x`` and giving ``y``; node names start with ``name``/."""
    raise ValueError(f"{name}: no QDQ form for a layer of kind {layer.kind!r}")


@add_layer.register
def _(layer: SparseLinear, graph: Graph, name: str, x: str, y: str, dense: bool) -> str:
    last, fmt = layer.y_format is None, layer.y_format
    if dense:
        codes = graph.constant(f"{name}/weight", dense_weights(layer, np.int8), np.int8)
    else:
        codes = place_weights(layer, graph, name, np.int8)
    matrix = dequantize(graph, f"{name}/weight", codes, layer.matrix.w_format.step, np.int8, f"{name}/weight_values")
    total = graph.node("MatMul", [x, matrix], y if last and layer.bias is None else f"{name}/sum")
    if layer.bias is not None:
        codes = graph.constant(f"{name}/bias", layer.bias, np.int32)
        bias = dequantize(graph, f"{name}/bias", codes, 2.0**-layer.acc_frac, np.int32, f"{name}/bias_values")
        total = graph.node("Add", [total, bias], y if last else f"{name}/acc")
    if fmt is None:
        return y
    if not fmt.signed:
        total = graph.node("Relu", [total], f"{name}/relu")
    codes = quantize(graph, name, total, fmt, f"{name}/codes")
    return dequantize(graph, name, codes, fmt.step, fmt.dtype, y)


def quantize(graph: Graph, name: str, values: str, fmt: Format, y: str) -> str:
    """Append ``y = saturate(round_half_even(values / step))``; a format narrower than its type is clipped before."""
    limits = np.iinfo(fmt.dtype)
    if (fmt.lo, fmt.hi) != (limits.min, limits.max):
        ends = {"lowest": fmt.lo, "highest": fmt.hi}
        stored = [graph.constant(f"{name}/{key}", code * fmt.step, np.float32) for key, code in ends.items()]
        values = graph.node("Clip", [values, *stored], f"{name}/clipped")
    return graph.node(
        "QuantizeLinear",
        [
            values,
            graph.constant(f"{name}/quantize_step", fmt.step, np.float32),
            graph.constant(f"{name}/quantize_zero", 0, fmt.dtype),
        ],
        y,
    )


def dequantize(graph: Graph, name: str, codes: str, step: float, dtype: np.dtype | type, y: str) -> str:
    """Append ``y = codes * step``. Scale and zero point are initializers of this node alone: onnxruntime's rewriting of
    shared ones fails."""
    return graph.node(
        "DequantizeLinear",
        [codes, graph.constant(f"{name}/step", step, np.float32), graph.constant(f"{name}/zero", 0, dtype)],
        y,
    )


def export(
    net: IntNet,
    out_dir: Path,
    float_input: bool = True,
    dense: bool = False,
    licence: str | None = None,
    batch: int | str = DYNAMIC,
) -> dict[str, object]:
    """Write ``out_dir/qdq.onnx``; returns its path, size and connections counted in the written graph."""
    model = build(net, float_input, dense, licence, batch)
    path = make_folder(Path(out_dir)) / "qdq.onnx"
    write_bytes(path, model.SerializeToString(deterministic=True))
    return {
        "path": str(path),
        "bytes": path.stat().st_size,
        "n_connections": sum(count_connections(model)),
        "session_options": SESSION_OPTIONS,
    }


def to_codes(values: np.ndarray, frac: int) -> np.ndarray:
    """``values * 2**frac``: int32 when all are integers, else float64 as they are, so that no comparison can mistake a
    value near an integer for it."""
    codes = np.ldexp(values.astype(np.float64), frac)
    whole = np.isfinite(codes).all() and (codes == np.rint(codes)).all() and np.abs(codes).max(initial=0) < 1 << 31
    return codes.astype(np.int32) if whole else codes


def run(net: IntNet, x: np.ndarray, workdir: Path, default_session: bool = False) -> EngineRun:
    """Logits of codes ``x`` (n, *in_shape) from onnxruntime with the options that the file's metadata names, or, to
    show why they are needed, in the ``default_session``. Raises ``ValueError`` for a code that no value has."""
    path = Path(str(export(net, workdir)["path"]))
    about = {entry.key: entry.value for entry in onnx.load(path).metadata_props}
    options = None if default_session else json.loads(about["session_options"])
    return EngineRun(to_codes(run_model(path, net.values(x), options=options)["logits"], net.logit_frac))


def encode(net: IntNet, values: np.ndarray, workdir: Path) -> np.ndarray:
    """Encoder: the codes that onnxruntime makes of ``values`` (n, *in_shape) in the exported graph."""
    return run_encoder(build(net), values, options=SESSION_OPTIONS)

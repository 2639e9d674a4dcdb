"""``IntNet`` to ONNX with integer operators: exact in onnxruntime's default session, on every CPU.

Why it is exact
    * Products. onnxruntime's uint8 x int8 kernels add pairs of products in saturating 16 bits (``vpmaddubsw``) on x86
      CPUs without VNNI, so that type pair is avoided. Unsigned activations meet uint8 weights with zero point 128 (the
      uint8 x uint8 kernels widen to 16 bits, then ``vpmaddwd``: 2 * 255 * 255 < 2**31), signed activations meet int8
      weights (the portable kernel, or ``vpdpbssd`` with AVX-VNNI-INT8). No sum that such a kernel forms, the products
      of the zero point included, leaves 32 bits: ``MATRIX_INPUTS`` bounds the inputs of a layer that becomes a matrix.
    * Requantization. ``QuantizeLinear`` rounds half to even and saturates; it is used where every accumulator is a
      float32 exactly (at most 2**24 in magnitude) and its scale is a power of two. Wider accumulators go through
      float64, which holds every int32.
    * Nothing to fuse. The optimizer's fusions that change numbers start from DequantizeLinear or from a float32 scaling
      of MatMulInteger's result; neither occurs.

The file grows with the connections: weights and indices are stored, and a small layer's matrix is filled in by the
runtime when it loads the file. A layer too large for that sums its K products by differences of their prefix sum.

Source: onnxruntime, ``core/mlas/lib/platform.cpp`` (which kernel runs where), ``qgemm_kernel_avx2.cpp``; ONNX operators
QuantizeLinear-21, MatMulInteger-10, ScatterND-18, CumSum-14.
"""

from functools import singledispatch
from pathlib import Path

import numpy as np
import onnx
from onnx.reference import ReferenceEvaluator

from deepr_hw.files import make_folder, write_bytes
from deepr_hw.ir import IntNet, Layer, SparseLinear
from deepr_hw.ir.fixed import Format, index_dtype
from deepr_hw.target import EngineRun

from .count import count_connections
from .graph import DYNAMIC, Graph, answer, describe, natural_input
from .session import run_encoder, run_model
from .weights import place_weights

MATRIX_INPUTS = 33_025
"""Most inputs of a layer that becomes a matrix: 33025 * 255 * 255 < 2**31, so no kernel's raw sum overflows."""

MATRIX_POSITIONS = 1 << 22
"""Most positions (bytes in memory while it runs) of a layer that becomes a matrix."""

FLOAT32_EXACT = 1 << 24
"""Integers up to this magnitude are float32 values."""


def build(
    net: IntNet,
    float_input: bool = False,
    licence: str | None = None,
    matrix_positions: int = MATRIX_POSITIONS,
    batch: int | str = DYNAMIC,
) -> onnx.ModelProto:
    """The network as an ONNX model.

    Input   ``codes`` (batch, *in_shape) uint8 or int8 as ``net.x_format`` says, or, with ``float_input``, ``values``
            float32 in the user's unit, which the graph turns into ``input/codes`` (see ``IntNet.encode``)
    Outputs ``logits`` (batch, n_out) int32 in units of 2**-logit_frac; of a classification ``class`` (batch,) int64,
            ties to the lowest; a regression's unit is in the metadata, ``output``

    matrix_positions : layers with more positions stay a list of connections at run time too
    batch            : a number, for runtimes that want every shape fixed, or a name for an open one

    Raises ``ValueError`` for no such batch, or naming a layer of a kind that has no integer form.
    """
    graph = Graph("deepr_hw integer network", batch)
    codes = _input(graph, net, float_input)
    for i, layer in enumerate(net.layers):
        codes = add_layer(
            layer,
            graph,
            f"layer{i}",
            codes,
            "logits" if i == len(net.layers) - 1 else f"layer{i}/codes",
            matrix_positions,
        )
    graph.output("logits", np.int32, (net.n_out,))
    answer(graph, net, natural=False)
    doc = (
        f"{net.n_connections} connections of {net.n_positions} positions, integers only. "
        f"logits are codes in units of 2**-{net.logit_frac}."
    )
    return graph.model(doc, describe(net, "integer", licence))


def _input(graph: Graph, net: IntNet, float_input: bool) -> str:
    fmt = net.x_format
    if not float_input:
        return graph.input("codes", fmt.dtype, net.in_shape)
    return _quantize(graph, "input", natural_input(graph, net), fmt.step, fmt, "input/codes")


@singledispatch
def add_layer(layer: Layer, graph: Graph, name: str, x: str, y: str, matrix_positions: int) -> str:
    """Append ``layer`` to ``graph``, reading the codes ``x`` and giving ``y``; node names start with ``name``/."""
    raise ValueError(f"{name}: no integer ONNX form for a layer of kind {layer.kind!r}")


@add_layer.register
def _(layer: SparseLinear, graph: Graph, name: str, x: str, y: str, matrix_positions: int) -> str:
    as_matrix = layer.matrix.n_positions <= matrix_positions and layer.n_in <= MATRIX_INPUTS
    last, biased = layer.y_format is None, layer.bias is not None
    total = f"{name}/sum" if biased else y if last else f"{name}/acc"
    accumulate = _sum_nothing if not layer.matrix.n_connections else _multiply_matrix if as_matrix else _sum_connections
    accumulate(layer, graph, name, x, total)
    if layer.bias is not None:
        graph.constant(f"{name}/bias", layer.bias, np.int32)
        total = graph.node("Add", [total, f"{name}/bias"], y if last else f"{name}/acc")
    return y if last else _requantize(layer, graph, name, total, y)


def _sum_nothing(layer: SparseLinear, graph: Graph, name: str, x: str, total: str) -> None:
    batch = graph.node("Shape", [x], f"{name}/batch", start=0, end=1)
    n_out = graph.constant(f"{name}/n_out", [layer.n_out], np.int64)
    shape = graph.node("Concat", [batch, n_out], f"{name}/shape", axis=0)
    graph.node("ConstantOfShape", [shape], total, value=onnx.numpy_helper.from_array(np.zeros(1, np.int32)))


def _multiply_matrix(layer: SparseLinear, graph: Graph, name: str, x: str, total: str) -> None:
    signed = layer.x_format.signed
    dtype, zero = (np.int8, 0) if signed else (np.uint8, 128)
    operands = [x, place_weights(layer, graph, name, dtype, zero)]
    if not signed:  # OpenVINO loses the shape where the first, optional zero point is left out
        operands += [
            graph.constant(f"{name}/x_zero_point", 0, dtype),
            graph.constant(f"{name}/weight_zero_point", zero, dtype),
        ]
    graph.node("MatMulInteger", operands, total)


def _sum_connections(layer: SparseLinear, graph: Graph, name: str, x: str, total: str) -> None:
    """total[n, o] = P[end[o]] - P[start[o]], P the prefix sum of the products in the order of the connections.

    int64: the prefix runs over all outputs and may leave 32 bits. Features come first, so that a prefix step adds a
    contiguous row of the batch.
    """
    fan_in = index_dtype(int(layer.matrix.fan_in.max()) + 1)
    graph.constant(f"{name}/in_idx", layer.matrix.in_idx, layer.matrix.in_idx.dtype)
    graph.constant(f"{name}/weight", layer.matrix.code[:, None], np.int8)
    graph.constant(f"{name}/fan_in", layer.matrix.fan_in, fan_in)
    axis = graph.constant(f"{name}/axis", 0, np.int64)
    index = graph.cast(f"{name}/in_idx", np.int64, f"{name}/in_idx_int64")
    weight = graph.cast(f"{name}/weight", np.int64, f"{name}/weight_int64")
    count = graph.cast(f"{name}/fan_in", np.int64, f"{name}/fan_in_int64")
    end = graph.node("CumSum", [count, axis], f"{name}/end")
    start = graph.node("CumSum", [count, axis], f"{name}/start", exclusive=1)
    features = graph.node("Transpose", [x], f"{name}/features", perm=[1, 0])
    picked = graph.node("Gather", [features, index], f"{name}/picked", axis=0)
    product = graph.node("Mul", [graph.cast(picked, np.int64, f"{name}/picked_int64"), weight], f"{name}/product")
    pads = graph.constant(f"{name}/pads", [1, 0, 0, 0], np.int64)
    prefix = graph.node(
        "CumSum", [graph.node("Pad", [product, pads], f"{name}/product_after_0"), axis], f"{name}/prefix"
    )
    at_end = graph.node("Gather", [prefix, end], f"{name}/prefix_at_end", axis=0)
    at_start = graph.node("Gather", [prefix, start], f"{name}/prefix_at_start", axis=0)
    sums = graph.cast(graph.node("Sub", [at_end, at_start], f"{name}/sum_int64"), np.int32, f"{name}/sum_int32")
    graph.node("Transpose", [sums], total, perm=[1, 0])


def _requantize(layer: SparseLinear, graph: Graph, name: str, acc: str, y: str) -> str:
    fmt = layer.y_format
    assert fmt is not None
    if max(-layer.acc_range[0], layer.acc_range[1]) <= FLOAT32_EXACT:
        return _quantize(graph, name, graph.cast(acc, np.float32, f"{name}/acc_float32"), 2.0**layer.shift, fmt, y)
    wide = graph.cast(acc, np.float64, f"{name}/acc_float64")
    factor = graph.constant(f"{name}/factor", 2.0**-layer.shift, np.float64)
    rounded = graph.node("Round", [graph.node("Mul", [wide, factor], f"{name}/scaled")], f"{name}/rounded")
    return graph.cast(_clip(graph, name, rounded, fmt, np.float64, f"{name}/saturated"), fmt.dtype, y)


def _quantize(graph: Graph, name: str, values: str, step: float, fmt: Format, y: str) -> str:
    """y = saturate(round_half_even(values / step)); a format narrower than its type is clipped before, as real numbers:
    IREE takes the uint8 operands of a Clip for signed ones."""
    if (fmt.lo, fmt.hi) != (np.iinfo(fmt.dtype).min, np.iinfo(fmt.dtype).max):
        values = _clip(graph, name, values, fmt, np.float32, f"{name}/clipped", step)
    return graph.node(
        "QuantizeLinear",
        [values, graph.constant(f"{name}/step", step, np.float32), graph.constant(f"{name}/zero_point", 0, fmt.dtype)],
        y,
    )


def _clip(graph: Graph, name: str, values: str, fmt: Format, dtype: np.dtype | type, y: str, step: float = 1.0) -> str:
    bounds = {"lowest": fmt.lo, "highest": fmt.hi}
    stored = [graph.constant(f"{name}/{key}", bound * step, dtype) for key, bound in bounds.items()]
    return graph.node("Clip", [values, *stored], y)


def export(
    net: IntNet, out_dir: Path, float_input: bool = False, licence: str | None = None, batch: int | str = DYNAMIC
) -> dict[str, object]:
    """Write ``out_dir/integer.onnx``; returns its path, size and connections counted in the written graph."""
    model = build(net, float_input, licence, batch=batch)
    path = make_folder(Path(out_dir)) / "integer.onnx"
    write_bytes(path, model.SerializeToString(deterministic=True))
    return {"path": str(path), "bytes": path.stat().st_size, "n_connections": sum(count_connections(model))}


def run(net: IntNet, x: np.ndarray, workdir: Path, optimize: bool = True) -> EngineRun:
    """Logits of codes ``x`` (n, *in_shape) from onnxruntime: the exported file in a plain session, or, without
    ``optimize``, with every graph optimization off."""
    path = Path(str(export(net, workdir)["path"]))
    return EngineRun(run_model(path, x, block(net), None if optimize else "disable")["logits"])


def encode(net: IntNet, values: np.ndarray, workdir: Path) -> np.ndarray:
    """Encoder: the codes that onnxruntime, running the file that takes values, makes of ``values`` (n, *in_shape)."""
    return run_encoder(build(net, float_input=True), values)


def run_evaluator(net: IntNet, x: np.ndarray, workdir: Path) -> EngineRun:
    """Logits of codes ``x`` (n, *in_shape) from ONNX's own reference evaluator, on the exported file."""
    model = ReferenceEvaluator(str(export(net, workdir)["path"]))
    step = block(net)
    parts = [np.asarray(model.run(["logits"], {"codes": x[i : i + step]}))[0] for i in range(0, max(1, len(x)), step)]
    return EngineRun(np.concatenate(parts))


def block(net: IntNet) -> int:
    """Samples per call that keep the products held at once near 2**22."""
    return max(1, (1 << 22) // max(1, *(matrix.n_connections for _, matrix in net.matrices)))

"""Weights of a layer inside an ONNX graph: K values and 2 K narrow indices, put in place by the runtime."""

import numpy as np
from onnx import numpy_helper

from deepr_hw.ir import SparseLinear

from .graph import Graph


def place_weights(
    layer: SparseLinear, graph: Graph, name: str, dtype: np.dtype | type, zero: int = 0, step: float | None = None
) -> str:
    """Append the (n_in, n_out) matrix of ``weight + zero``, or of ``weight * step``, as ``dtype``.

    The file holds the connections only; the runtime fills the matrix in, at load if it folds constants.
    """
    shape = graph.constant(f"{name}/shape", [layer.n_in, layer.n_out], np.int64)
    fill = numpy_helper.from_array(np.array([zero], dtype))
    empty = graph.node("ConstantOfShape", [shape], f"{name}/no_connections", value=fill)
    if not layer.matrix.n_connections:
        return empty
    if step is None:
        weight = graph.constant(f"{name}/weight", layer.matrix.code.astype(np.int16) + zero, dtype)
    else:
        codes = graph.cast(graph.constant(f"{name}/weight", layer.matrix.code, np.int8), dtype, f"{name}/weight_codes")
        weight = graph.node("Mul", [codes, graph.constant(f"{name}/weight_unit", step, dtype)], f"{name}/weight_values")
    columns = []
    for key, values in (("in_idx", layer.matrix.in_idx), ("out_idx", layer.matrix.out_idx)):
        graph.constant(f"{name}/{key}", values[:, None], values.dtype)
        columns.append(graph.cast(f"{name}/{key}", np.int64, f"{name}/{key}_int64"))
    position = graph.node("Concat", columns, f"{name}/position", axis=1)
    return graph.node("ScatterND", [empty, position, weight], f"{name}/weight_matrix")


def dense_weights(layer: SparseLinear, dtype: np.dtype | type, step: float = 1.0) -> np.ndarray:
    """(n_in, n_out) matrix of ``weight * step`` as ``dtype``, for tools that want stored matrices."""
    matrix = np.zeros((layer.n_in, layer.n_out), dtype)
    matrix[layer.matrix.in_idx, layer.matrix.out_idx] = layer.matrix.code.astype(dtype) * np.asarray(step, dtype)
    return matrix

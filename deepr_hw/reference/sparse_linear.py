"""The reference of a sparse linear layer."""

import numpy as np

from deepr_hw.ir import SparseLinear
from deepr_hw.ir.fixed import requantize

from .run import run_layer

_BLOCK = 1 << 22
"""Products held at once (int32): bounds the memory, whatever the batch."""


@run_layer.register
def _(layer: SparseLinear, x: np.ndarray) -> np.ndarray:
    acc = accumulate(layer, x)
    return acc if layer.y_format is None else requantize(acc, layer.shift, layer.y_format)


def accumulate(layer: SparseLinear, x: np.ndarray) -> np.ndarray:
    """Accumulators (n, n_out) int32 of codes ``x`` (n, n_in): ``bias + sum of weight * x``; exact."""
    acc = np.zeros((layer.n_out, x.shape[0]), np.int32)
    if layer.bias is not None:
        acc += layer.bias[:, None]
    outputs, starts = np.unique(layer.matrix.out_idx, return_index=True)  # reduceat needs those with connections
    weight = layer.matrix.code.astype(np.int32)[:, None]
    block = max(1, _BLOCK // max(1, layer.matrix.n_connections))
    for i in range(0, x.shape[0], block):
        feature_major = np.ascontiguousarray(x[i : i + block].T)
        if outputs.size:
            acc[outputs, i : i + block] += np.add.reduceat(feature_major[layer.matrix.in_idx] * weight, starts, axis=0)
    return acc.T

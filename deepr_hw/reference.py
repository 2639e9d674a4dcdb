"""The golden model: integers only, batched, time proportional to the number of connections.

Every other target is compared with this one, bit for bit.
"""

from functools import singledispatch

import numpy as np

from .fixed import requantize
from .ir import IntNet, Layer, SparseLinear

_BLOCK = 1 << 22
"""Products held at once (int32): bounds the memory, whatever the batch."""


@singledispatch
def run_layer(layer: Layer, x: np.ndarray) -> np.ndarray:
    """Output codes (or raw int32 accumulators) of one layer for codes ``x`` of shape (n, *layer.in_shape)."""
    raise TypeError(f"no reference for a layer of kind {type(layer).__name__}")


@run_layer.register
def _(layer: SparseLinear, x: np.ndarray) -> np.ndarray:
    acc = accumulate(layer, x)
    return acc if layer.y_format is None else requantize(acc, layer.shift, layer.y_format)


def accumulate(layer: SparseLinear, x: np.ndarray) -> np.ndarray:
    """Accumulators (n, n_out) int32 of codes ``x`` (n, n_in): ``bias + sum of weight * x``; exact."""
    acc = np.zeros((layer.n_out, x.shape[0]), np.int32)
    if layer.bias is not None:
        acc += layer.bias[:, None]
    outputs, starts = np.unique(layer.out_idx, return_index=True)  # reduceat needs the outputs that have connections
    weight = layer.weight.astype(np.int32)[:, None]
    block = max(1, _BLOCK // max(1, layer.n_connections))
    for i in range(0, x.shape[0], block):
        feature_major = np.ascontiguousarray(x[i : i + block].T)
        if outputs.size:
            acc[outputs, i : i + block] += np.add.reduceat(feature_major[layer.in_idx] * weight, starts, axis=0)
    return acc.T


def check_codes(net: IntNet, x: np.ndarray) -> np.ndarray:
    """``x`` as codes of the network's input format. Raises ``ValueError`` for a wrong shape, type or value."""
    x = np.asarray(x)
    if x.shape[1:] != net.in_shape:
        raise ValueError(f"input has shape {x.shape}, the network takes (n, {', '.join(map(str, net.in_shape))})")
    if x.dtype.kind not in "iu":
        raise ValueError(f"input is {x.dtype}: the reference takes integer codes (format {net.x_format})")
    if x.size and (x.min() < net.x_format.lo or x.max() > net.x_format.hi):
        raise ValueError(f"input codes {x.min()}..{x.max()}: format {net.x_format} holds "
                         f"{net.x_format.lo}..{net.x_format.hi}")
    return x.astype(net.x_format.dtype, copy=False)


def trace(net: IntNet, x: np.ndarray) -> list[np.ndarray]:
    """Output of every layer for codes ``x`` (n, *in_shape); the last one holds the logits."""
    codes, outputs = check_codes(net, x), []
    for layer in net.layers:
        codes = run_layer(layer, codes)
        outputs.append(codes)
    return outputs


def logits(net: IntNet, x: np.ndarray) -> np.ndarray:
    """(n, n_out) int32 logits, units of 2**-logit_frac, of codes ``x`` (n, *in_shape)."""
    return trace(net, x)[-1].reshape(len(x), net.n_out)


def encode(net: IntNet, values: np.ndarray) -> np.ndarray:
    """Codes (n, *in_shape) of the user's ``values``; see ``IntNet.encode``."""
    return net.encode(values)


def predict(net: IntNet, x: np.ndarray) -> np.ndarray:
    """(n,) class of each sample: the largest logit, ties to the lowest index."""
    return np.argmax(logits(net, x), axis=1)

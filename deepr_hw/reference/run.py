"""The golden model: integers only, batched, time proportional to the number of connections.

Every other target is compared with this one, bit for bit.
"""

from functools import singledispatch

import numpy as np

from deepr_hw.ir import IntNet, Layer


@singledispatch
def run_layer(layer: Layer, x: np.ndarray) -> np.ndarray:
    """Output codes (or raw int32 accumulators) of one layer for codes ``x`` of shape (n, *layer.in_shape). Each kind
    registers a function of its own. Raises ``ValueError`` for a kind that has none."""
    raise ValueError(f"the reference has no form for a layer of kind {layer.kind}")


def check_codes(net: IntNet, x: np.ndarray) -> np.ndarray:
    """``x`` as codes of the network's input format. Raises ``ValueError`` for a wrong shape, type or value."""
    x = np.asarray(x)
    if x.shape[1:] != net.in_shape:
        raise ValueError(f"input has shape {x.shape}, the network takes (n, {', '.join(map(str, net.in_shape))})")
    if x.dtype.kind not in "iu":
        raise ValueError(f"input is {x.dtype}: the reference takes integer codes (format {net.x_format})")
    if x.size and (x.min() < net.x_format.lo or x.max() > net.x_format.hi):
        raise ValueError(
            f"input codes {x.min()}..{x.max()}: format {net.x_format} holds {net.x_format.lo}..{net.x_format.hi}"
        )
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

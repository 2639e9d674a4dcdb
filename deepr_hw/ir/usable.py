"""Which connections of a network can matter at all."""

import math

import numpy as np

from .layer import Layer
from .matrix import SparseMatrix
from .net import IntNet


def usable_share(net: IntNet) -> float:
    """Share of the connections that lie on a complete path from an input to a logit. A code of 0 counts as a
    connection; those on no path do nothing, whatever comes in. A layer that is not one matrix from its inputs to its
    outputs is taken to lead from each input to each output."""
    reached, before = np.ones(net.n_in, bool), []
    for layer in net.layers:
        before.append(reached)
        matrix, n_out = _one_matrix(layer), math.prod(layer.out_shape)
        after = np.full(n_out, reached.any() and matrix is None)
        if matrix is not None:
            after[matrix.out_idx[reached[matrix.in_idx]]] = True
        reached = after
    leads, usable = np.ones(net.n_out, bool), 0
    for layer, reached in zip(reversed(net.layers), reversed(before), strict=True):
        matrix, n_in = _one_matrix(layer), math.prod(layer.in_shape)
        if matrix is None:
            some = reached.any() and leads.any()
            usable += sum(each.n_connections for each in layer.matrices.values()) if some else 0
            leads = np.full(n_in, leads.any())
            continue
        onwards = leads[matrix.out_idx]
        usable += int(np.count_nonzero(np.logical_and(reached[matrix.in_idx], onwards)))
        leads = np.zeros(n_in, bool)
        leads[matrix.in_idx[onwards]] = True
    return usable / max(1, net.n_connections)


def _one_matrix(layer: Layer) -> SparseMatrix | None:
    """The matrix that leads from the layer's inputs to its outputs, if it is just that."""
    matrices = tuple(layer.matrices.values())
    sizes = math.prod(layer.in_shape), math.prod(layer.out_shape)
    return matrices[0] if len(matrices) == 1 and (matrices[0].n_in, matrices[0].n_out) == sizes else None

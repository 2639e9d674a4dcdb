"""The frozen integer network: fixed-point arithmetic, sparse matrices, layers, the network, its file."""

from .affine import IDENTITY, Affine
from .fixed import Format
from .layer import LAYER_KINDS, Layer, register
from .matrix import SparseMatrix
from .net import Budget, IntNet
from .sparse_linear import SparseLinear, linear_layers, sparse_linear

__all__ = [
    "IDENTITY",
    "LAYER_KINDS",
    "Affine",
    "Budget",
    "Format",
    "IntNet",
    "Layer",
    "SparseLinear",
    "SparseMatrix",
    "linear_layers",
    "register",
    "sparse_linear",
]

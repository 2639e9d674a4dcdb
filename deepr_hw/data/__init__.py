"""Data sets, the unit of their values, and deformed images."""

from .sources import (
    MNIST_SHA256,
    MNIST_URL,
    CodedDataset,
    Dataset,
    check_targets,
    encoded,
    find_mnist,
    load,
    load_diabetes,
    load_digits,
    load_idx_folder,
    load_npz,
    make_dataset,
    mnist_at_hand,
    read_idx,
    shuffled,
)

__all__ = [
    "MNIST_SHA256",
    "MNIST_URL",
    "CodedDataset",
    "Dataset",
    "check_targets",
    "encoded",
    "find_mnist",
    "load",
    "load_diabetes",
    "load_digits",
    "load_idx_folder",
    "load_npz",
    "make_dataset",
    "mnist_at_hand",
    "read_idx",
    "shuffled",
]

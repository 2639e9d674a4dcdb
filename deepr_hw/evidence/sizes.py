"""Bytes per connection of every way to write a network down, side by side: plain arrays, its own file, and what each
target adds."""

from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

from deepr_hw.extras import MissingToolError
from deepr_hw.ir import IntNet, SparseMatrix, netfile
from deepr_hw.target import Size, Target
from deepr_hw.targets import TARGETS, fetch


def sizes(net: IntNet) -> list[Size]:
    """The rows of the table for ``net``; files are written to a temporary folder and measured."""
    rows = [
        Size("dense int8", "computed", _arrays(net, lambda matrix: matrix.n_positions)),
        Size("COO, int32 indices", "computed", _arrays(net, lambda matrix: 9 * matrix.n_connections)),
        Size("CSR, int32 indices", "computed", _arrays(net, _csr), "what scipy.sparse keeps for int8 values"),
        Size("narrow indices", "computed", _arrays(net, _narrow), "IntNet in memory: int8, smallest unsigned indices"),
        Size("IntNet .safetensors", "file", len(netfile.to_bytes(net))),
    ]
    for target in TARGETS.values():
        if target.sizes is not None:
            with TemporaryDirectory(prefix="deepr_hw_") as folder:
                rows += _rows_of(target, net, Path(folder))
    return rows


def _rows_of(target: Target, net: IntNet, folder: Path) -> Iterator[Size]:
    try:
        yield from fetch(f"sizes of {target.name}", target.sizes or list)(net, folder)
    except MissingToolError as error:
        yield Size(target.name, "file", None, str(error))


def _arrays(net: IntNet, connections: Callable[[SparseMatrix], int]) -> float:
    """Bytes of all matrices, counted by ``connections``, and of biases and tables."""
    further = sum(array.nbytes for layer in net.layers for array in layer.arrays.values())
    return float(sum(connections(matrix) for _, matrix in net.matrices) + further)


def _csr(matrix: SparseMatrix) -> int:
    return 5 * matrix.n_connections + 4 * (matrix.n_out + 1)


def _narrow(matrix: SparseMatrix) -> int:
    return matrix.code.nbytes + matrix.in_idx.nbytes + matrix.out_idx.nbytes


def as_rows(net: IntNet) -> list[dict[str, object]]:
    """``sizes`` for JSON, with bytes and bits per connection."""
    n = max(1, net.n_connections)
    return [
        {
            "name": size.name,
            "kind": size.kind,
            "bytes": size.n_bytes,
            "bytes_per_connection": None if size.n_bytes is None else size.n_bytes / n,
            "remark": size.remark,
        }
        for size in sizes(net)
    ]

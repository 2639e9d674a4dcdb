"""Plain weight arrays as a ``Chain``: an ``.npz`` archive or a ``.safetensors`` file, such as a PyTorch state dict.

Matrices are told from biases by their shapes, biases go to the matrix of the same name (``fc1.weight``, ``fc1.bias``)
or to the one before. Which side of a matrix is the input is told, in this order, by ``layout``, by the shapes that have
to fit each other, the biases and the data, and by names: ``NAME.weight`` is PyTorch's (n_out, n_in), ``NAME/kernel``
Keras' (n_in, n_out). What stays open is refused. Rectifiers are taken to stand between the layers: arrays don't say.
"""

import re
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file

from .dense_chain import Chain, Dense

SUFFIXES = (".npz", ".safetensors")
LAYOUTS = {"in-out": False, "out-in": True}
"""Name of a layout -> whether its matrices are (n_out, n_in)."""
_CONVENTIONS = {"weight": True, "kernel": False}
_SAY = "say --layout in-out for (n_in, n_out) or --layout out-in for (n_out, n_in)"
_MAX_STEPS = 100_000


@dataclass(frozen=True, eq=False)
class _Matrix:
    """A matrix as it is stored, which of its positions are connections, and its bias."""

    name: str
    values: np.ndarray
    connected: np.ndarray
    bias: np.ndarray | None = None

    @property
    def square(self) -> bool:
        return self.values.shape[0] == self.values.shape[1]

    @property
    def convention(self) -> bool | None:
        """Whether its name says (n_out, n_in); None where it says nothing."""
        return _CONVENTIONS.get(_split(self.name)[1])

    def sizes(self, turned: bool) -> tuple[int, int]:
        """(n_in, n_out), when it is stored as (n_out, n_in) if ``turned``."""
        rows, columns = self.values.shape
        return (columns, rows) if turned else (rows, columns)


def read_arrays(path: Path, n_in: int | None = None, layout: str | None = None) -> Chain:
    """The chain of the arrays in ``path``.

    n_in   : features of the data, where they are known
    layout : ``in-out`` or ``out-in``, how every matrix is stored

    Raises ``ValueError`` naming the array that doesn't fit or whose orientation nothing tells, ``OSError`` for a file
    that can't be read.
    """
    if layout is not None and layout not in LAYOUTS:
        raise ValueError(f"layout {layout!r}: expected one of {', '.join(LAYOUTS)}")
    wanted = None if layout is None else LAYOUTS[layout]
    matrices = _matrices(_load(path), in_order=path.suffix == ".npz")
    if not matrices:
        raise ValueError("no matrix in it")
    matrices = _arranged(matrices, n_in, wanted, path.suffix == ".npz")
    layers = [_dense(matrix, turned) for matrix, turned in zip(matrices, _turns(matrices, n_in, wanted), strict=True)]
    return Chain((*(replace(layer, low=0.0) for layer in layers[:-1]), layers[-1]))


def _load(path: Path) -> dict[str, np.ndarray]:
    """Name -> float64 array, in the order of the file."""
    try:
        if path.suffix == ".safetensors":
            stored = load_file(path)
        else:
            with open(path, "rb") as stream:
                if not zipfile.is_zipfile(stream):
                    raise zipfile.BadZipFile("no archive of named arrays")
                stream.seek(0)
                with np.load(stream, allow_pickle=False) as archive:
                    stored = {name: archive[name] for name in archive.files}
    except (SafetensorError, zipfile.BadZipFile, zlib.error, EOFError, KeyError, TypeError) as error:
        raise ValueError(f"damaged, or no {path.suffix} file ({error})") from None
    return {name: _real(name, values) for name, values in stored.items()}


def _real(name: str, values: np.ndarray) -> np.ndarray:
    if not isinstance(values, np.ndarray):
        raise ValueError(f"{name}: is no array")
    if values.dtype.kind not in "fiubV" or values.dtype.names:
        raise ValueError(f"{name}: holds {values.dtype}; only real numbers are weights")
    try:
        real = values.astype(np.float64)
    except (TypeError, ValueError):
        raise ValueError(f"{name}: holds {values.dtype}; only real numbers are weights") from None
    if not np.isfinite(real).all():
        raise ValueError(f"{name}: contains NaN or infinity")
    return real


def _split(name: str) -> tuple[str, str]:
    """``fc1.weight`` -> (``fc1``, ``weight``); ``dense/kernel:0`` -> (``dense``, ``kernel``)."""
    stem, _, leaf = re.sub(r":\d+$", "", name).replace("/", ".").rpartition(".")
    return stem, leaf


def _matrices(arrays: dict[str, np.ndarray], in_order: bool) -> list[_Matrix]:
    """The matrices with their biases; every array must have found its place."""
    if statistics := [name for name in arrays if _split(name)[1] in ("running_mean", "running_var", "moving_mean")]:
        raise ValueError(
            f"{statistics[0]}: a normalization, and arrays don't say whether it stands before or behind "
            "the rectifier; fold it into the weights or export the model as ONNX"
        )
    arrays, masks = _masked(arrays)
    found: list[_Matrix] = []
    for name, values in arrays.items():
        if values.ndim > 2:
            raise ValueError(f"{name}: shape {values.shape}, as a convolution has; only dense layers can be imported")
        if values.ndim == 2:
            if 0 in values.shape:
                raise ValueError(f"{name}: shape {values.shape} is empty")
            found.append(_Matrix(name, values, masks.get(name, values != 0)))
    for name, values in arrays.items():
        if values.ndim < 2:
            place = _owner(name, values, found, list(arrays), in_order)
            found[place] = replace(found[place], bias=values)
    return found


def _masked(arrays: dict[str, np.ndarray]) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """``NAME_orig`` and ``NAME_mask``, as PyTorch's pruning leaves them, as ``NAME``; and the masks by name."""
    masks = {name[:-5]: arrays[name] for name in arrays if name.endswith("_mask") and f"{name[:-5]}_orig" in arrays}
    whole: dict[str, np.ndarray] = {}
    for name, values in arrays.items():
        stem = name[:-5]
        if stem in masks and name.endswith("_orig"):
            if values.shape != masks[stem].shape:
                raise ValueError(f"{name}: shape {values.shape}, its mask has {masks[stem].shape}")
            whole[stem] = values * masks[stem]
        elif not (stem in masks and name.endswith("_mask")):
            whole[name] = values
    return whole, {name: mask != 0 for name, mask in masks.items()}


def _owner(name: str, values: np.ndarray, matrices: list[_Matrix], names: list[str], in_order: bool) -> int:
    """Place of the matrix whose bias the array ``name`` is."""
    stem, leaf = _split(name)
    place = None
    if leaf == "bias":
        place = next(
            (
                i
                for i, matrix in enumerate(matrices)
                if matrix.convention is not None and _split(matrix.name)[0] == stem
            ),
            None,
        )
    elif in_order and leaf not in _CONVENTIONS:
        before = [i for i, matrix in enumerate(matrices) if names.index(matrix.name) < names.index(name)]
        place = before[-1] if before else None
    if (
        place is None
        or values.ndim != 1
        or matrices[place].bias is not None
        or values.size not in matrices[place].values.shape
    ):
        raise ValueError(f"{name}: shape {values.shape} is neither a matrix nor the bias of one that fits it")
    return place


def _arranged(matrices: list[_Matrix], n_in: int | None, wanted: bool | None, in_order: bool) -> list[_Matrix]:
    """The matrices in the order of the layers: that of the file where it has one, unless it is a state dict that
    doesn't fit so; else the only order that the sizes and the numbers in the names allow."""
    matrices = matrices if in_order else sorted(matrices, key=lambda matrix: _natural(matrix.name))
    named = all(matrix.convention is not None for matrix in matrices)
    if in_order and (not named or any(_chains(matrices, n_in, wanted))):
        return matrices
    usual = matrices[0].convention or False
    for turned in (usual, not usual) if wanted is None else (wanted,):
        orders: list[list[_Matrix]] = []
        for order in _orders(matrices, n_in, turned, [_MAX_STEPS]):
            orders.append(order)
            if len(orders) > 1:
                one, other = next((a.name, b.name) for a, b in zip(*orders, strict=True) if a is not b)
                raise ValueError(
                    f"{one}: whether it or {other} comes first is not told by names or shapes; number the "
                    "layers in their names, or save them in order as .npz"
                )
        if orders:
            return orders[0]
    return matrices


def _natural(name: str) -> list[tuple[int, str]]:
    """Sorts ``2.weight`` before ``10.weight``."""
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"(\d+)", name)]


def _orders(rest: list[_Matrix], width: int | None, turned: bool, steps: list[int]) -> Iterator[list[_Matrix]]:
    """Orders in which sizes fit and names that differ in a number only ascend; ``steps`` left bound the search."""
    if not rest:
        yield []
    seen: set[str] = set()
    for i, matrix in enumerate(rest):
        group = re.sub(r"\d+", "#", matrix.name)
        n_in, n_out = matrix.sizes(turned)
        fits = width in (None, n_in) and (matrix.bias is None or matrix.bias.size == n_out)
        if group in seen or not fits:
            seen.add(group)
            continue
        seen.add(group)
        steps[0] -= 1
        if steps[0] < 0:
            raise ValueError(f"{matrix.name}: its place is not told by names or shapes; number the layers")
        for order in _orders(rest[:i] + rest[i + 1 :], n_out, turned, steps):
            yield [matrix, *order]


def _chains(matrices: list[_Matrix], width: int | None, wanted: bool | None) -> list[list[bool | None]]:
    """Every way to turn the matrices so that the sizes fit, at most two: the first one decides about the others. None
    for square ones, which fit both ways."""
    if not matrices:
        return [[]]
    matrix, found = matrices[0], []
    for turned in (False, True):
        n_in, n_out = matrix.sizes(turned)
        if width not in (None, n_in) or (matrix.bias is not None and matrix.bias.size != n_out):
            continue
        if (turned and matrix.square) or (not matrix.square and wanted not in (None, turned)):
            continue
        rest = _chains(matrices[1:], n_out, wanted)
        found += [[None if matrix.square else turned, *others] for others in rest]
    return found


def _turns(matrices: list[_Matrix], n_in: int | None, wanted: bool | None) -> list[bool]:
    """Whether each matrix is stored as (n_out, n_in). Raises ``ValueError`` where that stays open or nothing fits."""
    chains = _chains(matrices, n_in, wanted)
    if not chains:
        _explain(matrices, n_in, wanted)
    by_name = [chain for chain in chains if _as_named(matrices, chain)]
    if len(chains) > 1 and len(by_name) != 1:
        first = matrices[0]
        raise ValueError(f"{first.name}: shape {first.values.shape} can be (n_in, n_out) and (n_out, n_in); {_SAY}")
    chain = by_name[0] if len(chains) > 1 else chains[0]
    turns = []
    for matrix, turned in zip(matrices, chain, strict=True):
        told = wanted if wanted is not None else matrix.convention if _as_named(matrices, chain) else None
        told = told if turned is None else turned
        if told is None and matrix.values.size > 1:
            raise ValueError(
                f"{matrix.name}: square, so its shape {matrix.values.shape} does not tell which side is "
                f"the input; {_SAY}"
            )
        turns.append(bool(told))
    return turns


def _as_named(matrices: list[_Matrix], chain: list[bool | None]) -> bool:
    """Whether the shapes contradict no name."""
    pairs = [(matrix.convention, turned) for matrix, turned in zip(matrices, chain, strict=True)]
    return all(None in pair or pair[0] == pair[1] for pair in pairs)


def _explain(matrices: list[_Matrix], width: int | None, wanted: bool | None) -> None:
    """Raise ``ValueError`` for the first matrix that doesn't fit, read in the layout that is most likely."""
    giver = "the data"
    for matrix in matrices:
        turned = wanted if wanted is not None else bool(matrix.convention)
        n_in, n_out = matrix.sizes(turned)
        if width not in (None, n_in):
            raise ValueError(f"{matrix.name}: takes {n_in} features, {giver} gives {width}")
        if matrix.bias is not None and matrix.bias.size != n_out:
            raise ValueError(f"{matrix.name}: gives {n_out} features, its bias has {matrix.bias.size}")
        width, giver = n_out, "the layer before"
    raise AssertionError("the matrices fit each other")


def _dense(matrix: _Matrix, turned: bool) -> Dense:
    values, connected = (a.T if turned else a for a in (matrix.values, matrix.connected))
    bias = np.zeros(values.shape[1]) if matrix.bias is None else matrix.bias
    unusual = matrix.convention is not None and matrix.convention != turned and not matrix.square
    notes = (f"stored as {'(n_out, n_in)' if turned else '(n_in, n_out)'}, as its shape tells",) if unusual else ()
    return Dense(matrix.name, values, connected, bias, notes=notes)

"""An ``IntNet`` as one ``.safetensors`` file whose size follows the number of connections.

Tensors  for each matrix of a layer ``layers.<i>.<matrix>.in_idx``, ``.out_idx`` (smallest unsigned type) and ``.code``
         (int8); for each further array (biases, tables) ``layers.<i>.<array>``; ``input.offset``, ``input.factor``
         (float32) where values are not in natural units, the same for ``output``
Metadata one key, ``deepr_hw.intnet``: JSON with schema = 3, layers (kind, formats, settings, matrices), budget,
         class labels, task and provenance. One key, because safetensors writes several in an order that changes from
         call to call.
         Read too: schema 2, whose layers were all sparse linear, and schema 1, without units and tasks.
"""

import hashlib
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save as to_safetensors

from deepr_hw.files import read_tensors, write_bytes

from .affine import IDENTITY, Affine
from .fixed import Format
from .layer import LAYER_KINDS, Layer
from .matrix import SparseMatrix
from .net import Budget, IntNet

KEY = "deepr_hw.intnet"
SCHEMA = 3
_INDICES = ("in_idx", "out_idx", "code")


def save(net: IntNet, path: Path) -> None:
    """Write ``net`` to ``path``, whole or not at all; the same network gives the same bytes."""
    write_bytes(Path(path), to_bytes(net))


def to_bytes(net: IntNet) -> bytes:
    """What the file of ``net`` holds."""
    about, tensors = to_parts(net)
    return to_safetensors(tensors, {KEY: about})


def digest(net: IntNet) -> str:
    """SHA-256 of the file of ``net``, which all that is made of it names."""
    return hashlib.sha256(to_bytes(net)).hexdigest()


def origin(net: IntNet) -> dict[str, Any]:
    """What an export says about where it comes from: the digest of ``net`` and its provenance, which names its run."""
    return {"intnet_sha256": digest(net), "provenance": dict(sorted(net.provenance.items()))}


def to_parts(net: IntNet) -> tuple[str, dict[str, np.ndarray]]:
    """Description (JSON) and tensors by name: everything that is the network, for any container."""
    tensors: dict[str, np.ndarray] = {}
    layers = []
    for i, layer in enumerate(net.layers):
        for key, matrix in layer.matrices.items():
            tensors |= {f"layers.{i}.{key}.{name}": getattr(matrix, name) for name in _INDICES}
        tensors |= {f"layers.{i}.{key}": array for key, array in layer.arrays.items()}
        matrices = {
            key: {"n_in": matrix.n_in, "n_out": matrix.n_out, "w_format": asdict(matrix.w_format)}
            for key, matrix in layer.matrices.items()
        }
        layers.append(
            {
                "kind": layer.kind,
                "x_format": asdict(layer.x_format),
                "y_format": layer.y_format and asdict(layer.y_format),
                "settings": dict(layer.settings),
                "matrices": matrices,
                "arrays": sorted(layer.arrays),
            }
        )
    for side, unit in (("input", net.input_map), ("output", net.output_map)):
        if not unit.is_identity:
            tensors |= {f"{side}.offset": unit.offset, f"{side}.factor": unit.factor}
    about = {
        "schema": SCHEMA,
        "layers": layers,
        "budget": asdict(net.budget),
        "class_labels": net.class_labels,
        "task": net.task,
        "provenance": dict(sorted(net.provenance.items())),
    }
    return json.dumps(about, sort_keys=True), tensors


def load(path: Path) -> IntNet:
    """The network in ``path``. Raises ``ValueError`` naming the file and the field when it is not a sound IntNet file,
    ``OSError`` when it can't be read."""
    path = Path(path)
    if path.is_dir():
        raise IsADirectoryError(21, "is a folder, expected an IntNet file such as net.safetensors in it", str(path))
    if path.stat().st_size == 0:
        raise ValueError(f"{path}: the file is empty")
    metadata, tensors = read_tensors(path, "safetensors file")
    try:
        if KEY not in metadata:
            raise ValueError(f"metadata {KEY}: missing, so this is no IntNet file")
        return from_parts(metadata[KEY], tensors)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def from_parts(description: str, tensors: dict[str, np.ndarray]) -> IntNet:
    """The network of ``to_parts``. Raises ``ValueError`` naming the field that is unsound."""
    tensors = dict(tensors)
    try:
        about = json.loads(description)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"metadata {KEY}: not JSON ({error})") from None
    if not 1 <= _get(about, "schema", int, "net") <= SCHEMA:
        raise ValueError(f"metadata net.schema = {about['schema']}: this version reads 1 to {SCHEMA}")
    entries = _get(about, "layers", list, "net")
    if about["schema"] < 3:
        entries = [_of_schema_2(i, entry, tensors) for i, entry in enumerate(entries)]
    layers = [_read_layer(i, entry, tensors) for i, entry in enumerate(entries)]
    units = {side: _read_unit(side, tensors) for side in ("input", "output")}
    if tensors:
        raise ValueError(f"tensor {min(tensors)}: belongs to no layer")
    budget = _get(about, "budget", dict, "net")
    return IntNet(
        layers=tuple(layers),
        budget=Budget(_get(budget, "kind", str, "budget"), _get_list(budget, "limits", int, "budget")),
        class_labels=_get_list(about, "class_labels", str, "net"),
        provenance=_texts(_get(about, "provenance", dict, "net")),
        input_map=units["input"],
        task="classification" if about["schema"] == 1 else _get(about, "task", str, "net"),
        output_map=units["output"],
    )


def _read_unit(side: str, tensors: dict[str, np.ndarray]) -> Affine:
    offset, factor = (tensors.pop(f"{side}.{name}", None) for name in ("offset", "factor"))
    if offset is None and factor is None:
        return IDENTITY
    if offset is None or factor is None:
        raise ValueError(f"tensor {side}.{'offset' if offset is None else 'factor'}: missing")
    try:
        return Affine(offset, factor)
    except ValueError as error:
        raise ValueError(f"tensor {side}.{error}") from None


def _read_layer(i: int, entry: Any, tensors: dict[str, np.ndarray]) -> Layer:
    where = f"layers[{i}]"
    kind = _get(entry, "kind", str, where)
    if kind not in LAYER_KINDS:
        raise ValueError(f"{where}.kind = {kind!r}: expected one of {', '.join(LAYER_KINDS)}")
    x_format = _read_format(entry.get("x_format"), f"{where}.x_format")
    y_format = None if entry.get("y_format") is None else _read_format(entry["y_format"], f"{where}.y_format")
    arrays = {str(key): _tensor(tensors, f"layers.{i}.{key}") for key in _get(entry, "arrays", list, where)}
    try:
        matrices = {
            key: _read_matrix(f"layers.{i}.{key}", about, tensors)
            for key, about in _get(entry, "matrices", dict, where).items()
        }
        return LAYER_KINDS[kind].from_parts(matrices, arrays, _get(entry, "settings", dict, where), x_format, y_format)
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from None


def _read_matrix(where: str, about: Any, tensors: dict[str, np.ndarray]) -> SparseMatrix:
    sizes = {name: _get(about, name, int, where) for name in ("n_in", "n_out")}
    w_format = _read_format(about.get("w_format"), f"{where}.w_format")
    in_idx, out_idx, code = (_tensor(tensors, f"{where}.{name}") for name in _INDICES)
    return SparseMatrix(sizes["n_in"], sizes["n_out"], in_idx, out_idx, code, w_format)


def _tensor(tensors: dict[str, np.ndarray], name: str) -> np.ndarray:
    if name not in tensors:
        raise ValueError(f"tensor {name}: missing")
    return tensors.pop(name)


def _of_schema_2(i: int, entry: Any, tensors: dict[str, np.ndarray]) -> dict[str, Any]:
    """Description of a layer as files of schema 1 and 2 hold it, in today's form; its tensors get today's names."""
    where = f"layers[{i}]"
    _get(entry, "kind", str, where)
    for old, new in (("in_idx", "weight.in_idx"), ("out_idx", "weight.out_idx"), ("weight", "weight.code")):
        tensors[f"layers.{i}.{new}"] = _tensor(tensors, f"layers.{i}.{old}")
    matrix = {name: entry.get(name) for name in ("n_in", "n_out", "w_format")}
    arrays = ["bias"] if f"layers.{i}.bias" in tensors else []
    return {**entry, "settings": {}, "matrices": {"weight": matrix}, "arrays": arrays}


def _read_format(entry: Any, where: str) -> Format:
    fields = {"bits": int, "signed": bool, "frac": int}
    values = {key: _get(entry, key, kind, where) for key, kind in fields.items()}
    try:
        return Format(**values)
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from None


def _get(entry: Any, key: str, kind: type, where: str) -> Any:
    if not isinstance(entry, dict) or not _is(entry.get(key), kind):
        raise ValueError(f"metadata {where}.{key}: missing or not a {kind.__name__}")
    return entry[key]


def _get_list(entry: Any, key: str, kind: type, where: str) -> tuple[Any, ...]:
    values = _get(entry, key, list, where)
    for i, value in enumerate(values):
        if not _is(value, kind):
            raise ValueError(f"metadata {where}.{key}[{i}] = {value!r}: not a {kind.__name__}")
    return tuple(values)


def _is(value: Any, kind: type) -> bool:
    return isinstance(value, kind) and (kind is bool or not isinstance(value, bool))  # Python's bool is an int


def _texts(provenance: dict[str, Any]) -> dict[str, str]:
    for key, value in provenance.items():
        if not isinstance(value, str):
            raise ValueError(f"metadata net.provenance.{key} = {value!r}: not a str")
    return provenance

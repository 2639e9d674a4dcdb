"""An ``IntNet`` as one ``.safetensors`` file whose size follows the number of connections.

Tensors  ``layers.<i>.in_idx``, ``layers.<i>.out_idx`` (smallest unsigned type), ``layers.<i>.weight`` (int8) and, where
         there is one, ``layers.<i>.bias`` (int32); ``input.offset``, ``input.factor`` (float32) where values are not in
         natural units, the same for ``output``
Metadata one key, ``deepr_hw.intnet``: JSON with schema = 2, layers (kind, sizes, formats), budget, class labels, task
         and provenance. One key, because safetensors writes several in an order that changes from call to call.
         Schema 1, which knew neither units nor tasks, is read too.
"""

import hashlib
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save as to_safetensors

from . import memory
from .affine import IDENTITY, Affine
from .files import write_bytes
from .fixed import Format
from .ir import LAYER_KINDS, Budget, IntNet, Layer

KEY = "deepr_hw.intnet"
SCHEMA = 2
_OUTPUT_BYTES = 48
"""Memory that an output takes, whether connections lead to it or not: its fan-in and the bounds of its sums."""
_ARRAYS = ("in_idx", "out_idx", "weight", "bias")
_FORMATS = ("x_format", "w_format", "y_format")


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
    tensors, layers = {}, []
    for i, layer in enumerate(net.layers):
        for name in _ARRAYS:
            if getattr(layer, name) is not None:
                tensors[f"layers.{i}.{name}"] = getattr(layer, name)
        formats = {name: fmt and asdict(fmt) for name in _FORMATS for fmt in [getattr(layer, name)]}
        layers.append({"kind": layer.kind, "n_in": layer.n_in, "n_out": layer.n_out, **formats})
    for side, unit in (("input", net.input_map), ("output", net.output_map)):
        if not unit.is_identity:
            tensors |= {f"{side}.offset": unit.offset, f"{side}.factor": unit.factor}
    about = {"schema": SCHEMA, "layers": layers, "budget": asdict(net.budget), "class_labels": net.class_labels,
             "task": net.task, "provenance": dict(sorted(net.provenance.items()))}
    return json.dumps(about, sort_keys=True), tensors


def load(path: Path) -> IntNet:
    """The network in ``path``. Raises ``ValueError`` naming the file and the field when it is not a sound IntNet file,
    ``OSError`` when it can't be read."""
    path = Path(path)
    if path.is_dir():
        raise IsADirectoryError(21, "is a folder, expected an IntNet file such as net.safetensors in it", str(path))
    if path.stat().st_size == 0:
        raise ValueError(f"{path}: the file is empty")
    try:
        with safe_open(path, framework="np") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a mapping
    except (SafetensorError, KeyError, TypeError, AttributeError) as error:  # types that NumPy doesn't know
        raise ValueError(f"{path}: not a whole safetensors file ({error})") from None
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
    layers = [_read_layer(i, entry, tensors) for i, entry in enumerate(_get(about, "layers", list, "net"))]
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
    arrays: dict[str, Any] = {name: tensors.pop(f"layers.{i}.{name}", None) for name in _ARRAYS}
    for name in _ARRAYS[:-1]:
        if arrays[name] is None:
            raise ValueError(f"tensor layers.{i}.{name}: missing")
    formats: dict[str, Any] = {name: _read_format(entry.get(name), f"{where}.{name}", optional=name == "y_format")
                               for name in _FORMATS}
    sizes = {name: _get(entry, name, int, where) for name in ("n_in", "n_out")}
    try:
        memory.require(_OUTPUT_BYTES * sizes["n_out"], f"n_out = {sizes['n_out']:,}")
        return LAYER_KINDS[kind](**sizes, **arrays, **formats)
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from None


def _read_format(entry: Any, where: str, optional: bool) -> Format | None:
    if entry is None and optional:
        return None
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

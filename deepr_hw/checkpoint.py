"""The state of a training run in one file, written whole or not at all; what is read back continues bit for bit."""

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save as to_safetensors

from .connections import Connections
from .files import write_bytes
from .fixed import Format
from .model import Model

FORMAT = "deepr_hw.checkpoint"
SCHEMA = "1"
_ARRAYS = ("indptr", "out_idx", "weight", "code", "moments")


def save_checkpoint(path: Path, model: Model, extra: dict[str, np.ndarray], about: dict[str, Any]) -> None:
    """Write ``model``, further arrays and a JSON-able description to ``path``."""
    tensors = {name: np.ascontiguousarray(getattr(model.connections, name)) for name in _ARRAYS}
    tensors["limits"] = model.connections.partition.limits
    tensors["bias"], tensors["bias_moments"] = model.bias, model.bias_moments
    tensors.update({f"extra.{name}": np.ascontiguousarray(array) for name, array in extra.items()})
    formats = {"w_formats": [fmt and asdict(fmt) for fmt in model.w_formats],
               "y_formats": [fmt and asdict(fmt) for fmt in model.y_formats]}
    metadata = {"format": FORMAT, "schema": SCHEMA, "formats": json.dumps(formats), "about": json.dumps(about)}
    write_bytes(Path(path), to_safetensors(tensors, metadata))


def load_checkpoint(path: Path, model: Model) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Fill ``model`` (made from the same configuration) from ``path``; returns the further arrays and the description.

    Raises ``ValueError`` naming the file when it is damaged or belongs to another network, ``OSError`` when it can't
    be read.
    """
    path = Path(path)
    path.stat()
    try:
        with safe_open(path, framework="np") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a mapping
    except SafetensorError as error:
        raise ValueError(f"{path}: not a whole checkpoint ({error})") from None
    if (metadata.get("format"), metadata.get("schema")) != (FORMAT, SCHEMA):
        raise ValueError(f"{path}: metadata format = {metadata.get('format')!r}: expected {FORMAT!r} {SCHEMA}")
    c = model.connections
    limits = tensors.get("limits", np.zeros(0, np.int64))
    if limits.shape != c.partition.limits.shape or (limits > c.partition.limits).any():
        raise ValueError(f"{path}: tensor limits is missing or of another network")
    if (limits < c.partition.limits).any():  # a method that prunes had come so far
        k, n_moments = int(limits.sum()), len(c.moments)
        c = model.connections = Connections(
            replace(c.partition, limits=limits), c.indptr, np.zeros(k, np.int32), np.zeros(k, np.float32),
            np.zeros(k, np.int8), np.zeros(k, np.float32), np.zeros((n_moments, k), np.float32))
    for name in _ARRAYS:
        own, read = getattr(c, name), tensors.get(name)
        if read is None or read.shape != own.shape or read.dtype != own.dtype:
            raise ValueError(f"{path}: tensor {name} is missing or of another network")
        setattr(c, name, read)
    for name in ("bias", "bias_moments"):
        if name not in tensors or tensors[name].shape != getattr(model, name).shape:
            raise ValueError(f"{path}: tensor {name} is missing or of another network")
        setattr(model, name, tensors[name])
    formats = json.loads(metadata["formats"])
    model.w_formats = [entry and Format(**entry) for entry in formats["w_formats"]]
    model.y_formats = [entry and Format(**entry) for entry in formats["y_formats"]]
    c.check()
    extra = {name.removeprefix("extra."): array for name, array in tensors.items() if name.startswith("extra.")}
    return extra, json.loads(metadata["about"])

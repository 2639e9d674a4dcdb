"""The state of a training run in one file, written whole or not at all; what is read back continues bit for bit.

Tensors and description are under one SHA-256, so that a flipped bit is seen before anything is made of it.
"""

import hashlib
import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save as to_safetensors

from deepr_hw.files import read_tensors, write_bytes
from deepr_hw.ir.fixed import Format
from deepr_hw.sparse_set.connections import Connections

from .model import Model

FORMAT = "deepr_hw.train.checkpoint"
SCHEMA = "3"
_ARRAYS = ("indptr", "out_idx", "weight", "code", "moments")
_EXTRA = "extra."


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """What is in the file ``path``.

    tensors : arrays by name; those beside the model's begin with ``extra.``
    formats : of weights and activations, stage by stage
    about   : the description that was saved with it
    """

    path: Path
    tensors: dict[str, np.ndarray]
    formats: list[dict[str, list[Format | None]]]
    about: dict[str, Any]

    @property
    def extra(self) -> dict[str, np.ndarray]:
        """The further arrays."""
        return {name.removeprefix(_EXTRA): array for name, array in self.tensors.items() if name.startswith(_EXTRA)}

    def fill(self, model: Model) -> None:
        """Bring ``model`` (made from the same configuration) to the state in the file.

        Raises ``ValueError`` naming the file when it belongs to another network.
        """
        c = model.connections
        limits = self._tensor("limits", c.partition.limits)
        if (limits > c.partition.limits).any():
            raise ValueError(f"{self.path}: tensor limits is of another network")
        if (limits < c.partition.limits).any():  # a method that prunes had come so far
            k, n_moments = int(limits.sum()), len(c.moments)
            c = model.connections = Connections(
                replace(c.partition, limits=limits),
                c.indptr,
                np.zeros(k, np.int32),
                np.zeros(k, np.float32),
                np.zeros(k, np.int8),
                np.zeros(k, np.float32),
                np.zeros((n_moments, k), np.float32),
                None if c.walk is None else np.zeros(k, np.float32),
            )
        for name in _ARRAYS if c.walk is None else (*_ARRAYS, "walk"):
            setattr(c, name, self._tensor(name, getattr(c, name)))
        for name in ("bias", "bias_moments"):
            setattr(model, name, self._tensor(name, getattr(model, name)))
        for stage, formats in zip(model.stages, self.formats, strict=True):
            stage.w_formats, stage.y_formats = formats["w_formats"], formats["y_formats"]
        try:
            c.check()
        except ValueError as error:
            raise ValueError(f"{self.path}: {error}") from None

    def _tensor(self, name: str, own: np.ndarray) -> np.ndarray:
        read = self.tensors.get(name)
        if read is None or read.shape != own.shape or read.dtype != own.dtype:
            raise ValueError(f"{self.path}: tensor {name} is missing or of another network")
        return read


def save_checkpoint(path: Path, model: Model, extra: dict[str, np.ndarray], about: dict[str, Any]) -> None:
    """Write ``model``, further arrays and a JSON-able description to ``path``."""
    tensors = {name: np.ascontiguousarray(getattr(model.connections, name)) for name in _ARRAYS}
    if model.connections.walk is not None:
        tensors["walk"] = model.connections.walk
    tensors["limits"] = model.connections.partition.limits
    tensors["bias"], tensors["bias_moments"] = model.bias, model.bias_moments
    tensors.update({f"{_EXTRA}{name}": np.ascontiguousarray(array) for name, array in extra.items()})
    formats = [
        {name: [fmt and asdict(fmt) for fmt in getattr(stage, name)] for name in ("w_formats", "y_formats")}
        for stage in model.stages
    ]
    metadata = {"format": FORMAT, "schema": SCHEMA, "formats": json.dumps(formats), "about": json.dumps(about)}
    metadata["sha256"] = _digest(metadata, tensors)
    write_bytes(Path(path), to_safetensors(tensors, metadata))


def load_checkpoint(path: Path) -> Checkpoint:
    """What is in ``path``. Raises ``ValueError`` naming the file when it is damaged or no checkpoint of this schema,
    ``OSError`` when it can't be read."""
    path = Path(path)
    path.stat()
    try:
        metadata, tensors = read_tensors(path, "checkpoint")
    except ValueError as error:
        raise ValueError(f"{error}; train anew with --force") from None
    if (metadata.get("format"), metadata.get("schema")) != (FORMAT, SCHEMA):
        raise ValueError(
            f"{path}: metadata format = {metadata.get('format')!r} {metadata.get('schema')}: expected "
            f"{FORMAT!r} {SCHEMA}; train anew with --force"
        )
    if metadata.pop("sha256", None) != _digest(metadata, tensors):
        raise ValueError(f"{path}: damaged, its SHA-256 is not that of its content; train anew with --force")
    formats = [
        {name: [entry and Format(**entry) for entry in entries] for name, entries in stage.items()}
        for stage in json.loads(metadata["formats"])
    ]
    return Checkpoint(path, tensors, formats, json.loads(metadata["about"]))


def _digest(metadata: dict[str, str], tensors: dict[str, np.ndarray]) -> str:
    """SHA-256 of a checkpoint's whole content."""
    digest = hashlib.sha256(json.dumps(metadata, sort_keys=True).encode())
    for name, array in sorted(tensors.items()):
        digest.update(f"{name} {array.dtype.str} {array.shape}\n".encode())
        digest.update(array.reshape(-1).data)
    return digest.hexdigest()

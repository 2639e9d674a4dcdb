"""The folder of a run: one run at a time, one run for good, and an id that every artefact of it carries.

The id is made of what decides the result: the configuration, the samples and labels, this package's version. So the
same run has the same id on every machine, and one that went on has the id of one that was never interrupted. Neither
``training.epochs`` is in it, which a resumed run may raise, nor ``data.name``, for which the data itself stands.
"""

import contextlib
import errno
import fcntl
import hashlib
import json
import os
import shutil
import tomllib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from deepr_hw.data import Dataset
from deepr_hw.files import folder_for, write_text
from deepr_hw.testimony import RECORD, artefacts
from deepr_hw.version import __version__

from .config import Config, dump_config

CONFIG, METRICS, CHECKPOINT = "config.toml", "metrics.jsonl", "checkpoint.safetensors"
BUDGET, NET = "budget.json", "net.safetensors"
TRAINED = (CONFIG, METRICS, CHECKPOINT, BUDGET, NET, RECORD)
"""What training leaves in the folder of a run."""

_MADE_OF_NET = ("onnx", "hls4ml", "rtl", "verify.json", "certificate.json", "report.html", "report.png")
"""What is made of the network and may never stand beside another one, whatever the record says."""

_OUTSIDE_ID = ("training.epochs", "data.name")


@dataclass(frozen=True)
class Identity:
    """What a run is made of.

    config  : the configuration's text
    data    : SHA-256 of samples and labels
    version : of this package
    """

    config: str
    data: str
    version: str

    @property
    def run(self) -> str:
        """The run's id, 16 hexadecimal digits."""
        keys = {key: value for key, value in flat(self.config).items() if key not in _OUTSIDE_ID}
        text = json.dumps([keys, self.data, self.version], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]


def identify(config: Config, dataset: Dataset) -> Identity:
    """The identity of training ``config`` on ``dataset``."""
    digest = hashlib.sha256()
    for array in (dataset.x_train, dataset.y_train, dataset.x_test, dataset.y_test):
        digest.update(f"{array.dtype.str} {array.shape}\n".encode())
        digest.update(np.ascontiguousarray(array).reshape(-1).data)
    digest.update(json.dumps([list(dataset.sample_shape), list(dataset.class_labels)]).encode())
    return Identity(dump_config(config), digest.hexdigest(), __version__)


def flat(config: str) -> dict[str, Any]:
    """The TOML text ``config`` as values by ``section.key``."""
    return {
        f"{section}.{key}": value for section, table in tomllib.loads(config).items() for key, value in table.items()
    }


def check_same(begun: Identity, given: Identity, n_done: int, dense: bool) -> None:
    """Raise ``ValueError`` naming the difference unless a run that was ``begun`` may go on as ``given``: with the same
    data and version, and the same keys but for ``training.epochs``, which may rise.

    n_done : epochs that were trained
    dense  : whether the method meets its budget in the last epoch; then there is no going on behind it
    """
    old, new = flat(begun.config), flat(given.config)
    if begun.data != given.data:
        raise ValueError(
            f"data.name = {new['data.name']!r}: the samples aren't those that the run was begun with "
            f"({old['data.name']!r})"
        )
    if begun.version != given.version:
        raise ValueError(f"begun with deepr-hw {begun.version}, this is {given.version}: its steps may differ")
    for key in sorted(old.keys() | new.keys()):
        if old.get(key) != new.get(key) and key not in _OUTSIDE_ID:
            raise ValueError(
                f"{key}: was {_shown(old.get(key))} so far, is {_shown(new.get(key))} now; only "
                "training.epochs may rise"
            )
    epochs = old["training.epochs"], new["training.epochs"]
    if epochs[1] < epochs[0]:
        raise ValueError(f"training.epochs: was {epochs[0]} so far, is {epochs[1]} now; it may only rise")
    if dense and epochs[1] > epochs[0] == n_done:
        raise ValueError(
            f"training.epochs: {new['training.method']} has met its budget at the end of {n_done} epochs "
            "and can't go on behind it"
        )


def _shown(value: object) -> str:
    return "not given" if value is None else repr(value)


@contextlib.contextmanager
def claim(folder: Path, resume: bool = False, force: bool = False) -> Iterator[Path]:
    """``folder`` (made when missing), which belongs to this run alone while the block runs. A folder that was made and
    stayed empty vanishes when the block raises.

    resume : it may hold the beginning of this run
    force  : it may hold another run, to be replaced

    Raises ``OSError`` when another process is at work in it or it can't be made, ``ValueError`` when it holds a run and
    neither ``resume`` nor ``force`` says what to do with it.
    """
    with folder_for(folder) as made, locked(made):
        _check_use(made, resume, force)
        yield made


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold ``folder`` against other processes while the block runs. The lock ends with the process, however that ends.

    Raises ``OSError`` when another process holds it.
    """
    handle = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise OSError(errno.EBUSY, "another run is at work in this folder", str(folder)) from None
        except OSError as error:  # network file systems may know no locks on folders
            if error.errno not in (errno.EBADF, errno.ENOLCK, errno.ENOTSUP, errno.EINVAL):
                raise
        yield
    finally:
        os.close(handle)


def _check_use(folder: Path, resume: bool, force: bool) -> None:
    found = [name for name in (*TRAINED, *sorted(made_of_net(folder))) if (folder / name).exists()]
    if force or not found:
        return
    if not resume:
        raise ValueError(
            f"{folder}: holds a run already ({found[-1]}); --resume goes on with it, --force puts a new "
            "one in its place"
        )
    if CHECKPOINT not in found and NET in found:
        raise ValueError(f"{folder}: has no {CHECKPOINT} to go on from; --force puts a new run in its place")


def made_of_net(folder: Path) -> set[str]:
    """Files and folders directly in ``folder`` that are made of a network, those of further targets by its record."""
    named = {Path(name).parts[0] for name in artefacts(folder) if Path(name).parts}
    return {*_MADE_OF_NET, *(name for name in named - {*TRAINED, ".."} if not Path(name).is_absolute())}


def clear(folder: Path, names: Iterable[str]) -> None:
    """Remove the files and folders ``names`` from ``folder``, those that are there."""
    for name in names:
        path = folder / name
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


def write_record(folder: Path, run: str, made: Iterable[str] = ()) -> None:
    """Write ``run.json``: the run's id, the SHA-256 of its network's file and all that belongs to it, as paths within
    ``folder``; ``made`` are those that were made of the network."""
    record = {
        "run": run,
        "intnet": hashlib.sha256((folder / NET).read_bytes()).hexdigest(),
        "artefacts": [*TRAINED, *made],
    }
    write_text(folder / RECORD, json.dumps(record, indent=1) + "\n")

"""Files that are either whole or absent: written beside the target, then renamed."""

import contextlib
import fcntl
import os
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open

_PART = ".deepr_hw-part"
"""How the names of files end that are still being written."""


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Path of a new file beside ``path`` that takes its place when the block ends, and vanishes when it raises.

    What a killed process left of its own new files is removed from the folder on the way.
    Raises ``OSError`` naming ``path`` when its folder is missing or can't be written.
    """
    path = Path(os.path.realpath(path))  # through a link: the file it points to is replaced, not the link
    try:
        _remove_stale(path.parent)
        handle, beside = _make_part(path)
    except OSError as error:
        raise type(error)(error.errno, f"can't write here: {error.strerror}", str(path)) from None
    try:
        yield beside
        with open(beside, "rb") as written:
            os.fsync(written.fileno())
        umask = os.umask(0)
        os.umask(umask)
        beside.chmod(0o666 & ~umask)
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)
        os.close(handle)


def _make_part(path: Path) -> tuple[int, Path]:
    """A new file beside ``path`` and its handle, whose lock says that somebody is at work on it."""
    while True:
        handle, name = tempfile.mkstemp(prefix=f".{path.name[:200]}.", suffix=_PART, dir=path.parent)
        _lock(handle)
        if os.fstat(handle).st_nlink:
            return handle, Path(name)
        os.close(handle)  # another process took it for stale before the lock was there


def _remove_stale(folder: Path) -> None:
    """Remove the unfinished files in ``folder`` that nobody is at work on any more."""
    for path in folder.glob(f".*{_PART}"):
        with contextlib.suppress(OSError):  # finished or removed meanwhile, or not ours to remove
            handle = os.open(path, os.O_RDWR)
            try:
                if _lock(handle):
                    path.unlink()
            finally:
                os.close(handle)


def _lock(handle: int) -> bool:
    """Whether the lock of an open file could be had; it ends with the process, however that ends."""
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def write_bytes(path: Path, data: bytes) -> None:
    """Write ``data`` to ``path`` whole or not at all; what is no regular file (a pipe, /dev/stdout) is written to."""
    if os.path.exists(path) and not os.path.isfile(path):
        with open(path, "wb") as stream:
            stream.write(data)
        return
    with replacing(path) as beside:
        beside.write_bytes(data)


def write_text(path: Path, text: str) -> None:
    """Write ``text`` (UTF-8) to ``path`` whole or not at all."""
    write_bytes(path, text.encode())


def replace_files(folder: Path, earlier: Iterable[str], texts: Mapping[str, str]) -> None:
    """Write ``texts`` by their path below ``folder``; what of ``earlier``, paths likewise, is not among them is
    removed, and the folders that this leaves empty. Nothing else in ``folder`` is touched. Raises ``OSError``.
    """
    folder = make_folder(folder)
    for name in set(earlier) - texts.keys():
        path = folder / name
        if folder.resolve() not in path.parent.resolve().parents and path.parent.resolve() != folder.resolve():
            continue  # a path that leads out of the folder
        if path.is_file() or path.is_symlink():
            path.unlink()
            with contextlib.suppress(OSError):  # not empty, or the folder itself
                if path.parent != folder:
                    path.parent.rmdir()
    for name, text in texts.items():
        make_folder((folder / name).parent)
        write_text(folder / name, text)


def check_writable(path: Path) -> None:
    """Raise ``OSError`` naming ``path`` unless a file can be written there; leaves everything as it is."""
    path = Path(os.path.realpath(path))
    if path.is_dir():
        raise IsADirectoryError(21, "is a folder, expected a file to write", str(path))
    if not path.parent.is_dir():
        raise FileNotFoundError(2, "can't write here: its folder does not exist", str(path))
    if not os.access(path if path.exists() and not path.is_file() else path.parent, os.W_OK):
        raise PermissionError(13, "can't write here", str(path))


def check_folder(path: Path) -> None:
    """Raise ``OSError`` naming ``path`` unless it is a folder to write in or can be made one; leaves everything as it
    is."""
    path = Path(path)
    there = next(folder for folder in (path, *path.absolute().parents) if os.path.lexists(folder))
    if not there.is_dir():
        raise NotADirectoryError(20, f"can't make this folder: {there} is a file", str(path))
    if not os.access(there, os.W_OK):
        raise PermissionError(13, "can't write here", str(path))


def make_folder(path: Path) -> Path:
    """``path`` as an existing folder, made when missing. Raises ``OSError`` naming it when that fails."""
    path = Path(path)
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise type(error)(error.errno, f"can't make this folder: {error.strerror}", str(path)) from None
    if not os.access(path, os.W_OK):
        raise PermissionError(13, "can't write in this folder", str(path))
    return path


@contextlib.contextmanager
def folder_for(path: Path) -> Iterator[Path]:
    """``make_folder(path)``, which vanishes again, and what was made above it, when the block raises and left it
    empty."""
    path = Path(path)
    new = [folder for folder in (path, *path.parents) if not os.path.lexists(folder)]
    try:
        yield make_folder(path)
    except BaseException:
        with contextlib.suppress(OSError):  # not empty
            for folder in new:
                folder.rmdir()
        raise


def read_tensors(path: Path, what: str) -> tuple[dict[str, str], dict[str, np.ndarray]]:
    """Metadata and tensors of a .safetensors file. Raises ``ValueError`` for what is not a whole ``what``, ``OSError``
    when it can't be read."""
    try:
        with safe_open(path, framework="np") as file:
            return file.metadata() or {}, {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, KeyError, TypeError, AttributeError) as error:  # types that NumPy doesn't know
        raise ValueError(f"{path}: not a whole {what} ({error})") from None

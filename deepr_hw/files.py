"""Files that are either whole or absent: written beside the target, then renamed."""

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Path of a new file beside ``path`` that takes its place when the block ends, and vanishes when it raises.

    Raises ``OSError`` naming ``path`` when its folder is missing or can't be written.
    """
    path = Path(os.path.realpath(path))  # through a link: the file it points to is replaced, not the link
    try:
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    except OSError as error:
        raise type(error)(error.errno, f"can't write here: {error.strerror}", str(path)) from None
    os.close(handle)
    beside = Path(name)
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

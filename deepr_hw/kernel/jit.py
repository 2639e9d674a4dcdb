"""Compiled functions whose cache on disk knows all the sources they are made of.

Numba's cache looks at the time of one file. A kernel that inlines functions of other files would survive their change
and go on computing what they used to.
"""

import hashlib
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from numba import njit
from numba.core.caching import FunctionCache

SOURCES = (
    "kernel/jit.py",
    "kernel/noise.py",
    "kernel/vectors.py",
    "sparse_set/step.py",
    "sparse_set/draw.py",
    "sparse_set/rewire.py",
    "train/sparse_linear.py",
    "train/compiled.py",
    "data/augment.py",
)
"""Modules that hold compiled functions."""


def source_stamp(folder: Path) -> str:
    """Digest of the sources of all compiled functions."""
    paths = [folder / name for name in SOURCES]
    return hashlib.sha256(b"".join(path.read_bytes() for path in paths if path.exists())).hexdigest()


_STAMP = source_stamp(Path(__file__).parent.parent)


def kernel(function: Callable[..., Any] | None = None, **options: Any) -> Any:
    """``numba.njit(nogil=True, **options)`` with a cache that is renewed when any of ``SOURCES`` changes."""
    if function is None:
        return partial(kernel, **options)
    dispatcher = njit(nogil=True, **options)(function)
    cache = FunctionCache(function)
    cache._cache_file._source_stamp = _STAMP
    dispatcher._cache = cache
    return dispatcher

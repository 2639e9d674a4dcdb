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

ROOMS = ("kernel", "sparse_set", "train", "data")
"""Where compiled functions are."""

REORDERS = {"contract", "reassoc"}
"""``fastmath`` flags of kernels that sum: products are fused, sums taken in any order. NaN and infinities stay what
they are: divergence is told by them."""


def sources(folder: Path) -> list[Path]:
    """Modules with compiled functions in the ``ROOMS`` of ``folder``."""
    modules = (path for room in ROOMS for path in sorted((folder / room).glob("*.py")))
    return [path for path in modules if b"\n@kernel" in path.read_bytes()]


def source_stamp(folder: Path) -> str:
    """Digest of the sources of all compiled functions below ``folder``."""
    return hashlib.sha256(b"".join(path.read_bytes() for path in sources(folder))).hexdigest()


_STAMP = source_stamp(Path(__file__).parent.parent)


def kernel(function: Callable[..., Any] | None = None, **options: Any) -> Any:
    """``numba.njit(nogil=True, **options)`` with a cache that any change in a source of compiled functions renews.

    Numba has no public way to say that. Where its private fields are others than we know, every process compiles anew.
    """
    if function is None:
        return partial(kernel, **options)
    dispatcher = njit(nogil=True, **options)(function)
    cache = FunctionCache(function)
    file: Any = getattr(cache, "_cache_file", None)
    if hasattr(file, "_source_stamp") and hasattr(dispatcher, "_cache"):
        file._source_stamp = _STAMP
        dispatcher._cache = cache
    return dispatcher

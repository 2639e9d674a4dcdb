"""Memory that is free on this machine, and refusals of what will not fit before anything of it is made."""

import os
from pathlib import Path

_MEMINFO = Path("/proc/meminfo")
_CGROUP = Path("/sys/fs/cgroup")


def free() -> int:
    """Bytes that this process may still take: what the system has available, or less where a control group bounds
    it."""
    try:
        lines = dict(line.split(":") for line in _MEMINFO.read_text().splitlines())
        left = int(lines["MemAvailable"].split()[0]) * 1024
    except (OSError, ValueError, KeyError):  # no Linux
        left = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    try:
        bound, used = (int((_CGROUP / name).read_text()) for name in ("memory.max", "memory.current"))
        return min(left, bound - used)
    except (OSError, ValueError):  # no control group, or one without a bound
        return left


def require(n_bytes: int, what: str) -> None:
    """Raise ``ValueError`` saying that ``what`` needs ``n_bytes`` of memory, unless they are free."""
    left = free()
    if n_bytes > left:
        raise ValueError(f"{what}: needs {_shown(n_bytes)} of memory, {_shown(left)} are free")


def _shown(n_bytes: int) -> str:
    for unit in ("bytes", "KiB", "MiB"):
        if n_bytes < 10240:
            return f"{n_bytes:,} {unit}"
        n_bytes //= 1024
    return f"{n_bytes / 1024:,.1f} GiB"

"""One line about the machine that a table was made on."""

import os
import platform
from importlib.metadata import version
from pathlib import Path


def describe_machine(*packages: str) -> str:
    """Processor, cores, memory, Python and the versions of ``packages``."""
    info = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
    names = {line.split(":")[1].strip() for line in info.splitlines() if line.startswith("model name")}
    flags = next((line for line in info.splitlines() if line.startswith("flags")), "").split()
    simd = next((name for name in ("avx512f", "avx2", "asimd", "sse4_2") if name in flags), "")
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    versions = ", ".join(f"{name} {version(name)}" for name in packages)
    return (
        f"{' '.join(sorted(names)) or platform.processor()} {simd}, {os.cpu_count()} cores, {memory:.0f} GiB, "
        f"Python {platform.python_version()}, {versions}"
    )

"""Where the engine's SystemVerilog lies, and in which order it is read: ``rtl/deepr.f``."""

from pathlib import Path

RTL = Path(__file__).resolve().parent.parent.parent / "rtl"
FILE_LIST = "deepr.f"


def rtl_files(folder: Path = RTL) -> list[Path]:
    """Every file of the list in ``folder``, headers included."""
    lines = (line.partition("//")[0].strip() for line in (folder / FILE_LIST).read_text().splitlines())
    return [folder / line for line in lines if line]


def rtl_sources(folder: Path = RTL) -> list[Path]:
    """The files that a tool compiles, the package first."""
    return [path for path in rtl_files(folder) if path.suffix == ".sv"]


def rtl_headers(folder: Path = RTL) -> list[Path]:
    """The files that others include."""
    return [path for path in rtl_files(folder) if path.suffix == ".svh"]

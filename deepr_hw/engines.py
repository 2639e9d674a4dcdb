"""What can execute an ``IntNet`` besides the reference, by name.

An engine is a function ``run(net, x, workdir, **options) -> EngineRun`` in the room that knows its tool; it is imported
only when asked for, so that nobody needs a tool that he doesn't use. An encoder is a function ``encode(net, values,
workdir) -> codes``: what an artefact makes of values in the user's unit.
"""

import importlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, cast

import numpy as np

from . import extras
from .engine_run import EngineRun

ENGINES: dict[str, tuple[str, dict[str, object]]] = {
    "onnx": ("deepr_hw.export.onnx.integer:run", {}),
    "onnx-unoptimized": ("deepr_hw.export.onnx.integer:run", {"optimize": False}),
    "onnx-reference": ("deepr_hw.export.onnx.integer:run_evaluator", {}),
    "onnx-no-vnni": ("deepr_hw.export.onnx.emulated:run", {"flavour": "integer"}),
    "qdq": ("deepr_hw.export.onnx.qdq:run", {}),
    "qdq-no-vnni": ("deepr_hw.export.onnx.emulated:run", {"flavour": "qdq"}),
    "qdq-wrong-session": ("deepr_hw.export.onnx.qdq:run", {"default_session": True}),
    "qdq-wrong-session-no-vnni": ("deepr_hw.export.onnx.emulated:run", {"flavour": "qdq", "default_session": True}),
    "qonnx": ("deepr_hw.export.onnx.qonnx_export:run", {}),
    "qonnx-functions": ("deepr_hw.export.onnx.qonnx_export:run_as_functions", {}),
    "hls4ml": ("deepr_hw.export.hls4ml.project:run", {}),
    "hls4ml-folded": ("deepr_hw.export.hls4ml.project:run", {"reuse_factor": 64}),
    "hls4ml-stream": ("deepr_hw.export.hls4ml.project:run", {"io_type": "io_stream"}),
    "hls4ml-vivado": ("deepr_hw.export.hls4ml.project:run", {"backend": "Vivado"}),
    "hls4ml-quartus": ("deepr_hw.export.hls4ml.project:run", {"backend": "Quartus"}),
    "hls4ml-catapult": ("deepr_hw.export.hls4ml.project:run", {"backend": "Catapult"}),
    "hls4ml-stock": ("deepr_hw.export.hls4ml.stock:run", {}),
    "hls4ml-stock-resource": ("deepr_hw.export.hls4ml.stock:run", {"strategy": "resource", "reuse_factor": 8}),
    "hls4ml-stock-unrolled": ("deepr_hw.export.hls4ml.stock:run", {"strategy": "resource_unrolled"}),
    "hls4ml-stock-da": ("deepr_hw.export.hls4ml.stock:run", {"strategy": "distributed_arithmetic"}),
    "csim": ("deepr_hw.export.hls4ml.project:run_csim", {}),
    "verilator": ("deepr_hw.sim.engine:run", {"simulator": "verilator"}),
    "icarus": ("deepr_hw.sim.engine:run", {"simulator": "icarus"}),
    "netlist": ("deepr_hw.sim.netlist:run", {"target": "ecp5-85k"}),
    "netlist-xilinx": ("deepr_hw.sim.netlist:run", {"target": "xc7"}),
}
"""Engine name -> ``module:function`` and the options that tell the engines of one room apart.

``-no-vnni`` emulates a CPU without VNNI (needs qemu-user); ``-wrong-session`` leaves out the session option that the
QDQ file asks for, to show what it prevents.
"""

ENCODERS = {
    "onnx-codes": "deepr_hw.export.onnx.integer:encode",
    "qdq-codes": "deepr_hw.export.onnx.qdq:encode",
    "qonnx-codes": "deepr_hw.export.onnx.qonnx_export:encode",
    "c-codes": "deepr_hw.export.rtl.c_encoder:encode",
    "hls4ml-codes": "deepr_hw.export.hls4ml.project:encode",
}
"""Encoder name -> ``module:function``."""


def get_engine(
    name: str, lanes: int | None = None, waves: Path | None = None, stream_bytes: int | None = None
) -> Callable[..., EngineRun]:
    """The function of engine ``name``: ``run(net, x, workdir)``. ``lanes`` is for the engines that are the RTL's,
    ``waves``, a folder for waveforms, and ``stream_bytes``, the width of the streams, for those that simulate its
    sources.

    Raises ``ValueError`` for an unknown name, ``MissingToolError`` saying which package or program is
    missing.
    """
    if name not in ENGINES:
        raise ValueError(f"engine {name!r}: expected one of {', '.join((*ENGINES, *ENCODERS))}")
    target, options = ENGINES[name]
    run = _fetch(name, target, options)
    module = target.split(":")[0]
    if lanes is not None and module.startswith("deepr_hw.sim."):
        options = {**options, "lanes": lanes}
    if waves is not None and module == "deepr_hw.sim.engine":
        options = {**options, "waves": waves}
    if stream_bytes is not None and module == "deepr_hw.sim.engine":
        options = {**options, "stream_bytes": stream_bytes}
    return lambda net, x, workdir: run(net, x, workdir, **options)


def get_encoder(name: str) -> Callable[..., np.ndarray]:
    """The function of encoder ``name``: ``encode(net, values, workdir)``.

    Raises ``MissingToolError`` as ``get_engine`` does.
    """
    return _fetch(name, ENCODERS[name], {})


def _fetch(name: str, target: str, options: Mapping[str, object]) -> Callable[..., Any]:
    """The function ``target``; its module may have a ``missing_program(options)`` that
    tells which program is not installed."""
    path, function = target.split(":")
    try:
        module = importlib.import_module(path)
    except ModuleNotFoundError as error:
        raise extras.missing(f"engine {name!r}", error) from None
    why = getattr(module, "missing_program", lambda options: None)(options)
    if why:
        raise extras.MissingToolError(f"engine {name!r}: {why}")
    return cast(Callable[..., Any], getattr(module, function))

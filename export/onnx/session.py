"""onnxruntime sessions: by optimization level, with named options, batched.

``python -m deepr_hw.export.onnx.session MODEL X.npy LOGITS.npy [OPTIONS_JSON]`` runs one in a process of its own.
"""

import json
import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime

from deepr_hw.ir.affine import as_float32

LEVELS = {
    "disable": onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL,
    "basic": onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC,
    "extended": onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED,
    "all": onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL,
}
"""The four graph optimization levels; ``all`` is the default of a plain session."""


def open_session(
    model: Path | bytes, level: str | None = None, options: dict[str, str] | None = None
) -> onnxruntime.InferenceSession:
    """A session on the CPU for a file or serialized model; without ``level`` and ``options`` the plain default one.

    options : session configuration entries, e.g. ``{"session.disable_quant_qdq": "1"}``

    Raises ``ValueError`` naming the file that onnxruntime refuses, with its reason.
    """
    settings = None
    if level is not None or options:
        settings = onnxruntime.SessionOptions()
        settings.graph_optimization_level = LEVELS[level or "all"]
        for key, value in (options or {}).items():
            settings.add_session_config_entry(key, value)
    source = model if isinstance(model, bytes) else str(model)
    try:
        return onnxruntime.InferenceSession(source, settings, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's own exceptions share no base class
        where = "the model" if isinstance(model, bytes) else str(model)
        raise ValueError(f"{where}: onnxruntime refuses it: {error}") from error


def run_model(
    model: Path | bytes,
    x: np.ndarray,
    block: int = 4096,
    level: str | None = None,
    options: dict[str, str] | None = None,
) -> dict[str, np.ndarray]:
    """Every output of the model for ``x`` (n, ...), ``block`` samples per call, by output name."""
    session = open_session(model, level, options)
    feed, names = session.get_inputs()[0].name, [output.name for output in session.get_outputs()]
    parts = [session.run(names, {feed: x[i : i + block]}) for i in range(0, max(1, len(x)), block)]
    return {name: np.concatenate([part[i] for part in parts]) for i, name in enumerate(names)}


def run_encoder(
    model: onnx.ModelProto, values: np.ndarray, tensor: str = "input/codes", options: dict[str, str] | None = None
) -> np.ndarray:
    """What ``model`` makes of ``values`` (n, ...), cast to float32, in its inner ``tensor``, here made an output."""
    inner = onnx.ModelProto()
    inner.CopyFrom(model)
    inner.graph.output.append(next(info for info in model.graph.value_info if info.name == tensor))
    return run_model(inner.SerializeToString(), as_float32(values), options=options)[tensor]


if __name__ == "__main__":
    model_path, x_path, logits_path, *more = sys.argv[1:]
    outputs = run_model(Path(model_path), np.load(x_path), options=json.loads(more[0]) if more else None)
    np.save(logits_path, outputs["logits"])

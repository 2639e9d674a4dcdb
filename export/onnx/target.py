"""ONNX as a target: three flavours, executed by onnxruntime, its interpreter and an emulated older CPU."""

from deepr_hw.target import Engine, Option, Target

_HERE = "deepr_hw.export.onnx"
FLAVOURS = ("integer", "qdq", "qonnx")

TARGET = Target(
    name="onnx",
    summary="ONNX for onnxruntime and what reads QDQ or QONNX",
    export=f"{_HERE}.flavours:export",
    options=(
        Option("flavour", {"choices": FLAVOURS, "help": "operators (default: integer)"}),
        Option(
            "batch",
            {
                "metavar": "N",
                "help": "samples per call in every shape, or a name for an open batch (default: open; qonnx: 1)",
            },
        ),
    ),
    artefacts={f"onnx/{flavour}.onnx": {"flavour": flavour} for flavour in FLAVOURS},
    engines=(
        Engine("onnx", f"{_HERE}.integer:run", default=True),
        Engine("onnx-unoptimized", f"{_HERE}.integer:run", {"optimize": False}, default=True),
        Engine("onnx-reference", f"{_HERE}.integer:run_evaluator"),
        Engine("onnx-no-vnni", f"{_HERE}.emulated:run", {"flavour": "integer"}, samples=500),
        Engine("onnx-codes", f"{_HERE}.integer:encode", encodes=True, default=True),
        Engine("qdq", f"{_HERE}.qdq:run"),
        Engine("qdq-no-vnni", f"{_HERE}.emulated:run", {"flavour": "qdq"}, samples=500),
        Engine("qdq-wrong-session", f"{_HERE}.qdq:run", {"default_session": True}, shows_fault=True),
        Engine(
            "qdq-wrong-session-no-vnni",
            f"{_HERE}.emulated:run",
            {"flavour": "qdq", "default_session": True},
            shows_fault=True,
        ),
        Engine("qdq-codes", f"{_HERE}.qdq:encode", encodes=True),
        Engine("qonnx", f"{_HERE}.qonnx_export:run", samples=1000),
        Engine("qonnx-functions", f"{_HERE}.qonnx_export:run_as_functions", samples=1000),
        Engine("qonnx-codes", f"{_HERE}.qonnx_export:encode", encodes=True),
    ),
    sizes=f"{_HERE}.flavours:sizes",
    examine=f"{_HERE}.evidence:examine",
)
"""``-no-vnni`` emulates a CPU without VNNI (needs qemu-user); ``-wrong-session`` leaves out the session option that the
QDQ file asks for, to show what it prevents."""

"""The way back in: a network that was trained and pruned elsewhere, as an ``IntNet``.

    import_model("pruned.onnx", calibration=x).net

QuantizeLinear / DequantizeLinear models (onnxruntime's quantizer, Brevitas), QONNX, and plain float ONNX or arrays with
zeros, which are quantized after training over a calibration set. Dense layers; what else is in the graph is refused
with its node's name. Positions whose weight is exactly 0 are no connections. ``agreement`` says what the import cost.

It lives beside the exporters because this is the room that knows other people's formats.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx

from deepr_hw import reference

from . import onnx_exact
from .chain_quantize import to_intnet
from .dense_chain import Chain, Dense, Imported
from .onnx_read import read_chain
from .onnx_session import open_session
from .qonnx_export import DOMAIN, quant_function


def import_model(path: Path, calibration: np.ndarray | None = None, x_unit: float | None = None) -> Imported:
    """The network in ``path``: an ``.onnx`` file, or an ``.npz`` with matrices (n_in, n_out) and bias vectors in the
    order of the layers (``np.savez(path, *keras_model.get_weights())``), rectifiers between them.

    calibration : (n, ...) input values as the original takes them, for activations that are not quantized
    x_unit      : original input value per uint8 code (1 / 255 for pixels scaled to 0..1), so that the codes of a data
                  set go in as they are; default: the original's input quantizer, else the calibration set's range

    Raises ``ValueError`` naming file and node for what can't be imported, ``OSError`` for what can't be read.
    """
    path = Path(path)
    try:
        if path.suffix == ".npz":
            return to_intnet(read_arrays(path), calibration, x_unit, {"imported_from": path.name})
        model = _load(path)
        return to_intnet(read_chain(model), calibration, x_unit, {"imported_from": path.name}, _class_labels(model))
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def _load(path: Path) -> onnx.ModelProto:
    try:
        model = onnx.load(path)
    except OSError:
        raise
    except Exception as error:  # protobuf's own
        raise ValueError(f"no ONNX model ({error})") from None
    if not model.graph.node:
        raise ValueError("no ONNX model (no nodes in it)")
    return model


def _class_labels(model: onnx.ModelProto) -> tuple[str, ...]:
    text = next((entry.value for entry in model.metadata_props if entry.key == "class_labels"), "[]")
    try:
        labels = json.loads(text)
    except json.JSONDecodeError:
        return ()
    return tuple(map(str, labels)) if isinstance(labels, list) else ()


def read_arrays(path: Path) -> Chain:
    """The chain of an ``.npz`` of arrays. Raises ``ValueError`` naming the array that doesn't fit."""
    layers: list[Dense] = []
    with np.load(path, allow_pickle=False) as arrays:
        for name in arrays.files:
            values = np.asarray(arrays[name], np.float64)
            if not np.isfinite(values).all():
                raise ValueError(f"{name}: contains NaN or infinity")
            if values.ndim == 2:
                if layers and layers[-1].weight.shape[1] != values.shape[0]:
                    raise ValueError(f"{name}: takes {values.shape[0]} features, the layer before gives "
                                     f"{layers[-1].weight.shape[1]}")
                layers.append(Dense(name, values, values != 0, np.zeros(values.shape[1]), low=0.0))
            elif values.ndim == 1 and layers and layers[-1].bias.shape == values.shape and not layers[-1].bias.any():
                last = layers.pop()
                layers.append(Dense(last.name, last.weight, last.connected, values, low=0.0))
            else:
                raise ValueError(f"{name}: shape {values.shape} is neither a matrix nor the bias of the one before")
    if not layers:
        raise ValueError("no matrix in it")
    last = layers.pop()
    return Chain((*layers, Dense(last.name, last.weight, last.connected, last.bias)))


@dataclass(frozen=True)
class Agreement:
    """What an import cost, over ``samples`` inputs.

    same_class   : samples whose largest output is the same
    equal_logits : outputs that are equal, of ``logits``
    rms_error    : root mean square difference of the outputs, relative to the original's root mean square
    """

    samples: int
    same_class: int
    logits: int
    equal_logits: int
    rms_error: float


def agreement(path: Path, imported: Imported, values: np.ndarray) -> Agreement:
    """Compare the original in ``path`` with ``imported`` on input ``values`` (n, ...), as the original takes them."""
    expected = original_outputs(path, values)
    logits = reference.logits(imported.net, imported.codes(values)) * imported.logit_unit
    if expected.shape != logits.shape:
        raise ValueError(f"{path}: gives outputs of shape {expected.shape}, the import {logits.shape}")
    power = float(np.sqrt(np.square(expected).mean())) or 1.0
    return Agreement(len(values), int((expected.argmax(1) == logits.argmax(1)).sum()), expected.size,
                     int((expected == logits).sum()), float(np.sqrt(np.square(expected - logits).mean())) / power)


def original_outputs(path: Path, values: np.ndarray) -> np.ndarray:
    """(n, n_out) float64 outputs of the model in ``path`` as its file defines them: onnxruntime without optimizations
    (which change quantized models), integer products by ``onnx_exact``, Quant nodes by their definition; arrays in
    float64."""
    if Path(path).suffix == ".npz":
        return read_arrays(Path(path)).evaluate(values)[-1]
    model = _load(Path(path))
    domains = {node.domain for node in model.graph.node if node.op_type == "Quant"}
    if domains and not model.functions:
        for node in model.graph.node:
            node.domain = DOMAIN if node.op_type == "Quant" else node.domain
        if DOMAIN not in {entry.domain for entry in model.opset_import}:
            model.opset_import.append(onnx.helper.make_opsetid(DOMAIN, 1))
        model.functions.append(quant_function())
    stored = {tensor.name for tensor in model.graph.initializer}
    inputs = [info for info in model.graph.input if info.name not in stored]
    del model.graph.input[:]
    model.graph.input.extend(inputs)
    name, run = inputs[0].name, _evaluator(model)
    kind = inputs[0].type.tensor_type
    shape = [dim.dim_value or -1 for dim in kind.shape.dim]
    block = shape[0] if shape[0] > 0 else 4096
    fed = np.asarray(values).astype(onnx.helper.tensor_dtype_to_np_dtype(kind.elem_type))
    fed = fed.reshape([len(fed), *(shape[1:] if len(shape) > 2 else [-1])])
    parts = []
    for i in range(0, len(fed), block):
        part = fed[i : i + block]
        whole = np.resize(part, (block, *part.shape[1:])) if shape[0] > 0 else part  # a fixed batch is filled up
        parts.append(run({name: whole})[: len(part)])
    return np.concatenate(parts).astype(np.float64)


def _evaluator(model: onnx.ModelProto) -> Callable[[dict[str, np.ndarray]], np.ndarray]:
    """From inputs by name to the first output. onnxruntime's integer kernels saturate on some CPUs whatever the
    optimization level, so models with integer products are evaluated elsewhere."""
    if any(node.op_type in onnx_exact.INTEGER_PRODUCTS for node in model.graph.node):
        evaluator = onnx_exact.open_evaluator(model)
        return lambda feed: np.asarray(evaluator.run(None, feed)[0])
    session = open_session(model.SerializeToString(), "disable")
    return lambda feed: np.asarray(session.run(None, feed)[0])

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
from onnx import numpy_helper

from deepr_hw import reference
from deepr_hw.export.onnx.qonnx_export import DOMAIN, quant_function
from deepr_hw.export.onnx.session import open_session
from deepr_hw.ir.fixed import MAX_FRAC

from . import array_chain, onnx_exact
from .array_chain import read_arrays
from .chain_quantize import to_intnet
from .dense_chain import Imported
from .onnx_fold import stored_constants
from .onnx_head import find_head
from .onnx_read import read_chain


def import_model(
    path: Path,
    calibration: np.ndarray | None = None,
    x_unit: float | None = None,
    layout: str | None = None,
    task: str | None = None,
) -> Imported:
    """The network in ``path``: an ``.onnx`` file, or arrays in ``.npz`` or ``.safetensors`` (see ``array_chain``), such
    as PyTorch's state dict or ``np.savez(path, *keras_model.get_weights())``.

    calibration : (n, ...) input values as the original takes them, for activations that are not quantized
    x_unit      : original input value per uint8 code (1 / 255 for pixels scaled to 0..1), so that the codes of a data
                  set go in as they are; default: the original's input quantizer, else the calibration set's range
    layout      : of arrays, ``in-out`` for matrices (n_in, n_out) or ``out-in``; default: what names and shapes tell
    task        : ``classification`` or ``regression``; default: a regression where there is one linear output

    Raises ``ValueError`` naming file and node for what can't be imported, ``OSError`` for what can't be read.
    """
    path = Path(path)
    check_unit(x_unit)
    if layout is not None and not _is_arrays(path):
        raise ValueError(f"layout {layout}: only arrays ({', '.join(array_chain.SUFFIXES)}) have one, {path} has none")
    about = {"imported_from": path.name}
    try:
        if _is_arrays(path):
            n_in = None if calibration is None else int(np.prod(np.shape(calibration)[1:]))
            return to_intnet(read_arrays(path, n_in, layout), calibration, x_unit, about, task=task)
        model = _load(path)
        head = find_head(model)
        chain = read_chain(model, head)
        return to_intnet(chain, calibration, x_unit, about, _class_labels(model) or head.labels, task)
    except MemoryError:
        raise ValueError(f"{path}: its arrays don't fit into memory") from None
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def check_unit(x_unit: float | None) -> None:
    """Raises ``ValueError`` unless ``x_unit`` is None or a positive number that a format's step can be near to."""
    if x_unit is not None and not 2.0**-MAX_FRAC <= x_unit <= 2.0**MAX_FRAC:
        raise ValueError(
            f"unit {x_unit}: must be a positive number, the original's input value per code "
            f"(2**-{MAX_FRAC} to 2**{MAX_FRAC})"
        )


def _is_arrays(path: Path) -> bool:
    return path.suffix in array_chain.SUFFIXES


def _load(path: Path) -> onnx.ModelProto:
    """The model, with the definition of ``Quant`` where it uses it."""
    try:
        model = onnx.load(path)
    except OSError:
        raise
    except Exception as error:  # protobuf's own
        raise ValueError(f"no ONNX model ({error})") from None
    if not model.graph.node:
        raise ValueError("no ONNX model (no nodes in it)")
    if not model.graph.output:
        raise ValueError("no ONNX model (no output)")
    if not model.functions and any(node.op_type == "Quant" for node in model.graph.node):
        for node in model.graph.node:
            node.domain = DOMAIN if node.op_type == "Quant" else node.domain
        if DOMAIN not in {entry.domain for entry in model.opset_import}:
            model.opset_import.append(onnx.helper.make_opsetid(DOMAIN, 1))
        model.functions.append(quant_function())
    return model


def _class_labels(model: onnx.ModelProto) -> tuple[str, ...]:
    text = next((entry.value for entry in model.metadata_props if entry.key == "class_labels"), "[]")
    try:
        labels = json.loads(text)
    except json.JSONDecodeError:
        return ()
    return tuple(map(str, labels)) if isinstance(labels, list) else ()


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


def agreement(path: Path, imported: Imported, values: np.ndarray, layout: str | None = None) -> Agreement:
    """Compare the original in ``path`` with ``imported`` on input ``values`` (n, ...), as the original takes them.

    Raises ``ValueError`` naming the file whose model can't be run or gives outputs of another shape.
    """
    try:
        expected = original_outputs(path, values, layout)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
    logits = reference.logits(imported.net, imported.codes(values)) * imported.logit_unit
    if expected.shape[1] == 1 and logits.shape[1] == 2:  # one sigmoid, imported as two classes
        expected = np.concatenate([np.zeros_like(expected), expected], axis=1)
    if expected.shape != logits.shape:
        raise ValueError(f"{path}: gives outputs of shape {expected.shape}, the import {logits.shape}")
    power = float(np.sqrt(np.square(expected).mean())) or 1.0
    return Agreement(
        len(values),
        int((expected.argmax(1) == logits.argmax(1)).sum()),
        expected.size,
        int((expected == logits).sum()),
        float(np.sqrt(np.square(expected - logits).mean())) / power,
    )


def original_outputs(path: Path, values: np.ndarray, layout: str | None = None) -> np.ndarray:
    """(n, n_out) float64 logits of the model in ``path`` as its file defines them, before a softmax: onnxruntime
    without optimizations (which change quantized models), integer products by ``onnx_exact``, Quant nodes by their
    definition; arrays in float64."""
    path = Path(path)
    if _is_arrays(path):
        return read_arrays(path, int(np.prod(np.shape(values)[1:])), layout).evaluate(values)[-1]
    model = _load(path)
    model = _up_to(model, find_head(model).tensor)
    (entry,) = model.graph.input
    kind, run = entry.type.tensor_type, _evaluator(model)
    shape = [dim.dim_value or -1 for dim in kind.shape.dim]
    fixed = shape[0] if shape and shape[0] > 0 else 0
    fed = _shaped_like(np.asarray(values).astype(onnx.helper.tensor_dtype_to_np_dtype(kind.elem_type)), shape)
    block, parts = fixed or 4096, []
    for i in range(0, len(fed), block):
        part = fed[i : i + block]
        whole = np.resize(part, (block, *part.shape[1:])) if fixed else part  # a fixed batch is filled up
        try:
            parts.append(run({entry.name: whole})[: len(part)])
        except Exception as error:  # of kinds that share no base class
            raise ValueError(f"it can't be run: {error}") from None
    return np.concatenate(parts).astype(np.float64).reshape(len(fed), -1)


def _evaluator(model: onnx.ModelProto) -> Callable[[dict[str, np.ndarray]], np.ndarray]:
    """From inputs by name to the first output. onnxruntime's integer kernels saturate on some CPUs whatever the
    optimization level, so models with integer products are evaluated elsewhere."""
    if any(node.op_type in onnx_exact.INTEGER_PRODUCTS for node in model.graph.node):
        evaluator = onnx_exact.open_evaluator(model)
        return lambda feed: np.asarray(evaluator.run(None, feed)[0])
    session = open_session(model.SerializeToString(), "disable")
    return lambda feed: np.asarray(session.run(None, feed)[0])


def _shaped_like(values: np.ndarray, shape: list[int]) -> np.ndarray:
    """``values`` (n, ...) as samples of ``shape``, where -1 is an open size."""
    inner = shape[1:] if len(shape) > 1 else [-1]
    if inner.count(-1) > 1:
        inner = [values[0].size if i == len(inner) - 1 else 1 for i in range(len(inner))]
    try:
        return values.reshape([len(values), *inner])
    except ValueError:
        raise ValueError(f"takes samples of shape {tuple(shape[1:])}, the data has {values.shape[1:]}") from None


def _up_to(model: onnx.ModelProto, tensor: str) -> onnx.ModelProto:
    """``model`` with ``tensor`` as its only output and without the nodes behind it; sparse constants become dense,
    because onnxruntime takes them of some types only."""
    cut = onnx.ModelProto()
    cut.CopyFrom(model)
    graph = cut.graph
    sparse = {entry.values.name for entry in graph.sparse_initializer}
    constants = stored_constants(model.graph)
    graph.initializer.extend(numpy_helper.from_array(constants[name].values, name) for name in sparse)
    del graph.sparse_initializer[:]
    needed, nodes = {tensor}, []
    for node in reversed(model.graph.node):
        if needed & set(node.output):
            needed |= set(node.input)
            nodes.append(node)
    inputs = [info for info in model.graph.input if info.name not in constants]
    initializers = [entry for entry in graph.initializer if entry.name in needed]
    for field, kept in ((graph.node, reversed(nodes)), (graph.input, inputs), (graph.initializer, initializers)):
        del field[:]
        field.extend(kept)
    if tensor != model.graph.output[0].name:
        del graph.output[:]
        graph.output.append(onnx.ValueInfoProto(name=tensor))
    return cut

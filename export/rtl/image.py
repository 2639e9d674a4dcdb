"""A network as the words of the engine's load port, as hex files with a manifest, and back to its connections.

One 32-bit word per slot, bias and layer descriptor; formats in ``rtl/README.md`` (memory map).
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from deepr_hw.files import replace_files
from deepr_hw.ir import IntNet, SparseLinear, linear_layers, netfile
from deepr_hw.ir.answer import describe_output
from deepr_hw.target import Size

from . import c_encoder
from . import timing as rtl_timing
from .geometry import STREAM_BYTES, STREAM_WIDTHS, Geometry
from .schedule import Schedule, engine_shift, required_geometry, rounding_half, schedule
from .words import DESCRIPTOR, LOAD_ADDRESS, PACKAGE
from .words import SLOT as SLOT_WORD

SLOT, BIAS, LAYER, FRAME, HIGH_BIAS = (
    PACKAGE.constants[f"Region{name}"] for name in ("Slot", "Bias", "Layer", "Frame", "HighBias")
)
"""Regions of the load port."""
FRAME_BYTES, FRAME_LOGITS = PACKAGE.constants["FrameBytes"], PACKAGE.constants["FrameLogits"]
"""Words of region ``FRAME``; the second one, written last, says that the network is complete."""
SCHEMA = 2
MANIFEST = "manifest.json"
LANES = 8
"""Of an engine unless told otherwise."""


def load_address(region: int, index: int, lane: int = 0) -> int:
    """The load port's address of word ``index`` in ``region``."""
    return int(LOAD_ADDRESS.pack(region=region, lane=lane, index=index))


@dataclass(frozen=True, eq=False)
class Image:
    """What the engine's memories hold for one network.

    slots    : (lanes, n_rows) uint32, ``slot_t`` of ``rtl/deepr_pkg.sv``
    biases   : (lanes, n_ends) int64, two's complement of 32 bits (33 where acc_bits is), half of the rounding included
    layers   : (n_layers,) uint32, ``descriptor_t``
    frame    : (2,) uint32, bytes per input frame - 1 and logits per frame - 1
    location : for each layer but the last, (n_out,) int64 byte address of each output, -1 where nobody reads it
    """

    geometry: Geometry
    plan: Schedule
    slots: np.ndarray
    biases: np.ndarray
    layers: np.ndarray
    frame: np.ndarray
    location: tuple[np.ndarray, ...]

    @property
    def writes(self) -> list[tuple[int, int]]:
        """(address, data) of every write to the load port; the last one says that the network is complete."""
        out = [
            (load_address(SLOT, i, lane), int(word))
            for lane, column in enumerate(self.slots)
            for i, word in enumerate(column)
        ]
        for lane, column in enumerate(self.biases):
            for i, word in enumerate(map(int, column)):
                region = HIGH_BIAS if self.geometry.acc_bits == 33 and word >> 31 == 1 else BIAS
                out.append((load_address(region, i, lane), word & 0xFFFFFFFF))
        out += [(load_address(LAYER, i), int(word)) for i, word in enumerate(self.layers)]
        return [*out, *((load_address(FRAME, i), int(self.frame[i])) for i in (FRAME_BYTES, FRAME_LOGITS))]

    @property
    def in_words(self) -> int:
        """Words of an input frame."""
        return int(self.frame[FRAME_BYTES]) // self.geometry.lanes + 1


def activation_words(geometry: Geometry, in_words: int, n_words: int) -> np.ndarray:
    """(n_words,) word addresses that the lanes write, in order: what the two input buffers leave free."""
    half = geometry.words // 2
    free = np.concatenate([np.arange(in_words, half), np.arange(half + in_words, geometry.words)])
    if n_words > free.size:
        raise ValueError(f"words = {geometry.words}: the network needs {2 * in_words + n_words} activation words")
    return free[:n_words]


def build(net: IntNet, lanes: int, geometry: Geometry | None = None) -> Image:
    """The image of ``net`` for ``geometry`` (default: the smallest that holds it).

    Raises ``ValueError`` when the network does not fit.
    """
    plan = schedule(net, lanes)
    need = required_geometry(net, plan)
    geometry = geometry or need
    _check_fit(geometry, need)
    words = activation_words(geometry, plan.in_words, plan.n_words)
    walked = linear_layers(net.layers, "the engine")
    location = [np.arange(walked[0].n_in)]
    slots, biases = np.zeros((lanes, plan.n_rows), np.uint32), np.zeros((lanes, plan.n_ends), np.int64)
    n_written = n_ends = 0
    for i, (layer, part) in enumerate(zip(walked, plan.layers, strict=True)):
        ends = sorted({job.end for job in part.jobs})
        nth = {row: k for k, row in enumerate(ends)}
        here = np.full(layer.n_out, -1, np.int64)
        for job in part.jobs:
            weight = layer.matrix.code[job.connections].astype(np.int64)
            address = location[-1][layer.matrix.in_idx[job.connections]]
            slots[job.lane, job.rows] = SLOT_WORD.pack(op__mac=1, op__weight=weight, address=address)
            slots[job.lane, job.end] |= np.uint32(SLOT_WORD.pack(op__last=1))
            bias = 0 if layer.bias is None else int(layer.bias[job.output])
            biases[job.lane, n_ends + nth[job.end]] = bias + rounding_half(layer)
            if i + 1 < len(walked):
                here[job.output] = words[n_written + nth[job.end]] * lanes + job.lane
        location.append(here)
        n_ends += len(ends)
        n_written += len(ends)
    layers = [
        _descriptor(layer, i, i == len(walked) - 1, part.last_row)
        for i, (layer, part) in enumerate(zip(walked, plan.layers, strict=True))
    ]
    biases &= (1 << max(32, geometry.acc_bits)) - 1
    return Image(
        geometry,
        plan,
        slots,
        biases,
        np.array(layers, np.uint32),
        np.array([net.n_in - 1, net.n_out - 1], np.uint32),
        tuple(location[1:-1]),
    )


def _check_fit(geometry: Geometry, need: Geometry) -> None:
    if geometry.lanes != need.lanes:
        raise ValueError(f"the image has {need.lanes} lanes, the engine {geometry.lanes}")
    for name in ("rows", "words", "bias_words", "layers", "classes", "acc_bits"):
        if getattr(geometry, name) < getattr(need, name):
            raise ValueError(f"{name} = {getattr(geometry, name)}: the network needs {getattr(need, name)}")


def _descriptor(layer: SparseLinear, i: int, final: bool, last_row: int) -> int:
    """``descriptor_t`` of layer ``i``."""
    how: dict[str, int] = {}
    if layer.y_format is not None:
        magnitude = layer.y_format.bits - layer.y_format.signed
        how = {
            "layer__requantize__y_signed": layer.y_format.signed,
            "layer__requantize__y_bits": magnitude - 1,
            "layer__requantize__shift": engine_shift(layer),
        }
    return int(
        DESCRIPTOR.pack(
            layer__is_final=final,
            layer__reads_input=i == 0,
            layer__x_signed=layer.x_format.signed,
            last_row=last_row,
            **how,
        )
    )


def decode(image: Image) -> list[list[tuple[int, int, int]]]:
    """The connections (output, input, weight) that the engine will walk, per layer, from the words alone.

    An independent reading of the image: it walks rows and lanes as the hardware does and knows of the network only
    where its hidden outputs lie (``location``).
    """
    lanes, found, first_row, n_end = image.geometry.lanes, [], 0, 0
    free = activation_words(image.geometry, image.in_words, image.plan.n_words)
    open_slots: list[list[tuple[int, int]]] = [[] for _ in range(lanes)]
    inputs: dict[int, int] | None = None
    for i, word in enumerate(image.layers):
        final, last_row = DESCRIPTOR.get(int(word), "layer.is_final"), DESCRIPTOR.get(int(word), "last_row")
        outputs = {} if final else {int(a): o for o, a in enumerate(image.location[i]) if a >= 0}
        layer: list[tuple[int, int, int]] = []
        n_logit = [0] * lanes
        for row in range(first_row, last_row + 1):
            ended = False
            for lane in range(lanes):
                slot = int(image.slots[lane, row])
                if SLOT_WORD.get(slot, "op.mac"):
                    weight = (SLOT_WORD.get(slot, "op.weight") ^ 0x80) - 0x80
                    open_slots[lane].append((SLOT_WORD.get(slot, "address"), weight))
                if SLOT_WORD.get(slot, "op.last"):
                    ended = True
                    output = lane + lanes * n_logit[lane] if final else outputs[int(free[n_end]) * lanes + lane]
                    n_logit[lane] += 1
                    layer += [(output, a if inputs is None else inputs[a], w) for a, w in open_slots[lane]]
                    open_slots[lane] = []
            n_end += ended
        found.append(sorted(layer))
        inputs, first_row = outputs, last_row + 1
    if any(open_slots):
        raise ValueError("the image ends within an output")
    return found


def manifest(image: Image, net: IntNet, stream_bytes: int = STREAM_BYTES) -> dict[str, Any]:
    """What a reader of the files must know, as JSON."""
    plan = image.plan
    cycles = rtl_timing.interval(plan, stream_bytes)
    return {
        "schema": SCHEMA,
        "parameters": image.geometry.parameters,
        "n_connections": net.n_connections,
        "n_slots": int(SLOT_WORD.get(image.slots, "op.mac").sum()),
        "stream_bytes": stream_bytes,
        "cycles_per_sample": cycles,
        "latency": plan.latency,
        "utilization": plan.least_rows / cycles,
        "input": {
            "bytes": net.n_in,
            "words": plan.in_words,
            "signed": net.x_format.signed,
            **c_encoder.describe_input(net),
        },
        "logits": {
            "number": net.n_out,
            "frac": net.logit_frac,
            "task": net.task,
            **(describe_output(net) if net.task == "regression" else {}),
        },
        "layers": [
            {
                "first_row": part.first_row,
                "last_row": part.last_row,
                "connections": layer.matrix.n_connections,
                "outputs": layer.n_out,
            }
            for part, layer in zip(plan.layers, linear_layers(net.layers, "the engine"), strict=True)
        ],
        "class_labels": list(net.class_labels),
        **netfile.origin(net),
    }


def texts(image: Image) -> dict[str, str]:
    """``slots_<lane>.hex``, ``bias_<lane>.hex``, ``layers.hex`` and ``load.txt`` by name.

    Hex files: one word per line, as ``$readmemh`` takes them. ``load.txt``: one ``address data`` per line for the load
    port.
    """
    out = {f"slots_{lane}.hex": _hex(column) for lane, column in enumerate(image.slots)}
    out |= {f"bias_{lane}.hex": _hex(column) for lane, column in enumerate(image.biases)}
    out["layers.hex"] = _hex(image.layers)
    out["load.txt"] = "".join(f"{address:06x} {data:08x}\n" for address, data in image.writes)
    return out


def _hex(words: np.ndarray) -> str:
    return "".join(f"{int(word):08x}\n" for word in words)


def export(net: IntNet, out_dir: Path, lanes: int = LANES, stream_bytes: int = STREAM_BYTES) -> dict[str, Any]:
    """Write the image of ``net`` for an engine of ``lanes`` lanes, and all that a board needs (``rtl_package``).

    What an earlier export wrote there, by its manifest, and this one doesn't is removed. ``stream_bytes``: width of the
    AXI streams. Returns the manifest, the names of the files included. Raises ``ValueError`` for a width that the shell
    does not have, ``FileExistsError`` when the folder holds memories that no manifest lists.
    """
    if stream_bytes not in STREAM_WIDTHS:
        raise ValueError(f"stream_bytes = {stream_bytes}: expected one of {', '.join(map(str, STREAM_WIDTHS))}")
    from .package import package_texts  # it is built on the image

    image, folder = build(net, lanes), Path(out_dir)
    written = texts(image) | package_texts(net, image, stream_bytes)
    done = manifest(image, net, stream_bytes) | {"files": sorted([*written, MANIFEST])}
    earlier = _earlier(folder)
    memories = {path.name for kind in ("slots", "bias") for path in folder.glob(f"{kind}_*.hex")}
    if strangers := memories - {*earlier, *written}:
        raise FileExistsError(
            17,
            "is of another export that no manifest lists: remove it or choose another folder",
            str(folder / min(strangers)),
        )
    replace_files(folder, earlier, written | {MANIFEST: json.dumps(done, indent=1) + "\n"})
    return done


def _earlier(folder: Path) -> list[str]:
    """What an export into ``folder`` says that it wrote; nothing when there is none or its manifest can't be read."""
    try:
        files = json.loads((folder / MANIFEST).read_text())["files"]
    except (OSError, ValueError, KeyError, TypeError):
        return []
    return [name for name in files if isinstance(name, str)] if isinstance(files, list) else []


def sizes(net: IntNet, folder: Path) -> Iterator[Size]:
    """Row of the table of sizes: the image of the default engine."""
    name = f"RTL image, {LANES} lanes"
    try:
        n_words = len(build(net, LANES).writes)
    except ValueError as error:
        yield Size(name, "computed", None, str(error))
    else:
        yield Size(name, "computed", 4.0 * n_words, "32-bit words: slots with index and padding, biases, layers")

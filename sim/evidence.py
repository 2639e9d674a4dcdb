"""How the certificate counts in the RTL's memory image: decoded from its words, and by the engine that runs it."""

import tempfile
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

from deepr_hw.export.rtl import image as rtl_image
from deepr_hw.extras import MissingToolError
from deepr_hw.ir import IntNet
from deepr_hw.testimony import Evidence, attest, difference, read_json

from . import runner

_IMAGE = ("slots_*.hex", "bias_*.hex")
_SAMPLES = 3


def examine(run: Path, net: IntNet | None, simulator: str) -> list[Evidence]:
    """Evidence on the image in the folder ``run`` and on what ``simulator`` counts. Raises ``MissingToolError``."""
    if why := runner.missing(simulator):
        raise MissingToolError(f"certify: {why}")
    folder = run / "rtl"
    return [
        attest("rtl", "slots of the memory image, decoded", partial(_count, folder, net)),
        attest(
            "simulation",
            f"multiply-accumulates per sample counted by the engine in {simulator}",
            partial(_simulate, folder, net, simulator),
        ),
    ]


def _count(folder: Path, net: IntNet | None) -> tuple[int | None, str | None]:
    if net is None:
        return None, None
    k = sum(map(len, rtl_image.decode(_read_image(folder, net))))
    with tempfile.TemporaryDirectory() as again:
        stream_bytes = read_json(folder / rtl_image.MANIFEST)["stream_bytes"]
        written = rtl_image.export(net, Path(again), _lanes(folder), stream_bytes)["files"]
        left = sorted(path.name for pattern in _IMAGE for path in folder.glob(pattern) if path.name not in written)
        return k, f"{left[0]} is left over from another export" if left else difference(Path(again), folder)


def _simulate(folder: Path, net: IntNet | None, simulator: str) -> tuple[int | None, str | None]:
    from . import engine

    if net is None:
        return None, None
    fmt = net.x_format
    x = np.random.default_rng(0).integers(fmt.lo, fmt.hi + 1, (_SAMPLES, *net.in_shape), fmt.dtype)
    with tempfile.TemporaryDirectory() as workdir:
        played = engine.play(_read_image(folder, net), x, Path(workdir), simulator)
    k, rest = divmod(played.macs, _SAMPLES)
    return k, None if rest == 0 else f"{played.macs} multiply-accumulates in {_SAMPLES} samples"


def _lanes(folder: Path) -> int:
    lanes = read_json(folder / rtl_image.MANIFEST)["parameters"]["Lanes"]
    if not (isinstance(lanes, int) and 1 <= lanes <= 16):
        raise ValueError(f"{rtl_image.MANIFEST}: Lanes = {lanes!r}")
    return lanes


def _read_image(folder: Path, net: IntNet) -> rtl_image.Image:
    """The image whose words are those in the files; only sizes and places come from the network."""

    def words(name: str) -> np.ndarray:
        return np.array([int(line, 16) for line in (folder / name).read_text(encoding="ascii").split()], np.int64)

    lanes = _lanes(folder)
    image = rtl_image.build(net, lanes)
    slots, biases = (np.stack([words(f"{name}_{lane}.hex") for lane in range(lanes)]) for name in ("slots", "bias"))
    layers = words("layers.hex")
    if (slots.shape, biases.shape, layers.shape) != (image.slots.shape, image.biases.shape, image.layers.shape):
        raise ValueError(
            f"{slots.shape} slots, {biases.shape} biases and {layers.size} layers, the network has "
            f"{image.slots.shape}, {image.biases.shape} and {image.layers.size}"
        )
    return replace(image, slots=slots, biases=biases, layers=layers)

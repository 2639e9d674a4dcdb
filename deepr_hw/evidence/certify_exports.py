"""What was made of the network: counted in the artefacts themselves, and compared with what it exports to now."""

import json
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from deepr_hw.extras import MissingToolError
from deepr_hw.ir import IntNet, netfile
from deepr_hw.testimony import Evidence, examine, read_json
from deepr_hw.train.runfolder import RECORD

from .certify_training import other_run

_OF_THE_PLACE = ("build_lib.sh", "hls4ml_config.yml", "build_opt.tcl")
"""Files of an hls4ml project that name its folder, a random stamp, or the user's settings."""
_IMAGE = ("slots_*.hex", "bias_*.hex")


def examine_exports(run: Path, net: IntNet | None, simulator: str) -> list[Evidence]:
    """Evidence on every export that run.json names or that is found in the folder ``run``. Raises
    ``MissingToolError``."""
    expected = _expected(run)
    found = {f"onnx/{path.relative_to(run / 'onnx')}" for path in (run / "onnx").rglob("*.onnx")}
    files = sorted(found | {name for name in expected if name.endswith(".onnx")})
    evidence = [
        examine(f"onnx {Path(name).stem}", "positions by walking the graph", partial(_onnx, run / name, net))
        for name in files
    ]
    if (run / "hls4ml").exists() or "hls4ml" in expected:
        evidence.append(examine("hls4ml", "initializers of the C++ weight arrays", partial(_hls4ml, run, net)))
    if (run / "rtl").exists() or "rtl" in expected:
        evidence += _rtl(run / "rtl", net, simulator)
    if (run / "verify.json").exists() or "verify.json" in expected:
        evidence.append(
            examine(
                "verification",
                "every engine agreed on this network",
                lambda: (None, _verified(run / "verify.json", net)),
            )
        )
    return evidence


def _expected(run: Path) -> list[str]:
    try:
        return [name for name in read_json(run / RECORD)["artefacts"] if isinstance(name, str)]
    except (OSError, ValueError, KeyError, TypeError):  # the record's own evidence says so
        return []


def _onnx(path: Path, net: IntNet | None) -> tuple[int, str | None]:
    import onnx
    from google.protobuf.message import DecodeError

    from deepr_hw.export.onnx.count import count_connections

    try:
        model = onnx.load(str(path))
    except DecodeError as error:
        raise ValueError(f"not an ONNX file ({error})") from None
    k = sum(count_connections(model))
    if net is None:
        return k, None
    about = {entry.key: entry.value for entry in model.metadata_props}
    if fault := other_run(json.loads(about["provenance"]).get("run"), net):
        return k, fault
    if about["intnet_sha256"] != netfile.digest(net):
        return k, "names another IntNet"
    same = any(_graph(model) == _graph(again) for again in _remade(net, path.stem))
    return k, None if same else "differs from what the IntNet exports to"


def _graph(model: Any) -> bytes:
    """What computes, without the metadata, which may name a licence or a version."""
    return b"".join(part.SerializeToString(deterministic=True) for part in (model.graph, *model.functions))


def _remade(net: IntNet, flavour: str) -> Iterator[Any]:
    """The network's models of a flavour, by every option that changes the graph; the default first."""
    from deepr_hw.export.onnx import integer as onnx_integer
    from deepr_hw.export.onnx import qdq as onnx_qdq
    from deepr_hw.export.onnx import qonnx_export

    if flavour == "integer":
        yield from (onnx_integer.build(net, float_input) for float_input in (False, True))
    elif flavour == "qdq":
        yield from (onnx_qdq.build(net, float_input, dense) for dense in (False, True) for float_input in (True, False))
    elif flavour == "qonnx":
        yield from (qonnx_export.build(net, dense) for dense in (False, True))


def _hls4ml(run: Path, net: IntNet | None) -> tuple[int, str | None]:
    import yaml

    from deepr_hw.export.hls4ml import project as hls4ml_project
    from deepr_hw.export.hls4ml.arrays import count_connections

    folder = run / "hls4ml"
    k = count_connections(folder)
    if net is None:
        return k, None
    config = yaml.safe_load((folder / "hls4ml_config.yml").read_text(encoding="utf-8"))
    with tempfile.TemporaryDirectory() as again:
        hls4ml_project.export(
            net,
            Path(again),
            config["Backend"],
            config["HLSConfig"]["Model"]["ReuseFactor"],
            config["IOType"],
            config["Part"],
        )
        return k, _difference(Path(again), folder, _OF_THE_PLACE)


def _rtl(folder: Path, net: IntNet | None, simulator: str) -> list[Evidence]:
    from deepr_hw.sim import runner

    if why := runner.missing(simulator):
        raise MissingToolError(f"certify: {why}")

    def count() -> tuple[int | None, str | None]:
        from deepr_hw.export.rtl import image as rtl_image

        if net is None:
            return None, None
        k = sum(map(len, rtl_image.decode(_read_image(folder, net))))
        with tempfile.TemporaryDirectory() as again:
            stream_bytes = read_json(folder / "manifest.json")["stream_bytes"]
            written = rtl_image.export(net, Path(again), _lanes(folder), stream_bytes)["files"]
            left = sorted(path.name for pattern in _IMAGE for path in folder.glob(pattern) if path.name not in written)
            return k, f"{left[0]} is left over from another export" if left else _difference(Path(again), folder)

    def simulate() -> tuple[int | None, str | None]:
        from deepr_hw.sim import engine

        from .verify import random_samples

        if net is None:
            return None, None
        x = random_samples(net, 3).codes
        with tempfile.TemporaryDirectory() as workdir:
            played = engine.play(_read_image(folder, net), x, Path(workdir), simulator)
        k, rest = divmod(played.macs, len(x))
        return k, None if rest == 0 else f"{played.macs} multiply-accumulates in {len(x)} samples"

    return [
        examine("rtl", "slots of the memory image, decoded", count),
        examine("simulation", f"multiply-accumulates per sample counted by the engine in {simulator}", simulate),
    ]


def _lanes(folder: Path) -> int:
    lanes = read_json(folder / "manifest.json")["parameters"]["Lanes"]
    if not (isinstance(lanes, int) and 1 <= lanes <= 16):
        raise ValueError(f"manifest.json: Lanes = {lanes!r}")
    return lanes


def _read_image(folder: Path, net: IntNet) -> Any:
    """The image whose words are those in the files; only sizes and places come from the network."""
    from deepr_hw.export.rtl import image as rtl_image

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


def _verified(path: Path, net: IntNet | None) -> str | None:
    result = read_json(path)
    if net is not None and result["intnet"] != netfile.digest(net):
        return "is about another network"
    failed = [engine["name"] for engine in result["engines"] if not engine["passed"]]
    return f"failed: {', '.join(failed)}" if failed else None


def _difference(made: Path, found: Path, by_name: tuple[str, ...] = ()) -> str | None:
    """What tells the files in ``found`` from those just ``made``, or None; of those called ``by_name`` only whether
    they are there."""
    for path in sorted(path for path in made.rglob("*") if path.is_file()):
        name = path.relative_to(made)
        if not (found / name).is_file():
            return f"{name} is absent"
        if str(name) not in by_name and (found / name).read_bytes() != path.read_bytes():
            return f"{name} differs from what the IntNet exports to"
    return None

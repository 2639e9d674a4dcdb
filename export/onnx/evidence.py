"""How the certificate counts in ONNX files, and makes them anew."""

import json
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import onnx
from google.protobuf.message import DecodeError

from deepr_hw.ir import IntNet, netfile
from deepr_hw.testimony import Evidence, artefacts, attest, other_run

from . import integer, qdq, qonnx_export
from .count import count_connections


def examine(run: Path, net: IntNet | None, simulator: str) -> list[Evidence]:
    """Evidence on every .onnx file in the folder ``run``, and those that its record names."""
    found = {f"onnx/{path.relative_to(run / 'onnx')}" for path in (run / "onnx").rglob("*.onnx")}
    return [
        attest(f"onnx {Path(name).stem}", "positions by walking the graph", partial(_look, run / name, net))
        for name in sorted(found | {name for name in artefacts(run) if name.endswith(".onnx")})
    ]


def _look(path: Path, net: IntNet | None) -> tuple[int, str | None]:
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


def _graph(model: onnx.ModelProto) -> bytes:
    """What computes, without the metadata, which may name a licence or a version."""
    return b"".join(part.SerializeToString(deterministic=True) for part in (model.graph, *model.functions))


def _remade(net: IntNet, flavour: str) -> Iterator[onnx.ModelProto]:
    """The network's models of a flavour, by every option that changes the graph; the default first."""
    if flavour == "integer":
        yield from (integer.build(net, float_input) for float_input in (False, True))
    elif flavour == "qdq":
        yield from (qdq.build(net, float_input, dense) for dense in (False, True) for float_input in (True, False))
    elif flavour == "qonnx":
        yield from (qonnx_export.build(net, dense) for dense in (False, True))

"""The certificate agrees on an honest run and sees every artefact that was tampered with."""

import dataclasses
import json
import shutil

import numpy as np
import onnx
import pytest

from deepr_hw import netfile
from deepr_hw.certify import certify
from deepr_hw.export import hls4ml_project, onnx_flavours, rtl_image
from deepr_hw.fixed import PIXEL
from deepr_hw.ir import Budget, IntNet
from deepr_hw.train import EpochMetrics
from tests.random_nets import random_layer


def log_line(epoch, low, high):
    half = {"accuracy": 0.5}
    return json.dumps(dataclasses.asdict(EpochMetrics(epoch, 1.0, half, None, half, low, high, 3, low, 0.1))) + "\n"


@pytest.fixture(scope="module")
def honest(tmp_path_factory):
    """The folder of a run: a network, its training log and all of its exports."""
    run = tmp_path_factory.mktemp("honest")
    rng = np.random.default_rng(2)
    hidden = random_layer(rng, 24, 16, PIXEL, last=False)
    layers = hidden, random_layer(rng, 16, 6, hidden.y_format, last=True)
    limits = tuple(layer.n_connections for layer in layers)
    net = IntNet(layers, Budget("per_layer", limits))
    netfile.save(net, run / "net.safetensors")
    (run / "metrics.jsonl").write_text("".join(log_line(epoch, sum(limits), sum(limits)) for epoch in range(3)))
    (run / "budget.json").write_text(json.dumps({"kind": "per_layer", "limits": limits, "active_min": limits,
                                                 "active_max": limits, "steps": 30}))
    for flavour in onnx_flavours.FLAVOURS:
        onnx_flavours.export(net, run / "onnx", flavour)
    hls4ml_project.export(net, run / "hls4ml", reuse_factor=4)
    rtl_image.export(net, run / "rtl", lanes=4)
    return run


def test_an_honest_run(honest):
    certificate = certify(honest)
    k = netfile.load(honest / "net.safetensors").n_connections
    assert certificate.passed
    assert [(e.artefact, e.n_connections, e.fault) for e in certificate.evidence] == [
        (name, k, None) for name in ("intnet", "training", "training groups", "onnx integer", "onnx qdq", "onnx qonnx",
                                     "hls4ml", "rtl", "simulation")]
    assert certificate.formula == f"n_connections / n_positions = {k} / (24*16 + 16*6)"
    assert certificate.connectivity == k / (24 * 16 + 16 * 6)
    assert len(certificate.hashes["net.safetensors"]) == 64
    assert json.loads(json.dumps(certificate.as_json()))["passed"]
    assert str(certificate.evidence[0]) == f"intnet: K = {k}, weights in net.safetensors"


def flip_a_weight(run):
    net = netfile.load(run / "net.safetensors")
    weight = net.layers[0].weight.copy()
    weight[0] ^= 1
    layers = dataclasses.replace(net.layers[0], weight=weight), net.layers[1]
    netfile.save(IntNet(layers, net.budget), run / "net.safetensors")


def drop_a_connection(run):
    net = netfile.load(run / "net.safetensors")
    layer = net.layers[1]
    less = {name: getattr(layer, name)[1:] for name in ("in_idx", "out_idx", "weight")}
    netfile.save(IntNet((net.layers[0], dataclasses.replace(layer, **less)), net.budget), run / "net.safetensors")


def corrupt(name):
    def spoil(run):
        data = bytearray((run / name).read_bytes())
        data[len(data) // 3] ^= 0xFF
        (run / name).write_bytes(data)
    return spoil


def exceed_the_budget_once(run):
    path = run / "metrics.jsonl"
    line = json.loads(path.read_text().splitlines()[1])
    path.write_text(path.read_text() + log_line(3, line["active_min"], line["active_max"] + 1))


def change_a_limit(run):
    log = json.loads((run / "budget.json").read_text())
    log["limits"][0] += 1
    (run / "budget.json").write_text(json.dumps(log))


def change_a_stored_weight(name):
    def spoil(run):
        model = onnx.load(str(run / name))
        tensor = next(t for t in model.graph.initializer if "weight" in t.name and np.prod(t.dims) > 1)
        values = onnx.numpy_helper.to_array(tensor).copy()
        values.flat[np.flatnonzero(values)[0]] += 1
        tensor.CopyFrom(onnx.numpy_helper.from_array(values, tensor.name))
        onnx.save(model, str(run / name))
    return spoil


def edit(name, old, new):
    def spoil(run):
        text = (run / name).read_text()
        assert old in text
        (run / name).write_text(text.replace(old, new, 1))
    return spoil


def drop_a_weight_of_the_firmware(run):
    for suffix in (".h", ".txt"):
        path = run / f"hls4ml/firmware/weights/w2{suffix}"
        values = path.read_text()
        path.write_text(values[: values.rindex(",")] + ("};\n\n#endif\n" if suffix == ".h" else ""))


def clear_a_mac_bit(run):
    path = run / "rtl/slots_0.hex"
    words = [int(word, 16) for word in path.read_text().split()]
    i = next(i for i, word in enumerate(words) if word >> 30 & 1)
    words[i] &= ~(1 << 30)
    path.write_text("".join(f"{word:08x}\n" for word in words))


@pytest.mark.parametrize(("spoil", "seen_in"), [
    (flip_a_weight, {"onnx integer", "onnx qdq", "onnx qonnx", "hls4ml", "rtl"}),
    (drop_a_connection, {"training", "training groups", "onnx integer", "onnx qdq", "onnx qonnx", "hls4ml", "rtl",
                         "simulation"}),
    (corrupt("net.safetensors"), {"intnet"}),
    (exceed_the_budget_once, {"training"}),
    (edit("metrics.jsonl", "active_max", "something"), {"training"}),
    (change_a_limit, {"training groups"}),
    (change_a_stored_weight("onnx/integer.onnx"), {"onnx integer"}),
    (change_a_stored_weight("onnx/qonnx.onnx"), {"onnx qonnx"}),
    (corrupt("onnx/qdq.onnx"), {"onnx qdq"}),
    (drop_a_weight_of_the_firmware, {"hls4ml"}),
    (edit("hls4ml/firmware/defines.h", "AP_RND_CONV", "AP_RND"), {"hls4ml"}),
    (edit("hls4ml/firmware/nnet_utils/nnet_sparse_dense.h", "+=", "-="), {"hls4ml"}),
    (clear_a_mac_bit, {"rtl", "simulation"}),
    (edit("rtl/load.txt", "0", "1"), {"rtl"}),
    (lambda run: (run / "rtl/layers.hex").unlink(), {"rtl", "simulation"}),
])
def test_tampering_is_seen(honest, tmp_path, spoil, seen_in):
    run = tmp_path / "run"
    shutil.copytree(honest, run)
    spoil(run)
    certificate = certify(run)
    assert not certificate.passed
    assert {e.artefact for e in certificate.evidence if e.fault} == seen_in
    assert any("FAULT" in str(e) for e in certificate.evidence)


@pytest.mark.parametrize("name", ["net.safetensors", "metrics.jsonl"])
def test_what_is_no_run(honest, tmp_path, name):
    shutil.copytree(honest, tmp_path / "run", ignore=shutil.ignore_patterns(name))
    with pytest.raises(FileNotFoundError, match="not the folder of a run"):
        certify(tmp_path / "run")

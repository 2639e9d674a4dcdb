"""The certificate agrees on an honest run, names everything that was tampered with, and is stopped by nothing."""

import dataclasses
import json
import random
import shutil

import numpy as np
import onnx
import pytest

from deepr_hw import cli, data
from deepr_hw.evidence.certify import certify
from deepr_hw.export.hls4ml import project as hls4ml_project
from deepr_hw.export.onnx import flavours as onnx_flavours
from deepr_hw.export.rtl import image as rtl_image
from deepr_hw.ir import IntNet, netfile
from deepr_hw.train.config import load_config
from deepr_hw.train.loop import train
from deepr_hw.train.runfolder import write_record

ONNX = [f"onnx/{flavour}.onnx" for flavour in onnx_flavours.FLAVOURS]
EVERYTHING = [
    "intnet",
    "record",
    "training",
    "training groups",
    "configuration",
    "checkpoint",
    "onnx integer",
    "onnx qdq",
    "onnx qonnx",
    "hls4ml",
    "rtl",
    "simulation",
    "verification",
]
UNCOUNTED = {"record", "configuration", "verification"}


def make_run(run, *settings):
    """The folder of a whole run of three epochs: what ``deepr-hw run`` leaves but for report and engines."""
    config = load_config("digits", ["training.epochs=3", "network.hidden=[12]", "budget.per_layer=[150,60]", *settings])
    net = train(config, data.load("digits"), run, progress=lambda *_: None).net
    export(net, run)
    (run / "verify.json").write_text(
        json.dumps({"intnet": netfile.digest(net), "engines": [{"name": "onnx", "passed": True}]})
    )
    write_record(run, net.provenance["run"], [*ONNX, "hls4ml", "rtl", "verify.json"])
    return run


def export(net, run):
    for flavour in onnx_flavours.FLAVOURS:
        onnx_flavours.export(net, run / "onnx", flavour)
    hls4ml_project.export(net, run / "hls4ml", reuse_factor=4)
    rtl_image.export(net, run / "rtl", lanes=4)


@pytest.fixture(scope="module")
def honest(tmp_path_factory):
    return make_run(tmp_path_factory.mktemp("honest"))


@pytest.fixture(scope="module")
def other(tmp_path_factory):
    """Another run of the same shape."""
    return make_run(tmp_path_factory.mktemp("other"), "training.seed=1")


@pytest.fixture
def run(honest, tmp_path):
    """A copy of the honest run, to be spoilt."""
    shutil.copytree(honest, tmp_path / "run")
    return tmp_path / "run"


def faults(certificate):
    return {e.artefact: e.fault for e in certificate.evidence if e.fault}


def test_an_honest_run(honest):
    certificate = certify(honest)
    assert faults(certificate) == {}
    assert certificate.passed
    assert [(e.artefact, e.n_connections) for e in certificate.evidence] == [
        (name, None if name in UNCOUNTED else 210) for name in EVERYTHING
    ]
    assert certificate.formula == "n_connections / n_positions = 210 / (64*12 + 12*10)"
    assert certificate.connectivity == 210 / (64 * 12 + 12 * 10)
    assert len(certificate.hashes["net.safetensors"]) == 64
    assert json.loads(json.dumps(certificate.as_json()))["passed"]
    assert str(certificate.evidence[0]) == "intnet: K = 210, weights in net.safetensors"


def test_a_training_alone_is_certified(tmp_path):
    config = load_config("digits", ["training.epochs=3", "training.method=magnitude"])
    train(config, data.load("digits"), tmp_path, progress=lambda *_: None)
    assert [e.artefact for e in certify(tmp_path).evidence] == EVERYTHING[:6]
    train(
        load_config("digits", ["training.epochs=3"]),
        data.load("digits"),
        tmp_path,
        force=True,
        progress=lambda *_: None,
    )
    assert certify(tmp_path).passed


@pytest.mark.parametrize(
    "settings",
    [
        ["training.method=soft_deep_r", "training.optimizer=sgd", "training.l1=1e-4"],
        ["training.method=rigl"],
        ["network.bias=false"],
        ["data.validation=100", "training.patience=1", "training.epochs=12"],
        ["training.optimizer=sgd", "training.learning_rate=0.3"],
        ["data.scale=standard", "budget.lanes=4"],
    ],
)
def test_every_kind_of_checkpoint_freezes_to_its_network(tmp_path, settings):
    train(
        load_config("digits", ["training.epochs=3", *settings]), data.load("digits"), tmp_path, progress=lambda *_: None
    )
    assert {"checkpoint", "record", "configuration"}.isdisjoint(faults(certify(tmp_path)))


def test_a_regression_is_certified(tmp_path):
    config = load_config("diabetes", ["training.epochs=3"])
    train(config, data.load("diabetes", "regression"), tmp_path, progress=lambda *_: None)
    assert certify(tmp_path).passed


def flip_a_weight(run):
    net = netfile.load(run / "net.safetensors")
    matrix = net.layers[0].matrix
    code = matrix.code.copy()
    code[0] ^= 1
    layers = dataclasses.replace(net.layers[0], matrix=dataclasses.replace(matrix, code=code)), net.layers[1]
    netfile.save(dataclasses.replace(net, layers=layers), run / "net.safetensors")


def drop_a_connection(run):
    net = netfile.load(run / "net.safetensors")
    layer = net.layers[1]
    less = {name: getattr(layer.matrix, name)[1:] for name in ("in_idx", "out_idx", "code")}
    layers = net.layers[0], dataclasses.replace(layer, matrix=dataclasses.replace(layer.matrix, **less))
    netfile.save(dataclasses.replace(net, layers=layers), run / "net.safetensors")


def corrupt(name):
    def spoil(run):
        content = bytearray((run / name).read_bytes())
        content[len(content) // 3] ^= 0xFF
        (run / name).write_bytes(content)

    return spoil


def edit(name, old, new):
    def spoil(run):
        text = (run / name).read_text()
        assert old in text
        (run / name).write_text(text.replace(old, new, 1))

    return spoil


def change(name, **members):
    def spoil(run):
        (run / name).write_text(json.dumps({**json.loads((run / name).read_text()), **members}))

    return spoil


def exceed_the_budget_once(run):
    path = run / "metrics.jsonl"
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    lines[1]["active_max"] += 1
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))


def drop_the_last_epoch(run):
    path = run / "metrics.jsonl"
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:-1]))


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


def image_of_more_lanes(run):
    """What an exporter that mixes with what it finds would leave."""
    rtl_image.export(netfile.load(run / "net.safetensors"), run / "wide", lanes=8)
    shutil.copy(run / "wide" / "slots_7.hex", run / "rtl")
    shutil.rmtree(run / "wide")


MADE = {"onnx integer", "onnx qdq", "onnx qonnx", "hls4ml", "rtl", "verification"}


@pytest.mark.parametrize(
    ("spoil", "seen_in"),
    [
        (flip_a_weight, {"record", "checkpoint", *MADE}),
        (drop_a_connection, {"record", "training", "training groups", "checkpoint", "simulation", *MADE}),
        (corrupt("net.safetensors"), {"intnet", "record"}),
        (exceed_the_budget_once, {"training"}),
        (drop_the_last_epoch, {"training"}),
        (edit("metrics.jsonl", "active_max", "something"), {"training"}),
        (edit("metrics.jsonl", '"run": "', '"run": "f'), {"training"}),
        (edit("metrics.jsonl", '"loss": ', '"loss": 1'), {"training"}),
        (change_a_limit, {"training groups"}),
        (change("budget.json", n_connections=209), {"training groups"}),
        (change("budget.json", steps=1), {"training groups"}),
        (change("budget.json", run="0"), {"training groups"}),
        (edit("config.toml", "epochs = 3", "epochs = 4"), {"configuration"}),
        (edit("config.toml", "[data]", "[data"), {"configuration"}),
        (corrupt("checkpoint.safetensors"), {"checkpoint"}),
        (change("run.json", run="0"), {"record"}),
        (change("run.json", intnet="0"), {"record"}),
        (edit("run.json", '"artefacts"', '"things"'), {"record"}),
        (change_a_stored_weight("onnx/integer.onnx"), {"onnx integer"}),
        (change_a_stored_weight("onnx/qonnx.onnx"), {"onnx qonnx"}),
        (corrupt("onnx/qdq.onnx"), {"onnx qdq"}),
        (drop_a_weight_of_the_firmware, {"hls4ml"}),
        (edit("hls4ml/firmware/defines.h", "AP_RND_CONV", "AP_RND"), {"hls4ml"}),
        (edit("hls4ml/firmware/nnet_utils/nnet_sparse_dense.h", "+=", "-="), {"hls4ml"}),
        (edit("hls4ml/deepr_hw.json", '"run": "', '"run": "f'), {"hls4ml"}),
        (edit("hls4ml/hls4ml_config.yml", "Backend:", "Backend: ["), {"hls4ml"}),
        (edit("hls4ml/hls4ml_config.yml", "ReuseFactor:", "Factor:"), {"hls4ml"}),
        (clear_a_mac_bit, {"rtl", "simulation"}),
        (edit("rtl/load.txt", "0", "1"), {"rtl"}),
        (edit("rtl/slots_1.hex", "\n", "zz\n"), {"rtl", "simulation"}),
        (edit("rtl/slots_1.hex", "\n", "00000000\n"), {"rtl", "simulation"}),
        (edit("rtl/layers.hex", "\n", "\n00000000\n"), {"rtl", "simulation"}),
        (edit("rtl/manifest.json", "{", ""), {"rtl", "simulation"}),
        (edit("rtl/manifest.json", '"Lanes": 4', '"Lanes": 3'), {"rtl", "simulation"}),
        (edit("rtl/manifest.json", '"intnet_sha256": "', '"intnet_sha256": "0'), {"rtl"}),
        (image_of_more_lanes, {"rtl"}),
        (change("verify.json", intnet="0"), {"verification"}),
        (change("verify.json", engines=[{"name": "onnx", "passed": False}]), {"verification"}),
    ],
)
def test_tampering_is_seen(run, spoil, seen_in):
    spoil(run)
    certificate = certify(run)
    assert not certificate.passed
    assert faults(certificate).keys() == seen_in
    assert any("FAULT" in str(e) for e in certificate.evidence)


@pytest.mark.parametrize(
    "name",
    [
        "net.safetensors",
        "metrics.jsonl",
        "budget.json",
        "checkpoint.safetensors",
        "config.toml",
        "run.json",
        *ONNX,
        "verify.json",
        "rtl/layers.hex",
        "rtl/slots_3.hex",
        "rtl/golden_beats.txt",
        "rtl/rtl/deepr_top.sv",
        "rtl/manifest.json",
        "hls4ml/deepr_hw.json",
        "hls4ml/build_lib.sh",
        "hls4ml/hls4ml_config.yml",
        "hls4ml/firmware/weights/w2.h",
        "hls4ml/tb_data/tb_input_features.dat",
    ],
)
def test_what_is_absent_is_named(run, name):
    (run / name).unlink()
    certificate = certify(run)
    assert not certificate.passed
    assert any("absent" in fault and name.split("/")[-1] in fault for fault in faults(certificate).values())


@pytest.mark.parametrize("name", ["onnx", "hls4ml", "rtl"])
def test_absent_and_empty_folders_are_named(run, name):
    shutil.rmtree(run / name)
    found = faults(certify(run))
    assert "absent" in found["record"]
    assert len(found) > 1
    (run / name).mkdir()
    assert len(faults(certify(run))) >= 1


def take(*names):
    def spoil(run, other):
        for name in names:
            if (other / name).is_dir():
                shutil.rmtree(run / name)
                shutil.copytree(other / name, run / name)
            else:
                shutil.copy(other / name, run / name)

    return spoil


def same_network_of_another_run(run, other):
    """The exports' bits are right, only the run that they name is not."""
    net = netfile.load(run / "net.safetensors")
    export(dataclasses.replace(net, provenance={**net.provenance, "run": "0" * 16}), run)


@pytest.mark.parametrize(
    ("spoil", "seen_in"),
    [
        (take("checkpoint.safetensors"), {"checkpoint", "training", "configuration"}),
        (take("net.safetensors"), {"record", "training", "training groups", "configuration", "checkpoint", *MADE}),
        (
            take("net.safetensors", "onnx", "hls4ml", "rtl", "verify.json"),
            {"record", "training", "training groups", "configuration", "checkpoint"},
        ),
        (
            take("net.safetensors", "onnx", "hls4ml", "rtl", "verify.json", "run.json"),
            {"training", "training groups", "configuration", "checkpoint"},
        ),
        (take("metrics.jsonl"), {"training"}),
        (take("budget.json"), {"training groups"}),
        (take("run.json"), {"record"}),
        (take("config.toml"), {"configuration"}),
        (take("onnx"), {"onnx integer", "onnx qdq", "onnx qonnx"}),
        (take("hls4ml"), {"hls4ml"}),
        (take("rtl"), {"rtl"}),
        (take("verify.json"), {"verification"}),
        (same_network_of_another_run, {"onnx integer", "onnx qdq", "onnx qonnx", "hls4ml", "rtl"}),
    ],
)
def test_what_another_run_left_is_named(run, other, spoil, seen_in):
    spoil(run, other)
    certificate = certify(run)
    assert not certificate.passed
    assert faults(certificate).keys() - {"simulation"} == seen_in


def test_no_damage_stops_the_certificate(run):
    """Every file in turn, in three of eight ways emptied, cut or replaced by nonsense: always a certificate, and never
    a passed one."""
    chance = random.Random(0)
    names = [
        "config.toml",
        "metrics.jsonl",
        "budget.json",
        "run.json",
        "verify.json",
        "checkpoint.safetensors",
        "net.safetensors",
        *ONNX,
        "hls4ml/hls4ml_config.yml",
        "hls4ml/firmware/weights/w2.h",
        "rtl/manifest.json",
        "rtl/slots_0.hex",
        "rtl/bias_1.hex",
        "rtl/layers.hex",
    ]
    for name in names:
        whole = (run / name).read_bytes()
        damaged = (
            b"",
            whole[: len(whole) // 2],
            b"[" * 5000,
            b"\xff\xfe null",
            b"null",
            b"{}",
            b"[1, 2]",
            chance.randbytes(300),
        )
        for content in chance.sample(damaged, 3):
            (run / name).write_bytes(content)
            assert not certify(run).passed, (name, content[:20])
        (run / name).write_bytes(whole)
    assert certify(run).passed


def test_what_is_no_run(tmp_path, capsys):
    assert cli.main(["certify", str(tmp_path)]) == 2
    assert "not the folder of a run: it has none of config.toml" in capsys.readouterr().err
    assert cli.main(["certify", str(tmp_path / "none")]) == 2
    assert cli.main(["certify", __file__]) == 2


def test_exports_do_not_mix_with_what_they_find(honest, tmp_path):
    net = netfile.load(honest / "net.safetensors")
    rtl_image.export(net, tmp_path / "rtl", lanes=16)
    rtl_image.export(net, tmp_path / "rtl", lanes=4)
    assert len(list((tmp_path / "rtl").glob("slots_*.hex"))) == len(list((tmp_path / "rtl").glob("bias_*.hex"))) == 4
    hls4ml_project.export(net, tmp_path / "hls", backend="Quartus")
    hls4ml_project.export(net, tmp_path / "hls", reuse_factor=4)
    assert {path.name for path in (tmp_path / "hls/firmware").rglob("*") if path.is_file()} == {
        path.name for path in (honest / "hls4ml/firmware").rglob("*") if path.is_file()
    }


def test_an_artefact_says_where_it_comes_from(honest):
    net = netfile.load(honest / "net.safetensors")
    assert isinstance(net, IntNet)
    expected = {"intnet_sha256": netfile.digest(net), "provenance": dict(net.provenance)}
    for name in ("rtl/manifest.json", "hls4ml/deepr_hw.json"):
        assert expected.items() <= json.loads((honest / name).read_text()).items()
    for name in ONNX:
        about = {entry.key: entry.value for entry in onnx.load(str(honest / name)).metadata_props}
        assert (about["intnet_sha256"], json.loads(about["provenance"])) == tuple(expected.values())

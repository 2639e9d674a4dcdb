"""The IntNet file: round trip, size, and an error that names the field for every kind of damage."""

import json
from dataclasses import replace

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import save as to_safetensors

from deepr_hw import reference
from deepr_hw.ir import Budget, IntNet, netfile, sparse_linear
from deepr_hw.ir.fixed import PIXEL, Format
from tests.random_nets import random_codes, random_net


@pytest.fixture
def saved(tmp_path):
    path = tmp_path / "net.safetensors"
    netfile.save(random_net(1), path)
    return path


@pytest.mark.parametrize("seed", range(20))
def test_round_trip(tmp_path, seed):
    net = replace(random_net(seed), provenance={"data": "random", "author": "töst"})
    path = tmp_path / "net.safetensors"
    netfile.save(net, path)
    again = netfile.load(path)
    x = random_codes(net, 20)
    np.testing.assert_array_equal(reference.logits(again, x), reference.logits(net, x))
    assert (again.budget, again.class_labels, again.provenance) == (net.budget, net.class_labels, net.provenance)
    first = path.read_bytes()
    netfile.save(again, path)
    assert path.read_bytes() == first
    assert list(tmp_path.iterdir()) == [path]


def test_size_follows_connections_not_positions(tmp_path):
    sizes = {}
    for n in (1000, 60000):
        position = np.linspace(0, n * n - 1, 5000).astype(np.int64)
        weight = np.ones(5000, int)
        layer = sparse_linear(n, n, position % n, position // n, weight, None, PIXEL, Format(8, True, 7), None)
        netfile.save(IntNet((layer,), Budget("global", (5000,))), tmp_path / "n")
        sizes[n] = (tmp_path / "n").stat().st_size
    assert abs(sizes[60000] - sizes[1000]) < 64  # 3,600 times the positions, the same bytes
    assert sizes[1000] < 5 * 5000 + 1024


def reopened(path):
    with safe_open(path, framework="np") as file:
        return {name: file.get_tensor(name) for name in file.keys()}, file.metadata()  # noqa: SIM118


def edit_net(change):
    def spoil(tensors, metadata):
        about = json.loads(metadata[netfile.KEY])
        change(about)
        metadata[netfile.KEY] = json.dumps(about)

    return spoil


def set_value(name, index, value):
    def spoil(tensors, metadata):
        tensors[name] = tensors[name].copy()
        tensors[name][index] = value

    return spoil


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda t, m: m.update(other=m.pop(netfile.KEY)), "no IntNet file"),
        (edit_net(lambda a: a.update(schema=99)), "net.schema = 99"),
        (lambda t, m: m.update({netfile.KEY: "{"}), "not JSON"),
        (edit_net(lambda a: a.pop("layers")), "net.layers: missing"),
        (edit_net(lambda a: a["layers"][0].update(kind="gru")), r"layers\[0\].kind = 'gru'"),
        (
            edit_net(lambda a: a["layers"][0]["matrices"]["weight"].update(n_in="7")),
            r"layers.0.weight.n_in: missing or not a int",
        ),
        (edit_net(lambda a: a["layers"][0]["x_format"].update(bits=77)), r"layers\[0\].x_format: bits = 77"),
        (edit_net(lambda a: a["budget"].update(limits=[1])), "exceeds the budget of 1"),
        (edit_net(lambda a: a.update(class_labels=["a"] * 999)), "999 names"),
        (lambda t, m: t.pop("layers.0.weight.code"), "tensor layers.0.weight.code: missing"),
        (lambda t, m: t.update(stray=np.zeros(1)), "tensor stray: belongs to no layer"),
        (lambda t, m: t.update({"layers.0.weight.code": t["layers.0.weight.code"][1:]}), "differ in length"),
        (lambda t, m: t.update({"layers.0.weight.code": t["layers.0.weight.code"].astype(float)}), "1-D integer"),
        (set_value("layers.0.weight.in_idx", 0, 255), r"layers\[0\]: in_idx\[0\] = 255"),
        (lambda t, m: t.update({"layers.0.weight.out_idx": t["layers.0.weight.out_idx"][::-1].copy()}), "sorted by"),
    ],
)
def test_damage_is_named(saved, spoil, message):
    tensors, metadata = reopened(saved)
    spoil(tensors, metadata)
    saved.write_bytes(to_safetensors(tensors, metadata))
    with pytest.raises(ValueError, match=message):
        netfile.load(saved)


@pytest.mark.parametrize("keep", [0, 1, 7, 8, 100, -1])
def test_truncation_is_named(saved, keep):
    saved.write_bytes(saved.read_bytes()[:keep])
    with pytest.raises(ValueError, match=r"net.safetensors: (the file is empty|not a whole safetensors file)"):
        netfile.load(saved)


def test_every_flipped_header_byte_is_refused_or_harmless(saved):
    raw = bytearray(saved.read_bytes())
    for i in range(0, 200, 3):
        spoilt = bytearray(raw)
        spoilt[i] ^= 0x55
        saved.write_bytes(spoilt)
        try:
            netfile.load(saved)
        except ValueError as error:
            assert "net.safetensors" in str(error)  # noqa: PT017 - either outcome is right, a crash isn't


def test_missing_file_and_foreign_file(tmp_path):
    with pytest.raises(FileNotFoundError):
        netfile.load(tmp_path / "none")
    with pytest.raises(IsADirectoryError, match="is a folder"):
        netfile.load(tmp_path)
    (tmp_path / "x").write_text("hello, this is text")
    with pytest.raises(ValueError, match="not a whole safetensors file"):
        netfile.load(tmp_path / "x")

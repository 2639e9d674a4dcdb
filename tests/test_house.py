"""The walls stand right: a kind of layer and a target that are defined here, in one file, work everywhere at once.

CONTRIBUTING.md walks through both.
"""

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

from deepr_hw import cli, data, reference, targets
from deepr_hw.evidence.certify import certify
from deepr_hw.evidence.info import describe
from deepr_hw.evidence.report import write_report
from deepr_hw.evidence.sizes import sizes
from deepr_hw.evidence.verify import random_samples
from deepr_hw.export.compact import container
from deepr_hw.ir import Budget, IntNet, netfile
from deepr_hw.ir.fixed import Format, signed_bits
from deepr_hw.ir.layer import LAYER_KINDS, register
from deepr_hw.target import Engine, EngineRun, Option, Size, Target
from deepr_hw.testimony import Evidence, attest
from deepr_hw.train.config import load_config
from deepr_hw.train.loop import train
from deepr_hw.train.runfolder import write_record
from tests.random_nets import random_layer

ROOT = Path(__file__).parent.parent


# A kind of layer.


@dataclass(frozen=True)
class Reverse:
    """``n`` codes in reverse order: no matrix, no array, one setting."""

    kind: ClassVar[str] = "reverse"

    n: int
    x_format: Format

    @classmethod
    def from_parts(cls, matrices, arrays, settings, x_format, y_format):
        if matrices or arrays or set(settings) != {"n"} or y_format != x_format:
            raise ValueError(f"a {cls.kind} has the setting n and gives the format that it takes")
        return cls(settings["n"], x_format)

    in_shape = out_shape = property(lambda self: (self.n,))
    y_format = property(lambda self: self.x_format)
    y_frac = property(lambda self: self.x_format.frac)
    matrices = property(lambda self: {})
    arrays = property(lambda self: {})
    settings = property(lambda self: {"n": self.n})
    acc_range = property(lambda self: (self.x_format.lo, self.x_format.hi))
    acc_bits = property(lambda self: signed_bits(*self.acc_range))
    macs_per_sample = 0


@reference.run_layer.register
def _(layer: Reverse, x: np.ndarray) -> np.ndarray:
    return x[:, ::-1]


@pytest.fixture
def kind():
    register(Reverse)
    yield Reverse.kind
    del LAYER_KINDS[Reverse.kind]


@pytest.fixture
def net(kind):
    """The toy kind in front of and between sparse linear layers."""
    rng, pixels, codes = np.random.default_rng(0), Format(8, False, 8), Format(8, False, 5)
    first = random_layer(rng, 9, 6, pixels, last=True)
    hidden = type(first)(first.matrix, first.bias, pixels, codes)
    layers = Reverse(9, pixels), hidden, Reverse(6, codes), random_layer(rng, 6, 4, codes, last=True)
    return IntNet(
        layers, Budget("global", (sum(m.n_connections for layer in layers for m in layer.matrices.values()),))
    )


@pytest.fixture
def net_path(net, tmp_path):
    netfile.save(net, tmp_path / "net.safetensors")
    return tmp_path / "net.safetensors"


def test_the_reference_runs_a_new_kind(net):
    x = random_samples(net, 20).codes
    hidden = reference.run_layer(net.layers[1], x[:, ::-1])
    assert np.array_equal(reference.logits(net, x), reference.run_layer(net.layers[3], hidden[:, ::-1]))
    assert not np.array_equal(reference.logits(net, x), reference.logits(net, x[:, ::-1]))


def test_a_new_kind_in_both_files(net, net_path):
    loaded, unpacked = netfile.load(net_path), container.unpack(container.pack(net))
    for again in (loaded, unpacked):
        assert [layer.kind for layer in again.layers] == ["reverse", "sparse_linear"] * 2
        assert again.layers[::2] == net.layers[::2]
        assert netfile.digest(again) == netfile.digest(net)


def test_a_new_kind_in_info_sizes_and_report(net, net_path):
    facts = describe(net, net_path)
    assert facts["layers"][0] == {
        "kind": "reverse",
        "in_shape": [9],
        "out_shape": [9],
        "formats": {"x": str(net.x_format), "y": str(net.x_format)},
        "settings": {"n": 9},
        "matrices": {},
        "arrays": {},
        "acc_bits": 9,
        "macs_per_sample": 0,
    }
    assert cli.main(["info", str(net_path)]) == 0
    rows = {size.name: size for size in sizes(net)}
    assert rows["dense int8"].n_bytes == 9 * 6 + 6 * 4 + sum(
        a.nbytes for layer in net.layers for a in layer.arrays.values()
    )
    assert rows["compact container"].n_bytes == len(container.pack(net))
    refused = [name for name in rows if name.startswith(("ONNX int", "ONNX q", "RTL"))]
    assert len(refused) == 4
    assert all(rows[name].n_bytes is None and "reverse" in rows[name].remark for name in refused)
    write_report(net_path.parent)
    assert "0 reverse" in (net_path.parent / "report.html").read_text()


def test_the_certificate_counts_past_a_new_kind(net, net_path):
    intnet, *training = certify(net_path.parent).evidence
    assert (intnet.n_connections, intnet.fault) == (net.n_connections, None)
    assert all("absent" in evidence.fault for evidence in training)  # this network was not trained here


def test_verify_runs_a_new_kind(net_path, tmp_path):
    argv = ["verify", str(net_path), "--engines", "compact,c-codes", "--samples", "50"]
    assert cli.main([*argv, "--json", str(tmp_path / "out.json")]) == 0
    assert [row["passed"] for row in json.loads((tmp_path / "out.json").read_text())["engines"]] == [True, True]


@pytest.mark.parametrize("engine", ["onnx", "qdq", "qonnx", "hls4ml", "hls4ml-stock", "icarus"])
def test_targets_refuse_a_new_kind_by_name(net_path, tmp_path, engine, capfd):
    argv = ["verify", str(net_path), "--engines", engine, "--samples", "2", "--json", str(tmp_path / "out.json")]
    assert cli.main(argv) == 1
    (row,) = json.loads((tmp_path / "out.json").read_text())["engines"]
    assert "reverse" in row["refusal"]
    assert "layer 0" in row["refusal"] or "layer0" in row["refusal"]
    assert f"{engine} refuses this network: {row['refusal']}" in " ".join(capfd.readouterr().out.split())


def test_a_kind_that_nobody_knows(net_path, kind, capsys, monkeypatch):
    monkeypatch.delitem(LAYER_KINDS, kind)
    assert cli.main(["info", str(net_path)]) == 2
    assert "layers[0].kind = 'reverse': expected one of sparse_linear" in capsys.readouterr().err
    monkeypatch.undo()


def test_a_kind_without_a_reference(net_path, kind, capsys, monkeypatch):
    @dataclass(frozen=True)
    class Unfinished(Reverse):
        """As its base, but for what the reference makes of it."""

    reference.run_layer.register(Unfinished, reference.run_layer.dispatch(object))
    monkeypatch.setitem(LAYER_KINDS, kind, Unfinished)
    assert cli.main(["verify", str(net_path), "--engines", "compact"]) == 2
    assert "the reference has no form for a layer of kind reverse" in capsys.readouterr().err


# A target.


def export_toy(net: IntNet, folder: Path, colour: str = "black") -> dict[str, Any]:
    path = folder / "toy.txt"
    path.write_text(f"{colour}\n{netfile.digest(net)}\n" + "connection\n" * net.n_connections)
    return {"path": str(path), "colour": colour}


def run_toy(net: IntNet, x: np.ndarray, workdir: Path) -> EngineRun:
    return EngineRun(reference.logits(net, x))


def toy_sizes(net: IntNet, folder: Path):
    export_toy(net, folder)
    yield Size("toy", "file", (folder / "toy.txt").stat().st_size)


def examine_toy(run: Path, net: IntNet | None, simulator: str) -> list[Evidence]:
    def look():
        _, digest, *lines = (run / "toy" / "toy.txt").read_text().splitlines()
        other = net is not None and digest != netfile.digest(net)
        return len(lines), "names another IntNet" if other else None

    return [attest("toy", "lines counted", look)]


TOY = Target(
    name="toy",
    summary="a line per connection",
    export=export_toy,
    options=(Option("colour", {"choices": ("red", "black"), "help": "of the ink"}),),
    artefacts={"toy": {"colour": "red"}},
    engines=(Engine("toy-reader", run_toy, samples=7),),
    sizes=toy_sizes,
    examine=examine_toy,
)


@pytest.fixture
def toy():
    targets.register(TOY)
    yield TOY
    del targets.TARGETS[TOY.name]
    for engine in TOY.engines:
        del targets.ENGINES[engine.name]


@pytest.fixture
def plain_path(tmp_path):
    layer = random_layer(np.random.default_rng(1), 9, 4, Format(8, False, 8), last=True)
    path = tmp_path / "plain.safetensors"
    netfile.save(IntNet((layer,), Budget("global", (layer.matrix.n_connections,))), path)
    return path


def test_a_new_target_on_the_command_line(toy, plain_path, tmp_path, capsys):
    assert cli.main(["export", "toy", str(plain_path), "--out", str(tmp_path / "a"), "--colour", "red"]) == 0
    lines = (tmp_path / "a" / "toy.txt").read_text().splitlines()
    assert (lines[0], len(lines) - 2) == ("red", netfile.load(plain_path).n_connections)
    assert cli.main(["export", "onnx", str(plain_path), "--out", str(tmp_path / "b"), "--colour", "red"]) == 2
    assert "--colour: only export toy has it" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        cli.main(["export", "--help"])
    shown = " ".join(capsys.readouterr().out.split())
    assert "toy: a line per connection" in shown
    assert "toy: of the ink" in shown


def test_a_new_target_s_engine_in_verify(toy, plain_path, tmp_path):
    argv = [
        "verify",
        str(plain_path),
        "--data",
        "random",
        "--engines",
        "toy-reader",
        "--json",
        str(tmp_path / "v.json"),
    ]
    assert cli.main(argv) == 0
    (row,) = json.loads((tmp_path / "v.json").read_text())["engines"]
    assert (row["name"], row["samples"], row["mismatches"]) == ("toy-reader", 7, 0)


def test_a_new_target_s_row_in_the_table_of_sizes(toy, plain_path):
    net = netfile.load(plain_path)
    rows = {size.name: size.n_bytes for size in sizes(net)}
    assert rows["toy"] == len("black\n") + 65 + len("connection\n") * net.n_connections


def test_a_new_target_in_the_certificate_and_in_run(toy, tmp_path):
    from deepr_hw.cli.commands import whole

    assert whole.artefacts()["toy"] == ("toy", {"colour": "red"})
    config = load_config("digits", ["training.epochs=3", "network.hidden=[12]", "budget.per_layer=[150,60]"])
    trained = train(config, data.load("digits"), tmp_path, progress=lambda *_: None).net
    (tmp_path / "toy").mkdir()
    export_toy(trained, tmp_path / "toy")
    write_record(tmp_path, trained.provenance["run"], ["toy"])
    certificate = certify(tmp_path)
    assert certificate.passed
    assert certificate.evidence[-1] == Evidence("toy", 210, None, "lines counted")
    with (tmp_path / "toy" / "toy.txt").open("a") as file:
        file.write("connection\n")
    assert certify(tmp_path).evidence[-1].fault == "the IntNet has 210"
    (tmp_path / "toy" / "toy.txt").unlink()
    assert certify(tmp_path).evidence[-1].fault == "toy.txt is absent"


def test_names_that_are_taken(toy):
    with pytest.raises(ValueError, match="target 'toy': there is one of this name"):
        targets.register(TOY)
    with pytest.raises(ValueError, match="there is an engine 'toy-reader' already"):
        targets.register(Target("another", "", export_toy, engines=TOY.engines))
    assert "another" not in targets.TARGETS


def installed(folder, value):
    """Environment in which a package of this one entry point is installed."""
    about = folder / "toy_package-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: toy-package\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text(f"[{targets.GROUP}]\ntoy = {value}\n")
    return {**os.environ, "PYTHONPATH": os.pathsep.join([str(folder), str(ROOT)])}


def deepr_hw(env, *argv):
    command = [sys.executable, "-m", "deepr_hw", *map(str, argv)]
    return subprocess.run(command, env=env, capture_output=True, text=True)


def test_a_target_by_entry_point(plain_path, tmp_path):
    env = installed(tmp_path, "tests.test_house:TOY")
    done = deepr_hw(env, "export", "toy", plain_path, "--out", tmp_path / "out")
    assert (done.returncode, done.stderr) == (0, "")
    assert (tmp_path / "out" / "toy.txt").read_text().startswith("black\n")
    assert "a line per connection" in " ".join(deepr_hw(env, "export", "--help").stdout.split())


@pytest.mark.parametrize("value", ["no_such_module:TOY", "tests.random_nets:CORNERS", "deepr_hw.sim.target:TARGET"])
def test_an_entry_point_that_can_not_be_used_stops_nobody(plain_path, tmp_path, value):
    done = deepr_hw(installed(tmp_path, value), "info", plain_path)
    assert done.returncode == 0
    assert done.stderr.startswith("deepr-hw: warning: entry point toy of toy-package: ")
    assert done.stderr.count("\n") == 1

"""The command line as its users meet it: exit codes, one clear line, no traceback, no half-written file."""

import json
import subprocess
import sys

import numpy as np
import pytest

from deepr_hw import cli, engines, netfile, reference, verify
from deepr_hw.engines import EngineRun
from deepr_hw.fixed import Format
from deepr_hw.ir import Budget, IntNet, SparseLinear
from tests.random_nets import random_net
from tests.simulators import need


@pytest.fixture
def net_path(tmp_path):
    path = tmp_path / "net.safetensors"
    netfile.save(random_net(1), path)
    return path


def fake_engine(monkeypatch, change):
    """Register an engine ``fake`` that answers the reference's logits as ``change`` spoils them."""
    module = type(sys)("fake_engine_module")
    module.run = lambda net, x, workdir: change(reference.logits(net, x))
    monkeypatch.setitem(sys.modules, "fake_engine_module", module)
    monkeypatch.setitem(engines.ENGINES, "fake", ("fake_engine_module:run", {}))


def bad(capsys, *argv):
    """Exit code 2 and one line on stderr, which is returned."""
    assert cli.main([str(arg) for arg in argv]) == 2
    err = capsys.readouterr().err.strip()
    assert err.startswith("deepr-hw: ")
    assert "\n" not in err
    return err


def test_help_imports_nothing_heavy():
    heavy = "{'numpy', 'rich', 'numba', 'sklearn', 'onnx', 'hls4ml', 'cocotb', 'matplotlib'}"
    code = f"import sys, deepr_hw.cli\ntry: deepr_hw.cli.main(['--help'])\nexcept SystemExit: pass\n" \
           f"assert not {heavy} & set(sys.modules), sorted({heavy} & set(sys.modules))"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert "examples:" in shown


@pytest.mark.parametrize("command", ["train", "run", "compare", "info", "export", "verify", "synth", "load-diff", "hls",
                                     "certify", "import"])
def test_every_command_shows_examples(capsys, command):
    with pytest.raises(SystemExit) as stop:
        cli.main([command, "--help"])
    assert stop.value.code == 0
    assert f"deepr-hw {command}" in capsys.readouterr().out.split("examples:")[1]


def test_info_writes_json(net_path, tmp_path):
    assert cli.main(["info", str(net_path), "--json", str(tmp_path / "info.json")]) == 0
    facts = json.loads((tmp_path / "info.json").read_text())
    net = random_net(1)
    assert facts["n_connections"] == net.n_connections
    assert facts["bytes_per_connection"] == net_path.stat().st_size / net.n_connections


def test_verify_passes_and_counts(net_path, tmp_path, monkeypatch):
    fake_engine(monkeypatch, lambda y: EngineRun(y, cycles_per_sample=7.0))
    out = tmp_path / "v.json"
    assert cli.main(["verify", str(net_path), "--data", "random", "--engines", "fake", "--samples", "30",
                     "--json", str(out)]) == 0
    net = random_net(1)
    (row,) = json.loads(out.read_text())["engines"]
    assert (row["name"], row["samples"], row["compared"], row["mismatches"]) == ("fake", 30, 30 * net.n_out, 0)
    assert row["cycles_per_sample"] == 7.0


def flip_one(y):
    y = y.copy()
    y[-1, -1] ^= 1
    return EngineRun(y)


@pytest.mark.parametrize(("change", "mismatches"), [
    (flip_one, 1),
    (lambda y: EngineRun(y[:-1]), None),  # one sample lost: none agrees
    (lambda y: EngineRun(y[:0]), None),  # the device never answered
    (lambda y: EngineRun(y, n_macs=1), 0),  # right logits, wrong count of multiply-accumulates
])
def test_verify_fails_on_one_wrong_logit_a_lost_sample_or_a_wrong_count(net_path, tmp_path, monkeypatch, change,
                                                                        mismatches):
    fake_engine(monkeypatch, change)
    out = tmp_path / "v.json"
    assert cli.main(["verify", str(net_path), "--engines", "fake:9", "--json", str(out)]) == 1
    (row,) = json.loads(out.read_text())["engines"]
    assert row["mismatches"] == (row["compared"] if mismatches is None else mismatches)
    assert not row["passed"]


def test_an_engine_that_refuses_is_a_row_and_the_others_go_on(net_path, tmp_path, monkeypatch, capsys):
    def refuse(y):
        raise ValueError("layer0: too wide\nfor this one")

    fake_engine(monkeypatch, refuse)
    out = tmp_path / "v.json"
    assert cli.main(["verify", str(net_path), "--engines", "fake:9,onnx:9", "--json", str(out)]) == 1
    refused, other = json.loads(out.read_text())["engines"]
    assert (refused["refusal"], refused["passed"]) == ("layer0: too wide for this one", False)
    assert other["passed"]
    assert "fake refuses this network: layer0: too wide" in capsys.readouterr().out


def test_samples_by_engine(monkeypatch):
    monkeypatch.setattr(verify, "get_engine", lambda name: None)  # needs no tool to be installed
    assert verify.parse_engines("onnx,icarus:5,hls4ml", None) == {"onnx": None, "icarus": 5, "hls4ml": 1000}
    assert verify.parse_engines("onnx,icarus:5", 7) == {"onnx": 7, "icarus": 5}
    everything = verify.parse_engines("all,icarus:5", None)
    assert everything["icarus"] == 5
    assert everything.keys() == {name for name in (*engines.ENGINES, *engines.ENCODERS) if "wrong" not in name}


@pytest.mark.parametrize(("argv", "message"), [
    (["info", "none.safetensors"], "none.safetensors: No such file"),
    (["verify", "NET", "--engines", "vivado"], "engine 'vivado'"),
    (["verify", "NET", "--engines", "onnx:-3"], "positive number"),
    (["verify", "NET", "--engines", ""], "no engine"),
    (["verify", "NET", "--data", "nothing", "--engines", "fake"], "no such data"),
    (["verify", "NET", "--data", "digits", "--engines", "fake"], "the network takes"),
    (["export", "onnx", "NET", "--out", "x", "--lanes", "3"], "--lanes"),
    (["info", "NET", "--json", "/proc/none/x.json"], "/proc/none/x.json: can't write here"),
    (["export", "onnx", "NET", "--out", "/proc/self/nowhere"], "/proc/self/nowhere: can't make this folder"),
    (["train", "none.toml", "--out", "x"], "none.toml"),
    (["train", "digits", "--out", "/proc/none/run"], "/proc/none/run"),
])
def test_bad_input_is_one_line_and_exit_code_2(capsys, net_path, tmp_path, monkeypatch, argv, message):
    fake_engine(monkeypatch, EngineRun)
    monkeypatch.chdir(tmp_path)
    assert message in bad(capsys, *[net_path if arg == "NET" else arg for arg in argv])


def test_damaged_and_empty_networks(capsys, net_path):
    whole = net_path.read_bytes()
    for content, message in ((b"", "the file is empty"), (whole[:50], "not a whole"), (b"hello" * 9, "not a whole")):
        net_path.write_bytes(content)
        assert message in bad(capsys, "info", net_path)


def test_usage_errors_exit_with_2(capsys):
    for argv in ([], ["frobnicate"], ["verify", "x", "--samples", "0"]):
        with pytest.raises(SystemExit) as stop:
            cli.main(argv)
        assert stop.value.code == 2
    assert "positive whole number" in capsys.readouterr().err


def test_verify_compares_what_the_reference_gives():
    net = random_net(2)
    samples = verify.random_samples(net, 5)
    np.testing.assert_array_equal(samples.values, verify.random_samples(net, 5).values)
    np.testing.assert_array_equal(samples.codes, net.encode(samples.values))


def test_import_of_arrays_measures_its_agreement(tmp_path, capsys):
    rng = np.random.default_rng(0)
    first, last = (np.where(rng.random(shape) < 0.2, rng.normal(0, 0.3, shape), 0) for shape in ((64, 16), (16, 10)))
    np.savez(tmp_path / "weights.npz", first=first, first_bias=np.zeros(16), last=last, last_bias=np.zeros(10))
    out = tmp_path / "net.safetensors"
    assert cli.main(["import", str(tmp_path / "weights.npz"), "--out", str(out), "--data", "digits",
                     "--json", str(tmp_path / "i.json")]) == 0
    result = json.loads((tmp_path / "i.json").read_text())
    n_nonzero = np.count_nonzero(first) + np.count_nonzero(last)
    assert result["n_connections"] == netfile.load(out).n_connections == n_nonzero
    assert result["agreement"]["samples"] == 360
    assert result["agreement"]["rms_error"] < 0.05
    (tmp_path / "broken.onnx").write_bytes(b"no model")
    assert "broken.onnx: no ONNX model" in bad(capsys, "import", tmp_path / "broken.onnx", "--out", out)


def test_certify_refuses_what_is_no_run(tmp_path, capsys):
    assert "not the folder of a run" in bad(capsys, "certify", tmp_path)


def test_hls_says_in_one_line_that_no_compiler_is_at_hand(net_path, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("PATH", "/nonexistent")
    assert cli.main(["hls", str(net_path), "--out", str(tmp_path / "hls"), "--json", str(tmp_path / "h.json")]) == 0
    assert "not synthesized: no vitis-run or vitis_hls on PATH" in " ".join(capsys.readouterr().out.split())
    assert json.loads((tmp_path / "h.json").read_text())["static"]["multipliers"] <= random_net(1).n_connections


def test_load_diff_writes_what_differs(tmp_path, capsys):
    paths = []
    for weight in (3, 4):
        layer = SparseLinear(2, 1, [0, 1], [0, 0], [weight, 5], None, Format(8, False, 0), Format(8, True, 0), None)
        paths.append(tmp_path / f"{weight}.safetensors")
        netfile.save(IntNet((layer,), Budget("global", (2,))), paths[-1])
    assert cli.main(["load-diff", *map(str, paths), "--lanes", "1", "--out", str(tmp_path / "d.txt")]) == 0
    assert (tmp_path / "d.txt").read_text() == "000000 41000000\n"
    assert "1 writes instead of 6" in capsys.readouterr().out


@pytest.mark.parametrize(("simulator", "name", "magic"), [("icarus", "icarus.fst", b"\0"),
                                                          ("verilator", "verilator.vcd", b"$")])
def test_waves_leaves_a_file_for_a_viewer(net_path, tmp_path, simulator, name, magic):
    need(simulator)
    assert cli.main(["verify", str(net_path), "--engines", f"{simulator}:2", "--lanes", "2",
                     "--waves", str(tmp_path / "waves")]) == 0
    content = (tmp_path / "waves" / name).read_bytes()
    assert content.startswith(magic)
    assert len(content) > 5000

"""The command line as its users meet it: exit codes, one clear line, no traceback, no half-written file."""

import json
import subprocess
import sys

import numpy as np
import pytest

import deepr_hw.export
from deepr_hw import cli, reference, targets
from deepr_hw.evidence import verify
from deepr_hw.ir import Budget, IntNet, netfile, sparse_linear
from deepr_hw.ir.fixed import Format
from deepr_hw.target import Engine, EngineRun
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
    monkeypatch.setitem(targets.ENGINES, "fake", Engine("fake", "fake_engine_module:run"))


def exit_code(*argv):
    try:
        return cli.main([str(arg) for arg in argv])
    except SystemExit as stop:  # argparse's own refusals
        return stop.code


def bad(capsys, *argv):
    """Exit code 2 and one line on stderr, which is returned."""
    assert exit_code(*argv) == 2
    err = capsys.readouterr().err
    assert err.startswith("deepr-hw: ")
    assert err.endswith("\n")
    assert err.count("\n") == 1
    return err


def test_help_imports_nothing_heavy():
    heavy = "{'numpy', 'rich', 'numba', 'sklearn', 'onnx', 'hls4ml', 'cocotb', 'matplotlib'}"
    code = (
        f"import sys, deepr_hw.cli\ntry: deepr_hw.cli.main(['--help'])\nexcept SystemExit: pass\n"
        f"assert not {heavy} & set(sys.modules), sorted({heavy} & set(sys.modules))"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert "examples:" in shown


@pytest.mark.parametrize(
    "command", ["train", "run", "compare", "info", "export", "verify", "synth", "load-diff", "hls", "certify", "import"]
)
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
    assert (
        cli.main(
            ["verify", str(net_path), "--data", "random", "--engines", "fake", "--samples", "30", "--json", str(out)]
        )
        == 0
    )
    net = random_net(1)
    (row,) = json.loads(out.read_text())["engines"]
    assert (row["name"], row["samples"], row["compared"], row["mismatches"]) == ("fake", 30, 30 * net.n_out, 0)
    assert row["cycles_per_sample"] == 7.0


def flip_one(y):
    y = y.copy()
    y[-1, -1] ^= 1
    return EngineRun(y)


@pytest.mark.parametrize(
    ("change", "mismatches"),
    [
        (flip_one, 1),
        (lambda y: EngineRun(y[:-1]), None),  # one sample lost: none agrees
        (lambda y: EngineRun(y[:0]), None),  # the device never answered
        (lambda y: EngineRun(y, n_macs=1), 0),  # right logits, wrong count of multiply-accumulates
    ],
)
def test_verify_fails_on_one_wrong_logit_a_lost_sample_or_a_wrong_count(
    net_path, tmp_path, monkeypatch, change, mismatches
):
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
    assert everything.keys() == {name for name in targets.ENGINES if "wrong" not in name}


@pytest.mark.parametrize(
    ("argv", "message"),
    [
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
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(capsys, net_path, tmp_path, monkeypatch, argv, message):
    fake_engine(monkeypatch, EngineRun)
    monkeypatch.chdir(tmp_path)
    assert message in bad(capsys, *[net_path if arg == "NET" else arg for arg in argv])


def test_damaged_and_empty_networks(capsys, net_path):
    whole = net_path.read_bytes()
    for content, message in ((b"", "the file is empty"), (whole[:50], "not a whole"), (b"hello" * 9, "not a whole")):
        net_path.write_bytes(content)
        assert message in bad(capsys, "info", net_path)


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        ([], "arguments are required: COMMAND (see deepr-hw --help)"),
        (["frobnicate"], "invalid choice: 'frobnicate'"),
        (["verify", "x", "--samples", "0"], "verify: argument --samples: '0' is not a positive whole number"),
        (["verify", "x", "--samples", "1000000000000"], "below 2**31"),
        (["verify", "x", "--lanes", "3"], "an engine has 1, 2, 4, 8, 16 lanes"),
        (["import", "x", "--out", "y", "--unit", "nan"], "'nan' is not a positive number"),
    ],
)
def test_usage_errors_exit_with_2(capsys, argv, message):
    assert message in bad(capsys, *argv)


def test_json_on_standard_output_leaves_it_to_the_machine(net_path, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert cli.main(["info", str(net_path), "--json", "-"]) == 0
    shown = capsys.readouterr()
    assert json.loads(shown.out)["n_connections"] == random_net(1).n_connections
    assert "fan-in" in shown.err
    assert not (tmp_path / "-").exists()
    assert cli.main(["info", str(net_path)]) == 0
    shown = capsys.readouterr()
    assert ("fan-in" in shown.out, shown.err) == (True, "")


def test_json_is_refused_before_the_work(net_path, tmp_path, capsys, monkeypatch):
    ran = []
    fake_engine(monkeypatch, lambda y: ran.append(1) or EngineRun(y))
    for path in (tmp_path, tmp_path / "none" / "x.json"):
        bad(capsys, "verify", net_path, "--engines", "fake", "--json", path)
    assert not ran


def test_what_is_missing_at_the_end_of_a_run_is_told_at_its_beginning(tmp_path, capsys, monkeypatch):
    def never(*args, **options):
        raise AssertionError("training began")

    monkeypatch.setattr("deepr_hw.train.loop.train_in", never)
    fake_engine(monkeypatch, EngineRun)
    out = tmp_path / "runs" / "x"
    run = ["run", "digits", "--out", out, "--engines"]
    assert "engine 'vivado'" in bad(capsys, *run, "vivado")
    assert "400 samples are wanted: the data has 360 test samples" in bad(capsys, *run, "fake:400")
    assert "--samples" not in bad(capsys, *run, "fake", "--samples", "361")
    assert "is a file" in bad(capsys, *run, "fake", "--waves", __file__)
    assert "is a folder" in bad(capsys, *run, "fake", "--json", tmp_path)
    for command, module, what in (
        (run, "matplotlib.figure", "report"),
        (run, "onnx", "onnx"),
        (["compare", "digits", "--out", out], "matplotlib.figure", "report"),
    ):
        argv = [*command, "fake"] if command is run else command
        with monkeypatch.context() as gone:
            hide(gone, module)
            assert f"pip install 'deepr-hw[{what}]'" in bad(capsys, *argv)
    with monkeypatch.context() as gone:
        gone.setenv("PATH", "/nonexistent")
        assert "iverilog is not installed" in bad(capsys, *run, "fake")
    assert list(tmp_path.iterdir()) == []


def test_a_run_goes_on_past_an_export_that_refuses_and_fails_at_its_end(tmp_path, capsys, monkeypatch):
    need("icarus")
    monkeypatch.setattr("deepr_hw.export.onnx.qdq.MATRIX_POSITIONS", 64 * 12 - 1)
    out, told = tmp_path / "run", tmp_path / "run.json"
    small = ["training.epochs=3", "network.hidden=[12]", "budget.per_layer=[150, 60]"]
    settings = [word for override in small for word in ("--set", override)]
    engines = ["--engines", "qdq:20,onnx:20", "--json", str(told)]
    assert cli.main(["run", "digits", "--out", str(out), *settings, *engines]) == 1
    why = "layer0: 768 positions are too many"
    assert " ".join(capsys.readouterr().out.split()).count(f"onnx refuses this network: {why}") == 2
    written = json.loads(told.read_text())
    assert [entry.get("refusal", "")[: len(why)] for entry in written["export"]] == ["", why, why, "", ""]
    refused, other = written["verify"]["engines"]
    assert (refused["refusal"][: len(why)], refused["passed"], other["passed"]) == (why, False, True)
    assert [path.name for path in (out / "onnx").iterdir()] == ["integer.onnx"]
    for left in (
        "net.safetensors",
        "hls4ml",
        "rtl/manifest.json",
        "verify.json",
    ):
        assert (out / left).exists(), left
    assert json.loads((out / "certificate.json").read_text()) == written["certificate"]
    assert "refused: layer0: 768 positions are too many" in (out / "report.html").read_text()


def hide(monkeypatch, module):
    """Make ``module`` and what the project built on it look as if it were not installed."""
    monkeypatch.setattr(deepr_hw, "export", deepr_hw.export)
    for name in [
        name for name in sys.modules if name.startswith(("deepr_hw.export", "deepr_hw.evidence.sweep_figure"))
    ]:
        monkeypatch.delitem(sys.modules, name)
    for name in [module, *(name for name in sys.modules if name.startswith(f"{module}."))]:
        monkeypatch.setitem(sys.modules, name, None)


@pytest.mark.parametrize(
    ("argv", "module", "extra"),
    [
        (["export", "onnx", "NET", "--out", "o"], "onnx", "onnx"),
        (["export", "hls4ml", "NET", "--out", "o"], "hls4ml", "hls4ml"),
        (["hls", "NET", "--out", "o"], "hls4ml", "hls4ml"),
        (["verify", "NET", "--engines", "onnx"], "onnx", "onnx"),
        (["import", "model.onnx", "--out", "n"], "onnx", "onnx"),
    ],
)
def test_a_missing_extra_is_named(net_path, tmp_path, capsys, monkeypatch, argv, module, extra):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "model.onnx").write_bytes(b"x")
    hide(monkeypatch, module)
    assert f"needs the package '{module}', which is not installed: pip install 'deepr-hw[{extra}]'" in bad(
        capsys, *[net_path if arg == "NET" else arg for arg in argv]
    )


def test_an_engine_of_all_that_is_not_installed_is_a_row_and_a_named_one_is_refused(net_path, capsys, monkeypatch):
    fake_engine(monkeypatch, EngineRun)
    sys.modules["fake_engine_module"].missing_program = lambda options: "fakery is not installed"
    monkeypatch.setattr(verify, "ENGINES", {"fake": targets.ENGINES["fake"]})
    assert "engine 'fake': fakery is not installed" in bad(capsys, "verify", net_path, "--engines", "fake")
    assert cli.main(["verify", str(net_path), "--engines", "all"]) == 0
    assert "fake refuses this network: engine 'fake': fakery is not installed" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("command", "how"),
    [
        (["verify", "NET", "--engines", "fake"], ""),
        (["info", "NET"], ""),
        (["train", "digits", "--out", "o"], "; training goes on with --resume"),
        (["compare", "digits", "--out", "o"], "; training goes on by the same command"),
    ],
)
def test_an_interruption_speaks_of_resuming_where_there_is_training(net_path, capsys, monkeypatch, command, how):
    def interrupt(*args, **options):
        raise KeyboardInterrupt

    fake_engine(monkeypatch, EngineRun)
    for place in ("deepr_hw.ir.netfile.load", "deepr_hw.data.load"):
        monkeypatch.setattr(place, interrupt)
    assert cli.main([str(net_path) if arg == "NET" else arg for arg in command]) == 130
    assert capsys.readouterr().err == f"\ndeepr-hw: interrupted{how}\n"


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
    assert (
        cli.main(
            [
                "import",
                str(tmp_path / "weights.npz"),
                "--out",
                str(out),
                "--data",
                "digits",
                "--json",
                str(tmp_path / "i.json"),
            ]
        )
        == 0
    )
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
        layer = sparse_linear(2, 1, [0, 1], [0, 0], [weight, 5], None, Format(8, False, 0), Format(8, True, 0), None)
        paths.append(tmp_path / f"{weight}.safetensors")
        netfile.save(IntNet((layer,), Budget("global", (2,))), paths[-1])
    assert cli.main(["load-diff", *map(str, paths), "--lanes", "1", "--out", str(tmp_path / "d.txt")]) == 0
    assert (tmp_path / "d.txt").read_text() == "000000 41000000\n300001 00000000\n"
    assert "2 writes instead of 6" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("simulator", "name", "magic"), [("icarus", "icarus.fst", b"\0"), ("verilator", "verilator.vcd", b"$")]
)
def test_waves_leaves_a_file_for_a_viewer(net_path, tmp_path, simulator, name, magic):
    need(simulator)
    assert (
        cli.main(
            ["verify", str(net_path), "--engines", f"{simulator}:2", "--lanes", "2", "--waves", str(tmp_path / "waves")]
        )
        == 0
    )
    content = (tmp_path / "waves" / name).read_bytes()
    assert content.startswith(magic)
    assert len(content) > 5000

"""Module benches, and that they see what is broken."""

import ast
import re

import pytest

from deepr_hw.sim import runner

from .simulators import need
from .test_sim_benches import broken_sources

UNITS = [
    *[("requantizer", "deepr_requantize", "AccBits", bits) for bits in (20, 32, 33)],
    *[("mac", "deepr_mac", "AccBits", bits) for bits in (20, 32, 33)],
    ("argmax", "deepr_argmax", "ValueBits", 32),
    ("sequencer", "deepr_sequencer", "Rows", 16),
]


@pytest.mark.parametrize(("test", "top", "width", "bits"), UNITS)
def test_units_in_icarus(test: str, top: str, width: str, bits: int, tmp_path) -> None:
    need("icarus")
    made = runner.build("icarus", top, runner.rtl_sources(), {width: bits})
    runner.run(made, "deepr_hw.sim.bench_units", tmp_path, env={"DEEPR_ACC_BITS": str(bits)}, testcase=test)


def test_the_requantizer_in_verilator(tmp_path) -> None:
    need("verilator")
    made = runner.build("verilator", "deepr_requantize", runner.rtl_sources(), {"AccBits": 24})
    runner.run(made, "deepr_hw.sim.bench_units", tmp_path, env={"DEEPR_ACC_BITS": "24"}, testcase="requantizer")


@pytest.mark.parametrize(
    ("test", "top", "good", "bad"),
    [
        ("requantizer", "deepr_requantize", "tie ? sign_s1_q : fine[0]", "fine[0]"),
        ("requantizer", "deepr_requantize", "|extended[7:0]", "|extended[7:1]"),
        ("requantizer", "deepr_requantize", "sign_s1_q && !ysigned_q", "1'b0"),
        ("mac", "deepr_mac", "last_q[1]", "last_q[2]"),
        ("mac", "deepr_mac", "xsigned_i && x_i[7]", "x_i[7]"),
        ("argmax", "deepr_argmax", "value_i > best_q", "value_i >= best_q"),
        ("sequencer", "deepr_sequencer", "((start || layer_end) && next_final", "((start && layer_end) && next_final"),
        ("sequencer", "deepr_sequencer", "overrun_o <= forced ||", "overrun_o <="),
        ("sequencer", "deepr_sequencer", "&& current_q.reads_input", ""),
    ],
)
def test_a_mutant_is_seen(test: str, top: str, good: str, bad: str, tmp_path, monkeypatch) -> None:
    need("icarus")
    monkeypatch.setenv("DEEPR_BUILD", str(tmp_path))
    parameters = {"Rows": 16} if top == "deepr_sequencer" else {}
    made = runner.build("icarus", top, broken_sources(tmp_path, top, good, bad), parameters)
    with pytest.raises(RuntimeError, match="1 of 1 tests failed"):
        runner.run(made, "deepr_hw.sim.bench_units", tmp_path / "run", env={"DEEPR_ACC_BITS": "32"}, testcase=test)


BENCHES = sorted((runner.ROOT / "sim").glob("bench_*.py"))


@pytest.mark.parametrize("path", BENCHES, ids=lambda path: path.stem)
def test_every_bench_counts_its_outputs(path) -> None:
    """No cocotb test but those that must close a scoreboard, and each does so as the last thing or near it."""
    tree = ast.parse(path.read_text())
    tests = [node for node in tree.body if isinstance(node, ast.AsyncFunctionDef)]
    assert tests
    for test in tests:
        assert [ast.unparse(each) for each in test.decorator_list] == ["scored"], test.name
        assert any("score.finish(" in ast.unparse(statement) for statement in test.body[-3:]), test.name


@pytest.mark.parametrize(
    ("name", "top"),
    [
        ("bench_units", "deepr_requantize"),
        ("bench_player", "deepr_require"),
        ("bench_engine", "deepr_require"),
        ("bench_axi", "deepr_require"),
    ],
)
def test_an_early_return_is_seen(name: str, top: str, tmp_path, monkeypatch) -> None:
    """Every test of the bench returns at once: each fails, whatever the design."""
    need("icarus")
    text = (runner.ROOT / "sim" / f"{name}.py").read_text()
    text = text.replace("from ..", "from deepr_hw.").replace("from .", "from deepr_hw.sim.")
    early, n = re.subn(r'(@scored\nasync def .*?\n    """.*?"""\n)', r"\1    return\n", text, flags=re.S)
    assert n == text.count("@scored")
    (tmp_path / "early.py").write_text(early)
    monkeypatch.syspath_prepend(tmp_path)
    made = runner.build("icarus", top, runner.rtl_sources())
    with pytest.raises(RuntimeError, match=f"early: {n} of {n} tests failed"):
        runner.run(made, "early", tmp_path / "run")
    assert (tmp_path / "run/sim.log").read_text().count("returned before its scoreboard was closed") >= n


def test_a_bench_that_stops_half_way_is_seen(tmp_path, monkeypatch) -> None:
    """The loop over the frames ends early, the scoreboard is closed all the same: a frame is missing."""
    need("icarus")
    text = (runner.ROOT / "sim/bench_units.py").read_text()
    text = text.replace("from ..", "from deepr_hw.").replace("from .", "from deepr_hw.sim.")
    assert text.count("range(n_frames)") == 1
    (tmp_path / "early.py").write_text(text.replace("range(n_frames)", "range(n_frames - 1)"))
    monkeypatch.syspath_prepend(tmp_path)
    made = runner.build("icarus", "deepr_argmax", runner.rtl_sources())
    with pytest.raises(RuntimeError, match="499 outputs were compared, expected 500"):
        runner.run(made, "early", tmp_path / "run", testcase="argmax")

"""Module benches, and that they see what is broken."""

import pytest

from deepr_hw.sim import runner

from .simulators import need

UNITS = [("requantizer", "deepr_requantize", "AccBits"), ("mac", "deepr_mac", "AccBits"),
         ("argmax", "deepr_argmax", "ValueBits")]


def sources(*stems: str):
    return [path for path in runner.rtl_sources() if path.stem in (*stems, "deepr_require")]


@pytest.mark.parametrize("bits", [32, 20])
@pytest.mark.parametrize(("test", "top", "width"), UNITS)
def test_units_in_icarus(test: str, top: str, width: str, bits: int, tmp_path) -> None:
    need("icarus")
    if top == "deepr_argmax" and bits != 32:
        return
    made = runner.build("icarus", top, sources(top), {width: bits})
    runner.run(made, "deepr_hw.sim.bench_units", tmp_path, env={"DEEPR_ACC_BITS": str(bits)}, testcase=test)


def test_the_requantizer_in_verilator(tmp_path) -> None:
    need("verilator")
    made = runner.build("verilator", "deepr_requantize", sources("deepr_requantize"), {"AccBits": 24})
    runner.run(made, "deepr_hw.sim.bench_units", tmp_path, env={"DEEPR_ACC_BITS": "24"}, testcase="requantizer")


@pytest.mark.parametrize(("test", "top", "good", "bad"), [
    ("requantizer", "deepr_requantize", "tie ? sign_s1_q : fine[0]", "fine[0]"),
    ("requantizer", "deepr_requantize", "|extended[7:0]", "|extended[7:1]"),
    ("requantizer", "deepr_requantize", "sign_s1_q && !ysigned_q", "1'b0"),
    ("mac", "deepr_mac", "last_q[1]", "last_q[2]"),
    ("mac", "deepr_mac", "xsigned_i && x_i[7]", "x_i[7]"),
    ("argmax", "deepr_argmax", "value_i > best_q", "value_i >= best_q")])
def test_a_mutant_is_seen(test: str, top: str, good: str, bad: str, tmp_path, monkeypatch) -> None:
    need("icarus")
    monkeypatch.setenv("DEEPR_BUILD", str(tmp_path))
    text = (runner.RTL / f"{top}.sv").read_text()
    assert text.count(good) == 1
    (tmp_path / f"{top}.sv").write_text(text.replace(good, bad))
    made = runner.build("icarus", top, [tmp_path / f"{top}.sv", runner.RTL / "deepr_require.sv"])
    with pytest.raises(RuntimeError, match="1 of 1 tests failed"):
        runner.run(made, "deepr_hw.sim.bench_units", tmp_path / "run", env={"DEEPR_ACC_BITS": "32"}, testcase=test)

"""A sample of ``make mutate``: one mutant of each of some modules, killed; and the unbroken design survives."""

import random

import pytest

from bench import mutate
from deepr_hw.sim import runner

from .simulators import need


@pytest.fixture(autouse=True)
def scratch(monkeypatch, tmp_path) -> None:
    need("icarus")
    monkeypatch.setenv("DEEPR_BUILD", str(tmp_path))  # both are set anew for every mutant, and restored here
    monkeypatch.setattr(runner, "RTL", runner.RTL)


@pytest.mark.parametrize("module", ["deepr_collect", "deepr_lane", "deepr_stages", "deepr_writeback"])
def test_a_mutant_is_killed(module: str) -> None:
    every = list(mutate.mutants(module, (runner.RTL / f"{module}.sv").read_text()))
    random.Random(f"1 {module}").shuffle(every)
    assert mutate.verdict(every[-1], runner.RTL) not in ("survived", "no mutant")


def test_the_design_itself_survives_the_player(tmp_path) -> None:
    assert dict(mutate.checks("deepr_collect", tmp_path))["player, 4 lanes"]()


def test_only_code_is_mutated() -> None:
    text = "// a && b\nmodule m (\n  input logic a\n);\n  logic [1:0] b;\n  assign b = a && c;  // && here\nendmodule\n"
    assert [(m.line, m.after) for m in mutate.mutants("m", text)] == [(6, "assign b = a || c;")]

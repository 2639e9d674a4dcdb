"""The mutation tool itself: enough mutants, the benches kill them, and what is not broken survives."""

from dataclasses import replace

import pytest

from deepr_hw.sim import mutate, runner

from .simulators import need

MODULES = [path.stem for path in runner.rtl_sources() if path.stem not in mutate.NOT_MUTATED]


def test_every_module_has_mutants_and_each_changes_one_line() -> None:
    every = {module: mutate.mutants(module) for module in MODULES}
    assert sum(map(len, every.values())) > 300
    assert all(every.values())
    assert all(mutant.before != mutant.after for found in every.values() for mutant in found)
    assert mutate.sample(3, 7, MODULES) == mutate.sample(3, 7, MODULES)


@pytest.mark.parametrize("module", ["deepr_sequencer", "deepr_collect", "deepr_writeback", "deepr_logits"])
def test_a_mutant_is_killed_and_the_original_survives(module: str, tmp_path, monkeypatch) -> None:
    need("icarus")
    suite = mutate.Suite(tmp_path)
    monkeypatch.setattr(suite, "benches", lambda module: [("player 0", lambda sources: suite._play(0, sources))])
    mutant = next(m for m in mutate.mutants(module) if "<=" in m.before and m.after.strip() != ";")
    assert suite.judge(mutant).outcome in ("killed", "stillborn")
    assert suite.judge(replace(mutant, after=mutant.before)).outcome == "survived"

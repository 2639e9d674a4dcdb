"""Proofs: a quick subset holds, and each sees a broken design. All of them: make formal."""

import os
import shutil

import pytest

from deepr_hw.sim import formal, runner

QUICK = ("input", "sequencer", "load", "argmax", "logits")
BROKEN = {  # task: (module, good, bad)
    "input": ("deepr_input", "&& !full_q[load_q]", ""),
    "sequencer": ("deepr_sequencer", "!inflight_q[1] && ", ""),
    "argmax": ("deepr_argmax", "value_i > best_q", "value_i >= best_q"),
    "logits": ("deepr_logits", "valid_q <= frames_d != '0;", "valid_q <= frames_d != '0 && m_ready_i;"),
    "load": ("deepr_load", "index >> $clog2(Rows)", "index >> ($clog2(Rows) + 1)"),
}


def need_formal() -> None:
    why = formal.missing()
    if why and os.environ.get("CI") == "true":
        pytest.fail(why)
    if why:
        pytest.skip(why)


@pytest.mark.parametrize("task", QUICK)
def test_it_holds(task: str, tmp_path) -> None:
    need_formal()
    holds, log = formal.prove(task, tmp_path)
    assert holds, log


@pytest.mark.parametrize("task", sorted(BROKEN))
def test_a_broken_design_is_seen(task: str, tmp_path) -> None:
    need_formal()
    module, good, bad = BROKEN[task]
    for room in ("rtl", "formal"):
        shutil.copytree(runner.ROOT / room, tmp_path / room, ignore=shutil.ignore_patterns("*.py", "*.md"))
    path = tmp_path / "rtl" / f"{module}.sv"
    assert path.read_text().count(good) == 1
    path.write_text(path.read_text().replace(good, bad))
    holds, log = formal.prove(task, tmp_path / "work", tmp_path / "formal" / "proofs.sby")
    assert not holds
    assert "failed assertion" in log


def test_every_task_names_its_mode() -> None:
    text = formal.PROOFS.read_text()
    assert all(f"{task}: mode " in text for task in formal.tasks())

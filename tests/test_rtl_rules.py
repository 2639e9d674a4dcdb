"""What modules and proofs rely on is asserted in every simulation; each law, broken, is seen."""

import re

import pytest

from deepr_hw.export.rtl import image as rtl_image
from deepr_hw.sim import engine, runner

from .random_nets import random_codes, random_net
from .simulators import need
from .test_sim_benches import broken_sources

ENVIRONMENT = {  # what a proof assumes: (module around it, good, bad)
    "input: a sample starts only when a frame is there": ("deepr_engine", ".start_i(start)", ".start_i(s_valid_i)"),
    "input: a buffer is released once, after its sample has started": (
        "deepr_engine",
        ".release_i(free)",
        ".release_i(start)",
    ),
    "input: frames are flushed only while nothing runs and no beat is taken": (
        "deepr_engine",
        ".flush_i(flush)",
        ".flush_i(flush || done)",
    ),
    "input: the size of a frame changes only with a flush": (
        "deepr_engine",
        ".last_byte_i(last_byte)",
        ".last_byte_i(last_byte ^ (AddrBits - 1)'(running))",
    ),
    "input: reset comes first": (
        "deepr_engine",
        ") u_input (\n    .clk_i,\n    .rst_ni,",
        ") u_input (\n    .clk_i,\n    .rst_ni(1'b1),",
    ),
    "load: the bank changes only after a swap, unsettled": (
        "deepr_engine",
        ".bank_i(bank_o)",
        ".bank_i(bank_o ^ running)",
    ),
    "load: a swap is under way until the bank has changed": (
        "deepr_engine",
        ".swapping_i(swapping)",
        ".swapping_i(1'b0)",
    ),
    "sequencer: only a sample under way can be done": ("deepr_engine", ".done_i(done)", ".done_i(!busy_o)"),
    "logits: the logits of a frame come in class order up to the last class": (
        "deepr_engine",
        ".last_i(logit_last)",
        ".last_i(1'b1)",
    ),
    "logits: no third frame comes before the first one has left": (
        "deepr_engine",
        ".done_i(done)",
        ".done_i(logit_valid && logit_last)",
    ),
    "logits: the number of classes stays while a frame is on its way": (
        "deepr_engine",
        ") u_logits (\n    .clk_i,\n    .rst_ni,\n    .last_class_i(last_class)",
        ") u_logits (\n    .clk_i,\n    .rst_ni,\n    .last_class_i(last_class + {3'b0, m_valid_o})",
    ),
    "argmax: the classes of a frame come in order, from 0 on": (
        "deepr_logits",
        ".index_i(class_i)",
        ".index_i(~class_i)",
    ),
    "requantize: no shift is larger than AccBits": ("deepr_lane", ".shift_i(requantize_s8_i.shift)", ".shift_i(5'd31)"),
}
LAWS = {  # what a module keeps itself
    "engine: lanes and input never write at once": ("deepr_engine", ".hold_i(act_we)", ".hold_i(1'b0)"),
    "load: a word goes to one lane at most": (
        "deepr_load",
        "region_q == RegionSlot && lane_q == l",
        "region_q == RegionSlot",
    ),
    "load: a word goes to one memory at most": ("deepr_load", "region_q == RegionLayer", "1'b1"),
    "input: a word lies within its frame": (
        "deepr_input",
        "hole) ? '0 : word_q + 1'b1",
        "hole) ? last_word + 1'b1 : word_q + 1'b1",
    ),
    "input: a buffer that waits is full": ("deepr_input", "(full_q | ({1'b0, done} << load_q))", "full_q"),
    "sequencer: two samples at most are under way": ("deepr_sequencer", "!inflight_q[1] && ", ""),
    "sequencer: a row belongs to a sample": (
        "deepr_sequencer",
        "row_q <= '0;\n        swap_q",
        "row_q <= row_q + 1'b1;\n        swap_q",
    ),
    "stages: outputs end only in rows that are walked": (
        "deepr_lane",
        "op_s1.last && valid_s1_i",
        "op_s1.last || !valid_s1_i",
    ),
    "stages: samples end only in rows that are walked": (
        "deepr_sequencer",
        "assign end_o = sample_end",
        "assign end_o = sample_end || !running_q",
    ),
    "writeback: results stay out of the input buffers": (
        "deepr_writeback",
        "end_s11_i) word_q <= {1'b0, first_word}",
        "end_s11_i) word_q <= '0",
    ),
    "collect: no class is taken beyond the last one": (
        "deepr_collect",
        "final_class ? '0 : class_q + 1'b1",
        "class_q + 1'b1",
    ),
    "collect: two samples at most close": ("deepr_engine", ".end_i(end_s8)", ".end_i(final_s8)"),
    "logits: no beat goes beyond the last class": ("deepr_logits", "m_last_o ? '0 : beat_q", "1'b0 ? '0 : beat_q"),
    "logits: a beat changed while it waited": (
        "deepr_logits",
        "valid_q <= frames_d != '0",
        "valid_q <= frames_d != '0 && m_ready_i",
    ),
}
BROKEN = ENVIRONMENT | LAWS


def play(folder, simulator: str, module: str, good: str, bad: str) -> None:
    net = random_net(1)
    image = rtl_image.build(net, 4)
    assert image.geometry.acc_bits < 31
    assert net.n_out < image.geometry.classes
    folder.mkdir()
    sources = broken_sources(folder, module, good, bad)
    engine.play(image, random_codes(net, 6), folder / "run", simulator, pause=97, sources=sources)


@pytest.mark.parametrize(
    ("simulator", "message"),
    [*(("icarus", message) for message in BROKEN), *(("verilator", message) for message in list(BROKEN)[::3])],
)
def test_what_is_broken_is_seen(simulator: str, message: str, tmp_path, monkeypatch) -> None:
    need(simulator)
    monkeypatch.setenv("DEEPR_BUILD", str(tmp_path / "build"))
    with pytest.raises(RuntimeError, match=r"tests failed|stopped|wrote no results"):
        play(tmp_path / "broken", simulator, *BROKEN[message])
    logs = "".join(path.read_text(errors="replace") for path in tmp_path.rglob("*.log"))
    module, _, what = message.partition(": ")
    assert re.search(rf"\bu_{module}[\w.]*: {re.escape(what)}", logs)


def _messages(macro: str) -> set[str]:
    """What ``macro`` says in the sources: "module: message"."""
    say = re.compile(rf'`{macro}\((?:"\w+", )?"([^"]+)"')
    return {
        f"{path.stem.removeprefix('deepr_')}: {message}"
        for path in runner.rtl_sources()
        for message in say.findall(path.read_text())
    }


def test_every_rule_and_every_law_is_broken_once() -> None:
    assert ENVIRONMENT.keys() == {*_messages("DEEPR_ASSUME(?:_ALWAYS)?"), "input: reset comes first"}
    assert LAWS.keys() == {*_messages("DEEPR_ASSERT"), "logits: a beat changed while it waited"}


def test_the_proofs_assume_nothing_else() -> None:
    """Assumptions stand in the modules, but for a name of what is looked at and the order of the bounded runs."""
    found = {
        path.name: [line.strip() for line in path.read_text().splitlines() if re.search(r"\bassume\b", line)]
        for path in sorted((runner.ROOT / "formal").glob("*.svh"))
    }
    assert {name: lines for name, lines in found.items() if lines} == {
        "engine.svh": ["initial assume (!rst_ni);"],
        "logits.svh": ["always_comb assume (any_class <= last_class_i);  // any of those that there are"],
    }
    elsewhere = [path.name for path in runner.rtl_sources() if re.search(r"\bassume\b", path.read_text())]
    assert elsewhere == []

"""What proofs assume of a module's surroundings is asserted wherever it is simulated; each rule, broken, is seen."""

import re

import pytest

from deepr_hw.export import rtl_image
from deepr_hw.sim import engine, runner

from .random_nets import random_codes, random_net
from .simulators import need
from .test_sim_benches import broken_sources

BROKEN = {  # message of the rule: (module around it, good, bad)
    "deepr_input: a sample starts only when a frame is there":
        ("deepr_engine", ".start_i(start)", ".start_i(s_valid_i)"),
    "deepr_input: a buffer is released once, after its sample has started":
        ("deepr_engine", ".release_i(free)", ".release_i(start)"),
    "deepr_input: frames are flushed only while nothing runs and no beat is taken":
        ("deepr_engine", ".flush_i(flush)", ".flush_i(flush || done)"),
    "deepr_input: the size of a frame changes only with a flush":
        ("deepr_engine", ".last_byte_i(last_byte)", ".last_byte_i(last_byte ^ (AddrBits - 1)'(running))"),
    "deepr_input: reset comes first":
        ("deepr_engine", ") u_input (\n    .clk_i, .rst_ni,", ") u_input (\n    .clk_i, .rst_ni(1'b1),"),
    "deepr_load: the bank changes only after a swap, unsettled":
        ("deepr_engine", ".bank_i(bank_o)", ".bank_i(bank_o ^ running)"),
    "deepr_load: a swap is under way until the bank has changed":
        ("deepr_engine", ".swapping_i(swapping)", ".swapping_i(1'b0)"),
    "deepr_sequencer: only a sample under way can be done": ("deepr_engine", ".done_i(done)", ".done_i(!busy_o)"),
    "deepr_logits: the logits of a frame come in class order up to the last class":
        ("deepr_engine", ".last_i(logit_last)", ".last_i(1'b1)"),
    "deepr_logits: no third frame comes before the first one has left": ("deepr_sequencer", "!inflight_q[1] && ", ""),
    "deepr_logits: the number of classes stays while a frame is on its way":
        ("deepr_engine", "deepr_logits #(.Classes(Classes), .AccBits(LogitBits)) u_logits (\n"
         "    .clk_i, .rst_ni, .last_class_i(last_class)",
         "deepr_logits #(.Classes(Classes), .AccBits(LogitBits)) u_logits (\n"
         "    .clk_i, .rst_ni, .last_class_i(last_class + {3'b0, m_valid_o})"),
    "deepr_argmax: the classes of a frame come in order, from 0 on":
        ("deepr_logits", ".index_i(class_i)", ".index_i(~class_i)"),
    "deepr_requantize: no shift is larger than AccBits":
        ("deepr_lane", ".shift_i, .ysigned_i", ".shift_i(5'd31), .ysigned_i"),
}


def play(folder, simulator: str, module: str, good: str, bad: str) -> None:
    net = random_net(1)
    image = rtl_image.build(net, 4)
    assert image.geometry.acc_bits < 31
    folder.mkdir()
    sources = broken_sources(folder, module, good, bad)
    engine.play(image, random_codes(net, 6), folder / "run", simulator, pause=97, sources=sources)


@pytest.mark.parametrize(("simulator", "message"), [
    *(("icarus", message) for message in BROKEN), *(("verilator", message) for message in list(BROKEN)[::3])])
def test_a_broken_environment_is_seen(simulator: str, message: str, tmp_path, monkeypatch) -> None:
    need(simulator)
    monkeypatch.setenv("DEEPR_BUILD", str(tmp_path / "build"))
    with pytest.raises(RuntimeError, match=r"tests failed|stopped|wrote no results"):
        play(tmp_path / "broken", simulator, *BROKEN[message])
    logs = "".join(path.read_text(errors="replace") for path in tmp_path.rglob("*.log"))
    assert message in logs


def test_every_rule_is_broken_once() -> None:
    rule = re.compile(r'deepr_rule #\(\.Of\("(\w+)"\), \.Message\("([^"]+)"\)')
    text = "".join(path.read_text() for path in runner.rtl_sources())
    rules = {f"deepr_{of}: {message}" for of, message in rule.findall(text)}
    assert rules | {"deepr_input: reset comes first"} == BROKEN.keys()


def test_the_proofs_assume_nothing_else() -> None:
    """Assumptions stand in deepr_rule, but for a name of what is looked at and the order of the bounded runs."""
    found = {path.name: [line.strip() for line in path.read_text().splitlines() if re.search(r"\bassume\b", line)]
             for path in sorted((runner.ROOT / "formal").glob("*.svh"))}
    assert {name: lines for name, lines in found.items() if lines} == {
        "engine.svh": ["initial assume (!rst_ni);"],
        "logits.svh": ["always_comb assume (any_class <= last_class_i);  // any of those that there are"]}

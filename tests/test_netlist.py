"""The synthesized engine: the same bits and cycles as the reference and the formula, and a broken cell is seen."""

import dataclasses
import re

import numpy as np
import pytest

from deepr_hw import reference
from deepr_hw.export.rtl import image as rtl_image
from deepr_hw.sim import engine, netlist, synth

from .random_nets import random_codes, random_net
from .simulators import need, need_tool

LANES = 2


@pytest.fixture
def net():
    need("icarus")
    need_tool("yosys")
    return random_net(3)


@pytest.mark.parametrize("target", ["ecp5-85k", "xc7"])
def test_bits_and_cycles(net, target: str, tmp_path) -> None:
    x, image = random_codes(net, 8), rtl_image.build(net, LANES)
    played = netlist.play(image, x, tmp_path, target)
    np.testing.assert_array_equal(played.logits, reference.logits(net, x))
    assert played.macs == 8 * net.n_connections
    assert (played.done[-1] - played.done[-3]) / 2 == image.plan.interval


def test_idle_and_back_pressure_change_no_bit(net, tmp_path) -> None:
    x = random_codes(net, 8)
    played = netlist.play(rtl_image.build(net, LANES), x, tmp_path, idle=40, pause=40)
    np.testing.assert_array_equal(played.logits, reference.logits(net, x))


def test_the_comparison_sees_a_broken_cell(net, tmp_path, monkeypatch) -> None:
    """One address line of a block memory is stuck: the netlist still runs, and its logits differ."""
    x, image = random_codes(net, 8), rtl_image.build(net, LANES)
    files = netlist.sources(image.geometry, "ecp5-85k", tmp_path)
    netlist_file = tmp_path / "engine.v"
    text = netlist_file.read_text()
    wires = re.findall(r"\.ADB4\((?!1'h)[^)]*\)", text)
    assert wires, "no block memory reads by address line 4"
    monkeypatch.setenv("DEEPR_BUILD", str(tmp_path / "build"))
    netlist_file.write_text(text.replace(wires[0], ".ADB4(1'h0)"))
    played = engine.play(image, x, tmp_path / "run", "icarus", sources=files)
    assert np.count_nonzero(played.logits != reference.logits(net, x))


def test_a_netlist_refuses_other_parameters(net, tmp_path) -> None:
    image = rtl_image.build(net, LANES)
    files = netlist.sources(image.geometry, "ecp5-85k", tmp_path)
    other = dataclasses.replace(image, geometry=dataclasses.replace(image.geometry, bias_words=1024))
    with pytest.raises(RuntimeError):
        engine.play(other, random_codes(net, 3), tmp_path / "run", "icarus", sources=files)


def test_cells_are_counted_in_lut_sites() -> None:
    area = synth.count(
        {"LUT4": 10, "CCU2C": 3, "TRELLIS_DPR16X4": 2, "PFUMX": 4, "DP16KD": 5, "TRELLIS_FF": 7, "MULT18X18D": 1},
        synth.target("ecp5-25k"),
    )
    assert (area.lut, area.logic, area.ff, area.dsp, area.bram) == (28, 10, 7, 1, 5)


def test_an_unknown_target_is_named() -> None:
    with pytest.raises(ValueError, match="target 'ecp6': expected one of ecp5-25k"):
        synth.target("ecp6")

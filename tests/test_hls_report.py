"""Static cost counted in the C++, the vendor's report format, synthesis with a stand-in for the vendor's compiler."""

import os
import stat
import subprocess

import numpy as np
import pytest

from deepr_hw.export.hls4ml import hls_synth
from deepr_hw.export.hls4ml import project as hls4ml_project
from deepr_hw.export.hls4ml.hls_report import Cost, count_sparse, parse_csynth
from deepr_hw.export.hls4ml.stock import static_costs
from deepr_hw.ir import Budget, IntNet, sparse_linear
from deepr_hw.ir.fixed import Format
from tests.random_nets import random_net

CSYNTH = """<?xml version="1.0" encoding="UTF-8"?>
<profile>
<ReportVersion><Version>2023.2</Version></ReportVersion>
<UserAssignments>
<unit>ns</unit><ProductFamily>virtexuplus</ProductFamily><Part>xcvu13p-flga2577-2-e</Part>
<TopModelName>deepr</TopModelName><TargetClockPeriod>5.00</TargetClockPeriod><ClockUncertainty>1.35</ClockUncertainty>
</UserAssignments>
<PerformanceEstimates>
<PipelineType>dataflow</PipelineType>
<SummaryOfTimingAnalysis><unit>ns</unit><EstimatedClockPeriod>3.612</EstimatedClockPeriod></SummaryOfTimingAnalysis>
<SummaryOfOverallLatency>
<unit>clock cycles</unit><Best-caseLatency>{latency}</Best-caseLatency><Average-caseLatency>80</Average-caseLatency>
<Worst-caseLatency>83</Worst-caseLatency><Interval-min>66</Interval-min><Interval-max>66</Interval-max>
</SummaryOfOverallLatency>
</PerformanceEstimates>
<AreaEstimates>
<Resources><BRAM_18K>12</BRAM_18K><{dsp}>56</{dsp}><FF>20111</FF><LUT>31222</LUT><URAM>0</URAM></Resources>
<AvailableResources><BRAM_18K>5376</BRAM_18K><{dsp}>12288</{dsp}><FF>3456000</FF><LUT>1728000</LUT></AvailableResources>
</AreaEstimates>
</profile>
"""


@pytest.fixture
def net():
    """Four outputs with 3, 0, 2 and 1 connections."""
    layer = sparse_linear(
        6,
        4,
        [0, 2, 5, 1, 3, 4],
        [0, 0, 0, 2, 2, 3],
        [1, -2, 3, 4, 5, -6],
        None,
        Format(8, False, 8),
        Format(4, True, 0),
        None,
    )
    return IntNet((layer,), Budget("global", (6,)))


@pytest.mark.parametrize(
    ("reuse_factor", "cost"),
    [
        # every connection its adder; 4-bit weights, 3-bit inputs, 1-bit offsets, 2-bit outputs, 4 biases of 1 bit
        (1, Cost(6, 6, 6, 6 * (4 + 3 + 1) + 6 * 2 + 4)),
        # two multipliers with stretches of outputs 0 0 0 | 2 2 3: 2 running sums, 1 + 2 outputs to add up
        (3, Cost(6, 2, 2 + 3, 6 * (4 + 3 + 1) + 2 * 2 + 4)),
        # one multiplier for outputs 0 to 3, the empty one in between included
        (100, Cost(6, 1, 1 + 4, 6 * (4 + 3 + 2) + 2 + 4)),
    ],
)
def test_static_count_by_hand(net, tmp_path, reuse_factor, cost):
    hls4ml_project.export(net, tmp_path, reuse_factor=reuse_factor)
    assert count_sparse(tmp_path) == [cost]


def test_cost_follows_connections_and_stock_follows_positions(tmp_path):
    rng = np.random.default_rng(0)
    position = np.sort(rng.choice(60 * 40, 100, replace=False))
    layer = sparse_linear(
        60,
        40,
        position % 60,
        position // 60,
        rng.integers(1, 128, 100),
        None,
        Format(8, False, 8),
        Format(8, True, 6),
        None,
    )
    stock = static_costs(IntNet((layer,), Budget("global", (100,))), 4, ("latency", "resource", "resource_unrolled"))
    assert {strategy: cost["products"] for strategy, cost in stock.items()} == {
        "latency": 2400,
        "resource": 2400,
        "resource_unrolled": 100,
    }
    assert stock["latency"]["multipliers"] == 600 - 2300 // 4
    assert stock["resource"]["multipliers"] == 600
    assert all(cost["stored_bits"] >= 2400 * 8 for cost in stock.values())
    hls4ml_project.export(IntNet((layer,), Budget("global", (100,))), tmp_path, reuse_factor=4)
    (ours,) = count_sparse(tmp_path)
    assert (ours.products, ours.multipliers) == (100, 25)


@pytest.mark.parametrize(("dsp", "latency", "expected"), [("DSP", "79", 79), ("DSP48E", "undef", None)])
def test_reads_the_vendors_report(tmp_path, dsp, latency, expected):
    path = tmp_path / "deepr_csynth.xml"
    path.write_text(CSYNTH.format(dsp=dsp, latency=latency))
    report = parse_csynth(path)
    assert (report.top, report.version, report.target_period, report.clock_period) == ("deepr", "2023.2", 5.0, 3.612)
    assert (report.latency, report.interval) == ((expected, 83), (66, 66))
    assert (report.lut, report.ff, report.dsp, report.bram_18k, report.uram) == (31222, 20111, 56, 12, 0)
    assert report.available == {"BRAM_18K": 5376, "DSP": 12288, "FF": 3456000, "LUT": 1728000}


@pytest.mark.parametrize(("text", "message"), [("<profile>", "not an XML"), ("<profile/>", "no synthesis report")])
def test_refuses_what_is_no_report(tmp_path, text, message):
    path = tmp_path / "x.xml"
    path.write_text(text)
    with pytest.raises(ValueError, match=message):
        parse_csynth(path)


def stand_in(folder, name, script):
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(f"#!/bin/sh\n{script}\n")
    (folder / name).chmod(stat.S_IRWXU)


@pytest.fixture
def bare_path(monkeypatch, tmp_path):
    """A PATH on which only our stand-ins and the system's tools are."""
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}{os.pathsep}/usr/bin{os.pathsep}/bin")
    return tmp_path / "bin"


def test_without_a_compiler_one_line_says_so(tmp_path, bare_path):
    facts = hls_synth.hls(random_net(4), tmp_path / "project", "vitis", part="xcku5p-ffvb676-2-e")
    assert facts["message"].startswith("not synthesized: no vitis-run or vitis_hls on PATH; where there is one, run ")
    assert "\n" not in facts["message"]
    assert facts["synthesis"] is None
    assert set(facts["stock"]) == {"latency", "resource"}
    assert "xcku5p-ffvb676-2-e" in (tmp_path / "project/project.tcl").read_text()
    done = subprocess.run([str(tmp_path / "project/build")], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (127, "none of these is on PATH: vitis-run, vitis_hls\n")


@pytest.mark.parametrize(
    ("backend", "tool", "arguments"),
    [
        ("vitis", "vitis-run", "--mode hls --tcl build_prj.tcl"),
        ("vitis", "vitis_hls", "-f build_prj.tcl"),
        ("vivado", "vivado_hls", "-f build_prj.tcl reset=1 csim=1 synth=1 cosim=0 validation=0 export=0"),
    ],
)
def test_synthesizes_with_the_compiler_on_path(net, tmp_path, bare_path, backend, tool, arguments):
    (tmp_path / "report.xml").write_text(CSYNTH.format(dsp="DSP", latency="79"))
    target = "deepr_prj/solution1/syn/report"
    copy = f"mkdir -p {target}; cp {tmp_path}/report.xml {target}/deepr_csynth.xml"
    stand_in(bare_path, tool, f'echo "$*" > called; {copy}')
    facts = hls_synth.hls(net, tmp_path / "project", backend)
    assert (tmp_path / "project/called").read_text().strip() == arguments
    assert facts["synthesis"]["lut"] == 31222
    assert facts["message"] == (
        f"{tool}: latency 79..83, interval 66 cycles of 3.612 ns, LUT 31222, FF 20111, DSP 56, BRAM 12"
    )


@pytest.mark.parametrize("script", ["echo no licence; exit 3", "true"])
def test_a_failed_synthesis_shows_the_log(net, tmp_path, bare_path, script):
    stand_in(bare_path, "vitis_hls", script)
    with pytest.raises(RuntimeError, match=r"vitis_hls failed with exit code [30]; the end of .*build\.log"):
        hls_synth.hls(net, tmp_path / "project")

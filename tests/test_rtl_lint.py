"""Every module as its own top: no warning from Verilator and Icarus, no problem for yosys; parameter rules."""

import os
import shutil
import subprocess

import pytest

from deepr_hw.sim import open_tools, runner

from .simulators import need

MODULES = [path.stem for path in runner.rtl_sources() if not path.stem.endswith("_pkg")]
SOURCES = [str(path) for path in runner.rtl_sources()]
INCLUDE = f"-I{runner.RTL}"


def verilator(*args: str) -> subprocess.CompletedProcess[str]:
    with runner.environment("verilator"):
        return subprocess.run(
            ["verilator", "--lint-only", "-Wall", INCLUDE, *args, *SOURCES], capture_output=True, text=True, check=False
        )


@pytest.mark.parametrize("top", MODULES)
def test_verilator_has_no_warning(top: str) -> None:
    need("verilator")
    done = verilator("--top-module", top)
    assert done.returncode == 0, done.stderr
    assert "Warning" not in done.stderr


@pytest.mark.parametrize("lanes", [1, 2, 4, 16])
@pytest.mark.parametrize("banks", [1, 2])
@pytest.mark.parametrize("acc_bits", [20, 33])
def test_every_size_of_the_engine_is_clean(lanes: int, banks: int, acc_bits: int) -> None:
    need("verilator")
    done = verilator(
        "--top-module", "deepr_engine", f"-GLanes={lanes}", f"-GBanks={banks}", f"-GAccBits={acc_bits}", "-GClasses=32"
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("top", MODULES)
def test_icarus_has_no_warning(top: str, tmp_path) -> None:
    need("icarus")
    done = subprocess.run(
        ["iverilog", "-g2012", "-Wall", INCLUDE, "-s", top, "-o", str(tmp_path / "out"), *SOURCES],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0
    assert done.stderr == ""


def test_yosys_finds_no_problem(tmp_path) -> None:
    if why := open_tools.missing("yosys"):
        if os.environ.get("CI") == "true":
            pytest.fail(why)
        pytest.skip(why)
    for path in [*runner.rtl_headers(), *runner.rtl_sources()]:
        shutil.copy(path, tmp_path)
    names = " ".join(path.name for path in runner.rtl_sources())
    script = "; ".join(
        f"design -reset; read_verilog -sv {names}; hierarchy -check -top {top}; proc; opt; check -assert"
        for top in MODULES
    )
    assert "Warning" not in open_tools.run_tool("yosys", ["-q", "-p", script], tmp_path)


@pytest.mark.parametrize(
    ("parameter", "message"),
    [
        ("Lanes=3", "Lanes must be 1, 2, 4, 8 or 16"),
        ("Rows=100", "Depth must be a power of two"),
        ("AccBits=40", "AccBits must lie in 16..33"),
        ("Layers=3", "Layers must be a power of two"),
        ("Classes=4", "Classes must be at least 2 and Lanes"),
    ],
)
def test_a_broken_rule_stops_with_its_message(parameter: str, message: str) -> None:
    need("verilator")
    done = verilator("--top-module", "deepr_engine", f"-G{parameter}")
    assert done.returncode != 0
    assert message in done.stderr

"""``scripts/apt-install`` goes on without what is optional, and ends where something that is needed can't be had."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from deepr_hw.targets import ENGINES

SCRIPT = Path(__file__).parent.parent / "scripts" / "apt-install"
TOOLS = ("iverilog", "g++", "make", "perl", "ccache", "qemu-x86_64")


def run(folder, there, root=False, apt_works=True):
    """The script on a machine that has the programs ``there``; what was asked of apt-get is in folder/asked."""
    programs = {name: "exit 0" for name in there}
    programs["id"] = f"echo {0 if root else 1000}"
    programs["apt-get"] = f'echo "$@" >> {folder}/asked; exit {0 if apt_works else 100}'
    for name in ("sh", "env"):
        (folder / name).symlink_to(shutil.which(name))
    for name, body in programs.items():
        (folder / name).write_text(f"#!/bin/sh\n{body}\n")
        (folder / name).chmod(0o755)
    done = subprocess.run(
        ["sh", SCRIPT], env={**os.environ, "PATH": str(folder)}, capture_output=True, text=True, check=False
    )
    asked = folder / "asked"
    return done, asked.read_text() if asked.exists() else ""


def test_nothing_is_missing(tmp_path):
    done, asked = run(tmp_path, TOOLS)
    assert (done.returncode, done.stdout, done.stderr, asked) == (0, "apt: nothing is missing\n", "", "")


@pytest.mark.parametrize(("root", "apt_works"), [(False, True), (True, False)])
def test_it_goes_on_without_qemu_and_names_the_engines(tmp_path, root, apt_works):
    done, _ = run(tmp_path, TOOLS[:-1], root, apt_works)
    assert done.returncode == 0
    assert "going on without qemu-user" in done.stderr
    assert {name for name in ENGINES if "no-vnni" in name} <= set(done.stderr.replace(",", " ").split())


def test_without_a_compiler_it_ends(tmp_path):
    done, _ = run(tmp_path, [name for name in TOOLS if name != "g++"])
    assert (done.returncode, done.stderr) == (1, "apt: as root, install: g++\n")


def test_root_installs_what_is_missing_and_no_more(tmp_path):
    done, asked = run(tmp_path, TOOLS[1:-1], root=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert {line.split()[-1] for line in asked.splitlines() if line.startswith("install")} == {"iverilog", "qemu-user"}

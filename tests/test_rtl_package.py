"""The exported folder stands alone: golden vectors in plain Icarus, and they see what is broken."""

import json
import shutil
import subprocess

import numpy as np
import pytest

from deepr_hw import reference
from deepr_hw.export.rtl import diff as rtl_diff
from deepr_hw.export.rtl import driver as rtl_driver
from deepr_hw.export.rtl import image as rtl_image
from deepr_hw.export.rtl.sources import rtl_files
from deepr_hw.sim import engine

from .mnist_shaped import mnist_shaped
from .random_nets import random_codes, random_net
from .simulators import need
from .test_sim_benches import twin


def make(folder) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["make"], cwd=folder, capture_output=True, text=True, check=False)


def change(path, line: int, text: str) -> None:
    lines = path.read_text().splitlines()
    assert lines[line] != text
    lines[line] = text
    path.write_text("\n".join(lines) + "\n")


def test_golden_vectors_pass_without_python_and_see_every_change(tmp_path) -> None:
    need("icarus")
    net = mnist_shaped(4)
    rtl_image.export(net, tmp_path / "good", lanes=4)
    done = make(tmp_path / "good")
    assert done.returncode == 0, done.stdout
    assert "PASS: every logit" in done.stdout
    image = rtl_image.build(net, 4)
    slot = np.flatnonzero(image.slots[0] >> 30 & 1)[-1]  # of the final layer
    for name, line, text in [
        ("golden_expect.txt", 17, "0 1"),
        ("golden_expect.txt", 79, "9 12345"),
        ("load.txt", slot, f"{slot:06x} {int(image.slots[0, slot]) ^ 1 << 28:08x}"),
        ("load.txt", 3, "ffffff 00000000"),
    ]:
        bad = tmp_path / f"bad{line}"
        shutil.copytree(tmp_path / "good", bad)
        change(bad / name, line, text)
        done = make(bad)
        assert done.returncode != 0
        assert "FAIL: " in done.stdout


@pytest.mark.parametrize("stream_bytes", [1, 4, 8])
def test_the_top_has_the_parameters(stream_bytes: int, tmp_path) -> None:
    need("icarus")
    rtl_image.export(random_net(3), tmp_path, lanes=2, stream_bytes=stream_bytes)
    text = (tmp_path / "rtl/deepr_top.sv").read_text()
    assert "parameter int Lanes = 2," in text
    assert f"parameter int StreamBytes = {stream_bytes}\n" in text
    assert json.loads((tmp_path / "manifest.json").read_text())["stream_bytes"] == stream_bytes
    done = subprocess.run(
        ["iverilog", "-g2012", "-Wall", "-s", "deepr_top", "-o", "out", "-c", "deepr.f"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("seed", [1, 4, 7])
def test_a_diff_turns_one_network_into_the_other(seed: int, tmp_path) -> None:
    need("icarus")
    old = random_net(seed)
    new = twin(old, seed)
    images = [rtl_image.build(net, 4, engine.common_geometry(old, 4)) for net in (old, new)]
    writes = rtl_diff.difference(*images)
    assert len(writes) < len(images[1].writes)
    assert rtl_diff.difference(images[1], images[1]) == []
    merged = dict(images[0].writes) | dict(writes)
    assert all(merged[address] == data for address, data in images[1].writes)
    x = random_codes(new, 4)
    played = engine.play(images[1], x, tmp_path, "icarus", writes=[*images[0].writes, *writes])
    np.testing.assert_array_equal(played.logits, reference.logits(new, x))


def test_networks_of_different_shape_have_no_diff() -> None:
    with pytest.raises(ValueError, match="differ in the size of input or output"):
        rtl_diff.load_diff(random_net(1), random_net(2), lanes=4)


def test_register_writes_count_on_by_themselves() -> None:
    writes = [(5, 50), (6, 60), (9, 90), (10, 100)]
    assert rtl_driver.register_writes(writes) == [
        (rtl_driver.ADDRESS, 5),
        (rtl_driver.DATA, 50),
        (rtl_driver.DATA, 60),
        (rtl_driver.ADDRESS, 9),
        (rtl_driver.DATA, 90),
        (rtl_driver.DATA, 100),
    ]


def test_a_stream_that_the_shell_does_not_have_is_refused(tmp_path) -> None:
    with pytest.raises(ValueError, match="stream_bytes = 2: expected one of 1, 4, 8"):
        rtl_image.export(random_net(3), tmp_path / "out", stream_bytes=2)
    assert not (tmp_path / "out").exists()


def test_the_driver_says_what_is_missing() -> None:
    registers = {rtl_driver.ID: rtl_driver.ENGINE_ID, rtl_driver.VERSION: 0x00010000, rtl_driver.STATUS: 0}
    driver = rtl_driver.Driver(registers.__setitem__, lambda address: registers.get(address, 0))
    with pytest.raises(ValueError, match="register VERSION = 0x00010000: this driver knows 0x00020000"):
        driver.geometry()
    with pytest.raises(RuntimeError, match="holds no network: load an image first"):
        driver.start()


def test_something_else_at_the_address_is_no_engine() -> None:
    driver = rtl_driver.Driver(lambda address, value: None, lambda address: 0xDEADBEEF)
    with pytest.raises(ValueError, match="register ID = 0xdeadbeef: expected 0x44454550"):
        driver.geometry()


def test_an_export_takes_away_what_an_earlier_one_left_and_nothing_else(tmp_path) -> None:
    """From 16 lanes to 2 in one folder: as in a fresh one, but for the user's own files."""
    net, folder = random_net(3), tmp_path / "rtl"
    rtl_image.export(net, folder, lanes=16)
    for mine in ("notes.txt", "rtl/my_board.sv", "slots.hex"):
        (folder / mine).write_text("mine")
    (folder / "gone").mkdir()
    known = json.loads((folder / "manifest.json").read_text())
    for more in ("gone/old.sv", "../outside.txt"):  # of another version; of nobody
        known["files"].append(more)
        (folder / more).write_text("old")
    (folder / "manifest.json").write_text(json.dumps(known))
    done = rtl_image.export(net, folder, lanes=2)
    rtl_image.export(net, tmp_path / "fresh", lanes=2)
    there, fresh = (
        {str(path.relative_to(top)): path.read_bytes() for path in top.rglob("*") if path.is_file()}
        for top in (folder, tmp_path / "fresh")
    )
    assert there.keys() - fresh.keys() == {"notes.txt", "rtl/my_board.sv", "slots.hex"}
    assert all(there[name] == text for name, text in fresh.items())
    assert sorted(fresh) == done["files"]
    assert not (folder / "gone").exists()
    assert (tmp_path / "outside.txt").exists()


def test_memories_that_no_manifest_lists_stop_an_export(tmp_path) -> None:
    net = random_net(3)
    rtl_image.export(net, tmp_path, lanes=4)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    before[tmp_path / "manifest.json"] = b"{"
    (tmp_path / "manifest.json").write_bytes(b"{")
    with pytest.raises(FileExistsError, match="is of another export that no manifest lists"):
        rtl_image.export(net, tmp_path, lanes=2)
    assert before == {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    rtl_image.export(net, tmp_path, lanes=4)  # the same memories: written anew


def test_the_package_names_every_source(tmp_path) -> None:
    rtl_image.export(random_net(3), tmp_path, lanes=1)
    core = (tmp_path / "deepr.core").read_text()
    listed = (tmp_path / "deepr.f").read_text().split()
    for path in rtl_files():
        assert f"- rtl/{path.name}{': {is_include_file: true}' * (path.suffix == '.svh')}\n" in core
        assert f"rtl/{path.name}" in listed
        assert (tmp_path / "rtl" / path.name).read_text() == path.read_text()

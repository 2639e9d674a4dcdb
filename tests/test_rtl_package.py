"""The exported folder stands alone: golden vectors in plain Icarus, and they see what is broken."""

import shutil
import subprocess

import numpy as np
import pytest

from deepr_hw import reference
from deepr_hw.export import rtl_diff, rtl_driver, rtl_image
from deepr_hw.sim import engine, runner

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
    for name, line, text in [("golden_expect.txt", 17, "0 1"), ("golden_expect.txt", 79, "9 12345"),
                             ("load.txt", slot, f"{slot:06x} {int(image.slots[0, slot]) ^ 1 << 28:08x}"),
                             ("load.txt", 3, "ffffff 00000000")]:
        bad = tmp_path / f"bad{line}"
        shutil.copytree(tmp_path / "good", bad)
        change(bad / name, line, text)
        done = make(bad)
        assert done.returncode != 0
        assert "FAIL: " in done.stdout


def test_the_top_has_the_parameters(tmp_path) -> None:
    need("icarus")
    rtl_image.export(random_net(3), tmp_path, lanes=2)
    text = (tmp_path / "rtl/deepr_top.sv").read_text()
    assert "parameter int Lanes = 2," in text
    sources = [str(path) for path in sorted((tmp_path / "rtl").iterdir())]
    done = subprocess.run(["iverilog", "-g2012", "-Wall", "-s", "deepr_top", "-o", str(tmp_path / "out"), *sources],
                          capture_output=True, text=True, check=False)
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
        (rtl_driver.ADDRESS, 5), (rtl_driver.DATA, 50), (rtl_driver.DATA, 60), (rtl_driver.ADDRESS, 9),
        (rtl_driver.DATA, 90), (rtl_driver.DATA, 100)]


def test_something_else_at_the_address_is_no_engine() -> None:
    driver = rtl_driver.Driver(lambda address, value: None, lambda address: 0xDEADBEEF)
    with pytest.raises(ValueError, match="register ID = 0xdeadbeef: expected 0x44454550"):
        driver.geometry()


def test_the_package_names_every_source(tmp_path) -> None:
    rtl_image.export(random_net(3), tmp_path, lanes=1)
    core = (tmp_path / "deepr.core").read_text()
    for path in runner.rtl_sources():
        assert f"- rtl/{path.name}\n" in core
        assert (tmp_path / "rtl" / path.name).read_text() == path.read_text()

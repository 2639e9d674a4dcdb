"""Files are whole or absent."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from deepr_hw import files

ROOT = Path(__file__).parent.parent


def test_a_failing_writer_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "f"
    files.write_text(path, "old")

    def fail_half_way():
        with files.replacing(path) as beside:
            beside.write_text("half")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail_half_way()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_what_a_killed_write_left_goes_and_what_is_being_written_stays(tmp_path):
    """Two writers: one is killed half-way, the other still at work when a third writes into the folder."""
    code = (
        "import pathlib, sys, time\n"
        "from deepr_hw import files\n"
        "with files.replacing(pathlib.Path(sys.argv[1])) as beside:\n"
        "    beside.write_text('half')\n"
        "    print('ready', flush=True)\n"
        "    time.sleep(60)\n"
    )
    writers = [
        subprocess.Popen([sys.executable, "-c", code, str(tmp_path / "f")], cwd=ROOT, stdout=subprocess.PIPE)
        for _ in range(2)
    ]
    try:
        for writer in writers:
            assert writer.stdout.readline() == b"ready\n"
        writers[0].kill()
        writers[0].wait()
        (tmp_path / ".f.other").write_text("somebody else's")
        assert len(list(tmp_path.iterdir())) == 3
        files.write_text(tmp_path / "g", "new")
        left = {path.name for path in tmp_path.iterdir()}
        assert len(left) == 3
        assert {".f.other", "g"} < left
    finally:
        for writer in writers:
            writer.kill()
            writer.communicate()


def test_a_link_stays_a_link(tmp_path):
    (tmp_path / "real").write_text("old")
    (tmp_path / "link").symlink_to(tmp_path / "real")
    files.write_text(tmp_path / "link", "new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real").read_text() == "new"


def test_a_pipe_is_written_to_not_replaced(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    reader = os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK)
    try:
        files.write_text(tmp_path / "pipe", "through")
        assert os.read(reader, 99) == b"through"
        assert (tmp_path / "pipe").is_fifo()
    finally:
        os.close(reader)


def test_permissions_follow_the_umask(tmp_path):
    old = os.umask(0o027)
    try:
        files.write_text(tmp_path / "f", "x")
    finally:
        os.umask(old)
    assert (tmp_path / "f").stat().st_mode & 0o777 == 0o640


def test_whether_a_file_can_be_written_is_told_without_writing(tmp_path):
    files.check_writable(tmp_path / "new")
    (tmp_path / "old").write_text("old")
    files.check_writable(tmp_path / "old")
    assert [path.name for path in tmp_path.iterdir()] == ["old"]
    for path, message in (
        (tmp_path, "is a folder"),
        (tmp_path / "none" / "f", "does not exist"),
        (tmp_path / "old" / "f", "does not exist"),
    ):
        with pytest.raises(OSError, match=message):
            files.check_writable(path)


def test_errors_name_the_place(tmp_path):
    with pytest.raises(OSError, match="can't write here") as caught:
        files.write_text(tmp_path / "none" / "f", "x")
    assert caught.value.filename.endswith("none/f")
    (tmp_path / "f").write_text("x")
    with pytest.raises(OSError, match="can't make this folder"):
        files.make_folder(tmp_path / "f" / "g")

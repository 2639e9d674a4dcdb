"""Files are whole or absent."""

import os

import pytest

from deepr_hw import files


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


def test_errors_name_the_place(tmp_path):
    with pytest.raises(OSError, match="can't write here") as caught:
        files.write_text(tmp_path / "none" / "f", "x")
    assert caught.value.filename.endswith("none/f")
    (tmp_path / "f").write_text("x")
    with pytest.raises(OSError, match="can't make this folder"):
        files.make_folder(tmp_path / "f" / "g")

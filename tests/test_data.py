"""Data sets against files made here byte by byte, and what their loader refuses."""

import gzip
import struct

import numpy as np
import pytest

from deepr_hw import data
from deepr_hw.data import sources
from deepr_hw.ir.fixed import PIXEL


def idx_bytes(array):
    return b"\0\0\x08" + bytes([array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()


@pytest.fixture
def arrays():
    rng = np.random.default_rng(0)
    return {
        "x_train": rng.integers(0, 256, (20, 4, 3), dtype=np.uint8),
        "y_train": np.arange(20) % 3,
        "x_test": rng.integers(0, 256, (6, 4, 3), dtype=np.uint8),
        "y_test": np.arange(6) % 3,
    }


@pytest.fixture
def idx_folder(tmp_path, arrays):
    names = {
        "x_train": "train-images-idx3-ubyte",
        "y_train": "train-labels-idx1-ubyte",
        "x_test": "t10k-images-idx3-ubyte.gz",
        "y_test": "t10k-labels-idx1-ubyte",
    }
    for key, name in names.items():
        raw = idx_bytes(arrays[key].astype(np.uint8))
        (tmp_path / name).write_bytes(gzip.compress(raw) if name.endswith("gz") else raw)
    return tmp_path


def test_idx_folder_plain_and_gzipped(idx_folder, arrays):
    loaded = data.load(str(idx_folder))
    order = [int(np.flatnonzero((loaded.x_train == x.ravel()).all(axis=1))[0]) for x in arrays["x_train"]]
    assert sorted(order) == list(range(20)) != order  # the same samples, shuffled
    np.testing.assert_array_equal(loaded.y_train[order], arrays["y_train"])
    np.testing.assert_array_equal(loaded.x_test, arrays["x_test"].reshape(6, 12))
    np.testing.assert_array_equal(loaded.y_test, arrays["y_test"])
    assert (loaded.sample_shape, loaded.n_classes) == ((4, 3), 3)
    coded = data.encoded(loaded)
    np.testing.assert_array_equal(coded.x_train, loaded.x_train)  # bytes are their own codes
    assert coded.x_format == PIXEL


def test_npz_of_reals_stays_as_it_is(tmp_path, arrays):
    x = np.random.default_rng(1).normal(0, 2, (20, 5))
    np.savez(
        tmp_path / "d.npz",
        x_train=x,
        y_train=arrays["y_train"],
        x_test=x[:6],
        y_test=arrays["y_test"],
        class_labels=np.array(["a", "b", "c"]),
    )
    loaded = data.load(str(tmp_path / "d.npz"))
    assert loaded.class_labels == ("a", "b", "c")
    np.testing.assert_array_equal(loaded.x_test, x[:6])


def test_digits_are_the_same_at_every_call():
    first, second = data.load("digits"), data.load("digits")
    np.testing.assert_array_equal(first.x_train, second.x_train)
    assert first.x_train.shape == (1437, 64)
    assert set(np.unique(first.x_train)) == set(range(17))
    assert len(np.unique(data.encoded(first).x_train)) == 17


def test_mnist_is_found_below_deepr_data(idx_folder, tmp_path, monkeypatch):
    (tmp_path / "root").mkdir()
    (tmp_path / "root" / "mnist").symlink_to(idx_folder)
    monkeypatch.setenv("DEEPR_DATA", str(tmp_path / "root"))
    assert data.mnist_at_hand()
    assert data.load("mnist").n_in == 12


def test_mnist_download_is_checked_against_its_checksum(tmp_path, monkeypatch):
    monkeypatch.delenv("DEEPR_DATA", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "train-images-idx3-ubyte.gz").write_bytes(gzip.compress(b"something else"))
    monkeypatch.setattr(sources, "MNIST_URL", tmp_path.as_uri())
    with pytest.raises(ValueError, match="SHA-256 differs"):
        data.load("mnist")
    monkeypatch.setattr(sources, "MNIST_URL", (tmp_path / "nowhere").as_uri())
    with pytest.raises(OSError, match="DEEPR_DATA"):
        data.load("mnist")
    assert not list((tmp_path / "cache").rglob("*ubyte*"))


def spoilt(key, place, value):
    def spoil(arrays):
        array = arrays[key].astype(float)
        array[place] = value
        return {**arrays, key: array}

    return spoil


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (spoilt("x_train", (3, 1, 2), np.nan), r"x_train\[3, 1, 2\] = nan"),
        (spoilt("y_train", 5, -1), r"y_train\[5\] = -1"),
        (spoilt("y_train", 5, 0.5), r"y_train\[5\] = 0.5"),
        (spoilt("y_test", 4, 3), r"y_test\[4\] = 3: label out of range, the classes are 0..2"),
        (lambda a: {**a, "x_test": a["x_test"][:, :2]}, "samples of shape"),
        (lambda a: {**a, "y_test": a["y_test"][:2]}, "y_test: has shape"),
        (lambda a: {**a, "x_test": a["x_test"][:0]}, "x_test: expected numbers"),
        (lambda a: {k: v for k, v in a.items() if k != "y_test"}, "array y_test is missing"),
    ],
)
def test_unsound_npz_is_refused_by_place_and_value(tmp_path, arrays, spoil, message):
    np.savez(tmp_path / "d.npz", **spoil(arrays))
    with pytest.raises(ValueError, match=message):
        data.load(str(tmp_path / "d.npz"))


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"", "the file is empty"), (b"\x89PNG....", "not an IDX file"), (b"\0\0\x08\x01\0\0\0\x09abc", "needs 9 bytes")],
)
def test_damaged_idx_is_refused(idx_folder, content, message):
    (idx_folder / "train-labels-idx1-ubyte").write_bytes(content)
    with pytest.raises(ValueError, match=message):
        data.load(str(idx_folder))


def test_what_is_missing_or_foreign_is_named(tmp_path, idx_folder):
    with pytest.raises(FileNotFoundError, match="no such data"):
        data.load(str(tmp_path / "none.npz"))
    (idx_folder / "t10k-labels-idx1-ubyte").unlink()
    with pytest.raises(FileNotFoundError, match="t10k-labels"):
        data.load(str(idx_folder))
    (idx_folder / "t10k-images-idx3-ubyte.gz").write_bytes(b"\x1f\x8b....")
    (idx_folder / "t10k-labels-idx1-ubyte").write_bytes(b"x")
    with pytest.raises(ValueError, match="gzip"):
        data.load(str(idx_folder))
    for name, content in (("empty.npz", b""), ("foreign.npz", b"hello"), ("text.csv", b"1,2")):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(ValueError, match=name):
            data.load(str(tmp_path / name))

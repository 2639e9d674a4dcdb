"""The hls4ml C++ against the golden model, compiled with plain g++; broken designs must be seen by the comparison."""

import re
import time

import numpy as np
import pytest

from deepr_hw import reference
from deepr_hw.export.hls4ml import project as hls4ml_project
from deepr_hw.export.hls4ml import sparse as hls4ml_sparse
from deepr_hw.export.hls4ml.arrays import count_connections, read_layers
from deepr_hw.export.hls4ml.backends import BACKENDS
from deepr_hw.ir import Budget, IntNet, SparseLinear, sparse_linear
from deepr_hw.ir.fixed import PIXEL, Format
from tests.random_nets import random_codes, random_layer, random_net

HIDDEN = Format(8, False, 4)


def sparse_layer(rng: np.random.Generator, n_in: int, n_out: int, k: int, x: Format, y: Format | None) -> SparseLinear:
    position = np.sort(rng.choice(n_in * n_out, k, replace=False))
    return sparse_linear(
        n_in,
        n_out,
        position % n_in,
        position // n_in,
        rng.integers(-127, 128, k),
        rng.integers(-3000, 3000, n_out),
        x,
        Format(8, True, 6),
        y,
    )


@pytest.fixture(scope="module")
def mnist_net() -> IntNet:
    """The shape and the budget of the paper's MNIST network (its last layer has 1,000 positions)."""
    rng = np.random.default_rng(0)
    sizes = (784, 300, PIXEL, HIDDEN, 2664), (300, 100, HIDDEN, HIDDEN, 800), (100, 10, HIDDEN, None, 88)
    layers = tuple(sparse_layer(rng, n_in, n_out, k, x, y) for n_in, n_out, x, y, k in sizes)
    return IntNet(layers, Budget("global", (3552,)))


@pytest.fixture(scope="module")
def ties_net() -> IntNet:
    """Two layers; half of the accumulators of the first lie in the middle between two output codes."""
    rng = np.random.default_rng(1)
    hidden = random_layer(rng, 20, 30, PIXEL, last=False, corner="ties")
    last = random_layer(rng, 30, 10, hidden.y_format, last=True)
    return IntNet((hidden, last), Budget("global", (hidden.matrix.n_connections + last.matrix.n_connections,)))


@pytest.mark.parametrize(("reuse_factor", "io_type"), [(1, "io_parallel"), (64, "io_parallel"), (10**6, "io_stream")])
def test_mnist_shape_is_exact(mnist_net, tmp_path, record_property, reuse_factor, io_type):
    x = random_codes(mnist_net, 1000)
    start = time.perf_counter()
    run = hls4ml_project.run(mnist_net, x, tmp_path, reuse_factor=reuse_factor, io_type=io_type)
    record_property("seconds", round(time.perf_counter() - start, 1))
    assert run.logits.dtype == np.int32
    np.testing.assert_array_equal(run.logits, reference.logits(mnist_net, x))
    assert count_connections(tmp_path) == 3552


@pytest.mark.parametrize("seed", range(12))
def test_random_nets_are_exact(seed, tmp_path):
    net = random_net(seed)
    x = random_codes(net, 200, seed)
    options = {
        "reuse_factor": (1, 2, 7, 10**6)[seed % 4],
        "io_type": hls4ml_project.IO_TYPES[seed // 2 % 2],
        "backend": list(BACKENDS)[(seed + seed // 4) % len(BACKENDS)],
    }
    run = hls4ml_project.run(net, x, tmp_path, **options)
    np.testing.assert_array_equal(run.logits, reference.logits(net, x), err_msg=str(options))


def test_every_32_bit_logit_is_exact(tmp_path):
    low, high = -(1 << 31), (1 << 31) - 1
    layer = sparse_linear(
        1,
        4,
        [0, 0],
        [0, 3],
        [1, -1],
        [high - 255, low, 12345, low + 255],
        Format(8, False, 31),
        Format(2, True, 31),
        None,
    )
    net = IntNet((layer,), Budget("global", (2,)))
    x = np.array([[0], [255]])
    logits = hls4ml_project.run(net, x, tmp_path).logits
    np.testing.assert_array_equal(logits, [[high - 255, low, 12345, low + 255], [high, low, 12345, low]])


def edit(path, pattern, replacement):
    text = path.read_text()
    changed = re.sub(pattern, replacement, text, count=1)
    assert changed != text
    path.write_text(changed)


def flip_weight(folder):
    for suffix in (".h", ".txt"):
        edit(folder / f"firmware/weights/w2{suffix}", r"(-?\d\.\d+)(?=[,}]|$)", lambda m: str(float(m[1]) + 0.25))


def flip_index(folder):
    layer = read_layers(folder)[0]
    free = next(
        i
        for i in range(layer.constants["n_in"])
        if (i, layer.out_idx[0]) not in set(zip(layer.in_idx, layer.out_idx, strict=True))
    )
    edit(folder / "firmware/weights/in_idx2.h", r"\{\d+", f"{{{free}")
    edit(folder / "firmware/weights/in_idx2.txt", r"^\d+", str(free))


def round_half_up(folder):
    edit(folder / "firmware/defines.h", "AP_RND_CONV", "AP_RND")


def wrap_instead_of_saturate(folder):
    edit(folder / "firmware/defines.h", "AP_SAT", "AP_WRAP")


@pytest.mark.parametrize("spoil", [None, flip_weight, flip_index, round_half_up, wrap_instead_of_saturate])
def test_a_broken_design_is_seen(ties_net, tmp_path, spoil):
    hls4ml_project.export(ties_net, tmp_path)
    if spoil is not None:
        spoil(tmp_path)
    x = random_codes(ties_net, 300)
    logits = hls4ml_project.run_project(ties_net, x, tmp_path)
    equal = np.array_equal(logits, reference.logits(ties_net, x))
    assert equal == (spoil is None)


def test_arrays_of_simulation_and_synthesis_must_agree(ties_net, tmp_path):
    hls4ml_project.export(ties_net, tmp_path)
    edit(tmp_path / "firmware/weights/in_idx2.h", r"\{\d+", "{0")
    with pytest.raises(ValueError, match=r"differs from in_idx2\.h"):
        count_connections(tmp_path)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda folder: edit(folder / "firmware/weights/w2.h", r", -?[\d.]+\}", "}"), "is declared with"),
        (
            lambda folder: edit(folder / "firmware/parameters.h", r"n_connections = \d+", "n_connections = 1"),
            "the array",
        ),
        (lambda folder: edit(folder / "firmware/parameters.h", r"n_in = \d+", "n_in = 1"), "an index is"),
        (lambda folder: (folder / "firmware/deepr.cpp").write_text(""), "found 0"),
    ],
)
def test_a_tampered_project_is_not_counted(ties_net, tmp_path, spoil, message):
    hls4ml_project.export(ties_net, tmp_path)
    spoil(tmp_path)
    with pytest.raises(ValueError, match=message):
        count_connections(tmp_path)


def test_reads_back_the_connections(mnist_net, tmp_path):
    hls4ml_project.export(mnist_net, tmp_path, reuse_factor=100)
    for cpp, layer in zip(read_layers(tmp_path), mnist_net.layers, strict=True):
        np.testing.assert_array_equal(cpp.in_idx, layer.matrix.in_idx)
        np.testing.assert_array_equal(cpp.out_idx, layer.matrix.out_idx)
        np.testing.assert_array_equal(cpp.arrays["weight"] * 2**layer.matrix.w_format.frac, layer.matrix.code)


def test_export_is_quiet_and_repeatable(mnist_net, tmp_path, capfd, monkeypatch):
    monkeypatch.chdir(tmp_path)
    big = random_net(4, max_layers=4)
    hls4ml_project.export(big, tmp_path / "project")
    facts = hls4ml_project.export(mnist_net, tmp_path / "project", reuse_factor=64)
    assert facts["n_connections"] == count_connections(tmp_path / "project") == 3552
    assert facts["n_multipliers"] == sum(-(-layer.matrix.n_connections // 64) for layer in mnist_net.layers)
    assert capfd.readouterr() == ("", "")
    assert [path.name for path in tmp_path.iterdir()] == ["project"]
    assert len(list((tmp_path / "project/firmware/weights").glob("w*.h"))) == len(mnist_net.layers)


def test_no_array_has_the_dense_size(mnist_net, tmp_path):
    hls4ml_project.export(mnist_net, tmp_path)
    source = "".join(path.read_text() for path in (tmp_path / "firmware").glob("*.[ch]*"))
    source += "".join(path.read_text() for path in (tmp_path / "firmware/weights").glob("*.h"))
    sizes = {int(size) for size in re.findall(r"\w+\[(\d+)\]", source)}
    assert max(sizes) == max(layer.matrix.n_connections for layer in mnist_net.layers)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"backend": "Libero"}, "expected one of Vitis, Vivado, Quartus, Catapult"),
        ({"io_type": "io_serial"}, "expected one of io_parallel"),
        ({"reuse_factor": 0}, "at least 1"),
    ],
)
def test_refuses_what_it_does_not_know(ties_net, tmp_path, options, message):
    with pytest.raises(ValueError, match=message):
        hls4ml_project.export(ties_net, tmp_path, **options)


def test_refuses_what_a_backend_would_get_wrong(tmp_path):
    bit, weight = Format(1, False, 0), Format(2, True, 0)
    layers = tuple(sparse_linear(2, 2, [0, 1], [0, 1], [1, 1], None, bit, weight, y) for y in (bit, None))
    net = IntNet(layers, Budget("global", (4,)))
    x = np.array([[0, 1], [1, 1]])
    np.testing.assert_array_equal(hls4ml_project.run(net, x, tmp_path).logits, x)
    with pytest.raises(ValueError, match="layer 0: gives single bits"):
        hls4ml_project.export(net, tmp_path, backend="Quartus")


@pytest.mark.parametrize("reuse_factor", [1, 2, 3, 5, 8, 12, 13, 100])
def test_layout_covers_every_connection_once(reuse_factor):
    out_idx = np.sort(np.random.default_rng(reuse_factor).integers(0, 9, 13))
    layout = hls4ml_sparse.make_layout(out_idx, reuse_factor)
    assert layout.n_multipliers <= -(-13 // reuse_factor)
    assert layout.n_steps <= reuse_factor
    assert -(-13 // layout.n_multipliers) == layout.n_steps  # the blocks of a block-partitioned ROM
    np.testing.assert_array_equal(layout.out_base[np.arange(13) // layout.n_steps] + layout.out_idx, out_idx)
    assert 0 <= layout.out_idx.min() <= layout.out_idx.max() < layout.window

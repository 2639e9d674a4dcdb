"""The compact container: what goes in comes out, no byte is unaccounted for, no damage goes unnoticed."""

import struct
import zlib

import numpy as np
import pytest

from deepr_hw.export.compact import container as compact
from deepr_hw.ir import Budget, IntNet, fixed, sparse_linear
from deepr_hw.ir.fixed import Format
from deepr_hw.ir.netfile import to_parts
from tests.random_nets import one_layer, random_net
from tests.test_onnx_integer import mnist_shaped


def same(a: IntNet, b: IntNet) -> bool:
    (about, tensors), (other_about, other_tensors) = to_parts(a), to_parts(b)
    return (
        about == other_about
        and tensors.keys() == other_tensors.keys()
        and all(
            tensors[key].dtype == other_tensors[key].dtype and np.array_equal(tensors[key], other_tensors[key])
            for key in tensors
        )
    )


def connection_bytes(data: bytes) -> int:
    """Everything but description and biases: streams, headers and checks of the layers."""
    return sum(
        section.n_bytes
        for section in compact.account(data)
        if section.name.startswith("layers") and ".bias" not in section.name
    )


@pytest.mark.parametrize("seed", range(150))
def test_round_trip(seed):
    net = random_net(seed)
    data = compact.pack(net)
    assert same(compact.unpack(data), net)
    assert compact.pack(compact.unpack(data)) == data


@pytest.mark.parametrize("seed", range(0, 150, 10))
def test_every_byte_has_its_section(seed):
    data = compact.pack(random_net(seed))
    sections = compact.account(data)
    assert [s.offset for s in sections] == [0, *np.cumsum([s.n_bytes for s in sections])[:-1]]
    assert sum(s.n_bytes for s in sections) == len(data)


def packed_bits(net):
    """Ideal positions and weights of 8 bits, as the container packs them."""
    return compact.position_bits(net) + 8 * net.n_connections


@pytest.mark.parametrize(
    ("n_in", "n_out", "n"),
    [
        (784, 300, 3552),
        (300, 100, 900),
        (300, 100, 15_000),
        (300, 100, 21_000),
        (300, 100, 30_000),
        (100_000, 100_000, 50_000),
    ],
)
def test_within_ten_percent_of_ideal_positions(n_in, n_out, n):
    net = one_layer(n_in, n_out, n)
    data = compact.pack(net)
    assert same(compact.unpack(data), net)
    assert 1.0 <= 8 * connection_bytes(data) / packed_bits(net) < 1.02 + 28 / n


@pytest.mark.parametrize("pattern", ["one column", "one row", "ends", "diagonal"])
def test_within_ten_percent_whatever_the_pattern(pattern):
    n = 512
    steps = np.arange(n)
    in_idx, out_idx = {
        "one column": (steps, 0 * steps),
        "one row": (0 * steps, steps),
        "diagonal": (steps, steps),
        "ends": (steps, np.where(steps < 256, 0, n - 1)),
    }[pattern]
    layer = sparse_linear(n, n, in_idx, out_idx, np.ones(n, int), None, fixed.PIXEL, Format(8, True, 7), None)
    net = IntNet((layer,), Budget("global", (n,)))
    data = compact.pack(net)
    assert same(compact.unpack(data), net)
    assert 8 * connection_bytes(data) < 1.1 * packed_bits(net)


def test_the_whole_mnist_shape_with_biases_and_labels():
    net = mnist_shaped()
    assert 8 * len(compact.pack(net)) < 1.1 * packed_bits(net)


def test_positions_cost_the_binomial():
    assert compact.position_bits(one_layer(4, 3, 5)) == pytest.approx(np.log2(792))


@pytest.mark.parametrize("seed", [3, 8])
def test_every_flipped_bit_is_noticed(seed):
    data = compact.pack(random_net(seed, max_width=6, max_layers=2))
    for byte in range(len(data)):
        for bit in range(8):
            damaged = bytearray(data)
            damaged[byte] ^= 1 << bit
            with pytest.raises(ValueError, match=r"magic|description|unit|layers\[\d\]"):
                compact.unpack(bytes(damaged))


def test_every_truncation_is_noticed():
    data = compact.pack(random_net(3))
    for n in range(len(data)):
        with pytest.raises(ValueError, match="but the file ends at"):
            compact.unpack(data[:n])


def resealed(data: bytes, change) -> bytes:
    """The container with its first layer's header and streams changed and the checks made right again."""
    sections = {s.name: s for s in compact.account(data)}
    start, checks = sections["layers[0].weight.header"].offset, sections["layers[0].weight.checks"].offset
    end = sections["layers[0].weight.code"].offset + sections["layers[0].weight.code"].n_bytes
    header, streams = bytearray(data[start:checks]), bytearray(data[checks + 8 : end])
    change(header, streams)
    right = struct.pack("<II", zlib.crc32(header), zlib.crc32(streams))
    return b"".join([data[:start], header, right, streams, data[end:]])


def put(array: bytearray, offset: int, value: int) -> None:
    array[offset] = value


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda header, streams: put(header, 0, header[0] + 1), "layers"),
        (lambda header, streams: put(header, 7, 255), r"layers\[0\].weight.header: .* impossible"),
        (lambda header, streams: put(header, 16, 63), r"layers\[0\].weight.header: .* impossible"),
        (lambda header, streams: put(streams, 0, 255 & ~streams[0]), r"layers\[0\].weight.unary"),
    ],
    ids=["count", "too many", "rice", "stream"],
)
def test_refuses_what_contradicts_itself_under_right_checks(change, message):
    with pytest.raises(ValueError, match=message):
        compact.unpack(resealed(compact.pack(one_layer(40, 20, 100)), change))


def test_files(tmp_path):
    net = mnist_shaped()
    compact.save(net, tmp_path / "net.compact")
    assert same(compact.load(tmp_path / "net.compact"), net)
    (tmp_path / "foreign").write_bytes(b"PK\x03\x04 something else")
    with pytest.raises(ValueError, match=r"foreign: magic: .* is not b'DEEPRK03'"):
        compact.load(tmp_path / "foreign")
    (tmp_path / "long").write_bytes(compact.pack(net) + b"\0")
    with pytest.raises(ValueError, match="long: 1 bytes behind the last section"):
        compact.load(tmp_path / "long")
    with pytest.raises(OSError, match="absent"):
        compact.load(tmp_path / "absent")

"""A compact container: an ``IntNet`` as delta-coded positions and packed weights, each byte accounted for.

    magic        8    b"DEEPRK" and the version as two digits
    length       4    bytes of the description, little endian, as every number here
    check        4    CRC-32 of the description
    description  n    zlib of the JSON that the .safetensors file holds: formats, budget, labels, provenance
    units       12    number of entries of the input's and of the output's unit u32 each (0: natural), CRC-32 of all
    unit values  .    offsets and factors of the input, then of the output, float32
    then for each layer
    header      20    n_coded u64, n_unary u64, rice u8, dormant u8, weight_bits u8, bias_bits u8
    checks       8    CRC-32 of the header u32, CRC-32 of the streams u32
    unary        .    gap >> rice in unary: that many ones and a zero, for each coded position
    remainder    .    gap mod 2**rice, ``rice`` bits each
    weight       .    two's complement, ``weight_bits`` each, one per connection
    bias         .    two's complement, ``bias_bits`` each, one per output; bias_bits = 0: no bias

Positions ``out_idx * n_in + in_idx`` ascend; a gap is the number of positions passed over. Where more than half of the
positions are connected the dormant ones are coded (``dormant`` = 1). Streams fill bytes from the lowest bit, padded
with 0. Version 01 has no units.

Rice's code spends at most (N - K) / 2**rice + K (rice + 1) bits on K of N positions, whatever their pattern: with the
best ``rice`` at most 0.6 bit per connection above log2(N over K); less than 0.1 where positions are random.

Source: R. F. Rice, "Some practical universal noiseless coding techniques", JPL 79-22, 1979; S. W. Golomb, "Run-length
encodings", IEEE Trans. Inf. Theory 12, 1966.
"""

import json
import math
import struct
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from deepr_hw.files import write_bytes
from deepr_hw.fixed import index_dtype, signed_bits
from deepr_hw.ir import IntNet, SparseLinear
from deepr_hw.netfile import from_parts, to_parts

MAGIC = b"DEEPRK02"
_OLD_MAGIC = b"DEEPRK01"
_HEADER = struct.Struct("<QQBBBB")
_CHECKS = struct.Struct("<II")
_COUNTS = struct.Struct("<II")
_SIDES = ("input", "output")


@dataclass(frozen=True)
class Section:
    """A named run of bytes of the container."""

    name: str
    offset: int
    n_bytes: int


def position_bits(net: IntNet) -> float:
    """log2(N over K), summed over the layers: what it takes to say which K of N positions, if none is more likely than
    another."""
    sizes = [(layer.n_positions, layer.n_connections) for layer in net.layers]
    return sum(math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1) for n, k in sizes) / math.log(2)


def pack(net: IntNet) -> bytes:
    """The container's bytes; the same network gives the same bytes.

    Raises ``ValueError`` naming a layer of a kind that has no such form, or with more than 2**62 positions.
    """
    about, tensors = to_parts(net)
    description = zlib.compress(about.encode(), 9)
    parts = [MAGIC, struct.pack("<II", len(description), zlib.crc32(description)), description, *_pack_units(tensors)]
    for i, layer in enumerate(net.layers):
        if not isinstance(layer, SparseLinear):
            raise ValueError(f"layers[{i}]: no compact form for a layer of kind {layer.kind!r}")
        if layer.n_positions > 1 << 62:
            raise ValueError(f"layers[{i}]: {layer.n_positions} positions, at most 2**62")
        parts += _pack_layer(layer)
    return b"".join(parts)


def _pack_units(tensors: dict[str, np.ndarray]) -> list[bytes]:
    empty = np.zeros(0, np.float32)
    arrays = [tensors.get(f"{side}.{name}", empty).astype("<f4") for side in _SIDES for name in ("offset", "factor")]
    counts, values = _COUNTS.pack(arrays[0].size, arrays[2].size), b"".join(array.tobytes() for array in arrays)
    return [counts, struct.pack("<I", zlib.crc32(counts + values)), values]


def _pack_layer(layer: SparseLinear) -> list[bytes]:
    position = layer.out_idx.astype(np.int64) * layer.n_in + layer.in_idx
    dormant = 2 * layer.n_connections > layer.n_positions
    coded = _others(position, layer.n_positions) if dormant else position
    gap = np.diff(coded, prepend=-1) - 1
    rice = _best_rice(gap)
    ends = np.cumsum((gap >> rice) + 1)
    unary = np.ones(int(ends[-1]) if ends.size else 0, bool)
    unary[ends - 1] = False
    bias = np.empty(0, np.int64) if layer.bias is None else layer.bias.astype(np.int64)
    bias_bits = signed_bits(int(bias.min()), int(bias.max())) if bias.size else 0
    header = _HEADER.pack(gap.size, unary.size, rice, dormant, layer.w_format.bits, bias_bits)
    streams = [np.packbits(unary, bitorder="little").tobytes(), _pack_bits(gap, rice),
               _pack_bits(layer.weight.astype(np.int64), layer.w_format.bits), _pack_bits(bias, bias_bits)]
    return [header, _CHECKS.pack(zlib.crc32(header), zlib.crc32(b"".join(streams))), *streams]


def _best_rice(gap: np.ndarray) -> int:
    if not gap.size:
        return 0
    near = int(gap.mean() + 1).bit_length()
    return min(range(max(0, near - 3), near + 2), key=lambda rice: int((gap >> rice).sum()) + gap.size * (rice + 1))


def _others(position: np.ndarray, n: int) -> np.ndarray:
    """The positions of 0..n-1 that ``position`` leaves out."""
    free = np.ones(n, bool)
    free[position] = False
    return np.flatnonzero(free)


def _pack_bits(values: np.ndarray, width: int) -> bytes:
    """The lowest ``width`` bits of each value, one after the other."""
    bits = (values[:, None] >> np.arange(width)) & 1
    return np.packbits(bits.astype(np.uint8).reshape(-1), bitorder="little").tobytes()


def _bits(data: bytes, n: int, what: str) -> np.ndarray:
    bits = np.unpackbits(np.frombuffer(data, np.uint8), bitorder="little")
    if bits[n:].any():
        raise ValueError(f"{what}: padding bits are not 0")
    return bits[:n]


def _unpack_bits(data: bytes, n: int, width: int, signed: bool, what: str) -> np.ndarray:
    """(n,) int64 of ``_pack_bits``."""
    if not width:
        return np.zeros(n, np.int64)
    values = _bits(data, n * width, what).reshape(n, width) @ (1 << np.arange(width, dtype=np.int64))
    return values - ((values >> (width - 1)) << width) if signed else values


class _Reader:
    """Takes named runs of bytes in order and remembers where they were."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.offset = 0
        self.sections: list[Section] = []

    def take(self, name: str, n_bytes: int) -> bytes:
        if self.offset + n_bytes > len(self.data):
            raise ValueError(f"{name}: {n_bytes} bytes at {self.offset}, but the file ends at {len(self.data)}")
        self.sections.append(Section(name, self.offset, n_bytes))
        self.offset += n_bytes
        return self.data[self.offset - n_bytes : self.offset]


def unpack(data: bytes) -> IntNet:
    """The network in ``data``. Raises ``ValueError`` naming the section that is damaged, cut short or foreign."""
    return _read(data)[0]


def account(data: bytes) -> list[Section]:
    """Every byte of the container by section, in order, without gap; raises as ``unpack``."""
    return _read(data)[1]


def _read(data: bytes) -> tuple[IntNet, list[Section]]:
    reader = _Reader(data)
    magic = reader.take("magic", len(MAGIC))
    if magic not in (MAGIC, _OLD_MAGIC):
        raise ValueError(f"magic: {magic!r} is not {MAGIC!r}, so this is no compact IntNet of this version")
    length, check = struct.unpack("<II", reader.take("description length and check", 8))
    description = reader.take("description", length)
    if zlib.crc32(description) != check:
        raise ValueError("description: damaged (CRC-32 differs)")
    about = _inflate(description)
    tensors = _read_units(reader) if magic == MAGIC else {}
    for i, (n_in, n_out) in enumerate(_sizes(about)):
        for name, values in _read_layer(reader, f"layers[{i}]", n_in, n_out).items():
            tensors[f"layers.{i}.{name}"] = values
    if reader.offset != len(data):
        raise ValueError(f"{len(data) - reader.offset} bytes behind the last section")
    return from_parts(about, tensors), reader.sections


def _read_units(reader: _Reader) -> dict[str, np.ndarray]:
    counts = reader.take("units", _COUNTS.size)
    (check,) = struct.unpack("<I", reader.take("units check", 4))
    n_values = dict(zip(_SIDES, _COUNTS.unpack(counts), strict=True))
    values = reader.take("unit values", 8 * sum(n_values.values()))
    if zlib.crc32(counts + values) != check:
        raise ValueError("units: damaged (CRC-32 differs)")
    tensors: dict[str, np.ndarray] = {}
    rest = np.frombuffer(values, "<f4")
    for side, n in n_values.items():
        if n:
            tensors |= {f"{side}.offset": rest[:n], f"{side}.factor": rest[n : 2 * n]}
        rest = rest[2 * n :]
    return tensors


def _inflate(description: bytes) -> str:
    try:
        return zlib.decompress(description).decode()
    except (zlib.error, UnicodeDecodeError) as error:
        raise ValueError(f"description: no compressed text ({error})") from None


def _sizes(about: str) -> list[tuple[int, int]]:
    try:
        return [(int(layer["n_in"]), int(layer["n_out"])) for layer in json.loads(about)["layers"]]
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"description: has no layers with n_in and n_out ({error!r})") from None


def _read_layer(reader: _Reader, name: str, n_in: int, n_out: int) -> dict[str, np.ndarray]:
    header = reader.take(f"{name}.header", _HEADER.size)
    header_check, check = _CHECKS.unpack(reader.take(f"{name}.checks", _CHECKS.size))
    if zlib.crc32(header) != header_check:
        raise ValueError(f"{name}.header: damaged (CRC-32 differs)")
    n_coded, n_unary, rice, dormant, weight_bits, bias_bits = _HEADER.unpack(header)
    if n_coded > n_in * n_out or max(rice, weight_bits, bias_bits) > 62:
        raise ValueError(f"{name}.header: {n_coded} of {n_in * n_out} positions, widths {rice}, {weight_bits} and "
                         f"{bias_bits} bits: impossible")
    n_connections = n_in * n_out - n_coded if dormant else n_coded
    widths = {"unary": n_unary, "remainder": n_coded * rice, "weight": n_connections * weight_bits,
              "bias": n_out * bias_bits}
    streams = {key: reader.take(f"{name}.{key}", -(-bits // 8)) for key, bits in widths.items()}
    if zlib.crc32(b"".join(streams.values())) != check:
        raise ValueError(f"{name}: damaged (CRC-32 of its streams differs)")
    stops = np.flatnonzero(_bits(streams["unary"], n_unary, f"{name}.unary") == 0)
    if stops.size != n_coded:
        raise ValueError(f"{name}.unary: holds {stops.size} positions, the header says {n_coded}")
    low = _unpack_bits(streams["remainder"], n_coded, rice, False, f"{name}.remainder")
    coded = np.cumsum((((np.diff(stops, prepend=-1) - 1) << rice) | low) + 1) - 1
    if coded.size and coded[-1] >= n_in * n_out:
        raise ValueError(f"{name}.unary: position {coded[-1]} of {n_in * n_out}")
    position = _others(coded, n_in * n_out) if dormant else coded
    tensors = {"in_idx": (position % n_in).astype(index_dtype(n_in)),
               "out_idx": (position // n_in).astype(index_dtype(n_out)),
               "weight": _unpack_bits(streams["weight"], n_connections, weight_bits, True, f"{name}.weight")}
    if bias_bits:
        tensors["bias"] = _unpack_bits(streams["bias"], n_out, bias_bits, True, f"{name}.bias")
    return tensors


def save(net: IntNet, path: Path) -> None:
    """Write ``net`` to ``path``, whole or not at all."""
    write_bytes(Path(path), pack(net))


def load(path: Path) -> IntNet:
    """The network in ``path``. Raises ``ValueError`` naming file and section, ``OSError`` when it can't be read."""
    try:
        return unpack(Path(path).read_bytes())
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None

"""A compact container: an ``IntNet`` as delta-coded positions and packed weights, each byte accounted for.

    magic        8    b"DEEPRK" and the version as two digits
    length       4    bytes of the description, little endian, as every number here
    check        4    CRC-32 of the description
    description  n    zlib of the JSON that the .safetensors file holds: formats, budget, labels, provenance
    units       12    number of entries of the input's and of the output's unit u32 each (0: natural), CRC-32 of all
    unit values  .    offsets and factors of the input, then of the output, float32
    then for each layer its matrices in the order of the description, each
    header      20    n_coded u64, n_unary u64, rice u8, dormant u8, code_bits u8, 0
    checks       8    CRC-32 of the header u32, CRC-32 of the streams u32
    unary        .    gap >> rice in unary: that many ones and a zero, for each coded position
    remainder    .    gap mod 2**rice, ``rice`` bits each
    code         .    two's complement, ``code_bits`` each, one per connection
    and its further arrays (biases, tables), each
    header       9    number of values u64, bits u8
    check        4    CRC-32 of header and values
    values       .    two's complement, ``bits`` each

Positions ``out_idx * n_in + in_idx`` ascend; a gap is the number of positions passed over. Where more than half of the
positions are connected the dormant ones are coded (``dormant`` = 1). Streams fill bytes from the lowest bit, padded
with 0. Version 01 has no units, and its layers, all sparse linear, have the biases behind the codes, their bits in the
header's last byte.

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
from typing import Any

import numpy as np

from deepr_hw import reference
from deepr_hw.files import write_bytes
from deepr_hw.ir import IntNet, SparseMatrix
from deepr_hw.ir.fixed import index_dtype, signed_bits
from deepr_hw.ir.netfile import from_parts, to_parts
from deepr_hw.target import EngineRun

MAGIC = b"DEEPRK03"
_OLD_MAGIC = b"DEEPRK01"
_HEADER = struct.Struct("<QQBBBB")
_CHECKS = struct.Struct("<II")
_ARRAY = struct.Struct("<QB")
_COUNTS = struct.Struct("<II")
_SIDES = ("input", "output")


@dataclass(frozen=True)
class Section:
    """A named run of bytes of the container."""

    name: str
    offset: int
    n_bytes: int


def position_bits(net: IntNet) -> float:
    """log2(N over K), summed over the matrices: what it takes to say which K of N positions, if all are as likely."""
    sizes = [(matrix.n_positions, matrix.n_connections) for _, matrix in net.matrices]
    return sum(math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1) for n, k in sizes) / math.log(2)


def pack(net: IntNet) -> bytes:
    """The container's bytes; the same network gives the same bytes.

    Raises ``ValueError`` naming a matrix with more than 2**62 positions.
    """
    about, tensors = to_parts(net)
    description = zlib.compress(about.encode(), 9)
    parts = [MAGIC, struct.pack("<II", len(description), zlib.crc32(description)), description, *_pack_units(tensors)]
    for i, layer in enumerate(net.layers):
        for name, matrix in sorted(layer.matrices.items()):
            if matrix.n_positions > 1 << 62:
                raise ValueError(f"layers[{i}].{name}: {matrix.n_positions} positions, at most 2**62")
            parts += _pack_matrix(matrix)
        for _, array in sorted(layer.arrays.items()):
            parts += _pack_array(array)
    return b"".join(parts)


def _pack_units(tensors: dict[str, np.ndarray]) -> list[bytes]:
    empty = np.zeros(0, np.float32)
    arrays = [tensors.get(f"{side}.{name}", empty).astype("<f4") for side in _SIDES for name in ("offset", "factor")]
    counts, values = _COUNTS.pack(arrays[0].size, arrays[2].size), b"".join(array.tobytes() for array in arrays)
    return [counts, struct.pack("<I", zlib.crc32(counts + values)), values]


def _pack_matrix(matrix: SparseMatrix) -> list[bytes]:
    position = matrix.out_idx.astype(np.int64) * matrix.n_in + matrix.in_idx
    dormant = 2 * matrix.n_connections > matrix.n_positions
    coded = _others(position, matrix.n_positions) if dormant else position
    gap = np.diff(coded, prepend=-1) - 1
    rice = _best_rice(gap)
    ends = np.cumsum((gap >> rice) + 1)
    unary = np.ones(int(ends[-1]) if ends.size else 0, bool)
    unary[ends - 1] = False
    header = _HEADER.pack(gap.size, unary.size, rice, dormant, matrix.w_format.bits, 0)
    streams = [
        np.packbits(unary, bitorder="little").tobytes(),
        _pack_bits(gap, rice),
        _pack_bits(matrix.code.astype(np.int64), matrix.w_format.bits),
    ]
    return [header, _CHECKS.pack(zlib.crc32(header), zlib.crc32(b"".join(streams))), *streams]


def _pack_array(array: np.ndarray) -> list[bytes]:
    values = array.astype(np.int64)
    bits = signed_bits(int(values.min()), int(values.max())) if values.size else 0
    header, stream = _ARRAY.pack(values.size, bits), _pack_bits(values, bits)
    return [header, struct.pack("<I", zlib.crc32(header + stream)), stream]


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
    for i, layer in enumerate(_layers(about, old=magic == _OLD_MAGIC)):
        if magic == _OLD_MAGIC:
            tensors |= _read_old_layer(reader, i, layer)
            continue
        for name, matrix in sorted(layer["matrices"].items()):
            read = _read_matrix(reader, f"layers[{i}].{name}", matrix["n_in"], matrix["n_out"])
            tensors |= {f"layers.{i}.{name}.{key}": values for key, values in read.items()}
        for name in layer["arrays"]:
            tensors[f"layers.{i}.{name}"] = _read_array(reader, f"layers[{i}].{name}")
    if reader.offset != len(data):
        raise ValueError(f"{len(data) - reader.offset} bytes behind the last section")
    return from_parts(about, tensors), reader.sections


def _read_old_layer(reader: _Reader, i: int, layer: dict[str, Any]) -> dict[str, np.ndarray]:
    """A layer of version 01 under the names that its description belongs to."""
    read = _read_matrix(reader, f"layers[{i}]", layer["n_in"], layer["n_out"], old=True)
    return {f"layers.{i}.{'weight' if key == 'code' else key}": values for key, values in read.items()}


def _read_array(reader: _Reader, name: str) -> np.ndarray:
    header = reader.take(f"{name}.header", _ARRAY.size)
    (check,) = struct.unpack("<I", reader.take(f"{name}.check", 4))
    n, bits = _ARRAY.unpack(header)
    stream = reader.take(name, -(-n * bits // 8))
    if zlib.crc32(header + stream) != check:
        raise ValueError(f"{name}: damaged (CRC-32 differs)")
    return _unpack_bits(stream, n, bits, True, name)


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


def _layers(about: str, old: bool) -> list[dict[str, Any]]:
    """The layers of the description, with what tells how long their sections are."""
    try:
        layers = json.loads(about)["layers"]
        for layer in layers:
            for matrix in (layer,) if old else layer["matrices"].values():
                matrix["n_in"], matrix["n_out"] = int(matrix["n_in"]), int(matrix["n_out"])
            layer["arrays"] = sorted(map(str, layer.get("arrays", [])))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"description: has no layers with matrices of n_in and n_out ({error!r})") from None
    return list(layers)


def _read_matrix(reader: _Reader, name: str, n_in: int, n_out: int, old: bool = False) -> dict[str, np.ndarray]:
    header = reader.take(f"{name}.header", _HEADER.size)
    header_check, check = _CHECKS.unpack(reader.take(f"{name}.checks", _CHECKS.size))
    if zlib.crc32(header) != header_check:
        raise ValueError(f"{name}.header: damaged (CRC-32 differs)")
    n_coded, n_unary, rice, dormant, code_bits, bias_bits = _HEADER.unpack(header)
    if n_coded > n_in * n_out or max(rice, code_bits, bias_bits) > 62 or (bias_bits and not old):
        raise ValueError(
            f"{name}.header: {n_coded} of {n_in * n_out} positions, widths {rice}, {code_bits} and "
            f"{bias_bits} bits: impossible"
        )
    n_connections = n_in * n_out - n_coded if dormant else n_coded
    widths = {"unary": n_unary, "remainder": n_coded * rice, "code": n_connections * code_bits}
    widths |= {"bias": n_out * bias_bits} if bias_bits else {}
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
    arrays = {
        "in_idx": (position % n_in).astype(index_dtype(n_in)),
        "out_idx": (position // n_in).astype(index_dtype(n_out)),
        "code": _unpack_bits(streams["code"], n_connections, code_bits, True, f"{name}.code"),
    }
    if bias_bits:
        arrays["bias"] = _unpack_bits(streams["bias"], n_out, bias_bits, True, f"{name}.bias")
    return arrays


def save(net: IntNet, path: Path) -> None:
    """Write ``net`` to ``path``, whole or not at all."""
    write_bytes(Path(path), pack(net))


def export(net: IntNet, out_dir: Path) -> dict[str, Any]:
    """Write ``out_dir/net.compact``; returns its path and size."""
    path = Path(out_dir) / "net.compact"
    save(net, path)
    return {"path": str(path), "bytes": path.stat().st_size, "n_connections": load(path).n_connections}


def run(net: IntNet, x: np.ndarray, workdir: Path) -> EngineRun:
    """Engine: the reference, on what comes back out of the container."""
    return EngineRun(reference.logits(unpack(pack(net)), x))


def load(path: Path) -> IntNet:
    """The network in ``path``. Raises ``ValueError`` naming file and section, ``OSError`` when it can't be read."""
    try:
        return unpack(Path(path).read_bytes())
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None

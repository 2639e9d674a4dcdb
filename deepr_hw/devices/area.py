"""The area law of the engine on ECP5: LUTs, block memories and cycles from K, layers and lanes, and back to a budget.

Memories and cycles follow from the engine's parameters; the LUTs are a least-squares fit over synthesized engines
(``python -m bench.area_law`` makes it and says how far it is off on networks that it has not seen).
"""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

from .parts import DEVICES

FABRICS = {name: device.fabric for name, device in DEVICES.items() if device.fabric and name.startswith("ecp5")}
"""Devices that the law was fitted for."""
LANES = (1, 2, 4, 8, 16)
FEATURES = ("", "lanes", "lanes^2", "log2(depths)")
COEFFICIENTS = (420.0, 126.0, 6.93, 9.66)
"""Of the fit; on top come the two adders of a lane and the memories that are too small for a block."""
_ASPECTS = ((36, 512), (18, 1024), (9, 2048), (4, 4096), (2, 8192), (1, 16384))
_HAND_OVER = 10
"""Rows per layer that a budget leaves free: what the pipeline may make a layer wait for the one before."""


@dataclass(frozen=True)
class Memories:
    """Depths, powers of two: rows of slots and bias words per bank, activation words."""

    rows: int
    words: int
    bias_words: int


@dataclass(frozen=True)
class Law:
    """What the law says: LUT sites, block memories, multipliers, cycles per sample (lanes balanced)."""

    lut: float
    bram: int
    dsp: int
    cycles: int


def _power(n: int) -> int:
    return 1 << max(1, (n - 1).bit_length())


def _ends(n: int, k: int, lanes: int, gathered: float) -> int:
    """Rows in which any lane ends one of ``n`` outputs, their ``k`` connections spread over ``lanes``.

    At random it were rows * (1 - (1 - n / lanes / rows)**lanes); the scheduler gathers ends in common rows.
    """
    if lanes == 1:
        return n
    least, rows = math.ceil(n / lanes), max(1, math.ceil(k / lanes))
    random = rows * (1 - max(0.0, 1 - n / lanes / rows) ** lanes)
    return max(math.ceil(1.5 * least), math.ceil(gathered * random))


def memories(widths: Sequence[int], budget: Sequence[int], lanes: int, gathered: float = 0.6) -> Memories:
    """The memories of the engine for layers of ``widths`` (inputs first) with ``budget`` connections each.

    ``gathered``: what schedules take of the rows that ends would take at random; 0.75 was not exceeded by the few
    schedules that were looked at.
    """
    ends = [_ends(n, k, lanes, gathered) for n, k in zip(widths[1:], budget, strict=True)]
    words = 2 * math.ceil(widths[0] / lanes) + sum(ends[:-1])
    return Memories(
        _power(cycles(budget, lanes)), max(_power(words), 2 * _power(math.ceil(widths[0] / lanes))), _power(sum(ends))
    )


def cycles(budget: Sequence[int], lanes: int) -> int:
    """Cycles per sample when every lane holds the same number of connections in every layer."""
    return sum(math.ceil(k / lanes) for k in budget)


def _memory(width: int, depth: int) -> tuple[int, int]:
    """(block memories, LUTs) of a memory: yosys takes distributed memory where that is cheaper than the blocks.

    Costs: 128 per block, 4 per 16 x 4 bits distributed (yosys' techlibs/lattice/brams_16kd.txt, lutrams_trellis.txt).
    A distributed one takes 6 LUTs per 16 x 4 bits and a multiplexer per bit.
    """
    blocks = min(math.ceil(width / w) * math.ceil(depth / d) for w, d in _ASPECTS)
    small = math.ceil(width / 4) * math.ceil(depth / 16)
    if 4 * small < 128 * blocks:
        return 0, 6 * small + width * (math.ceil(depth / 16) - 1)
    return blocks, 0


def memory_area(need: Memories, lanes: int, acc_bits: int, banks: int = 2) -> tuple[int, int]:
    """(block memories, LUTs) of all lanes: each has its slots, its copy of the activations and its biases."""
    slot_bits = int(math.log2(need.words * lanes)) + 10
    parts = [
        _memory(slot_bits, banks * need.rows),
        _memory(8 * lanes, need.words),
        _memory(acc_bits, banks * need.bias_words),
    ]
    return lanes * sum(blocks for blocks, _ in parts), lanes * sum(lut for _, lut in parts)


def features(need: Memories, lanes: int) -> list[float]:
    """What the fitted part of the LUTs is linear in."""
    return [1, lanes, lanes**2, math.log2(need.rows * need.words * need.bias_words)]


def known_lut(need: Memories, lanes: int, acc_bits: int, banks: int = 2) -> int:
    """LUTs that need no fit: two adders of ``acc_bits`` per lane, and the distributed memories."""
    return 2 * acc_bits * lanes + memory_area(need, lanes, acc_bits, banks)[1]


def _law(need: Memories, lanes: int, acc_bits: int, banks: int, n_cycles: int) -> Law:
    fitted = sum(c * f for c, f in zip(COEFFICIENTS, features(need, lanes), strict=True))
    return Law(
        fitted + known_lut(need, lanes, acc_bits, banks), memory_area(need, lanes, acc_bits, banks)[0], lanes, n_cycles
    )


def predict(widths: Sequence[int], budget: Sequence[int], lanes: int, acc_bits: int = 20, banks: int = 2) -> Law:
    """Area and cycles of the smallest engine for such a network, before there is one."""
    return _law(memories(widths, budget, lanes), lanes, acc_bits, banks, cycles(budget, lanes))


def budget(device: str, lanes: int, widths: Sequence[int], acc_bits: int = 24, banks: int = 2) -> int:
    """K: the largest global budget whose engine fits ``device``, wherever in ``widths`` training puts the connections.

    Raises ``ValueError`` for an unknown device, and when not even the activations fit.
    """
    if device not in FABRICS:
        raise ValueError(f"device {device!r}: expected one of {', '.join(FABRICS)}")
    if lanes not in LANES:
        raise ValueError(f"lanes = {lanes}: expected one of {', '.join(map(str, LANES))}")
    part = FABRICS[device]
    best = 0
    for log_rows in range(4, 17):
        rows = 1 << log_rows
        deep = memories(widths, [lanes * rows] * (len(widths) - 1), lanes, gathered=0.75)
        need = Memories(rows, deep.words, deep.bias_words)
        law = _law(need, lanes, acc_bits, banks, rows)
        if law.bram <= part.bram and law.lut <= part.lut and law.dsp <= part.dsp:
            idle = math.ceil(widths[-2] * max(0, 1 - widths[-1] / lanes))  # a final layer narrower than the engine
            best = lanes * (rows - (_HAND_OVER + 1) * (len(widths) - 2) - 1 - idle)
    if best <= 0:
        raise ValueError(
            f"device {device} with {lanes} lanes: a network of widths {tuple(widths)} does not fit; "
            "fewer lanes or a larger device"
        )
    positions = sum(a * b for a, b in itertools.pairwise(widths))
    return min(best, positions)

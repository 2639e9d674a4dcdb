"""cocotb benches of single modules; which one is the top decides which test runs (``testcase``)."""

import os
import random
from collections import deque
from typing import Any

import numpy as np
from cocotb.clock import Clock
from cocotb.triggers import FallingEdge, RisingEdge

from ..fixed import Format, requantize
from .streams import Scoreboard, scored


def _signed(value: int, bits: int) -> int:
    return value - (value >> (bits - 1) << bits)


def interesting_sums(rng: random.Random, shift: int, bits: int) -> list[int]:
    """Accumulators around every corner: zero, ties of both parities, both limits of the output and of the width."""
    half, step = (1 << shift) >> 1, 1 << shift
    low, high = -(1 << bits - 1), (1 << bits - 1) - 1 - half
    around = (-257, -256, -130, -129, -128, -127, -3, -2, -1, 0, 1, 2, 126, 127, 128, 254, 255, 256, 257)
    near = [k * step + half + d for k in around for d in (-1, 0, 1)]
    wide = [rng.randrange(low, high + 1) for _ in range(6)] + [rng.randrange(-300, 300) * step for _ in range(4)]
    return [min(max(value, low), high) for value in [*near, *wide, low, high, 0, -1, 1]]


@scored
async def requantizer(dut: Any, score: Scoreboard) -> None:
    """Every shift and output format around every corner: ``fixed.requantize`` is the law; exact, latency 3."""
    bits, rng = int(os.environ["DEEPR_ACC_BITS"]), random.Random(1)
    Clock(dut.clk_i, 10, unit="ns").start()
    formats = [Format(b, s, 0) for s in (False, True) for b in range(1 + s, 9)]
    cases = [(shift, fmt, acc) for shift in range(min(32, bits)) for fmt in formats
             for acc in interesting_sums(rng, shift, bits)]
    assert len(cases) > 15_000
    assert sum(shift > 0 and acc % (1 << shift) == 1 << shift - 1 for shift, _, acc in cases) > 3_000  # ties
    expected: deque[tuple[int, str]] = deque()
    await FallingEdge(dut.clk_i)
    for shift, fmt, acc in [*cases, *[(0, Format(8, True, 0), 0)] * 2]:  # two more push the last ones out
        dut.t_i.value = (acc + ((1 << shift) >> 1)) & ((1 << bits) - 1)
        dut.shift_i.value, dut.ysigned_i.value = shift, int(fmt.signed)
        dut.ybits_i.value = fmt.bits - fmt.signed - 1
        expected.append((int(requantize(np.array([acc]), shift, fmt)[0]) & 0xFF, f"acc {acc} shift {shift} to {fmt}"))
        await FallingEdge(dut.clk_i)
        if len(expected) == 3:
            score.agree(int(dut.y_o.value), *expected.popleft())
    score.finish(len(cases))


@scored
async def mac(dut: Any, score: Scoreboard) -> None:
    """Random products with random ends, idle slots in between, against integers; latency 4, bias 3 cycles later."""
    bits, rng = int(os.environ["DEEPR_ACC_BITS"]), random.Random(2)
    Clock(dut.clk_i, 10, unit="ns").start()
    dut.rst_ni.value, dut.mac_i.value, dut.last_i.value, dut.bias_i.value = 0, 0, 0, 0
    for _ in range(3):
        await RisingEdge(dut.clk_i)
    await FallingEdge(dut.clk_i)
    dut.rst_ni.value = 1
    slots = [(rng.random() < 0.5, rng.random() < 0.8, rng.random() < 0.2) for _ in range(20_000)]
    n_ends = sum(last for _, _, last in slots)
    assert n_ends > 3_000
    acc = 0
    biases = deque([0] * 3)
    expected: deque[int | None] = deque([None] * 4)
    for i, (signed, enabled, last) in enumerate([*slots, *[(False, False, False)] * 4]):
        x, weight = (rng.choice([0, 255, 128, 127]) if i % 3 else rng.randrange(256)), rng.randrange(256)
        bias = rng.randrange(-1 << bits - 2, 1 << bits - 2)
        dut.xsigned_i.value, dut.mac_i.value, dut.last_i.value = int(signed), int(enabled), int(last)
        dut.x_i.value, dut.weight_i.value = x, weight
        biases.append(bias)
        dut.bias_i.value = biases.popleft() & ((1 << bits) - 1)
        acc += enabled * (_signed(x, 8) if signed else x) * _signed(weight, 8)
        expected.append((acc + bias) & ((1 << bits) - 1) if last else None)
        acc = 0 if last else acc
        want = expected.popleft()
        assert int(dut.last_o.value) == (want is not None)
        if want is not None:
            score.agree(int(dut.t_o.value), want, f"output {score.matched}")
        await FallingEdge(dut.clk_i)
    score.finish(n_ends)


@scored
async def argmax(dut: Any, score: Scoreboard) -> None:
    """Random frames with many ties: the lowest index of the largest value."""
    rng, n_frames = random.Random(3), 500
    Clock(dut.clk_i, 10, unit="ns").start()
    for _ in range(n_frames):
        n = rng.randrange(1, 12)
        values = [rng.choice([rng.randrange(-3, 4), -(1 << 31), (1 << 31) - 1]) for _ in range(n)]
        for i, value in enumerate(values):
            while rng.random() < 0.3:
                dut.valid_i.value = 0
                await FallingEdge(dut.clk_i)
            dut.valid_i.value, dut.index_i.value, dut.value_i.value = 1, i, value & 0xFFFFFFFF
            await FallingEdge(dut.clk_i)
        dut.valid_i.value = 0
        score.agree(int(dut.index_o.value), values.index(max(values)), str(values))
    score.finish(n_frames)

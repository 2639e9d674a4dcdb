"""cocotb benches of single modules; which one is the top decides which test runs (``testcase``)."""

import os
import random
from collections import deque
from typing import Any

import numpy as np
from cocotb.clock import Clock
from cocotb.triggers import FallingEdge, RisingEdge, Timer

from deepr_hw.ir.fixed import Format, requantize

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
    cases = [
        (shift, fmt, acc)
        for shift in range(min(32, bits))
        for fmt in formats
        for acc in interesting_sums(rng, shift, bits)
    ]
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


class _Walk:
    """What the sequencer's law says of every cycle, for ``layers`` of one bank: (descriptor bits, last row) each."""

    def __init__(self, layers: list[tuple[int, int]], n_rows: int) -> None:
        self.layers, self.n_rows = layers, n_rows
        self.row: int | None = None  # of the sample under way
        self.layer, self.inflight, self.released = 0, 0, False
        self.freed = [False, False]
        self.overrun = False

    def _bits(self, layer: int) -> int:
        """The last layer that there is counts as final, whatever it says."""
        return self.layers[layer][0] | (layer == len(self.layers) - 1) << 11

    def cycle(self, enable: bool, full: bool, done: bool) -> tuple[object, ...]:
        """(row or None, its layer's bits, end, start, release, busy, overrun) in this cycle; then the clock edge."""
        row, last_layer = self.row, len(self.layers) - 1
        walking = row is not None
        bits, layer_end = self._bits(self.layer), row == self.layers[self.layer][1]
        regular = layer_end and bool(bits >> 11)
        end = walking and (regular or row == self.n_rows - 1)
        start = enable and full and self.inflight < 2 and (not walking or regular)
        now = (row, bits if walking else None, end, start, self.freed[0], self.inflight > 0, self.overrun)
        reads_on = layer_end and not end and bool(self._bits(self.layer + 1) >> 10 & 1)
        free = walking and not self.released and (end or (layer_end and bool(bits >> 10 & 1) and not reads_on))
        begins = 0 if start else self.layer + 1 if layer_end and not regular else None
        self.overrun = (end and not regular) or (begins == last_layer and not self.layers[last_layer][0] >> 11)
        self.freed = [self.freed[1], free]
        self.released = (self.released or free) and not end
        self.inflight += start - done
        if start:
            self.row, self.layer = 0, 0
        elif end:
            self.row = None
        elif row is not None:
            self.row, self.layer = row + 1, self.layer if begins is None else begins
        return now


@scored
async def sequencer(dut: Any, score: Scoreboard) -> None:
    """Random descriptors, good ones and some without an end or with a last row that is past, under random traffic:
    every output in every cycle; then the other bank.
    """
    rng, n_rows, n_layers = random.Random(4), 1 << len(dut.row_o), 1 << len(dut.waddr_i) - 1
    Clock(dut.clk_i, 10, unit="ns").start()
    for name in ("rst_ni", "enable_i", "swap_i", "we_i", "full_i", "done_i"):
        getattr(dut, name).value = 0
    await FallingEdge(dut.clk_i)
    await FallingEdge(dut.clk_i)
    dut.rst_ni.value = 1
    n_images, n_cycles, bank = 120, 200, 0
    seen = {"overrun": 0, "forced": 0, "start": 0, "no final layer": 0}
    for image in range(n_images):
        kind = image % 3  # ends as it should; no final layer; anything
        ends = (
            [rng.randrange(n_rows) for _ in range(n_layers)]
            if kind == 2
            else sorted(rng.sample(range(n_rows), n_layers))
        )
        final = [kind == 2 and rng.random() < 0.2 for _ in range(n_layers)]
        final[rng.randrange(n_layers)] |= kind == 0
        layers = [(f << 11 | rng.randrange(1 << 11), end) for f, end in zip(final, ends, strict=True)]
        for i, (bits, end) in enumerate(layers):
            dut.we_i.value, dut.waddr_i.value = 1, (1 - bank) * n_layers + i
            dut.wdata_i.value = bits << len(dut.row_o) | end
            await FallingEdge(dut.clk_i)
        dut.we_i.value, dut.swap_i.value = 0, 1
        await FallingEdge(dut.clk_i)
        dut.swap_i.value = 0
        assert (int(dut.swapping_o.value), int(dut.bank_o.value)) == (1, bank)
        await FallingEdge(dut.clk_i)
        bank = 1 - bank
        assert (int(dut.swapping_o.value), int(dut.bank_o.value)) == (0, bank)
        walk = _Walk(layers, n_rows)
        for cycle in range(n_cycles):
            flowing = cycle < n_cycles - 3 * n_rows  # then it runs dry
            enable, full = flowing and rng.random() < 0.9, rng.random() < 0.8
            done = walk.inflight > 0 and (rng.random() < 0.1 or not flowing)
            dut.enable_i.value, dut.full_i.value, dut.done_i.value = int(enable), int(full), int(done)
            await Timer(1, "ns")
            want = walk.cycle(enable, full, done)
            flags = [
                bool(int(pin.value))
                for pin in (dut.valid_o, dut.end_o, dut.start_o, dut.release_o, dut.busy_o, dut.overrun_o)
            ]
            row = (int(dut.row_o.value), int(dut.layer_o.value)) if flags[0] else (None, None)
            got = (*row, *flags[1:])
            score.agree(got, want, f"image {image}, cycle {cycle}")
            seen["overrun"] += bool(want[6])
            seen["forced"] += want[0] == n_rows - 1 and bool(want[2])
            seen["start"] += bool(want[3])
            seen["no final layer"] += bool(want[6]) and kind == 1
            await FallingEdge(dut.clk_i)
        dut.full_i.value, dut.done_i.value = 0, 0
        assert walk.row is None
        assert walk.inflight == 0
    assert min(seen.values()) > 50, seen
    score.finish(n_images * n_cycles)

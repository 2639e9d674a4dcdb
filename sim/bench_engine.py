"""cocotb bench of ``deepr_engine``: every pin is driven from Python.

The case (``DEEPR_CASE``, JSON) holds two networks of one shape, a and b: ``writes`` of their images, input ``beats``
per sample and ``logits`` per sample and network.
"""

import json
import os
import random
from pathlib import Path
from typing import Any

import cocotb
from cocotb.clock import Clock
from cocotb.triggers import ClockCycles, FallingEdge, RisingEdge, ValueChange

from .coverage import Coverage
from .streams import PATIENCE, Pattern, Scoreboard, Sink, Source, Stream, bursts, chance, never

SHORT, LONG, RANGE, BUSY, OVERRUN, MISPLACED = (1 << i for i in range(6))
FRAME, LAYER = 3 << 20, 2 << 20


class Bench:
    """The engine with its load port, streams and a monitor of its error flags."""

    def __init__(self, dut: Any, seed: int = 0) -> None:
        case = json.loads(Path(os.environ["DEEPR_CASE"]).read_text())
        self.dut, self.clock = dut, dut.clk_i
        self.writes = {name: [tuple(write) for write in case["writes"][name]] for name in "ab"}
        self.logits, self.beats, self.geometry = case["logits"], case["beats"], case["geometry"]
        self.rng = random.Random(seed)
        self.errors = 0
        self.scoreboard = Scoreboard()
        self.sink: Sink | None = None

    async def start(self) -> "Bench":
        """Clock, reset, monitor."""
        dut = self.dut
        for name in ("enable_i", "clear_i", "swap_i", "load_valid_i", "s_valid_i", "m_ready_i", "rst_ni"):
            getattr(dut, name).value = 0
        Clock(self.clock, 10, unit="ns").start()
        await ClockCycles(self.clock, 2)
        dut.rst_ni.value = 1
        await RisingEdge(self.clock)
        cocotb.start_soon(self._watch())
        return self

    async def _watch(self) -> None:
        path = os.environ.get("DEEPR_COVERAGE")
        coverage = Coverage(self.dut, self.geometry, Path(path)) if path else None
        while True:
            await FallingEdge(self.clock)
            if self.dut.rst_ni.value == 1:
                self.errors |= int(self.dut.error_o.value)
                if coverage:
                    coverage.sample()

    def take_errors(self) -> int:
        """Error flags since the last call."""
        seen, self.errors = self.errors, 0
        return seen

    async def load(self, writes: list[tuple[int, int]]) -> None:
        """Writes to the load port."""
        port = Stream(self.clock, self.dut.load_valid_i, self.dut.load_ready_o,
                      {"addr": self.dut.load_addr_i, "data": self.dut.load_data_i})
        await Source(port).send({"addr": address, "data": data} for address, data in writes)
        await ClockCycles(self.clock, 3)

    async def swap(self) -> None:
        """Ask for the other bank, without waiting."""
        self.dut.swap_i.value = 1
        await RisingEdge(self.clock)
        self.dut.swap_i.value = 0

    async def load_and_enable(self, name: str = "a") -> None:
        """Network ``name`` into a fresh engine, swapped in and running."""
        await self.load(self.writes[name])
        await self.swap()
        await ClockCycles(self.clock, 12)
        self.dut.enable_i.value = 1

    def source(self, pause: Pattern = never) -> Source:
        """Of input frames."""
        dut = self.dut
        return Source(Stream(self.clock, dut.s_valid_i, dut.s_ready_o, {"data": dut.s_data_i, "last": dut.s_last_i}),
                      pause)

    def listen(self, pause: Pattern = never) -> None:
        """Compare the output with the scoreboard from now on."""
        dut = self.dut
        self.stop()
        self.sink = Sink(Stream(self.clock, dut.m_valid_o, dut.m_ready_i, {
            "data": dut.m_data_o, "last": dut.m_last_o, "class": dut.m_class_o}), self.scoreboard.receive, pause)

    def stop(self) -> None:
        """Listen no more."""
        if self.sink:
            self.sink.stop()

    def frame(self, sample: int) -> list[dict[str, int]]:
        """Input beats of ``sample``."""
        words = self.beats[sample]
        return [{"data": word, "last": int(i == len(words) - 1)} for i, word in enumerate(words)]

    def answer(self, sample: int, name: str = "a") -> list[dict[str, int]]:
        """Output beats of ``sample`` under network ``name``."""
        logits = self.logits[name][sample]
        winner = logits.index(max(logits))
        return [{"data": value & 0xFFFFFFFF, "last": int(i == len(logits) - 1), "class": winner}
                for i, value in enumerate(logits)]

    async def drain(self) -> None:
        """Wait until the scoreboard is empty, and some cycles more for what should not come."""
        left, still = len(self.scoreboard.expected), 0
        while self.scoreboard.expected:
            await ClockCycles(self.clock, 20)
            still = still + 20 if len(self.scoreboard.expected) == left else 0
            left = len(self.scoreboard.expected)
            assert still < PATIENCE, f"{left} beats still missing after {PATIENCE} cycles without one"
        await ClockCycles(self.clock, 100)


PATTERNS = [(never, never), (chance(50, 1), never), (never, chance(50, 2)), (chance(40, 3), chance(70, 4)),
            (bursts(1, 7), bursts(3, 11)), (bursts(20, 60), never), (never, bursts(1, 40))]


@cocotb.test()
async def idle_and_back_pressure(dut: Any) -> None:
    """Every pattern of idle input with every pattern of a reluctant output."""
    bench = await Bench(dut).start()
    await bench.load_and_enable()
    n = 0
    for idle, pause in PATTERNS:
        bench.listen(pause)
        source = bench.source(idle)
        for sample in range(len(bench.beats)):
            bench.scoreboard.expect(bench.answer(sample))
            await source.send(bench.frame(sample))
            n += 1
        await bench.drain()
    bench.scoreboard.finish(n * len(bench.logits["a"][0]))
    assert bench.take_errors() == 0
    assert int(dut.samples_o.value) == n


@cocotb.test()
async def reset_in_mid_frame(dut: Any) -> None:
    """One cycle of reset at any moment; then load, and every bit is right."""
    bench = await Bench(dut, seed=5).start()
    n = 0
    for moment in [1, 2, 3, 8, *[bench.rng.randrange(400) for _ in range(5)]]:
        await bench.load_and_enable()
        feeding = cocotb.start_soon(bench.source().send(
            [beat for sample in range(len(bench.beats)) for beat in bench.frame(sample)]))
        dut.m_ready_i.value = bench.rng.randrange(2)
        await ClockCycles(bench.clock, moment)
        feeding.cancel()
        dut.rst_ni.value, dut.enable_i.value, dut.s_valid_i.value = 0, 0, 0
        await RisingEdge(bench.clock)
        dut.rst_ni.value = 1
        bench.take_errors()
        await bench.load_and_enable()
        bench.listen()
        for sample in (0, 1):
            bench.scoreboard.expect(bench.answer(sample))
            await bench.source().send(bench.frame(sample))
            n += 1
        await bench.drain()
        assert bench.take_errors() == 0
        bench.stop()
        dut.rst_ni.value, dut.enable_i.value = 0, 0
        await RisingEdge(bench.clock)
        dut.rst_ni.value = 1
    bench.scoreboard.finish(n * len(bench.logits["a"][0]))


@cocotb.test()
async def bad_frames_are_dropped(dut: Any) -> None:
    """Short and long frames raise their flag and leave no trace; the next frame is right."""
    bench = await Bench(dut).start()
    await bench.load_and_enable()
    bench.listen()
    n_words, source = len(bench.beats[0]), bench.source()
    causes = set()
    for n_beats in [*range(1, n_words), n_words + 1, n_words + 2, 2 * n_words, 3 * n_words + 1]:
        bad = [{"data": bench.rng.getrandbits(8), "last": int(i == n_beats - 1)} for i in range(n_beats)]
        await source.send(bad)
        bench.scoreboard.expect(bench.answer(n_beats % 3))
        await source.send(bench.frame(n_beats % 3))
        await bench.drain()
        seen = bench.take_errors()
        assert seen == (SHORT if n_beats < n_words else LONG), f"{n_beats} beats: flags {seen:06b}"
        causes.add(seen)
    assert causes == ({SHORT, LONG} if n_words > 1 else {LONG})
    assert not bench.scoreboard.expected


@cocotb.test()
async def bad_writes_are_refused(dut: Any) -> None:
    """Addresses and values out of range, and writes at the wrong time, raise their flag and change nothing."""
    bench = await Bench(dut).start()
    await bench.load_and_enable()
    bench.listen()
    lanes = bench.geometry["lanes"]
    bad = [(4 << 20, 0), (15 << 20, 0), (0xFFFF, 0), (1 << 20 | 0xFFFF, 0), (LAYER | 0xFFFF, 0), (LAYER, 1 << 28),
           (LAYER, 0xFFFF), (FRAME | 2, 0), (LAYER | 1 << 16, 0), (FRAME | 1, 1 << 20), (0, 0x3FFFFF)]
    if lanes < 16:
        bad += [(lanes << 16, 0), (1 << 20 | lanes << 16, 0)]
    for write in bad:
        await bench.load([write])
        assert bench.take_errors() == RANGE, f"{write[0]:06x} {write[1]:08x}"
    await bench.load([(FRAME, 0)])  # would change the frame while the engine is enabled
    assert bench.take_errors() == BUSY
    bench.scoreboard.expect(bench.answer(0))
    await bench.source().send(bench.frame(0))
    await bench.drain()
    assert bench.take_errors() == 0
    bench.scoreboard.finish(len(bench.logits["a"][0]))


@cocotb.test()
async def bad_descriptors_do_not_hang(dut: Any) -> None:
    """No final layer, or a layer that ends before it begins: a flag, and after a good load every bit is right."""
    bench = await Bench(dut).start()
    layers = [(address, data) for address, data in bench.writes["a"] if address & 0xF00000 == LAYER]
    others = [write for write in bench.writes["a"] if write not in layers]
    size = bench.geometry
    blank = [(region << 20 | lane << 16 | i, 0) for region, depth in enumerate((size["rows"], size["bias_words"]))
             for lane in range(size["lanes"]) for i in range(depth)] + [(LAYER | i, 0) for i in range(size["layers"])]
    for _ in range(2):  # what was never loaded has no value: give every word one
        await bench.load(blank)
        await bench.swap()
        await ClockCycles(bench.clock, 12)
    endless = [(address, data & ~(1 << 27)) for address, data in layers]
    backwards = [*layers[:-1], (layers[-1][0], layers[-1][1] & ~0xFFFF)] if len(layers) > 1 else endless
    for bad in (endless, backwards):
        await bench.load(others + bad)
        await bench.swap()
        await ClockCycles(bench.clock, 12)
        dut.enable_i.value, dut.m_ready_i.value = 1, 1
        await bench.source().send(bench.frame(0))
        await ClockCycles(bench.clock, 3000)
        assert int(dut.busy_o.value) == 0
        assert bench.take_errors() & (OVERRUN | MISPLACED)
        dut.rst_ni.value, dut.enable_i.value = 0, 0
        await RisingEdge(bench.clock)
        dut.rst_ni.value = 1
    await bench.load_and_enable()
    bench.take_errors()
    bench.listen()
    bench.scoreboard.expect(bench.answer(1))
    await bench.source().send(bench.frame(1))
    await bench.drain()
    assert bench.take_errors() == 0
    bench.scoreboard.finish(len(bench.logits["a"][0]))


@cocotb.test()
async def misplaced_logits_are_flagged(dut: Any) -> None:
    """A class that ends nowhere, one that ends twice before it is taken: a flag each, and a frame of full length."""
    bench = await Bench(dut).start()
    ends = [data & 0xFFFF for address, data in bench.writes["a"] if address & 0xF00000 == LAYER]
    first_row = ends[-2] + 1 if len(ends) > 1 else 0
    slots = {address: data for address, data in bench.writes["a"]
             if address < 1 << 20 and address & 0xFFFF >= first_row}
    ending = [address for address, data in slots.items() if data >> 31]
    missing = {ending[-1]: slots[ending[-1]] & ~(1 << 31)}
    lane = ending[-1] & 0xF0000
    doubled = {address: data | 1 << 31 for address, data in slots.items() if address & 0xF0000 == lane}
    for broken in (missing, doubled):
        if broken is doubled and (len(doubled) < 3 or not lane):
            continue  # lane 0 is taken at once, and two rows make no second end
        await bench.load([(address, broken.get(address, data)) for address, data in bench.writes["a"]])
        await bench.swap()
        await ClockCycles(bench.clock, 12)
        dut.enable_i.value = 1
        bench.take_errors()
        beats: list[dict[str, int]] = []
        sink = Sink(Stream(bench.clock, dut.m_valid_o, dut.m_ready_i, {"last": dut.m_last_o}), beats.append)
        await bench.source().send(bench.frame(0))
        await ClockCycles(bench.clock, 3000)
        sink.stop()
        assert bench.take_errors() == MISPLACED
        assert [beat["last"] for beat in beats] == [0] * (len(bench.logits["a"][0]) - 1) + [1]
        dut.rst_ni.value, dut.enable_i.value = 0, 0
        await RisingEdge(bench.clock)
        dut.rst_ni.value = 1


@cocotb.test()
async def hot_swap(dut: Any) -> None:
    """The other network is loaded while one runs and swapped in at random moments: no sample is lost or mixed."""
    bench = await Bench(dut, seed=9).start()
    await bench.load_and_enable("a")
    frames: list[list[int]] = [[]]

    def receive(beat: dict[str, int]) -> None:
        value = beat["data"]
        frames[-1].append(value - (value >> 31 << 32))
        if beat["last"]:
            frames.append([])

    sink = Sink(Stream(bench.clock, dut.m_valid_o, dut.m_ready_i, {"data": dut.m_data_o, "last": dut.m_last_o}),
                receive, chance(20, 3))
    sent: list[int] = []
    running = True

    async def feed() -> None:
        source = bench.source(chance(20, 2))
        while running:
            sample = bench.rng.randrange(len(bench.beats))
            sent.append(sample)
            await source.send(bench.frame(sample))

    swaps: list[int] = []

    async def count_swaps() -> None:
        while True:
            await ValueChange(dut.bank_o)
            swaps.append(int(dut.bank_o.value))

    cocotb.start_soon(count_swaps())
    feeding = cocotb.start_soon(feed())
    order, names = ["a"], "ba" * 4
    without_frame = {name: [w for w in bench.writes[name] if w[0] & 0xF00000 != FRAME] for name in "ab"}
    for name in names:
        await bench.load(without_frame[name])
        await ClockCycles(bench.clock, bench.rng.randrange(1, 60))
        await bench.swap()
        order.append(name)
        if len(order) % 3:  # else the next load comes at once and waits for the swap
            await ClockCycles(bench.clock, bench.rng.randrange(200, 600))
    await ClockCycles(bench.clock, 300)
    running = False
    await feeding
    for _ in range(1000):
        if len(frames) == len(sent) + 1:
            break
        await ClockCycles(bench.clock, 20)
    sink.stop()
    assert len(frames) == len(sent) + 1, f"{len(sent)} samples in, {len(frames) - 1} out"
    at, seen = 0, [0] * len(order)
    for sample, logits in zip(sent, frames, strict=False):
        while logits != bench.logits[order[at]][sample]:
            at += 1
            assert at < len(order), f"sample {sample}: {logits} belongs to neither network"
        seen[at] += 1
    assert order[at] == order[-1]  # a network may have seen no sample, so the swaps are counted at the bank
    assert len(swaps) == len(names), f"{len(swaps)} of {len(names)} swaps took place"
    assert bench.take_errors() == 0

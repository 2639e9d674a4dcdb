"""cocotb bench of ``deepr_engine``: every pin is driven from Python.

The case (``DEEPR_CASE``, JSON) holds two networks of one shape and format, a and b, that get the same samples, and c
of another: ``writes`` of their images, ``codes`` of the samples as bytes, and ``logits``.
"""

import itertools
import json
import os
import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import cocotb
from cocotb.clock import Clock
from cocotb.triggers import ClockCycles, FallingEdge, RisingEdge

from deepr_hw.export.rtl.image import BIAS

from .coverage import Coverage
from .streams import PATIENCE, Pattern, Scoreboard, Sink, Source, Stream, bursts, chance, never, scored

SHORT, LONG, RANGE, BUSY, OVERRUN, MISPLACED = (1 << i for i in range(6))
FRAME, LAYER = 3 << 20, 2 << 20


class Bench:
    """The engine with its load port, streams and a monitor of its error flags."""

    def __init__(self, dut: Any, scoreboard: Scoreboard, seed: int = 0) -> None:
        case = json.loads(Path(os.environ["DEEPR_CASE"]).read_text())
        self.dut, self.clock = dut, dut.clk_i
        self.writes = {name: [tuple(write) for write in case["writes"][name]] for name in "abc"}
        self.logits, self.codes, self.geometry = case["logits"], case["codes"], case["geometry"]
        self.lanes, self.n_bytes = self.geometry["lanes"], len(self.codes["a"][0])
        self.rng = random.Random(seed)
        self.errors = 0
        self.scoreboard = scoreboard
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
        port = Stream(
            self.clock,
            self.dut.load_valid_i,
            self.dut.load_ready_o,
            {"addr": self.dut.load_addr_i, "data": self.dut.load_data_i},
        )
        await Source(port).send({"addr": address, "data": data} for address, data in writes)
        await ClockCycles(self.clock, 3)

    async def swap(self) -> None:
        """Ask for the other bank, without waiting."""
        self.dut.swap_i.value = 1
        await RisingEdge(self.clock)
        self.dut.swap_i.value = 0

    async def load_and_enable(self, name: str = "a") -> None:
        """Network ``name`` into a stopped engine, swapped in and running."""
        await self.load(self.writes[name])
        await self.swap_and_settle()
        self.dut.enable_i.value = 1

    async def swap_and_settle(self) -> None:
        """The other bank, in an engine that stands still."""
        await self.swap()
        await ClockCycles(self.clock, 12)

    async def reset(self) -> None:
        """One cycle of reset; the engine is not enabled afterwards, and flags are forgotten."""
        self.dut.rst_ni.value, self.dut.enable_i.value, self.dut.s_valid_i.value = 0, 0, 0
        await RisingEdge(self.clock)
        self.dut.rst_ni.value = 1
        await FallingEdge(self.clock)
        self.take_errors()
        await RisingEdge(self.clock)

    async def load_again(self, with_reset: bool) -> None:
        """After a broken image: a good one, and it gives the right logits; leaves the engine stopped."""
        if with_reset:
            await self.reset()
        self.dut.enable_i.value = 0
        await self.load_and_enable()
        self.take_errors()
        self.listen()
        await self.check(1)
        assert self.take_errors() == 0
        self.stop()
        self.dut.enable_i.value = 0
        await ClockCycles(self.clock, 3)

    def source(self, pause: Pattern = never) -> Source:
        """Of input frames."""
        dut = self.dut
        return Source(
            Stream(
                self.clock,
                dut.s_valid_i,
                dut.s_ready_o,
                {"data": dut.s_data_i, "keep": dut.s_keep_i, "last": dut.s_last_i},
            ),
            pause,
        )

    def listen(self, pause: Pattern = never) -> None:
        """Compare the output with the scoreboard from now on."""
        dut = self.dut
        self.stop()
        self.sink = Sink(
            Stream(
                self.clock,
                dut.m_valid_o,
                dut.m_ready_i,
                {"data": dut.m_data_o, "last": dut.m_last_o, "class": dut.m_class_o},
            ),
            self.scoreboard.receive,
            pause,
        )

    def stop(self) -> None:
        """Listen no more."""
        if self.sink:
            self.sink.stop()

    def pack(self, data: Sequence[int]) -> list[dict[str, int]]:
        """The bytes ``data`` as the beats of a frame; the null bytes of the last one are not 0."""
        parts = [data[i : i + self.lanes] for i in range(0, len(data), self.lanes)]
        return [
            {
                "data": int.from_bytes(bytes([*part, *[0xA5] * (self.lanes - len(part))]), "little"),
                "keep": (1 << len(part)) - 1,
                "last": int(i == len(parts) - 1),
            }
            for i, part in enumerate(parts)
        ]

    def frame(self, sample: int, name: str = "a") -> list[dict[str, int]]:
        """Input beats of ``sample`` of network ``name``."""
        return self.pack(self.codes[name][sample])

    async def check(self, sample: int, name: str = "a") -> None:
        """Send ``sample``; the right logits come, and nothing else. Somebody must be listening."""
        self.scoreboard.expect(self.answer(sample, name))
        await self.source().send(self.frame(sample, name))
        await self.drain()

    def answer(self, sample: int, name: str = "a") -> list[dict[str, int]]:
        """Output beats of ``sample`` under network ``name``."""
        logits = self.logits[name][sample]
        winner = logits.index(max(logits))
        return [
            {"data": value & 0xFFFFFFFF, "last": int(i == len(logits) - 1), "class": winner}
            for i, value in enumerate(logits)
        ]

    def spoilt_biases(self, name: str) -> list[tuple[int, int]]:
        """Other values for the biases that network ``name`` reads last in a sample, the last class's lane first."""
        biases = {address: data for address, data in self.writes[name] if address >> 20 == BIAS}
        last, first_lane = max(address & 0xFFFF for address in biases), (len(self.logits[name][0]) - 1) % self.lanes
        lanes = [(first_lane - i) % self.lanes for i in range(self.lanes)]
        return [(BIAS << 20 | lane << 16 | last, biases[BIAS << 20 | lane << 16 | last] ^ 0x5555) for lane in lanes]

    async def until(self, holds: Callable[[], bool], message: str) -> None:
        """Wait until ``holds``; it fails with ``message`` after too many cycles."""
        for _ in range(PATIENCE):
            if holds():
                return
            await ClockCycles(self.clock, 1)
        raise AssertionError(message)

    async def other_bank(self, bank: int) -> None:
        """Wait until ``bank`` runs no longer."""
        await self.until(lambda: int(self.dut.bank_o.value) != bank, "the swap does not take place")

    async def drain(self) -> None:
        """Wait until the scoreboard is empty, and some cycles more for what should not come."""
        left, still = len(self.scoreboard.expected), 0
        while self.scoreboard.expected:
            await ClockCycles(self.clock, 20)
            still = still + 20 if len(self.scoreboard.expected) == left else 0
            left = len(self.scoreboard.expected)
            assert still < PATIENCE, f"{left} beats still missing after {PATIENCE} cycles without one"
        await ClockCycles(self.clock, 100)


PATTERNS = [
    (never, never),
    (chance(50, 1), never),
    (never, chance(50, 2)),
    (chance(40, 3), chance(70, 4)),
    (bursts(1, 7), bursts(3, 11)),
    (bursts(20, 60), never),
    (never, bursts(1, 40)),
]


@scored
async def without_a_network(dut: Any, score: Scoreboard) -> None:
    """After power-up, and until the last word of an image is in: no beat is taken, no bank without a network chosen."""
    bench = await Bench(dut, score).start()
    dut.enable_i.value, dut.s_valid_i.value = 1, 1
    writes = bench.writes["a"]
    for part in (writes[:0], writes[:1], writes[1:-1]):
        await bench.load(part)
        assert bench.take_errors() == 0
        await bench.swap_and_settle()
        assert bench.take_errors() == BUSY
        assert (int(dut.loaded_o.value), int(dut.s_ready_o.value), int(dut.bank_o.value)) == (0, 0, 0)
    dut.s_valid_i.value = 0
    await bench.load(writes[-1:])
    await bench.swap_and_settle()
    assert (int(dut.loaded_o.value), int(dut.s_ready_o.value), int(dut.bank_o.value)) == (1, 1, 1)
    bench.listen()
    await bench.check(0)
    assert bench.take_errors() == 0
    score.finish(len(bench.logits["a"][0]))


@scored
async def idle_and_back_pressure(dut: Any, score: Scoreboard) -> None:
    """Every pattern of idle input with every pattern of a reluctant output."""
    bench = await Bench(dut, score).start()
    await bench.load_and_enable()
    for idle, pause in PATTERNS:
        bench.listen(pause)
        source = bench.source(idle)
        for sample in range(len(bench.codes["a"])):
            bench.scoreboard.expect(bench.answer(sample))
            await source.send(bench.frame(sample))
        await bench.drain()
    n = len(PATTERNS) * len(bench.codes["a"])
    score.finish(n * len(bench.logits["a"][0]))
    assert bench.take_errors() == 0
    assert int(dut.samples_o.value) == n


@scored
async def a_reset_leaves_the_network(dut: Any, score: Scoreboard) -> None:
    """One cycle of reset at any moment, also while another network is loaded: enabled again, every bit is right."""
    bench = await Bench(dut, score, seed=5).start()
    await bench.load_and_enable()
    moments = [1, 2, 3, 8, *[bench.rng.randrange(400) for _ in range(9)]]
    for moment in moments:
        dut.enable_i.value = 1
        feeding = cocotb.start_soon(
            bench.source().send([beat for sample in range(len(bench.codes["a"])) for beat in bench.frame(sample)])
        )
        loading = cocotb.start_soon(bench.load(bench.writes["c"])) if moment % 2 else None
        dut.m_ready_i.value = bench.rng.randrange(2)
        await ClockCycles(bench.clock, moment)
        feeding.cancel()
        if loading:
            loading.cancel()
            dut.load_valid_i.value = 0
        await bench.reset()
        assert int(dut.loaded_o.value) == 1
        dut.enable_i.value = 1
        bench.listen()
        for sample in (0, 1):
            await bench.check(sample)
        assert bench.take_errors() == 0
        bench.stop()
    score.finish(2 * len(moments) * len(bench.logits["a"][0]))


@scored
async def a_reset_during_a_swap(dut: Any, score: Scoreboard) -> None:
    """In whatever cycle it comes: the bank that runs afterwards holds a whole network with its own frame sizes."""
    bench = await Bench(dut, score).start()
    await bench.load(bench.writes["a"])
    await bench.swap_and_settle()
    bank_of_a, seen = int(dut.bank_o.value), set()
    await bench.load(bench.writes["c"])
    n = 0
    for moment in range(12):
        await bench.swap()
        await ClockCycles(bench.clock, moment)
        await bench.reset()
        dut.enable_i.value = 1
        bench.listen()
        name = "a" if int(dut.bank_o.value) == bank_of_a else "c"
        seen.add(name)
        await bench.check(moment % 3, name)
        n += len(bench.logits[name][0])
        assert bench.take_errors() == 0
        bench.stop()
        dut.enable_i.value = 0
        await ClockCycles(bench.clock, 3)
    assert seen == {"a", "c"}
    score.finish(n)


@scored
async def another_frame_size(dut: Any, score: Scoreboard) -> None:
    """A network of another shape comes in between: not while logits wait, and frames of the old size are dropped."""
    bench = await Bench(dut, score).start()
    await bench.load_and_enable()
    feeding = cocotb.start_soon(bench.source().send([beat for _ in range(8) for beat in bench.frame(0)]))
    await ClockCycles(bench.clock, 3000)  # nobody takes logits: two samples under way, two wait
    assert not feeding.done()
    feeding.cancel()
    dut.s_valid_i.value, dut.enable_i.value = 0, 0
    await ClockCycles(bench.clock, 3)
    assert int(dut.busy_o.value) == 1
    await bench.load(bench.writes["c"])
    assert bench.take_errors() == 0
    bank = int(dut.bank_o.value)
    await bench.swap_and_settle()
    assert (bench.take_errors(), int(dut.bank_o.value)) == (BUSY, bank)
    bench.scoreboard.expect(bench.answer(0) * 2)
    bench.listen()
    await bench.drain()
    assert int(dut.busy_o.value) == 0
    await bench.swap_and_settle()
    assert (bench.take_errors(), int(dut.bank_o.value)) == (SHORT, 1 - bank)
    dut.enable_i.value = 1
    for sample in (1, 0):
        await bench.check(sample, "c")
    assert bench.take_errors() == 0
    await bench.load(bench.writes["a"])
    await bench.swap_and_settle()  # while it runs
    assert (bench.take_errors(), int(dut.bank_o.value)) == (BUSY, 1 - bank)
    await bench.check(2, "c")
    score.finish(2 * len(bench.logits["a"][0]) + 3 * len(bench.logits["c"][0]))


@scored
async def every_wrong_length_is_flagged(dut: Any, score: Scoreboard) -> None:
    """Every length from one byte to two words more than the frame has, and null bytes within: a flag unless it is the
    right one; the next frame is right.
    """
    bench = await Bench(dut, score).start()
    await bench.load_and_enable()
    bench.listen()
    n, lanes, source = bench.n_bytes, bench.lanes, bench.source()
    for length in [*range(1, n + 2 * lanes + 1), 3 * n + 1]:
        right = length == n
        data = bench.codes["a"][3] if right else [bench.rng.randrange(256) for _ in range(length)]
        if right:
            bench.scoreboard.expect(bench.answer(3))
        await source.send(bench.pack(data))
        await bench.check(length % 3)
        want = 0 if right else SHORT if length < n else LONG
        assert bench.take_errors() == want, f"{length} bytes of {n}"
    for at, beat in enumerate(bench.frame(0)):
        for missing in range(beat["keep"].bit_length()):
            holed = bench.frame(0)
            holed[at]["keep"] ^= 1 << missing
            await source.send(holed)
            await bench.check(1)
            assert bench.take_errors() == SHORT, f"byte {at * lanes + missing} is null"
    score.finish((2 * n + 2 * lanes + 2) * len(bench.logits["a"][0]))


@scored
async def bad_writes_are_refused(dut: Any, score: Scoreboard) -> None:
    """Addresses and values out of range, and writes at the wrong time, raise their flag and change nothing."""
    bench = await Bench(dut, score).start()
    await bench.load_and_enable()
    bench.listen()
    lanes = bench.geometry["lanes"]
    bad = [
        (4 << 20, 0),
        (15 << 20, 0),
        (0xFFFF, 0),
        (1 << 20 | 0xFFFF, 0),
        (LAYER | 0xFFFF, 0),
        (LAYER, 1 << 28),
        (LAYER, 0xFFFF),
        (FRAME | 2, 0),
        (LAYER | 1 << 16, 0),
        (FRAME | 1, 1 << 20),
        (0, 0x3FFFFF),
    ]
    if lanes < 16:
        bad += [(lanes << 16, 0), (1 << 20 | lanes << 16, 0)]
    for write in bad:
        await bench.load([write])
        assert bench.take_errors() == RANGE, f"{write[0]:06x} {write[1]:08x}"
    await bench.load(bench.writes["a"][:-1])
    assert bench.take_errors() == 0
    await bench.swap_and_settle()  # the last word of the image is missing
    assert bench.take_errors() == BUSY
    await bench.check(0)
    assert bench.take_errors() == 0
    score.finish(len(bench.logits["a"][0]))


@scored
async def bad_descriptors_do_not_hang(dut: Any, score: Scoreboard) -> None:
    """No final layer, or a layer that ends before it begins: a flag, and after a good load every bit is right, with a
    reset in between or without.
    """
    bench = await Bench(dut, score).start()
    layers = [(address, data) for address, data in bench.writes["a"] if address & 0xF00000 == LAYER]
    size = bench.geometry
    blank = [
        (region << 20 | lane << 16 | i, 0)
        for region, depth in enumerate((size["rows"], size["bias_words"]))
        for lane in range(size["lanes"])
        for i in range(depth)
    ] + [(LAYER | i, 0) for i in range(size["layers"])]
    for _ in range(2):  # what was never loaded has no value: give every word one
        await bench.load([*blank, (FRAME, 0), (FRAME | 1, 0)])
        await bench.swap_and_settle()
    endless = [(address, data & ~(1 << 27)) for address, data in layers]
    backwards = [*layers[:-1], (layers[-1][0], layers[-1][1] & ~0xFFFF)] if len(layers) > 1 else endless
    for with_reset in (True, False):
        for bad in (endless, backwards):
            await bench.load(list((dict(bench.writes["a"]) | dict(bad)).items()))
            await bench.swap_and_settle()
            dut.enable_i.value, dut.m_ready_i.value = 1, 1
            await bench.source().send(bench.frame(0))
            await ClockCycles(bench.clock, 3000)
            assert int(dut.busy_o.value) == 0
            assert bench.take_errors() & (OVERRUN | MISPLACED)
            await bench.load_again(with_reset)
    score.finish(4 * len(bench.logits["a"][0]))


@scored
async def misplaced_logits_are_flagged(dut: Any, score: Scoreboard) -> None:
    """A class that ends nowhere, one that ends twice before it is taken: a flag each, and a frame of full length; after
    a good load every bit is right, with a reset in between or without.
    """
    bench = await Bench(dut, score).start()
    ends = [data & 0xFFFF for address, data in bench.writes["a"] if address & 0xF00000 == LAYER]
    first_row = ends[-2] + 1 if len(ends) > 1 else 0
    slots = {
        address: data for address, data in bench.writes["a"] if address < 1 << 20 and address & 0xFFFF >= first_row
    }
    ending = [address for address, data in slots.items() if data >> 31]
    missing = {ending[-1]: slots[ending[-1]] & ~(1 << 31)}
    lane = ending[-1] & 0xF0000
    doubled = {address: data | 1 << 31 for address, data in slots.items() if address & 0xF0000 == lane}
    images = [missing, doubled] if len(doubled) > 2 and lane else [missing]  # lane 0 is taken at once
    for broken, with_reset in itertools.product(images, (False, True)):
        await bench.load([(address, broken.get(address, data)) for address, data in bench.writes["a"]])
        await bench.swap_and_settle()
        dut.enable_i.value = 1
        bench.take_errors()
        beats: list[dict[str, int]] = []
        sink = Sink(Stream(bench.clock, dut.m_valid_o, dut.m_ready_i, {"last": dut.m_last_o}), beats.append)
        await bench.source().send(bench.frame(0))
        await ClockCycles(bench.clock, 3000)
        sink.stop()
        assert bench.take_errors() == MISPLACED
        assert [beat["last"] for beat in beats] == [0] * (len(bench.logits["a"][0]) - 1) + [1]
        await bench.load_again(with_reset)
    score.finish(2 * len(images) * len(bench.logits["a"][0]))


@scored
async def hot_swap(dut: Any, score: Scoreboard) -> None:
    """The other network is loaded while one runs and swapped in at random moments: no sample is lost or mixed, and both
    sides of every swap are seen. Sometimes the words of the next load wait at the port already, spoilt biases first:
    they must not reach rows that are still under way.
    """
    bench = await Bench(dut, score, seed=9).start()
    await bench.load_and_enable("a")
    telling = [i for i, (a, b) in enumerate(zip(bench.logits["a"], bench.logits["b"], strict=True)) if a != b]
    assert telling, "the two networks agree on every sample"
    frames: list[list[int]] = [[]]

    def receive(beat: dict[str, int]) -> None:
        value = beat["data"]
        frames[-1].append(value - (value >> 31 << 32))
        if beat["last"]:
            frames.append([])

    sink = Sink(
        Stream(bench.clock, dut.m_valid_o, dut.m_ready_i, {"data": dut.m_data_o, "last": dut.m_last_o}),
        receive,
        chance(20, 3),
    )
    sent: list[int] = []
    running = True

    async def feed() -> None:
        source = bench.source(chance(20, 2))
        while running:
            sample = bench.rng.choice(telling)
            sent.append(sample)
            await source.send(bench.frame(sample))

    async def flow(n: int) -> None:
        """Wait until ``n`` frames that are sent from now on are through."""
        end = len(sent) + n
        await bench.until(lambda: len(frames) > end, f"{len(frames) - 1} frames out, waiting for {end}")

    feeding = cocotb.start_soon(feed())
    order, names = ["a"], "ba" * 5
    for i, name in enumerate(names):
        await flow(bench.rng.randrange(1, 4))
        await bench.load(bench.writes[name])
        await ClockCycles(bench.clock, bench.rng.randrange(1, 60))
        bank = int(dut.bank_o.value)
        await bench.swap()
        if i % 2:
            await bench.load(bench.spoilt_biases(order[-1]))
        await bench.other_bank(bank)
        order.append(name)
    await flow(3)
    running = False
    await feeding
    await bench.until(lambda: len(frames) == len(sent) + 1, f"{len(sent)} samples in, {len(frames) - 1} out")
    sink.stop()
    at, seen = 0, [0] * len(order)
    for sample, logits in zip(sent, frames, strict=False):
        while at + 1 < len(order) and logits != bench.logits[order[at]][sample]:
            at += 1
        score.agree(logits, bench.logits[order[at]][sample], f"sample {sample}, under the last network if under any")
        seen[at] += 1
    assert all(seen), f"samples under each network in turn: {seen}"
    assert bench.take_errors() == 0
    score.finish(len(sent))

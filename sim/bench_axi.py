"""cocotb bench of ``deepr_axi``: cocotbext-axi is the independent master, source and sink; our driver loads."""

import json
import os
import random
from pathlib import Path
from typing import Any

import cocotb
import pytest
from cocotb.clock import Clock
from cocotb.task import bridge, resume
from cocotb.triggers import ClockCycles, with_timeout
from cocotbext.axi import (
    AxiLiteBus,
    AxiLiteMaster,
    AxiResp,
    AxiStreamBus,
    AxiStreamFrame,
    AxiStreamSink,
    AxiStreamSource,
)

from deepr_hw.export.rtl import driver as rtl_driver
from deepr_hw.export.rtl.driver import CAUSES, Driver

from .streams import PATIENCE, Pattern, Scoreboard, bursts, chance, scored


def _signed(data: bytes) -> list[int]:
    return [int.from_bytes(data[i : i + 4], "little", signed=True) for i in range(0, len(data), 4)]


class Bench:
    """The shell under an independent bus model."""

    def __init__(self, dut: Any, score: Scoreboard) -> None:
        case = json.loads(Path(os.environ["DEEPR_CASE"]).read_text())
        self.writes = {name: [tuple(write) for write in case["writes"][name]] for name in "abc"}
        self.codes, self.logits, self.geometry = case["codes"], case["logits"], case["geometry"]
        self.stream_bytes = int(os.environ["DEEPR_STREAM_BYTES"])
        self.dut, self.score, self.rng = dut, score, random.Random(4)
        Clock(dut.aclk, 10, unit="ns").start()
        reset = {"reset": dut.aresetn, "reset_active_level": False}
        self.master = AxiLiteMaster(AxiLiteBus.from_prefix(dut, "s_axil"), dut.aclk, **reset)
        self.source = AxiStreamSource(AxiStreamBus.from_prefix(dut, "s_axis"), dut.aclk, **reset)
        self.sink = AxiStreamSink(AxiStreamBus.from_prefix(dut, "m_axis"), dut.aclk, **reset)

        @resume
        async def write(address: int, value: int) -> None:
            await self.master.write_dword(address, value)

        @resume
        async def read(address: int) -> int:
            return int(await self.master.read_dword(address))

        self.driver = Driver(write, read)

    async def start(self) -> "Bench":
        """Reset, load network a, enable."""
        await self.reset()
        await bridge(self._load)()
        return self

    async def reset(self) -> None:
        """A reset of three cycles; the bus model forgets what it was sending."""
        self.dut.aresetn.value = 0
        await ClockCycles(self.dut.aclk, 3)
        self.source.clear()
        self.sink.clear()
        self.dut.aresetn.value = 1
        await ClockCycles(self.dut.aclk, 1)

    def _load(self) -> None:
        assert vars(self.driver.geometry()) == self.geometry
        self.driver._issue(self.writes["a"])
        self.driver.swap()
        self.driver.start()

    def pause(self, source: Pattern | None, sink: Pattern | None) -> None:
        """Idle cycles of the source, back-pressure of the sink."""
        for end, pattern in ((self.source, source), (self.sink, sink)):
            end.clear_pause_generator()
            end.pause = False
            if pattern:
                end.set_pause_generator(iter(pattern, None))

    def pause_control(self) -> None:
        """Addresses, data and answers of the control port each at their own pace."""
        write, read = self.master.write_if, self.master.read_if
        channels = (write.aw_channel, write.w_channel, write.b_channel, read.ar_channel, read.r_channel)
        for i, channel in enumerate(channels):
            channel.set_pause_generator(iter(chance(40, 10 + i), None))

    async def send(self, sample: int, name: str = "a") -> None:
        """One frame, its bytes packed into beats by the bus model."""
        await self.source.send(AxiStreamFrame(bytes(self.codes[name][sample])))

    async def receive(self) -> tuple[list[int], set[int]]:
        """Logits of the next frame and the classes beside them."""
        frame = await with_timeout(self.sink.recv(compact=False), 10 * PATIENCE, "ns")
        kept = bytes(b for b, keep in zip(frame.tdata, frame.tkeep, strict=True) if keep)
        return _signed(kept), {user for user, keep in zip(frame.tuser, frame.tkeep, strict=True) if keep}

    async def check(self, sample: int, name: str = "a") -> None:
        """The next frame must be the reference's logits and winner."""
        logits, winners = await self.receive()
        expected = self.logits[name][sample]
        self.score.agree((logits, winners), (expected, {expected.index(max(expected))}), f"sample {sample}")


@scored
async def streams(dut: Any, score: Scoreboard) -> None:
    """Frames back to back under every pattern; counters at the end."""
    bench = await Bench(dut, score).start()
    patterns = ((None, None), (chance(50, 1), None), (None, chance(50, 2)), (bursts(1, 9), bursts(2, 5)))
    for idle, pause in patterns:
        bench.pause(idle, pause)
        order = [bench.rng.randrange(len(bench.codes["a"])) for _ in range(8)]
        for sample in order:
            await bench.send(sample)
        for sample in order:
            await bench.check(sample)
    n = 8 * len(patterns)
    assert bench.sink.empty()
    for register in (rtl_driver.ERRORS, rtl_driver.ADDRESS):  # only the control register's clear bit clears counters
        await bench.master.write_dword(register, rtl_driver.CLEAR)
    counters = await bridge(bench.driver.counters)(True)
    assert counters.samples == n
    n_slots = sum(data >> 30 & 1 for address, data in bench.writes["a"] if address >> 20 == 0)
    assert counters.macs == n * n_slots
    assert await bridge(bench.driver.errors)() == []
    assert (await bridge(bench.driver.counters)()).samples == 0
    score.finish(n)


@scored
async def every_wrong_length_is_flagged(dut: Any, score: Scoreboard) -> None:
    """Frames of 1 to n + 2 Lanes bytes: the right length gives logits and no flag, any other its cause alone."""
    bench = await Bench(dut, score).start()
    n = len(bench.codes["a"][0])
    for length in range(1, n + 2 * bench.geometry["lanes"] + 1):
        data = bench.codes["a"][2] if length == n else [bench.rng.randrange(256) for _ in range(length)]
        await bench.source.send(AxiStreamFrame(bytes(data)))
        await bench.send(length % 2)
        if length == n:
            await bench.check(2)
        await bench.check(length % 2)
        want = [] if length == n else [CAUSES[0] if length < n else CAUSES[1]]
        assert await bridge(bench.driver.errors)() == want, f"{length} bytes of {n}"
    assert bench.sink.empty()
    score.finish(n + 2 * bench.geometry["lanes"] + 1)


@scored
async def null_bytes_within_a_frame_are_flagged(dut: Any, score: Scoreboard) -> None:
    """A byte that TKEEP takes away in mid-frame is missing; it is not read as data."""
    bench = await Bench(dut, score).start()
    data = bench.codes["a"][0]
    for at in range(len(data)):
        keep = [int(i != at) for i in range(len(data))]
        await bench.source.send(AxiStreamFrame(bytes(data), tkeep=keep))
        await bench.send(1)
        await bench.check(1)
        assert await bridge(bench.driver.errors)() == [CAUSES[0]], f"byte {at}"
    assert bench.sink.empty()
    score.finish(len(data))


@scored
async def a_reset_leaves_the_network(dut: Any, score: Scoreboard) -> None:
    """After a reset in mid-traffic or in the middle of a load the driver only has to start; after a load it is new."""
    bench = await Bench(dut, score).start()
    for moment in (5, 40, 170, 400):
        for sample in (0, 1, 2):
            await bench.send(sample)
        await ClockCycles(dut.aclk, moment)
        await bridge(bench.driver._issue)(bench.writes["b"][:-1][:moment])  # never its last word
        await bench.reset()
        assert await bridge(lambda: bench.driver.loaded)()
        await bridge(bench.driver.start)()
        for sample in (2, 0):
            await bench.send(sample)
            await bench.check(sample)
        assert await bridge(bench.driver.errors)() == []
    with pytest.raises(RuntimeError, match="refused the swap"):  # of half a network
        await bridge(bench.driver.swap)()
    await bridge(bench.driver.stop)()
    await bridge(bench.driver._issue)(bench.writes["c"])
    await bridge(bench.driver.swap)()
    assert await bridge(bench.driver.errors)() == [CAUSES[3]]
    for again in (False, True):
        if again:
            await bench.reset()
        await bridge(bench.driver.start)()
        for sample in (1, 3):
            await bench.send(sample, "c")
            await bench.check(sample, "c")
    assert await bridge(bench.driver.errors)() == []
    assert bench.sink.empty()
    score.finish(4 * 2 + 2 * 2)


@scored
async def hot_swap_under_traffic(dut: Any, score: Scoreboard) -> None:
    """The driver loads the other network while frames flow; every frame is whole and of one network, in order."""
    bench = await Bench(dut, score).start()
    bench.pause(chance(20, 5), chance(20, 6))
    bench.pause_control()
    telling = [i for i, (a, b) in enumerate(zip(bench.logits["a"], bench.logits["b"], strict=True)) if a != b]
    sent: list[int] = []
    running = True

    async def feed() -> None:
        while running:
            sample = bench.rng.choice(telling)
            sent.append(sample)
            await bench.send(sample)
            await bench.source.wait()

    async def flow() -> None:
        end = len(sent) + 5  # four may wait inside
        while len(sent) < end:
            await ClockCycles(dut.aclk, 10)

    feeding = cocotb.start_soon(feed())
    for name in "baba":
        await flow()
        await bridge(bench.driver.hot_swap)(bench.writes[name])
    await flow()
    running = False
    await feeding
    at, order = 0, "ababa"
    seen = [0] * len(order)
    for sample in sent:
        logits, _ = await bench.receive()
        while at + 1 < len(order) and logits != bench.logits[order[at]][sample]:
            at += 1
        score.agree(logits, bench.logits[order[at]][sample], f"sample {sample}, under the last network if under any")
        seen[at] += 1
    assert all(seen), f"samples under each network in turn: {seen}"
    score.finish(len(sent))
    assert bench.sink.empty()
    assert await bridge(bench.driver.errors)() == []


@scored
async def bad_input(dut: Any, score: Scoreboard) -> None:
    """Bad registers, bad loads: the cause in words, SLVERR where AXI has it, no harm done."""
    bench = await Bench(dut, score).start()
    bench.pause_control()
    for address in (0x00, 0x04, 0x08, 0x14, 0x24, 0x34, 0xFC):
        assert (await bench.master.write(address, bytes(4))).resp == AxiResp.SLVERR
    assert (await bench.master.write(0x11, b"\xff")).resp == AxiResp.SLVERR  # a strobe is missing
    assert (await bench.master.read(0x34, 4)).resp == AxiResp.SLVERR
    assert (await bench.master.read(0x10, 4)).resp == AxiResp.OKAY
    assert await bridge(bench.driver.errors)() == [CAUSES[6]]
    await bridge(bench.driver._issue)([(0xF00000, 0)])
    assert await bridge(bench.driver.errors)() == [CAUSES[2]]
    assert int(dut.irq_o.value) == 0
    await bench.send(1)
    await bench.check(1)
    for address, value in ((rtl_driver.ADDRESS, 0x123456), (rtl_driver.CONTROL, 1)):
        await bench.master.write_dword(address, value)
        assert await bench.master.read_dword(address) == value
    score.finish(1)


@scored
async def load_right_after_a_swap(dut: Any, score: Scoreboard) -> None:
    """Words that come while a swap is still waiting for its sample go to the bank that the swap sets free."""
    bench = await Bench(dut, score).start()
    await bridge(bench.driver._issue)(bench.writes["b"])
    for sample in (0, 1, 2):
        await bench.send(sample)
    await ClockCycles(dut.aclk, 30)
    await bench.master.write_dword(rtl_driver.CONTROL, rtl_driver.ENABLE | rtl_driver.SWAP)
    await bridge(bench.driver._issue)(bench.writes["b"])  # nobody waits for the swap
    for _ in range(3):
        await bench.receive()
    await bridge(bench.driver.swap)()
    for sample in (2, 1, 0):
        await bench.send(sample)
        await bench.check(sample, "b")
    assert await bridge(bench.driver.errors)() == []
    score.finish(3)

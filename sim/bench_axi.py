"""cocotb bench of ``deepr_axi``: cocotbext-axi is the independent master, source and sink; our driver loads."""

import json
import os
import random
from pathlib import Path
from typing import Any

import cocotb
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

from ..export import rtl_driver
from ..export.rtl_driver import CAUSES, Driver
from .streams import PATIENCE, Pattern, bursts, chance


def _signed(data: bytes) -> list[int]:
    return [int.from_bytes(data[i : i + 4], "little", signed=True) for i in range(0, len(data), 4)]


class Bench:
    """The shell under an independent bus model."""

    def __init__(self, dut: Any) -> None:
        case = json.loads(Path(os.environ["DEEPR_CASE"]).read_text())
        self.writes = {name: [tuple(write) for write in case["writes"][name]] for name in "ab"}
        self.codes, self.logits, self.geometry = case["codes"], case["logits"], case["geometry"]
        self.dut, self.rng = dut, random.Random(4)
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
        self.dut.aresetn.value = 0
        await ClockCycles(self.dut.aclk, 3)
        self.dut.aresetn.value = 1
        await bridge(self._load)()
        return self

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

    async def send(self, sample: int) -> None:
        """One frame, its bytes packed into beats by the bus model."""
        await self.source.send(AxiStreamFrame(bytes(self.codes[sample])))

    async def receive(self) -> tuple[list[int], set[int]]:
        """Logits of the next frame and the classes beside them."""
        frame = await with_timeout(self.sink.recv(compact=False), 10 * PATIENCE, "ns")
        kept = bytes(b for b, keep in zip(frame.tdata, frame.tkeep, strict=True) if keep)
        return _signed(kept), {user for user, keep in zip(frame.tuser, frame.tkeep, strict=True) if keep}

    async def check(self, sample: int, name: str = "a") -> None:
        """The next frame must be the reference's logits and winner."""
        logits, winners = await self.receive()
        expected = self.logits[name][sample]
        assert logits == expected, f"sample {sample}: {logits}, expected {expected}"
        assert winners == {expected.index(max(expected))}


@cocotb.test()
async def streams(dut: Any) -> None:
    """Frames back to back under every pattern; counters at the end."""
    bench = await Bench(dut).start()
    n = 0
    for idle, pause in ((None, None), (chance(50, 1), None), (None, chance(50, 2)), (bursts(1, 9), bursts(2, 5))):
        bench.pause(idle, pause)
        order = [bench.rng.randrange(len(bench.codes)) for _ in range(8)]
        for sample in order:
            await bench.send(sample)
        for sample in order:
            await bench.check(sample)
        n += len(order)
    assert bench.sink.empty()
    for register in (rtl_driver.ERRORS, rtl_driver.ADDRESS):  # only the control register's clear bit clears counters
        await bench.master.write_dword(register, rtl_driver.CLEAR)
    counters = await bridge(bench.driver.counters)(True)
    assert counters.samples == n
    n_slots = sum(data >> 30 & 1 for address, data in bench.writes["a"] if address >> 20 == 0)
    assert counters.macs == n * n_slots
    assert await bridge(bench.driver.errors)() == []
    assert (await bridge(bench.driver.counters)()).samples == 0


@cocotb.test()
async def hot_swap_under_traffic(dut: Any) -> None:
    """The driver loads the other network while frames flow; every frame is whole and of one network, in order."""
    bench = await Bench(dut).start()
    bench.pause(chance(20, 5), chance(20, 6))
    bench.pause_control()
    sent: list[int] = []
    running = True

    async def feed() -> None:
        while running:
            sample = bench.rng.randrange(len(bench.codes))
            sent.append(sample)
            await bench.send(sample)
            await bench.source.wait()

    feeding = cocotb.start_soon(feed())
    for name in "baba":
        await bridge(bench.driver.hot_swap)(bench.writes[name])
    await ClockCycles(dut.aclk, 1000)
    running = False
    await feeding
    at, order = 0, "ababa"
    for sample in sent:
        logits, _ = await bench.receive()
        while logits != bench.logits[order[at]][sample]:
            at += 1
            assert at < len(order), f"sample {sample}: {logits} belongs to neither network"
    assert at == len(order) - 1
    assert bench.sink.empty()
    assert await bridge(bench.driver.errors)() == []


@cocotb.test()
async def bad_input(dut: Any) -> None:
    """Short and long frames, bad registers, bad loads: the cause in words, SLVERR where AXI has it, no harm done."""
    bench = await Bench(dut).start()
    bench.pause_control()
    n, step = len(bench.codes[0]), max(1, bench.geometry["lanes"], int(os.environ["DEEPR_STREAM_BYTES"]))
    for length, cause in ((n + 2 * step, CAUSES[1]), *(((n - step, CAUSES[0]),) if n > step else ())):
        await bench.source.send(AxiStreamFrame(bytes(length)))
        await bench.send(0)
        await bench.check(0)
        assert await bridge(bench.driver.errors)() == [cause]
    for address in (0x00, 0x04, 0x08, 0x14, 0x24, 0x34, 0xFC):
        assert (await bench.master.write(address, bytes(4))).resp == AxiResp.SLVERR
    assert (await bench.master.write(0x11, b"\xff")).resp == AxiResp.SLVERR  # a strobe is missing
    assert (await bench.master.read(0x34, 4)).resp == AxiResp.SLVERR
    assert (await bench.master.read(0x10, 4)).resp == AxiResp.OKAY
    assert await bridge(bench.driver.errors)() == [CAUSES[6]]
    await bridge(bench.driver._issue)([(0xF00000, 0)])
    await bridge(bench.driver._issue)([(3 << 20, 0)])
    assert await bridge(bench.driver.errors)() == [CAUSES[2], CAUSES[3]]
    assert int(dut.irq_o.value) == 0
    await bench.send(1)
    await bench.check(1)
    for address, value in ((rtl_driver.ADDRESS, 0x123456), (rtl_driver.CONTROL, 1)):
        await bench.master.write_dword(address, value)
        assert await bench.master.read_dword(address) == value


@cocotb.test()
async def load_right_after_a_swap(dut: Any) -> None:
    """Words that come while a swap is still waiting for its sample go to the bank that the swap sets free."""
    bench = await Bench(dut).start()
    banked = [write for write in bench.writes["b"] if write[0] >> 20 != 3]
    await bridge(bench.driver._issue)(banked)
    for sample in (0, 1, 2):
        await bench.send(sample)
    await ClockCycles(dut.aclk, 30)
    await bench.master.write_dword(rtl_driver.CONTROL, rtl_driver.ENABLE | rtl_driver.SWAP)
    await bridge(bench.driver._issue)(banked)  # nobody waits for the swap
    for _ in range(3):
        await bench.receive()
    await bridge(bench.driver.swap)()
    for sample in (2, 1, 0):
        await bench.send(sample)
        await bench.check(sample, "b")
    assert await bridge(bench.driver.errors)() == []

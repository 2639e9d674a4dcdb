"""Drives the engine's AXI4-Lite port through any ``write(address, value)`` and ``read(address) -> value``.

PYNQ's MMIO, a UART bridge or a simulator: the driver knows registers, not buses. Register map: ``rtl_registers``.
"""

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from . import registers as rtl_registers
from .geometry import Geometry
from .image import Image
from .registers import ENGINE_ID, ENGINE_VERSION, REGISTERS, field, offset

ID, VERSION, SIZE_0, SIZE_1 = map(offset, ("ID", "VERSION", "SIZE_0", "SIZE_1"))
CONTROL, STATUS, ERRORS, ADDRESS, DATA = map(offset, ("CONTROL", "STATUS", "ERRORS", "ADDRESS", "DATA"))
SAMPLES, CYCLES, STALLS, MACS = map(offset, ("SAMPLES", "CYCLES", "STALLS", "MACS"))
ENABLE, SWAP, CLEAR = (field("CONTROL", name).mask for name in ("enable", "swap", "clear"))
BUSY, SWAPPING, BANK, LOADED = (field("STATUS", name).mask for name in ("busy", "swapping", "bank", "loaded"))
CAUSES = tuple(cause.message for cause in rtl_registers.CAUSES)


@dataclass(frozen=True)
class Counters:
    """What the engine has done: samples, enabled cycles, cycles without a row, multiply-accumulates; modulo 2**32."""

    samples: int
    cycles: int
    stalls: int
    macs: int


def register_writes(writes: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    """Load port ``writes`` as register writes: ADDRESS where it jumps, DATA for each word."""
    out, following = [], None
    for address, data in writes:
        if address != following:
            out.append((ADDRESS, address))
        out.append((DATA, data))
        following = address + 1
    return out


class Driver:
    """The engine behind ``write`` and ``read`` (32-bit words at byte addresses).

    A reset stops it and drops what is under way; the network that ran is still there, so ``start`` is all it takes.
    """

    def __init__(self, write: Callable[[int, int], None], read: Callable[[int], int]) -> None:
        self.write, self.read = write, read

    def geometry(self) -> Geometry:
        """What the engine was built with. Raises ``ValueError`` when something else answers."""
        found = self.read(ID)
        if found != ENGINE_ID:
            raise ValueError(f"register ID = {found:#010x}: expected {ENGINE_ID:#010x}, this is no engine")
        if (version := self.read(VERSION)) != ENGINE_VERSION:
            raise ValueError(f"register VERSION = {version:#010x}: this driver knows {ENGINE_VERSION:#010x}")
        sizes = {
            part.name: (self.read(each.offset) & part.mask) >> part.low
            for each in REGISTERS
            if each.name in ("SIZE_0", "SIZE_1")
            for part in each.fields
        }
        depths = {name.removeprefix("log_"): 1 << value for name, value in sizes.items() if name.startswith("log_")}
        return Geometry(lanes=sizes["lanes"], acc_bits=sizes["acc_bits"], banks=sizes["banks"], **depths)

    def load(self, image: Image) -> None:
        """``image`` into a stopped engine, and that bank chosen to run.

        Raises ``ValueError`` when it does not fit, ``RuntimeError`` when the engine does not take it.
        """
        geometry = self.geometry()
        if not geometry.fits(image.geometry):
            raise ValueError(f"the image needs {image.geometry}, the engine is {geometry}")
        self.stop()
        self._issue(image.writes)
        if geometry.banks == 2:
            self.swap()
        if not self.loaded:
            raise RuntimeError(f"the engine did not take the image: {'; '.join(self.errors()) or 'no error flag'}")

    @property
    def loaded(self) -> bool:
        """Whether the bank that runs holds a whole network: not after power-up, still after a reset."""
        return bool(self.read(STATUS) & LOADED)

    def hot_swap(self, writes: Iterable[tuple[int, int]]) -> None:
        """Load port ``writes`` into the idle bank while the other one runs, then exchange them between two samples.

        The frame sizes must stay. Raises ``RuntimeError`` when the engine refuses.
        """
        self._issue(writes)
        self.swap()

    def _issue(self, writes: Iterable[tuple[int, int]]) -> None:
        for address, value in register_writes(writes):
            self.write(address, value)

    def swap(self) -> None:
        """Exchange the banks; returns when it is done.

        Raises ``RuntimeError`` when the idle bank holds no network, or one with other frame sizes while samples run.
        """
        before = self.read(STATUS) & BANK
        self.write(CONTROL, self.read(CONTROL) & ENABLE | SWAP)
        self._wait(SWAPPING)
        if self.read(STATUS) & BANK == before:
            raise RuntimeError(
                "the engine refused the swap: the idle bank holds no complete network, or one with "
                "other frame sizes (stop first)"
            )

    def start(self) -> None:
        """Take samples. Raises ``RuntimeError`` when there is no network to run."""
        if not self.loaded:
            raise RuntimeError("the engine holds no network: load an image first")
        self.write(CONTROL, ENABLE)

    def stop(self) -> None:
        """Take no more samples; returns when the last one is through."""
        self.write(CONTROL, 0)
        self._wait(BUSY)

    def _wait(self, bit: int, seconds: float = 10.0) -> None:
        end = time.monotonic() + seconds
        while self.read(STATUS) & bit:
            if time.monotonic() > end:
                raise TimeoutError(f"the engine's status bit {bit} stays set")

    def counters(self, clear: bool = False) -> Counters:
        """The counters; ``clear`` sets them to zero afterwards."""
        values = Counters(*(self.read(register) for register in (SAMPLES, CYCLES, STALLS, MACS)))
        if clear:
            self.write(CONTROL, self.read(CONTROL) & ENABLE | CLEAR)
        return values

    def errors(self) -> list[str]:
        """Causes of the errors since the last call, in words."""
        flags = self.read(ERRORS)
        if flags:
            self.write(ERRORS, flags)
        return [cause for i, cause in enumerate(CAUSES) if flags >> i & 1]

"""Devices by name: what they are made of. Budgets, the area law and open synthesis read it here."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Fabric:
    """What an FPGA has: LUT sites, block memories, multipliers."""

    lut: int
    bram: int
    dsp: int


@dataclass(frozen=True)
class Device:
    """A chip: the bytes of memory that can hold connections, where that figure comes from, and its fabric, if any."""

    memory: int
    source: str
    fabric: Fabric | None = None


def _ecp5(lut: int, bram: int, dsp: int) -> Device:
    source = f"{bram} block RAMs of 18 kbit, 16 of them usable in words of 32 bits"
    return Device(bram * 2048, source, Fabric(lut, bram, dsp))


DEVICES = {
    "spinnaker2-core": Device(65_536, "64 KB of a core's memory, code not counted"),
    "ice40-up5k": Device(15_360, "30 block RAMs of 4 kbit; the single-port RAM not counted", Fabric(5280, 30, 8)),
    "ecp5-25k": _ecp5(24_288, 56, 28),
    "ecp5-45k": _ecp5(43_848, 108, 72),
    "ecp5-85k": _ecp5(83_640, 208, 156),
}

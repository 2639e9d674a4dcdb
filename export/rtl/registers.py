"""The registers behind the AXI4-Lite port and the error causes: one table, and what is written from it.

    python -m deepr_hw.export.rtl.registers

writes the block in ``rtl/deepr_pkg.sv`` and the tables in ``rtl/README.md`` anew; an export writes ``c_header``.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from .sources import RTL

ENGINE_ID, ENGINE_VERSION = 0x44454550, 0x00020000
"""What ID ("DEEP") and VERSION answer."""
_WORD = 32
_OFFSET_BITS = 6
"""Bits of a register's number, its byte offset / 4."""


@dataclass(frozen=True)
class Field:
    """``bits`` bits of a register from bit ``low`` on; ``text`` says what they mean."""

    name: str
    low: int
    text: str
    bits: int = 1

    @property
    def mask(self) -> int:
        """The field's ones in the register."""
        return (1 << self.bits) - 1 << self.low


@dataclass(frozen=True)
class Register:
    """A 32-bit word at byte ``offset``; ``access`` is r, w or rw. Fields rise; what lies between them is 0."""

    name: str
    offset: int
    access: str
    text: str = ""
    fields: tuple[Field, ...] = ()


@dataclass(frozen=True)
class Cause:
    """An error: ``message`` for the user, ``detail`` and ``effect`` (what happens) for the reader of the README."""

    name: str
    message: str
    detail: str
    effect: str


CAUSES = (
    Cause(
        "short",
        "a frame was too short",
        "frame too short: bytes kept fewer than the network's inputs, a null byte within; frames that wait for a "
        "network of another size",
        "dropped; the next frame is the next sample",
    ),
    Cause(
        "long",
        "a frame was too long or TLAST was missing",
        "frame too long: bytes kept more than the inputs, `last` missing",
        "dropped up to its `last`",
    ),
    Cause("range", "a load address or value was out of range", "load address or value out of range", "not written"),
    Cause(
        "refused",
        "a load or a swap was refused: the only bank was running, or the other one holds no network or "
        "other frame sizes",
        "load while the only bank runs; swap to a bank that is not loaded, or, while the engine "
        "runs, with other frame sizes; swap during a swap",
        "not written, not swapped",
    ),
    Cause(
        "overrun",
        "the layer descriptors have no end",
        "rows or descriptors end before a final layer does",
        "the sample ends there",
    ),
    Cause(
        "misplaced",
        "a logit was out of place",
        "a logit before the one ahead of it was taken, or missing at the end",
        "the frame is filled up",
    ),
    Cause(
        "access",
        "a register that does not exist or can't be written was accessed",
        "AXI4-Lite: no such register, read-only, strobe missing",
        "SLVERR",
    ),
)
"""Cause i is bit i of ERRORS; all but the last one come from the engine."""
ENGINE_CAUSES = len(CAUSES) - 1

REGISTERS = (
    Register("ID", 0x00, "r", f'"DEEP", 0x{ENGINE_ID:08x}'),
    Register("VERSION", 0x04, "r", f"0x{ENGINE_VERSION:08x}"),
    Register(
        "SIZE_0",
        0x08,
        "r",
        "",
        (
            Field("lanes", 0, "lanes", 8),
            Field("log_classes", 8, "log2 classes", 8),
            Field("acc_bits", 16, "accumulator bits", 8),
            Field("banks", 24, "banks", 8),
        ),
    ),
    Register(
        "SIZE_1",
        0x0C,
        "r",
        "",
        (
            Field("log_rows", 0, "log2 rows", 8),
            Field("log_words", 8, "log2 words", 8),
            Field("log_bias_words", 16, "log2 bias words", 8),
            Field("log_layers", 24, "log2 layers", 8),
        ),
    ),
    Register(
        "CONTROL",
        0x10,
        "rw",
        "",
        (
            Field("enable", 0, "take samples"),
            Field("swap", 1, "written 1: swap the banks; read: 0"),
            Field("clear", 2, "written 1: clear the counters; read: 0"),
        ),
    ),
    Register(
        "STATUS",
        0x14,
        "r",
        "",
        (
            Field("busy", 0, "a sample is under way, from its start to its last logit"),
            Field("swapping", 1, "a swap is under way"),
            Field("bank", 2, "the bank that runs"),
            Field("loaded", 3, "a network is loaded in it"),
        ),
    ),
    Register("ERRORS", 0x18, "rw", "the causes above, each cleared by writing 1; `irq_o` while any is set"),
    Register("ADDRESS", 0x1C, "rw", "load port address, 24 bits; counts on with every DATA"),
    Register("DATA", 0x20, "w", "load port word at ADDRESS; waits while a swap is under way"),
    Register("SAMPLES", 0x24, "r", "frames of logits that have left"),
    Register("CYCLES", 0x28, "r", "enabled cycles"),
    Register("STALLS", 0x2C, "r", "of them without a row"),
    Register("MACS", 0x30, "r", "multiply-accumulates; MACS / SAMPLES = K: the budget certificate in silicon"),
)


def offset(name: str) -> int:
    """Byte offset of register ``name``."""
    return next(register.offset for register in REGISTERS if register.name == name)


def field(register: str, name: str) -> Field:
    """Field ``name`` of ``register``."""
    found = next(each for each in REGISTERS if each.name == register)
    return next(each for each in found.fields if each.name == name)


def _camel(name: str) -> str:
    return "".join(part.title() for part in name.split("_"))


def _struct(register: Register) -> str:
    """``register`` as a packed struct, highest field first, what is free named ``zero``."""
    parts, free = [], _WORD
    for each in reversed(register.fields):
        if each.low + each.bits < free:
            parts.append((free - each.low - each.bits, "zero"))
        parts.append((each.bits, each.name))
        free = each.low
    assert free == 0, register.name
    ranges = [f"[{bits - 1}:0]" if bits > 1 else "" for bits, _ in parts]
    width = max(map(len, ranges)) + 1 if any(ranges) else 0
    lines = "".join(f"    logic {each:<{width}}{name};\n" for each, (_, name) in zip(ranges, parts, strict=True))
    return f"  typedef struct packed {{\n{lines}  }} {register.name.lower()}_t;\n"


def _enum(bits: int, members: Sequence[tuple[str, int]], name: str) -> str:
    width, last = max(len(member) for member, _ in members), len(members) - 1
    lines = "".join(
        f"    {member:<{width}} = {bits}'d{value}{',' * (i < last)}\n" for i, (member, value) in enumerate(members)
    )
    return f"  typedef enum logic [{bits - 1}:0] {{\n{lines}  }} {name};\n"


def package_block() -> str:
    """Registers and causes as ``rtl/deepr_pkg.sv`` has them: numbers of registers (offset / 4), their fields, bits."""
    numbers = _enum(_OFFSET_BITS, [(f"Reg{_camel(each.name)}", each.offset // 4) for each in REGISTERS], "register_e")
    causes = _enum(3, [(f"Error{_camel(cause.name)}", i) for i, cause in enumerate(CAUSES)], "error_e")
    constants = (
        f"  localparam logic [31:0] EngineId = 32'h{ENGINE_ID:08x};\n"
        f"  localparam logic [31:0] EngineVersion = 32'h{ENGINE_VERSION:08x};\n"
        f"  localparam int EngineErrors = {ENGINE_CAUSES};\n"
    )
    return "\n".join([numbers, *(_struct(each) for each in REGISTERS if each.fields), causes, constants])


def register_table() -> str:
    """The registers as a table in Markdown."""
    lines = ["| offset | register | access | |", "|---|---|---|---|"]
    for each in REGISTERS:
        fields = "; ".join(
            f"bit {part.low} {part.text}" if part.bits == 1 else f"{part.low + part.bits - 1}:{part.low} {part.text}"
            for part in each.fields
        )
        lines.append(f"| 0x{each.offset:02x} | {each.name} | {each.access} | {each.text or fields} |")
    return "\n".join(lines) + "\n"


def cause_table() -> str:
    """The error causes as a table in Markdown."""
    lines = ["| bit | cause | what happens |", "|---|---|---|"]
    return "\n".join([*lines, *(f"| {i} | {each.detail} | {each.effect} |" for i, each in enumerate(CAUSES))]) + "\n"


def c_header() -> str:
    """Registers, fields and causes as ``deepr_registers.h`` (C99)."""
    defines = [("ENGINE_ID", f"0x{ENGINE_ID:08x}u"), ("ENGINE_VERSION", f"0x{ENGINE_VERSION:08x}u")]
    for each in REGISTERS:
        defines.append((each.name, f"0x{each.offset:02x}u"))
        for part in each.fields:
            name = f"{each.name}_{part.name.upper()}"
            defines += [(f"{name}_SHIFT", f"{part.low}u"), (f"{name}_MASK", f"0x{part.mask:08x}u")]
    defines += [(f"ERROR_{each.name.upper()}", f"0x{1 << i:02x}u") for i, each in enumerate(CAUSES)]
    lines = "".join(f"#define DEEPR_{name} {value}\n" for name, value in defines)
    return (
        "/* Registers of the engine behind AXI4-Lite: byte offsets, fields, error bits. */\n"
        f"#ifndef DEEPR_REGISTERS_H\n#define DEEPR_REGISTERS_H\n\n{lines}\n#endif\n"
    )


_BLOCKS = (
    ("deepr_pkg.sv", "  // registers: ", "", package_block),
    ("README.md", "<!-- registers: ", " -->", register_table),
    ("README.md", "<!-- causes: ", " -->", cause_table),
)


def written(folder: Path = RTL) -> dict[Path, str]:
    """The files of ``folder`` with the blocks that are made here between their ``begin`` and ``end``."""
    texts: dict[Path, str] = {}
    for name, before, after, block in _BLOCKS:
        path = folder / name
        text = texts.get(path) or path.read_text()
        begin, end = f"{before}begin{after}\n", f"{before}end{after}\n"
        pattern = re.compile(f"(?<={re.escape(begin)}).*?(?={re.escape(end)})", re.S)
        texts[path], n = pattern.subn(lambda _, made=block: made(), text)  # type: ignore[misc]
        if n != 1:
            raise ValueError(f"{path}: {n} blocks {begin.strip()!r}, expected one")
    return texts


def main() -> None:
    """Write the blocks anew."""
    for path, text in written().items():
        path.write_text(text)


if __name__ == "__main__":
    main()

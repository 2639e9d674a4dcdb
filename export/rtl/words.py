"""The words of ``rtl/deepr_pkg.sv``: packed structs, enums, constants, read from the file that the hardware reads."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .sources import RTL

_STRUCT = re.compile(r"typedef struct packed \{(.*?)\} (\w+)_t;", re.S)
_MEMBER = re.compile(r"(logic|\w+_t)\s*(?:\[(\d+):0\])?\s*(\w+);")
_ENUM = re.compile(r"typedef enum logic \[\d+:0\] \{(.*?)\} \w+_e;", re.S)
_ITEM = re.compile(r"(\w+)\s*=\s*\d+'d(\d+)")
_CONSTANT = re.compile(r"localparam int (\w+) = (\d+);")


@dataclass(frozen=True)
class Word:
    """A packed struct: ``fields`` are (lowest bit, bits) by name, those of a struct within it as ``outer.inner``."""

    bits: int
    fields: Mapping[str, tuple[int, int]]

    def pack(self, **values: Any) -> Any:
        """The word with the fields of ``values`` (integers or arrays of them; ``outer__inner`` for ``outer.inner``),
        all others 0; negative ones in two's complement. Raises ``KeyError`` for a field that it does not have.
        """
        word: Any = 0
        for name, value in values.items():
            low, bits = self.fields[name.replace("__", ".")]
            word = word | (value & (1 << bits) - 1) << low
        return word

    def get(self, word: Any, name: str) -> Any:
        """Field ``name`` of ``word`` (an integer or an array), unsigned."""
        low, bits = self.fields[name]
        return word >> low & (1 << bits) - 1


@dataclass(frozen=True)
class Package:
    """What the package declares: ``words`` by name without ``_t``, ``constants`` and members of enums by name."""

    words: Mapping[str, Word]
    constants: Mapping[str, int]


def read(path: Path = RTL / "deepr_pkg.sv") -> Package:
    """The package in ``path``. Raises ``ValueError`` where a struct has a member that is not understood."""
    text = re.sub(r"//.*", "", path.read_text())
    words: dict[str, Word] = {}
    for body, name in _STRUCT.findall(text):
        members = _MEMBER.findall(body)
        if len(members) != body.count(";"):
            raise ValueError(f"{path}: {name}_t has a member that is neither logic nor a struct above it")
        fields, bits = {}, 0
        for kind, high, member in reversed(members):
            inner = None if kind == "logic" else words[kind.removesuffix("_t")]
            width = inner.bits if inner else int(high or 0) + 1
            fields[member] = bits, width
            if inner:
                fields |= {f"{member}.{each}": (bits + low, size) for each, (low, size) in inner.fields.items()}
            bits += width
        words[name] = Word(bits, fields)
    constants = {name: int(value) for body in _ENUM.findall(text) for name, value in _ITEM.findall(body)}
    return Package(words, constants | {name: int(value) for name, value in _CONSTANT.findall(text)})


PACKAGE = read()
SLOT, DESCRIPTOR, LOAD_ADDRESS = (PACKAGE.words[name] for name in ("slot", "descriptor", "load_address"))

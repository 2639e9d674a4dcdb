"""One place for every bit: the package against README, Python, C and literal words; each is seen to differ."""

import re
import shutil
import subprocess
from dataclasses import MISSING, fields

import pytest

from deepr_hw.export.rtl import driver as rtl_driver
from deepr_hw.export.rtl import registers as rtl_registers
from deepr_hw.export.rtl import words as rtl_words
from deepr_hw.export.rtl.geometry import WRITE_TO_READ, Geometry
from deepr_hw.export.rtl.sources import RTL, rtl_files

README = (RTL / "README.md").read_text()
IN_WORDS = {
    "slot": "op.last op.mac op.weight address",
    "load_address": "region lane index",
    "descriptor": "zero layer.is_final layer.reads_input layer.x_signed layer.requantize.y_signed "
    "layer.requantize.y_bits layer.requantize.shift last_row",
}


def layout(package: rtl_words.Package, word: str) -> list[tuple[str, int, int]]:
    """(name, highest bit, lowest bit) of the fields of ``word``, from the top."""
    found = package.words[word].fields
    return [(name, sum(found[name]) - 1, found[name][0]) for name in IN_WORDS[word].split()]


def from_readme(word: str) -> list[tuple[str, int, int]]:
    """The same, as the README has it."""
    if word == "slot":
        rows = re.findall(r"^\| (\d+)(?::(\d+))? \| (\w+) \|", README.split("## A row")[1].split("| stage |")[0], re.M)
        return [(("" if name == "address" else "op.") + name, int(high), int(low or high)) for high, low, name in rows]
    text = re.search({"load_address": r"24-bit address `\{(.*?)\}`", "descriptor": r"layer `\{(.*?)\}`"}[word], README)
    assert text
    parts, top = [], 24 if word == "load_address" else 32
    for part, name in zip(text[1].split(", "), IN_WORDS[word].split(), strict=True):
        said = re.fullmatch(r"(\w+?)(?:-1)?(?: ?\[(\d+):0\])?", part)
        assert said, part
        bits = len(said[1]) if set(said[1]) == {"0"} else int(said[2] or 0) + 1
        assert said[1] in (name.split(".")[-1].removeprefix("is_"), "0" * bits)
        parts.append((name, top - 1, top - bits))
        top -= bits
    assert top == 0
    return parts


@pytest.mark.parametrize("word", IN_WORDS)
def test_the_readme_has_the_bits_of_the_package(word: str) -> None:
    assert layout(rtl_words.PACKAGE, word) == from_readme(word)


@pytest.mark.parametrize(
    ("word", "good", "bad"),
    [
        ("slot", "logic [7:0] weight;", "logic [6:0] weight;"),
        (
            "slot",
            "    logic       last;  // the output ends here\n    logic       mac;   // multiply and accumulate\n",
            "    logic       mac;   // multiply and accumulate\n    logic       last;  // the output ends here\n",
        ),
        ("load_address", "logic [3:0]  lane;", "logic [4:0]  lane;"),
        ("descriptor", "logic [4:0] shift;", "logic [5:0] shift;"),
    ],
)
def test_a_bit_moved_in_the_package_is_seen(word: str, good: str, bad: str, tmp_path) -> None:
    text = (RTL / "deepr_pkg.sv").read_text()
    assert text.count(good) == 1
    (tmp_path / "deepr_pkg.sv").write_text(text.replace(good, bad))
    assert layout(rtl_words.read(tmp_path / "deepr_pkg.sv"), word) != from_readme(word)


def test_words_by_hand() -> None:
    assert rtl_words.SLOT.pack(op__last=1, op__mac=1, op__weight=-2, address=5) == 0xFF800005
    assert rtl_words.DESCRIPTOR.pack(layer__is_final=1, layer__requantize__shift=31, last_row=7) == 0x081F0007
    assert rtl_words.LOAD_ADDRESS.pack(region=4, lane=15, index=9) == 0x4F0009
    assert rtl_words.SLOT.get(0xFF800005, "op.weight") == 0xFE
    assert WRITE_TO_READ == 10


def test_a_member_that_is_not_understood_stops_the_reader(tmp_path) -> None:
    (tmp_path / "p.sv").write_text("typedef struct packed {\n  region_e region;\n} x_t;\n")
    with pytest.raises(ValueError, match="x_t has a member that is neither logic nor a struct above it"):
        rtl_words.read(tmp_path / "p.sv")


def test_regions_in_the_readme() -> None:
    constants = rtl_words.PACKAGE.constants
    table = README.split("| region | word |")[1].split("\n\n")[0]
    rows = {int(number): text for number, text in re.findall(r"^\| (\d) \| (\w+)", table, re.M)}
    assert rows == {
        constants["RegionSlot"]: "slot",
        constants["RegionBias"]: "bias",
        constants["RegionLayer"]: "layer",
        constants["RegionFrame"]: "index",
        constants["RegionHighBias"]: "as",
    }


def test_the_parameters_are_those_of_the_geometry() -> None:
    text = (RTL / "deepr_macros.svh").read_text()
    declared = {name: int(value) for name, value in re.findall(r"parameter int (\w+) = (\d+)", text)}
    known = {field.name: field.default for field in fields(Geometry) if field.default is not MISSING}
    assert declared == Geometry(declared["Lanes"], **known).parameters
    assert re.findall(r"\.(\w+)\(\1\)", text) == list(declared)


def test_what_is_written_from_the_register_table_is_up_to_date() -> None:
    for path, text in rtl_registers.written().items():
        assert path.read_text() == text, f"{path.name}: python -m {rtl_registers.__name__}"


@pytest.mark.parametrize(
    ("name", "good", "bad"),
    [
        ("deepr_pkg.sv", "RegStatus  = 6'd5", "RegStatus  = 6'd6"),
        ("deepr_pkg.sv", "ErrorRange     = 3'd2", "ErrorRange     = 3'd3"),
        ("README.md", "| 0x14 | STATUS | r |", "| 0x18 | STATUS | r |"),
        ("README.md", "| 4 | rows or", "| 5 | rows or"),
    ],
)
def test_a_register_changed_by_hand_is_seen(name: str, good: str, bad: str, tmp_path) -> None:
    for each in ("deepr_pkg.sv", "README.md"):
        shutil.copy(RTL / each, tmp_path)
    text = (tmp_path / name).read_text()
    assert text.count(good) == 1
    (tmp_path / name).write_text(text.replace(good, bad))
    assert rtl_registers.written(tmp_path)[tmp_path / name] == text


def test_a_block_that_is_missing_is_named(tmp_path) -> None:
    (tmp_path / "deepr_pkg.sv").write_text("")
    with pytest.raises(ValueError, match="0 blocks '// registers: begin', expected one"):
        rtl_registers.written(tmp_path)


def test_registers_fields_and_errors_do_not_overlap() -> None:
    assert [each.offset for each in rtl_registers.REGISTERS] == list(range(0, 4 * len(rtl_registers.REGISTERS), 4))
    for each in rtl_registers.REGISTERS:
        assert sum(part.mask for part in each.fields) == sum(
            1 << bit for part in each.fields for bit in range(part.low, part.low + part.bits)
        )


def test_c_has_the_registers_of_the_driver(tmp_path) -> None:
    names = (
        "ID",
        "VERSION",
        "SIZE_0",
        "SIZE_1",
        "CONTROL",
        "STATUS",
        "ERRORS",
        "ADDRESS",
        "DATA",
        "SAMPLES",
        "CYCLES",
        "STALLS",
        "MACS",
    )
    expected = {name: getattr(rtl_driver, name) for name in names} | {
        "CONTROL_ENABLE_MASK": rtl_driver.ENABLE,
        "CONTROL_SWAP_MASK": rtl_driver.SWAP,
        "CONTROL_CLEAR_MASK": rtl_driver.CLEAR,
        "STATUS_LOADED_MASK": rtl_driver.LOADED,
        "SIZE_1_LOG_ROWS_SHIFT": 0,
        "SIZE_0_BANKS_MASK": 0xFF000000,
        "ENGINE_ID": 0x44454550,
        "ERROR_SHORT": 1,
        "ERROR_ACCESS": 64,
    }
    (tmp_path / "deepr_registers.h").write_text(rtl_registers.c_header())
    lines = "".join(f'  printf("%lu\\n", (unsigned long)DEEPR_{name});\n' for name in expected)
    (tmp_path / "main.c").write_text(
        f'#include <stdio.h>\n#include "deepr_registers.h"\nint main(void) {{\n{lines}  return 0;\n}}\n'
    )
    command = ["cc", "-std=c99", "-Wall", "-Werror", "-pedantic", "-o", "main", "main.c"]
    subprocess.run(command, cwd=tmp_path, check=True)
    said = subprocess.run([str(tmp_path / "main")], capture_output=True, text=True, check=True).stdout
    assert [int(line) for line in said.split()] == list(expected.values())


def test_the_list_names_every_source() -> None:
    listed = [path.name for path in rtl_files()]
    assert sorted(listed) == sorted(path.name for path in RTL.iterdir() if path.suffix in (".sv", ".svh"))


@pytest.mark.parametrize("path", [*rtl_files(), RTL.parent / "sim" / "deepr_player.sv"], ids=lambda path: path.stem)
def test_style(path) -> None:
    """At most 100 columns; one port, one connection, one register in reset per line."""
    for number, line in enumerate(path.read_text().splitlines(), 1):
        where, code = f"{path.name}:{number}", line.split("//")[0]
        assert len(line) <= 100, f"{where}: {len(line)} columns"
        assert line == line.rstrip(), f"{where}: blanks at the end"
        assert len(re.findall(r"\b(?:input|output)\b", code)) <= 1, f"{where}: two ports"
        assert len(re.findall(r"(?:^|[\s,(])\.\w+", code)) <= 1, f"{where}: two connections"
        assert not re.search(r"\}\s*<=\s*'0;", code), f"{where}: two registers in reset"

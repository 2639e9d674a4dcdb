"""Who may import whom, read from the sources: every module stands under exactly one rule."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
RULES: dict[str, tuple[str, str]] = {  # room -> its modules; the rooms that it may import from, itself always
    "ground": ("version files memory extras console", ""),
    "fixed": ("fixed", ""),
    "affine": ("affine scaling tasks", "fixed"),
    "network": ("ir reference info", "fixed affine"),
    "netfile": ("netfile", "ground fixed affine network"),
    "data": ("data", "ground fixed affine"),
    "engines": ("engines verify", "ground network"),
    "export": ("export.*", "ground fixed affine network netfile engines"),
    "sim": ("sim.* rtl.*", "ground fixed affine network netfile engines export"),
    "compiled": ("jit noise vectors kernels deepr augment", ""),
    "budget": ("config area share partition budget", "ground affine"),
    "sparse": ("connections drawing rewiring epoch", "compiled budget"),
    "learning": ("quantize layers model methods steps runlog checkpoint freeze",
                 "ground fixed affine network data compiled budget sparse"),
    "training": ("runfolder remarks train compare estimator",
                 "ground fixed affine network netfile data compiled budget sparse learning"),
    "figures": ("report compare_figure", "ground affine network netfile"),
    "certify": ("certify certify_training certify_exports evidence",
                "ground network netfile engines learning training export sim"),
    "commands": ("commands.*", "ground affine network netfile data engines budget training figures certify export sim"),
    "shell": ("cli arguments __main__", "ground budget"),
    "package": ("__init__", "ground training"),
}
BY_STRING = {"engines": "export sim", "commands": "export", "shell": "commands", "export": "export", "sim": "sim"}
"""Room -> rooms whose modules it may name in a text, to be imported when they are needed."""
NO_MODULES = {"deepr_hw.checkpoint", "deepr_hw.intnet"}
"""Texts that look like modules: names of formats."""


def modules() -> dict[str, Path]:
    """Path by module: ``ir``, ``commands.whole``, ``export.sizes``; the rooms that are links are walked where they
    lie."""
    found = {}
    for folder in (ROOT / "deepr_hw", *(ROOT / room for room in ("export", "sim", "rtl"))):
        for path in sorted(folder.rglob("*.py")):
            parts = path.relative_to(ROOT).with_suffix("").parts
            found[".".join(parts[1:] if parts[0] == "deepr_hw" else parts)] = path
    return found


MODULES = modules()


def rooms_of(module: str) -> list[str]:
    """The rooms whose rule names ``module``."""
    return [room for room, (names, _) in RULES.items()
            if any(module == name or (name.endswith(".*") and module.startswith(name[:-1])) for name in names.split())]


def uses(path: Path, module: str) -> tuple[set[str], set[str]]:
    """The project's modules that ``path`` imports anywhere, and those that it names in texts."""
    package = ["deepr_hw", *module.split(".")[:-1]]
    imported, named = set(), set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            imported |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            stem = ".".join([*base, *([node.module] if node.module else [])])
            imported |= {stem, *(f"{stem}.{alias.name}" for alias in node.names)}
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value not in NO_MODULES:
            named |= {text.partition(":")[0] for text in re.findall(r"^deepr_hw\.[\w.]+(?::\w+)?$", node.value)}
    return {*map(resolved, imported)} - {None, module}, {*map(resolved, named)} - {None}


def resolved(name: str) -> str | None:
    """``deepr_hw.ir.IntNet`` as the module ``ir``, ``deepr_hw.export.`` as its room's ``export.__init__``."""
    parts = name.rstrip(".").split(".")
    if parts[0] != "deepr_hw" or len(parts) == 1:
        return None
    for n in range(len(parts), 1, -1):
        for module in (".".join(parts[1:n]), ".".join([*parts[1:n], "__init__"])):
            if module in MODULES:
                return module
    return f"no such module: {name}"


def test_every_module_is_there_and_under_exactly_one_rule():
    assert {"ir", "cli", "commands.whole", "export.rtl_image", "sim.runner", "__init__"} < MODULES.keys()
    assert len(MODULES) > 90
    assert {module: rooms for module in MODULES if len(rooms := rooms_of(module)) != 1} == {}
    named = {name for names, _ in RULES.values() for name in names.split() if not name.endswith(".*")}
    assert named <= MODULES.keys(), "a rule names a module that is gone"
    for table in (BY_STRING, {room: imports for room, (_, imports) in RULES.items()}):
        assert {room for rooms in table.values() for room in rooms.split()} | table.keys() <= RULES.keys()


@pytest.mark.parametrize("module", MODULES)
def test_imports_keep_to_the_plan(module):
    (room,) = rooms_of(module)
    imported, named = uses(MODULES[module], module)
    for found, allowed in ((imported, f"{room} {RULES[room][1]}"), (named, BY_STRING.get(room, ""))):
        stray = {other for other in found if rooms_of(other) != [r for r in allowed.split() if r in rooms_of(other)]}
        assert stray == set(), f"{module} of room {room} uses {sorted(stray)}, it may use {allowed or 'nothing'}"


@pytest.mark.parametrize(("text", "imported", "named"), [
    ("import deepr_hw.sim.runner", {"sim.runner"}, set()),
    ("from . import train, reference", {"train", "reference"}, set()),
    ("def f():\n    from .export.sizes import entropy", {"export.sizes"}, set()),
    ("from .nowhere import x", {"no such module: deepr_hw.nowhere", "no such module: deepr_hw.nowhere.x"}, set()),
    ("import_module('deepr_hw.sim.engine:run')", set(), {"sim.engine"}),
    ("import_module(f'deepr_hw.commands.{name}')", set(), {"commands.__init__"}),
    ("import numpy, deepr_hw", set(), set()),
])
def test_every_way_to_import_is_seen(tmp_path, text, imported, named):
    (tmp_path / "m.py").write_text(text)
    assert uses(tmp_path / "m.py", "m") == (imported, named)


def test_the_reference_knows_no_float():
    names = {node.attr for node in ast.walk(ast.parse((ROOT / "deepr_hw/reference.py").read_text()))
             if isinstance(node, ast.Attribute)}
    assert not names & {"float16", "float32", "float64", "rint", "round", "mean", "true_divide"}


def test_no_module_shadows_a_library():
    assert not {module.split(".")[-1] for module in MODULES} & {"onnx", "hls4ml", "numba", "cocotb", "numpy", "rich"}

"""Rooms and who may look into whom: every file stands in exactly one room, and no import runs upward."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

FLOORS = [  # from the ground up; a room may import rooms of lower floors, and itself
    {"version", "files", "kernel", "console", "extras", "memory"},
    {"ir", "devices", "target"},
    {"reference", "data", "testimony"},
    {"sparse_set"},
    {"train"},
    {"estimator", "export"},
    {"sim"},
    {"targets"},
    {"evidence"},
    {"cli"},
    {"__init__", "__main__"},
]
FLOOR = {room: i for i, rooms in enumerate(FLOORS) for room in rooms}
APART = {  # never, though the floors would allow it
    "export": {"train", "sparse_set", "kernel"},
    "sim": {"train", "sparse_set", "kernel", "estimator"},
    "reference": {"data"},
}
BY_NAME = re.compile(r"\"(deepr_hw(?:\.\w+)+)(?::\w+)?\"")


def files():
    for folder in ("deepr_hw", "export", "sim", "rtl"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            parts = path.relative_to(ROOT).parts
            if folder == "deepr_hw" and parts[1] in ("export", "sim", "rtl", "configs"):
                continue  # links to the folders beside
            yield path


def room_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return parts[1] if parts[0] == "deepr_hw" else parts[0]


def imported(path: Path) -> set[str]:
    """Full names of the project's modules (or names in them) that ``path`` imports anywhere, by statement or string."""
    text = path.read_text()
    parts = path.relative_to(ROOT).with_suffix("").parts
    module = parts if parts[0] == "deepr_hw" else ("deepr_hw", *parts)
    package = module if path.name == "__init__.py" else module[:-1]
    package = package[:-1] if path.name == "__init__.py" else package
    found = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else ()
            stem = ".".join([*base, *([node.module] if node.module else [])])
            found |= {f"{stem}.{alias.name}" for alias in node.names}
    texts = {name for name in BY_NAME.findall(text) if (ROOT / Path(*name.split("."))).with_suffix(".py").exists()}
    return found | texts


def rooms_seen(path: Path) -> set[str]:
    names = {name.split(".")[1] for name in imported(path) if name.startswith("deepr_hw.")}
    return {"version" if name == "__version__" else name for name in names}


@pytest.mark.parametrize("path", list(files()), ids=lambda path: str(path.relative_to(ROOT)))
def test_every_file_has_a_room_and_looks_down_only(path):
    room = room_of(path)
    if room == "rtl":
        assert path.name == "__init__.py"
        return
    assert room in FLOOR, f"{path}: no room; say in FLOORS where it belongs"
    assert not {name.split(".")[0] for name in imported(path)} & {"tests", "bench"}, f"{path} leans on tests or benches"
    for seen in rooms_seen(path) - {room}:
        assert seen in FLOOR, f"{path} imports {seen}, which is no room"
        assert FLOOR[seen] < FLOOR[room], f"{path} looks up to {seen}"
        assert seen not in APART.get(room, set()), f"{path} may not see {seen}"


def test_imports_by_string_are_seen(tmp_path):
    assert "deepr_hw.sim.engine" in imported(ROOT / "sim" / "target.py")


def test_the_reference_knows_no_float():
    for path in (ROOT / "deepr_hw" / "reference").glob("*.py"):
        names = {node.attr for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Attribute)}
        assert not names & {"float16", "float32", "float64", "rint", "round", "mean", "true_divide"}, path

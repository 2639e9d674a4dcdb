"""The rooms of the project and who looks into whom, drawn from the imports: docs/rooms.md.

python -m bench.rooms
"""

import ast
from pathlib import Path

from deepr_hw.files import write_text
from tests.test_architecture import FLOORS, ROOT, files, room_of, rooms_seen

PAGE = ROOT / "docs" / "rooms.md"
_HEAD = """\
# The rooms

Made by `python -m bench.rooms` from the imports, as `tests/test_architecture.py` reads them: statements anywhere in a
file, and modules named by string. A room may import rooms of lower floors only. Arrows that a longer path implies are
left out of the picture; the table has all.

Imports that run upward: {upward}

```mermaid
{graph}
```

| floor | room | what it is | imports |
|--:|---|---|---|
{table}
"""
_TOP = len(FLOORS) - 1


def seen() -> dict[str, set[str]]:
    """Room -> the rooms that its files import, from the ground up; ``rtl`` is no Python."""
    found: dict[str, set[str]] = {room: set() for floor in FLOORS for room in sorted(floor)}
    for path in files():
        if (room := room_of(path)) != "rtl":
            found[room] |= rooms_seen(path) - {room}
    return found


def page() -> str:
    """The text of ``docs/rooms.md``."""
    imports = seen()
    floor = {room: i for i, rooms in enumerate(FLOORS) for room in rooms}
    upward = sum(floor[below] >= floor[room] for room, rooms in imports.items() for below in rooms)
    rows = [
        f"| {floor[room]} | `{room}` | {_summary(room)} | {', '.join(sorted(imports[room]))} |"
        for room in sorted(imports, key=lambda room: (-floor[room], room))
    ]
    return _HEAD.format(upward=upward, graph=_graph(imports), table="\n".join(rows))


def _graph(imports: dict[str, set[str]]) -> str:
    lines = ["flowchart TD"]
    for i in reversed(range(_TOP)):
        lines += [f"    subgraph floor{i} [floor {i}]", *(f"        {room}" for room in sorted(FLOORS[i])), "    end"]
    rooms = [room for room in imports if room not in FLOORS[_TOP]]
    lines += [f"    {room} --> {below}" for room in rooms for below in sorted(_shown(room, imports))]
    return "\n".join(lines)


def _shown(room: str, imports: dict[str, set[str]]) -> set[str]:
    """What ``room`` imports and no other room that it imports leads to."""
    return imports[room] - set().union(*(_below(other, imports) for other in imports[room]))


def _below(room: str, imports: dict[str, set[str]]) -> set[str]:
    """Every room that the imports of ``room`` lead to."""
    found, new = set(), imports[room]
    while new:
        found |= new
        new = set().union(*(imports[other] for other in new)) - found
    return found


def _summary(room: str) -> str:
    """The first sentence of the room's docstring, in one line."""
    places = [ROOT / room / "__init__.py", ROOT / "deepr_hw" / room / "__init__.py", ROOT / "deepr_hw" / f"{room}.py"]
    text = ast.get_docstring(ast.parse(next(path for path in places if path.exists()).read_text())) or ""
    return (
        " ".join(text.split("\n\n")[0].split()).split(". ")[0].removesuffix(".").replace("|", "\\|").replace("``", "`")
    )


def main() -> None:
    """Write the page."""
    write_text(PAGE, page())
    print(PAGE.relative_to(Path.cwd()) if PAGE.is_relative_to(Path.cwd()) else PAGE)


if __name__ == "__main__":
    main()

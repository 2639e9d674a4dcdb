"""What a written hls4ml project really holds: the sparse layers, read back from the C++ that a compiler would read.

Needs no hls4ml. The budget certificate counts the connections here, and the engine checks here that the arrays which
the simulation loads (``weights/*.txt``) are those which synthesis sees (``weights/*.h``).
"""

import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

_CONSTANT = re.compile(r"static const unsigned (\w+) = (\d+);")
_CALL = re.compile(r"nnet::(?:sparse|bias)_dense<[^>]*config(\d+)>\(([^)]*)\);")
_ROLES = ("weight", "in_idx", "out_idx", "out_base")


@dataclass(frozen=True)
class CppLayer:
    """One sparse layer of a project.

    constants : the integers of its configuration struct: n_in, n_out, n_connections, n_multipliers, n_steps, window
    names     : name of each array in the C++ by role: weight, in_idx, out_idx, out_base, bias
    arrays    : their float64 values by role; exact, as written in the header; empty where there is none
    """

    index: int
    constants: dict[str, int]
    names: dict[str, str]
    arrays: dict[str, np.ndarray]

    @property
    def n_connections(self) -> int:
        """Weights in the array (not: the constant that announces them)."""
        return self.arrays["weight"].size

    @cached_property
    def in_idx(self) -> np.ndarray:
        """(K,) int64, input of each connection."""
        return self.arrays["in_idx"].astype(np.int64)

    @cached_property
    def out_idx(self) -> np.ndarray:
        """(K,) int64, output of each connection: the first one of its multiplier plus the offset."""
        multiplier = np.arange(self.n_connections) // max(1, self.constants.get("n_steps", 1))
        return (self.arrays["out_base"][multiplier] + self.arrays["out_idx"]).astype(np.int64)


def read_array(project_dir: Path, name: str) -> np.ndarray:
    """Values of array ``name`` in ``firmware/weights``, float64.

    Raises ``ValueError`` when the header's array is not as long as it says, or when the text file beside it, which the
    simulation loads, holds anything else; ``OSError`` when the header is missing.
    """
    header = Path(project_dir) / "firmware" / "weights" / f"{name}.h"
    found = re.search(rf"\w+ {name}\[(\d+)\] = \{{(.*?)\}};", header.read_text(), re.DOTALL)
    if found is None:
        raise ValueError(f"{header}: no definition of {name}")
    tokens = found[2].split(", ") if found[2] else []
    if len(tokens) != int(found[1]):
        raise ValueError(f"{header}: {name} is declared with {found[1]} values and has {len(tokens)}")
    text = header.with_suffix(".txt")
    if text.exists() and text.read_text() != found[2]:
        raise ValueError(f"{text}: differs from {header.name}, so simulation and synthesis would see different values")
    return np.array([float(token) for token in tokens])


def read_structs(project_dir: Path, kind: str) -> dict[int, dict[str, int]]:
    """Integer constants of the configuration structs derived from ``nnet::<kind>`` by layer index."""
    struct = re.compile(rf"struct config(\d+) : nnet::{kind} \{{(.*?)^\}};", re.DOTALL | re.MULTILINE)
    text = (Path(project_dir) / "firmware" / "parameters.h").read_text()
    return {
        int(index): {name: int(value) for name, value in _CONSTANT.findall(body)}
        for index, body in struct.findall(text)
    }


def array_bits(project_dir: Path, name: str) -> int:
    """Bits of array ``name`` as declared: its length times the width of its ap or ac type.

    Raises ``ValueError`` when header or type don't say.
    """
    firmware = Path(project_dir) / "firmware"
    declared = re.search(rf"(\w+) {name}\[(\d+)\]", (firmware / "weights" / f"{name}.h").read_text())
    types = (firmware / "defines.h").read_text()
    width = declared and re.search(rf"typedef a[pc]_\w+<(\d+)[^>]*> {declared[1]};", types)
    if not declared or not width:
        raise ValueError(f"{firmware}: can't tell the size of the array {name}")
    return int(declared[2]) * int(width[1])


def read_layers(project_dir: Path) -> list[CppLayer]:
    """The sparse layers of a project in the order of evaluation.

    Raises ``ValueError`` naming the file and what is wrong when calls, constants and arrays contradict each other,
    ``OSError`` when the folder holds no project.
    """
    firmware = Path(project_dir) / "firmware"
    constants = read_structs(project_dir, "sparse_dense_config")
    tops = [path for path in sorted(firmware.glob("*.cpp")) if _CALL.search(path.read_text())]
    if len(tops) != 1:
        raise ValueError(f"{firmware}: expected one .cpp file that calls sparse layers, found {len(tops)}")
    layers = []
    for index, arguments in _CALL.findall(tops[0].read_text()):
        names = arguments.split(", ")[2:]
        roles = (*_ROLES, "bias") if len(names) > 1 else ("bias",)
        by_role = dict(zip(roles, names, strict=True))
        arrays = {role: np.zeros(0) for role in _ROLES}
        arrays |= {role: read_array(project_dir, name) for role, name in by_role.items()}
        layer = CppLayer(int(index), constants[int(index)], by_role, arrays)
        _check(layer, firmware / "parameters.h")
        layers.append(layer)
    return layers


def _check(layer: CppLayer, where: Path) -> None:
    """Raise ``ValueError`` unless constants and arrays of ``layer`` describe one set of distinct connections."""
    constants = layer.constants
    expected = {
        "weight": "n_connections",
        "in_idx": "n_connections",
        "out_idx": "n_connections",
        "out_base": "n_multipliers",
        "bias": "n_out",
    }
    for role, name in expected.items():
        if layer.arrays[role].size != constants.get(name, 0):
            raise ValueError(
                f"{where}: config{layer.index} says {name} = {constants.get(name, 0)}, the array "
                f"{role} holds {layer.arrays[role].size}"
            )
    if layer.n_connections:
        for name, values in (("n_in", layer.in_idx), ("n_out", layer.out_idx)):
            if values.min() < 0 or values.max() >= constants[name]:
                raise ValueError(
                    f"{where}: config{layer.index} says {name} = {constants[name]}, an index is {values.max()}"
                )
        if np.unique(layer.out_idx * constants["n_in"] + layer.in_idx).size != layer.n_connections:
            raise ValueError(f"{where}: layer {layer.index} holds a connection twice")


def count_connections(project_dir: Path) -> int:
    """K over all sparse layers, counted in the arrays of the C++. Raises as ``read_layers``."""
    return sum(layer.n_connections for layer in read_layers(project_dir))

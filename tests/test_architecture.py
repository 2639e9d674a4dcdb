"""Who may import whom, read from the sources."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
CORE = {"affine", "fixed", "ir", "files", "version"}
INTEGER = CORE | {"reference", "netfile", "engines"}
LEARNING = {"connections", "kernels", "deepr", "quantize", "layers", "model", "config", "data", "checkpoint"}
TRAINING = (*LEARNING, "train", "freeze", "share", "estimator", "compare")

ALLOWED = {  # module -> the project's modules it may import; rooms end in a dot
    "fixed": set(),
    "files": set(),
    "affine": {"fixed"},
    "ir": {"affine", "fixed"},
    "reference": {"fixed", "ir"},
    "netfile": CORE,
    "engines": {"ir"},
    "scaling": {"affine", "fixed"},
    "data": CORE | {"scaling"},
    "export.": INTEGER | {"export."},
    "sim.": INTEGER | {"export.", "sim."},
}
FORBIDDEN = {  # what training may never see
    **{name: {"export.", "sim.", "cli", "commands", "verify"} for name in TRAINING},
    "cli": {"export.", "sim."},
}


def modules():
    for path in sorted(ROOT.glob("deepr_hw/*.py")):
        yield path.stem, path
    for room in ("export", "sim"):
        for path in sorted((ROOT / room).rglob("*.py")):
            yield f"{room}.{path.stem}", path


def imports(path: Path, module: str) -> set[str]:
    """The project's modules that ``path`` imports anywhere, as ``fixed`` or ``export.``."""
    found = set()
    package = ["deepr_hw", *module.split(".")[:-1]]
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            stem = ".".join([*base, *([node.module] if node.module else [])])
            names = [f"{stem}.{alias.name}" for alias in node.names] if stem in ("deepr_hw", "deepr_hw.export",
                                                                               "deepr_hw.sim") else [stem]
        else:
            continue
        for name in names:
            parts = name.split(".")
            if parts[0] == "deepr_hw" and len(parts) > 1:
                name = "version" if parts[1] == "__version__" else parts[1]
                found.add(f"{name}." if name in ("export", "sim") else name)
    return found


@pytest.mark.parametrize(("module", "path"), list(modules()), ids=lambda value: value if isinstance(value, str) else "")
def test_imports_keep_to_the_plan(module, path):
    room = module.split(".")[0] + "." if "." in module else module
    seen = imports(path, module)
    if room in ALLOWED:
        assert seen <= ALLOWED[room], f"{module} imports {sorted(seen - ALLOWED[room])}"
    assert not seen & FORBIDDEN.get(room, set())


def test_the_reference_knows_no_float():
    names = {node.attr for node in ast.walk(ast.parse((ROOT / "deepr_hw/reference.py").read_text()))
             if isinstance(node, ast.Attribute)}
    assert not names & {"float16", "float32", "float64", "rint", "round", "mean", "true_divide"}


def test_no_module_shadows_a_library():
    assert not {path.stem for _, path in modules()} & {"onnx", "hls4ml", "numba", "cocotb", "numpy", "rich"}

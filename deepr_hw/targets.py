"""The targets there are: ours, and those of installed packages that declare an entry point in ``deepr_hw.targets``."""

import importlib
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

from . import extras
from .target import Engine, Function, Target

GROUP = "deepr_hw.targets"
"""Entry points of this group name a ``Target`` each."""

BUILT_IN = (
    "deepr_hw.export.onnx.target:TARGET",
    "deepr_hw.export.hls4ml.target:TARGET",
    "deepr_hw.sim.target:TARGET",
    "deepr_hw.export.compact.target:TARGET",
)

TARGETS: dict[str, Target] = {}
"""Target by name, in the order in which ``run`` makes them."""

ENGINES: dict[str, Engine] = {}
"""Engine by name, encoders included."""


BROKEN: list[str] = []
"""Why an installed package's target can't be used, one line each."""


def register(target: Target) -> Target:
    """Make ``target`` and its engines known. Raises ``ValueError`` for a name that is taken."""
    if target.name in TARGETS:
        raise ValueError(f"target {target.name!r}: there is one of this name")
    for engine in target.engines:
        if engine.name in ENGINES:
            raise ValueError(f"target {target.name!r}: there is an engine {engine.name!r} already")
    TARGETS[target.name] = target
    ENGINES.update({engine.name: engine for engine in target.engines})
    return target


def fetch(what: str, function: Function, options: dict[str, Any] | None = None) -> Any:
    """``function``, imported if it is given by name; ``what`` needs it.

    Raises ``MissingToolError`` saying which package or program it lacks.
    """
    if callable(function):
        return function
    path, name = function.split(":")
    try:
        module = importlib.import_module(path)
    except ModuleNotFoundError as error:
        raise extras.missing(what, error) from None
    if options is not None and (why := getattr(module, "missing_program", lambda options: None)(options)):
        raise extras.MissingToolError(f"{what}: {why}")
    return getattr(module, name)


def get_engine(name: str, **wanted: Any) -> Any:
    """The function of engine ``name``: ``run(net, x, workdir)``; ``wanted`` (``lanes``, ``waves``, ``stream_bytes``)
    goes to engines that accept it.

    Raises ``ValueError`` for an unknown name, ``MissingToolError`` saying which package or program is missing.
    """
    if name not in ENGINES:
        raise ValueError(f"engine {name!r}: expected one of {', '.join(ENGINES)}")
    engine = ENGINES[name]
    options = dict(engine.options)
    run = fetch(f"engine {name!r}", engine.run, options)
    options |= {key: value for key, value in wanted.items() if value is not None and key in engine.accepts}
    return lambda net, x, workdir: run(net, x, Path(workdir), **options)


def _collect() -> None:
    for path in BUILT_IN:
        module, name = path.split(":")
        register(getattr(importlib.import_module(module), name))
    for entry in entry_points(group=GROUP):
        try:
            register(_checked(entry.load()))
        except Exception as error:  # somebody else's fault may not keep anybody from working
            owner = entry.dist.name if entry.dist else "an unnamed package"
            BROKEN.append(f"entry point {entry.name} of {owner}: {type(error).__name__}: {error}")


def _checked(target: object) -> Target:
    if not isinstance(target, Target):
        raise TypeError(f"{type(target).__name__} is no Target")
    return target


_collect()

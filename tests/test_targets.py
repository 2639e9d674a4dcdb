"""Every function that a registered target names can be had."""

import pytest

from deepr_hw.targets import ENGINES, TARGETS, fetch


def named():
    for target in TARGETS.values():
        for field in ("export", "sizes", "examine"):
            if (function := getattr(target, field)) is not None:
                yield f"{target.name}.{field}", function
    yield from ((f"engine {engine.name}", engine.run) for engine in ENGINES.values())


@pytest.mark.parametrize(("what", "function"), list(named()), ids=lambda value: str(value))
def test_every_function_that_a_target_names_exists(what, function):
    assert callable(fetch(what, function))


def test_a_function_that_does_not_exist_is_no_silence():
    with pytest.raises(AttributeError):
        fetch("nothing", "deepr_hw.export.onnx.count:nothing")
    with pytest.raises(ModuleNotFoundError):
        fetch("nothing", "deepr_hw.export.nothing:examine")

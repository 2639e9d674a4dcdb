"""Which simulators the tests use: a missing one is skipped here and fails in CI."""

import os

import pytest

from deepr_hw.sim import open_tools, runner


def need(simulator: str) -> None:
    why = runner.missing(simulator)
    if why and os.environ.get("CI") == "true":
        pytest.fail(why)
    if why:
        pytest.skip(why)


def need_tool(tool: str) -> None:
    why = open_tools.missing(tool)
    if why and os.environ.get("CI") == "true":
        pytest.fail(why)
    if why:
        pytest.skip(why)

"""Which simulators the tests use: a missing one is skipped here and fails in CI."""

import os

import pytest

from deepr_hw.sim import runner


def need(simulator: str) -> None:
    why = runner.missing(simulator)
    if why and os.environ.get("CI") == "true":
        pytest.fail(why)
    if why:
        pytest.skip(why)

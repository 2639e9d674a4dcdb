"""Functional coverage of the engine: situations that the benches must have visited, seen inside the design."""

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock

CAUSES = (
    "short frame",
    "long frame",
    "load out of range",
    "load while running",
    "descriptors overrun",
    "logit misplaced",
)


def _points(dut: Any, geometry: Mapping[str, int]) -> dict[str, Callable[[], bool]]:
    """Name -> whether it holds in this cycle."""
    sequencer, collect, write = dut.u_sequencer, dut.u_collect, dut.u_writeback

    def on(handle: Any) -> bool:
        return handle.value.is_resolvable and int(handle.value) != 0

    def value(handle: Any) -> int:
        return int(handle.value) if handle.value.is_resolvable else -1

    def bit(i: int) -> bool:
        return bool(value(dut.error_o) >> i & 1 == 1)

    points: dict[str, Callable[[], bool]] = {name: partial(bit, i) for i, name in enumerate(CAUSES)}
    return points | {
        "both input buffers full": lambda: value(dut.u_input.full_q) == 3,
        "input waits for the lanes": lambda: on(dut.act_we) and on(dut.s_valid_i) and not on(dut.s_ready_o),
        "output waits": lambda: on(dut.m_valid_o) and not on(dut.m_ready_i),
        "two samples under way": lambda: value(sequencer.inflight_q) == 2,
        "a sample follows without a gap": lambda: on(sequencer.start) and on(sequencer.sample_end),
        "a sample ends and the next is not there": lambda: on(sequencer.sample_end) and not on(sequencer.start),
        "swap while a row runs": lambda: on(dut.swap_i) and on(dut.running),
        "swap while idle": lambda: on(dut.swap_i) and not on(dut.running),
        "load waits for a swap": lambda: on(dut.load_valid_i) and not on(dut.load_ready_o),
        "load while the other bank runs": lambda: on(dut.load_valid_i) and on(dut.running),
        "last row of the slot memory": lambda: on(dut.running) and value(dut.row) == geometry["rows"] - 1,
        "last descriptor": lambda: value(sequencer.index_q) == geometry["layers"] - 1,
        "results behind the second input buffer": lambda: (
            on(dut.act_we) and value(write.word_q) > geometry["words"] // 2
        ),
        "several sums held for the collector": lambda: value(collect.valid_q).bit_count() > 1,
        "all lanes end together": lambda: value(dut.last_s2) == (1 << geometry["lanes"]) - 1,
    }


class Coverage:
    """Notes the points visited, one name per line in ``path`` (appended: several benches may share it)."""

    def __init__(self, dut: Any, geometry: Mapping[str, int], path: Path) -> None:
        self.path, self.left = path, _points(dut, geometry)

    def sample(self) -> None:
        """Look at this cycle."""
        seen = [name for name, holds in self.left.items() if holds()]
        for name in seen:
            del self.left[name]
        if seen:
            with open(self.path, "a") as file:
                file.write("".join(f"{name}\n" for name in seen))


def missing(path: Path) -> list[str]:
    """Points that no bench visited."""
    seen = set(path.read_text().splitlines())
    return [name for name in _points(MagicMock(), {}) if name not in seen]  # the names alone need no design

"""The area law against engines that are really laid out, and the budget that follows from it."""

import pytest

from deepr_hw.devices import area
from deepr_hw.export.rtl.schedule import required_geometry, schedule
from deepr_hw.sparse_set.budget import make_partition
from deepr_hw.sparse_set.share import chain
from deepr_hw.train.config import BudgetConfig

from .mnist_shaped import BUDGET, WIDTHS, mnist_shaped, shaped


@pytest.mark.parametrize("lanes", area.LANES)
def test_memories_and_cycles_are_the_schedules(lanes: int) -> None:
    plan = schedule(mnist_shaped(lanes), lanes)
    geometry = required_geometry(mnist_shaped(lanes), plan)
    need = area.memories(WIDTHS, BUDGET, lanes)
    assert (need.rows, need.words) == (geometry.rows, geometry.words)
    assert geometry.bias_words <= need.bias_words <= 2 * geometry.bias_words
    assert area.cycles(BUDGET, lanes) == plan.least_rows


@pytest.mark.parametrize(
    ("lanes", "lut", "bram"), [(1, 879, 14), (2, 1055, 20), (4, 1520, 24), (8, 2441, 40), (16, 5205, 96)]
)
def test_the_law_meets_the_counts_of_yosys(lanes: int, lut: int, bram: int) -> None:
    """Counted by ``python -m bench.area``; the law is off by some percent."""
    law = area.predict(WIDTHS, BUDGET, lanes)
    assert law.lut == pytest.approx(lut, rel=0.05)
    assert law.bram == bram


@pytest.mark.parametrize(("device", "lanes"), [("ecp5-25k", 1), ("ecp5-25k", 8), ("ecp5-45k", 8), ("ecp5-85k", 16)])
def test_a_network_of_the_whole_budget_fits(device: str, lanes: int) -> None:
    k = area.budget(device, lanes, WIDTHS)
    middle, last = min(k // 4, 20000), min(k // 10, 800)
    net = shaped(WIDTHS, (k - middle - last, middle, last), lanes)
    geometry = required_geometry(net, schedule(net, lanes))
    need = area.Memories(geometry.rows, geometry.words, geometry.bias_words)
    assert area.memory_area(need, lanes, geometry.acc_bits)[0] <= area.FABRICS[device].bram


def test_more_device_more_connections() -> None:
    budgets = [area.budget(device, 8, WIDTHS) for device in area.FABRICS]
    assert budgets == sorted(budgets)
    assert budgets[0] >= 3552


def test_device_and_lanes_give_the_budget_of_training() -> None:
    partition = make_partition(BudgetConfig(device="ecp5-25k", lanes=8), chain(WIDTHS))
    assert partition.n_connections <= area.budget("ecp5-25k", 8, WIDTHS)


@pytest.mark.parametrize(
    ("device", "lanes", "message"),
    [("ecp6", 8, "device 'ecp6'"), ("ecp5-25k", 3, "lanes = 3"), ("ecp5-25k", 16, "does not fit")],
)
def test_what_has_no_budget_is_named(device: str, lanes: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        area.budget(device, lanes, (60000, 3000, 10) if lanes == 16 else WIDTHS)

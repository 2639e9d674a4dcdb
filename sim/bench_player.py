"""cocotb bench that only gives the clock: ``deepr_player`` plays the files."""

import os
from typing import Any

from cocotb.clock import Clock
from cocotb.triggers import ClockCycles, RisingEdge, with_timeout

from .streams import Scoreboard, scored


@scored
async def play(dut: Any, score: Scoreboard) -> None:
    """Reset, wait for the player to end, no error flag; time-out after DEEPR_CYCLES cycles."""
    Clock(dut.clk_i, 10, unit="ns").start()
    dut.rst_ni.value = 0
    await ClockCycles(dut.clk_i, 3)
    dut.rst_ni.value = 1
    await with_timeout(RisingEdge(dut.done_o), 10 * int(os.environ["DEEPR_CYCLES"]), "ns")
    score.agree(int(dut.errors_o.value), 0, "error flags or differences, see the log")
    score.finish(1)  # the logits are counted where the player's file is read

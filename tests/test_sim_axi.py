"""The AXI shell under an independent bus model."""

import pytest

from deepr_hw.sim import runner

from .simulators import need
from .test_sim_benches import case


@pytest.mark.parametrize(
    ("simulator", "lanes", "stream_bytes", "seed"),
    [
        ("icarus", 1, 8, 0),
        ("icarus", 4, 4, 2),
        ("icarus", 8, 1, 3),
        ("icarus", 16, 8, 3),
        ("icarus", 2, 1, 1),
        ("icarus", 8, 8, 2),
        ("verilator", 4, 8, 3),
    ],
)
def test_axi(simulator: str, lanes: int, stream_bytes: int, seed: int, tmp_path) -> None:
    need(simulator)
    geometry = case(tmp_path, lanes, seed)
    made = runner.build(
        simulator, "deepr_axi", runner.rtl_sources(), geometry.parameters | {"StreamBytes": stream_bytes}
    )
    runner.run(
        made,
        "deepr_hw.sim.bench_axi",
        tmp_path,
        env={"DEEPR_CASE": str(tmp_path / "case.json"), "DEEPR_STREAM_BYTES": str(stream_bytes)},
    )

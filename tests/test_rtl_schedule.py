import dataclasses
import json

import numpy as np
import pytest

from deepr_hw import reference
from deepr_hw.export.rtl import image as rtl_image
from deepr_hw.export.rtl.geometry import LANE_COUNTS, WRITE_TO_READ, Geometry
from deepr_hw.export.rtl.schedule import schedule
from deepr_hw.ir import Budget, IntNet, sparse_linear
from deepr_hw.ir.fixed import Format
from tests.oracles import rtl_model

from .mnist_shaped import mnist_shaped
from .random_nets import extreme_net, random_codes, random_net


def connections(net: IntNet) -> list[list[tuple[int, int, int]]]:
    return [
        list(zip(layer.matrix.out_idx.tolist(), layer.matrix.in_idx.tolist(), layer.matrix.code.tolist(), strict=True))
        for layer in net.layers
    ]


@pytest.mark.parametrize("lanes", LANE_COUNTS)
@pytest.mark.parametrize("seed", range(40))
def test_the_image_holds_exactly_the_connections(seed: int, lanes: int) -> None:
    net = random_net(seed)
    image = rtl_image.build(net, lanes)
    assert rtl_image.decode(image) == connections(net)
    assert int((image.slots >> 30 & 1).sum()) == net.n_connections


@pytest.mark.parametrize("lanes", LANE_COUNTS)
@pytest.mark.parametrize("seed", range(40))
def test_walking_the_rows_gives_the_reference(seed: int, lanes: int) -> None:
    net = random_net(seed)
    x = random_codes(net, 5, seed)
    image = rtl_image.build(net, lanes)
    np.testing.assert_array_equal([rtl_model.run(image, row) for row in x], reference.logits(net, x))


def test_a_read_one_row_too_early_is_a_hazard() -> None:
    """A chain of single connections: each layer has to wait for the one before, not one row longer."""
    fmt = Format(8, False, 0)
    layers = [
        sparse_linear(1, 1, [0], [0], [1], None, fmt, Format(8, True, 0), fmt if i < 2 else None) for i in range(3)
    ]
    net = IntNet(tuple(layers), Budget("per_layer", (1, 1, 1)))
    image = rtl_image.build(net, 4)
    assert image.plan.n_rows == 2 * WRITE_TO_READ + 1
    assert rtl_model.run(image, np.array([77]))[0] == 77
    slots = image.slots.copy()
    row = image.plan.layers[1].jobs[0].end
    slots[:, [row - 1, row]] = slots[:, [row, row - 1]]
    with pytest.raises(ValueError, match=f"row {row - 1}, lane 0: reads byte .* too early"):
        rtl_model.run(dataclasses.replace(image, slots=slots), np.array([77]))


@pytest.mark.parametrize("lanes", LANE_COUNTS)
def test_balanced_lanes_never_stall(lanes: int) -> None:
    plan = schedule(mnist_shaped(lanes), lanes)
    assert plan.interval == plan.n_rows  # loading and unloading take no time of their own
    assert plan.utilization >= (0.90 if lanes == 16 else 0.99)


def test_an_output_that_nobody_reads_costs_nothing_and_an_empty_one_a_slot() -> None:
    fmt = Format(8, False, 0)
    hidden = sparse_linear(2, 3, [0, 1], [0, 0], [1, 1], [0, 5, 6], fmt, Format(8, True, 0), fmt)
    final = sparse_linear(3, 1, [0, 1], [0, 0], [1, 1], None, fmt, Format(8, True, 0), None)
    plan = schedule(IntNet((hidden, final), Budget("per_layer", (2, 2))), 1)
    assert [(job.output, job.connections.size) for job in plan.layers[0].jobs] == [(1, 0), (0, 2)]
    assert plan.layers[0].last_row == 2


@pytest.mark.parametrize(
    ("name", "value"),
    [("rows", 256), ("words", 256), ("bias_words", 64), ("layers", 2), ("classes", 8), ("acc_bits", 16)],
)
def test_an_engine_too_small_is_named(name: str, value: int) -> None:
    net = mnist_shaped(8)
    geometry = dataclasses.replace(rtl_image.build(net, 8).geometry, **{name: value})
    with pytest.raises(ValueError, match=f"{name} = {value}: the network needs"):
        rtl_image.build(net, 8, geometry)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"lanes": 3}, "lanes = 3: expected one of 1, 2, 4, 8, 16"),
        ({"rows": 100}, "rows = 100: must be a power of two"),
        ({"classes": 4}, "classes = 4: must be at least lanes = 8"),
        ({"acc_bits": 34}, "acc_bits = 34: must lie in 16..33"),
        ({"banks": 3}, "banks = 3: must be 1 or 2"),
    ],
)
def test_bad_parameters_are_named(change: dict[str, int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Geometry(**{"lanes": 8} | change)


@pytest.mark.parametrize("lanes", [1, 4, 16])
@pytest.mark.parametrize("seed", range(60))
def test_walking_the_rows_gives_the_reference_at_the_limits(seed: int, lanes: int) -> None:
    net = extreme_net(seed)
    x, image = random_codes(net, 4, seed), rtl_image.build(net, lanes)
    assert rtl_image.decode(image) == connections(net)
    np.testing.assert_array_equal([rtl_model.run(image, row) for row in x], reference.logits(net, x))


def test_a_full_accumulator_with_the_half_of_the_rounding_takes_33_bits() -> None:
    fmt = Format(8, False, 0)
    y_format = Format(8, False, -24)
    hidden = sparse_linear(1, 1, [0], [0], [127], [2**31 - 1 - 255 * 127], fmt, Format(8, True, 0), y_format)
    final = sparse_linear(1, 1, [0], [0], [1], None, y_format, Format(8, True, 0), None)
    image = rtl_image.build(IntNet((hidden, final), Budget("per_layer", (1, 1))), 1)
    assert image.geometry.acc_bits == 33
    assert rtl_model.run(image, np.array([255]))[0] == 128
    assert (4 << 20, 2**31 - 1 - 255 * 127 + 2**23) in image.writes


def test_export_writes_the_memories_and_a_manifest(tmp_path) -> None:
    net = mnist_shaped(4)
    done = rtl_image.export(net, tmp_path / "rtl", lanes=4)
    assert done["n_connections"] == done["n_slots"] == 3552
    found = [path for path in (tmp_path / "rtl").rglob("*") if path.is_file()]
    assert sorted(str(path.relative_to(tmp_path / "rtl")) for path in found) == done["files"]
    assert json.loads((tmp_path / "rtl/manifest.json").read_text())["cycles_per_sample"] == 888
    image = rtl_image.build(net, 4)
    slots = [int(line, 16) for line in (tmp_path / "rtl/slots_2.hex").read_text().split()]
    assert slots == image.slots[2].tolist()
    writes = [
        tuple(int(word, 16) for word in line.split()) for line in (tmp_path / "rtl/load.txt").read_text().splitlines()
    ]
    assert writes == image.writes

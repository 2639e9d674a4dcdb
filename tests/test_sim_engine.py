"""The engine in both simulators, bit for bit and cycle for cycle."""

import dataclasses

import numpy as np
import pytest

from deepr_hw import reference
from deepr_hw.export.rtl import image as rtl_image
from deepr_hw.export.rtl import schedule as rtl_schedule
from deepr_hw.export.rtl import timing as rtl_timing
from deepr_hw.export.rtl.schedule import schedule
from deepr_hw.sim import engine, runner

from .mnist_shaped import mnist_shaped
from .random_nets import extreme_net, random_codes, random_net
from .simulators import need

ENGINES = [
    ("icarus", 1),
    ("icarus", 2),
    ("icarus", 4),
    ("icarus", 8),
    ("icarus", 16),
    ("verilator", 2),
    ("verilator", 8),
]
N = 12


def build(net, lanes):
    return rtl_image.build(net, lanes, engine.common_geometry(net, lanes))


def compare(net, image, x, played) -> None:
    logits = reference.logits(net, x)
    np.testing.assert_array_equal(played.logits, logits)
    np.testing.assert_array_equal(played.winner, logits.argmax(axis=1))
    assert played.macs == len(x) * net.n_connections
    assert played.samples == len(x)
    assert played.cycles - played.stalls == len(x) * image.plan.n_rows  # the rest waited for a stream
    assert played.done[-1] - played.taken[0] <= played.cycles <= played.done[-1]


@pytest.mark.parametrize(("simulator", "lanes"), ENGINES)
@pytest.mark.parametrize("seed", range(5))
def test_bits_and_cycles(simulator: str, lanes: int, seed: int, tmp_path) -> None:
    need(simulator)
    net = random_net(5 * lanes + seed)
    x, image = random_codes(net, N), build(net, lanes)
    played = engine.play(image, x, tmp_path, simulator)
    compare(net, image, x, played)
    assert played.first[0] - played.taken[0] == image.plan.latency
    assert (played.done[-1] - played.done[-3]) / 2 == image.plan.interval


@pytest.mark.parametrize(
    ("simulator", "lanes", "seed"),
    [
        *(("icarus", (1, 2, 4, 8, 16)[seed % 5], seed) for seed in (*range(12), 17, 26, 51)),
        ("verilator", 4, 17),
        ("verilator", 8, 26),
    ],
)
def test_limits_on_the_engine_that_is_shipped(simulator: str, lanes: int, seed: int, tmp_path) -> None:
    """Shifts up to 31, sums at both ends of int32, empty layers, 300 units, 6 layers: parameters just large enough."""
    need(simulator)
    net = extreme_net(seed)
    x, image = random_codes(net, 6, seed), rtl_image.build(net, lanes)
    compare(net, image, x, engine.play(image, x, tmp_path, simulator))


def test_the_limits_reach_33_bits_and_both_ends_of_int32() -> None:
    nets = [extreme_net(seed) for seed in (*range(12), 17, 26, 51)]
    assert {rtl_image.build(net, 4).geometry.acc_bits for net in nets} >= {17, 32, 33}
    ranges = [layer.acc_range for net in nets for layer in net.layers]
    assert min(low for low, _ in ranges) == -(2**31)
    assert max(high for _, high in ranges) == 2**31 - 1
    assert max(layer.shift - layer.acc_bits for net in nets for layer in net.layers[:-1]) > 0
    assert {layer.matrix.n_connections for net in nets for layer in net.layers} >= {0}
    assert {len(net.layers) for net in nets} >= {1, 6}


@pytest.mark.parametrize(("simulator", "lanes", "seed"), [("icarus", 4, 17), ("verilator", 4, 17)])
def test_the_limits_see_a_shift_cut_one_too_low(simulator, lanes, seed, tmp_path, monkeypatch) -> None:
    need(simulator)
    net = extreme_net(seed)
    for module in (rtl_schedule, rtl_image):
        monkeypatch.setattr(module, "engine_shift", lambda layer: min(layer.shift, layer.acc_bits - 1))
    x, image = random_codes(net, 6, seed), rtl_image.build(net, lanes)
    played = engine.play(image, x, tmp_path, simulator)
    assert np.count_nonzero(played.logits != reference.logits(net, x))


@pytest.mark.parametrize("stream_bytes", [1, 4, 8])
@pytest.mark.parametrize(
    ("simulator", "lanes", "seed"),
    [*(("icarus", lanes, seed) for lanes in (1, 2, 4, 8, 16) for seed in (0, 1, 2)), ("verilator", 8, 4)],
)
def test_cycles_on_streams_of_every_width(simulator: str, lanes: int, seed: int, stream_bytes: int, tmp_path) -> None:
    """Every sample leaves in the cycle that the formula says, and on the whole takes the interval."""
    need(simulator)
    net = random_net(5 * lanes + seed)
    x, image = random_codes(net, 20), build(net, lanes)
    played = engine.play(image, x, tmp_path, simulator, stream_bytes=stream_bytes)
    np.testing.assert_array_equal(played.logits, reference.logits(net, x))
    expected = np.array(rtl_timing.done_cycles(image.plan, stream_bytes, len(x)))
    np.testing.assert_array_equal(played.done - played.done[0], expected - expected[0])


@pytest.mark.parametrize("lanes", [1, 2, 4, 8, 16])
@pytest.mark.parametrize("seed", range(20))
def test_the_walk_gives_the_formula_where_no_stream_is_narrow(seed: int, lanes: int) -> None:
    plan = schedule(random_net(seed), lanes)
    done = rtl_timing.done_cycles(plan, max(4, lanes), 40)
    assert (done[-1] - done[-3]) / 2 == plan.interval == rtl_timing.interval(plan, max(4, lanes))


@pytest.mark.parametrize(("stream_bytes", "cycles"), [(1, 805), (4, 445), (8, 445)])
def test_mnist_on_a_narrow_stream(stream_bytes: int, cycles: int, tmp_path) -> None:
    """784 bytes one at a time take longer than the rows, and 21 of the words meet a write."""
    need("icarus")
    net = mnist_shaped(8)
    ran = engine.run(net, random_codes(net, 8), tmp_path, "icarus", stream_bytes=stream_bytes)
    assert ran.cycles_per_sample == rtl_timing.interval(schedule(net, 8), stream_bytes) == cycles


@pytest.mark.parametrize(("idle", "pause"), [(50, 0), (0, 50), (30, 30), (90, 0), (0, 90)])
@pytest.mark.parametrize(("simulator", "lanes"), [("icarus", 4), ("verilator", 8)])
def test_idle_and_back_pressure_change_no_bit(simulator: str, lanes: int, idle: int, pause: int, tmp_path) -> None:
    need(simulator)
    net = random_net(100 + idle)
    x, image = random_codes(net, N), build(net, lanes)
    compare(net, image, x, engine.play(image, x, tmp_path, simulator, idle, pause, seed=idle + pause))


@pytest.mark.parametrize(
    ("simulator", "lanes", "cycles"),
    [
        ("icarus", 1, 3552),
        ("icarus", 2, 1776),
        ("icarus", 4, 888),
        ("icarus", 8, 445),
        ("icarus", 16, 234),
        ("verilator", 8, 445),
    ],
)
def test_mnist_shaped_utilization(simulator: str, lanes: int, cycles: int, tmp_path) -> None:
    """The table of rtl/README.md, measured: the multipliers never wait but for ten logits on sixteen lanes."""
    need(simulator)
    net = mnist_shaped(lanes)
    x = random_codes(net, 5)
    ran = engine.run(net, x, tmp_path, simulator, lanes=lanes)
    np.testing.assert_array_equal(ran.logits, reference.logits(net, x))
    assert ran.n_macs == 5 * 3552
    assert ran.cycles_per_sample == cycles
    assert ran.utilization == schedule(net, lanes).least_rows / cycles >= (0.95 if lanes <= 8 else 0.90)


def flip_weight(image):
    slots = image.slots.copy()
    slots[0, np.flatnonzero(slots[0] >> 30 & 1)[0]] ^= 1 << 28
    return dataclasses.replace(image, slots=slots)


def flip_index(image):
    slots = image.slots.copy()
    slots[0, np.flatnonzero(slots[0] >> 30 & 1)[0]] ^= 1
    return dataclasses.replace(image, slots=slots)


@pytest.mark.parametrize("simulator", runner.SIMULATORS)
@pytest.mark.parametrize("broken", [flip_weight, flip_index])
def test_the_comparison_sees_a_broken_image(broken, simulator, tmp_path) -> None:
    need(simulator)
    net = mnist_shaped(8)
    x, image = random_codes(net, N), build(net, 8)
    played = engine.play(broken(image), x, tmp_path, simulator)
    assert np.count_nonzero(played.logits != reference.logits(net, x))


@pytest.mark.parametrize(("simulator", "lanes"), [("icarus", 4), ("verilator", 1)])
def test_the_comparison_sees_round_half_up(simulator, lanes, tmp_path, monkeypatch) -> None:
    """Without the clearing of the lowest bit a tie goes up: one bit in every few hundred sums."""
    need(simulator)
    monkeypatch.setenv("DEEPR_BUILD", str(tmp_path / "build"))
    sources = []
    for path in runner.rtl_sources():
        text = path.read_text()
        if path.stem == "deepr_requantize":
            assert text.count("tie ? sign_s1_q : fine[0]") == 1
            text = text.replace("tie ? sign_s1_q : fine[0]", "fine[0]")
        (tmp_path / path.name).write_text(text)
        sources.append(tmp_path / path.name)
    net = mnist_shaped(lanes)
    x, image = random_codes(net, N), build(net, lanes)
    played = engine.play(image, x, tmp_path / "run", simulator, sources=sources)
    assert np.count_nonzero(played.logits != reference.logits(net, x))

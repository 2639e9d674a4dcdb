"""The cocotb benches: every pin driven from Python, in both simulators."""

import json
from dataclasses import replace

import numpy as np
import pytest

from deepr_hw.export.rtl import image as rtl_image
from deepr_hw.export.rtl import schedule as rtl_schedule
from deepr_hw.export.rtl.geometry import Geometry
from deepr_hw.ir import Budget, IntNet, sparse_linear
from deepr_hw.ir.fixed import Format
from deepr_hw.sim import cases, coverage, engine, runner

from .random_nets import random_codes, random_layer, random_net
from .simulators import need

BYTE = Format(8, False, 0)


def twin(net: IntNet, seed: int) -> IntNet:
    """Another network of the same input and output size."""
    rng = np.random.default_rng(seed)
    layers = []
    for i, layer in enumerate(net.layers):
        last = i == len(net.layers) - 1
        x_format = layers[-1].y_format if layers else layer.x_format
        layers.append(random_layer(rng, layer.n_in, layer.n_out, x_format, last))
    return IntNet(tuple(layers), Budget("per_layer", tuple(layer.matrix.n_connections for layer in layers)))


def write_case(path, geometry: Geometry, nets: dict[str, IntNet], broken=lambda image: image) -> None:
    """Networks a and b get the same samples, c its own."""
    images = {name: broken(rtl_image.build(each, geometry.lanes, geometry)) for name, each in nets.items()}
    x = random_codes(nets["a"], 5)
    cases.write_case(path, nets, images, {"a": x, "b": x, "c": random_codes(nets["c"], 5)})


def case(tmp_path, lanes: int, seed: int, broken=lambda image: image):
    net = random_net(seed, max_width=24, max_layers=3)
    other = next(
        each
        for each in map(lambda i: random_net(i, max_width=24, max_layers=3), range(seed + 1, seed + 99))
        if (each.in_shape, each.n_out) != (net.in_shape, net.n_out)
    )
    geometry = Geometry(lanes, rows=2048 // lanes, words=512 // lanes, bias_words=64, layers=4, classes=32)
    write_case(tmp_path / "case.json", geometry, {"a": net, "b": twin(net, seed), "c": other}, broken)
    return geometry


@pytest.mark.parametrize(
    ("simulator", "lanes", "seed"),
    [("icarus", 1, 0), ("icarus", 2, 1), ("icarus", 4, 2), ("icarus", 8, 3), ("icarus", 16, 4), ("verilator", 4, 3)],
)
def test_engine(simulator: str, lanes: int, seed: int, tmp_path) -> None:
    need(simulator)
    geometry = case(tmp_path, lanes, seed)
    made = runner.build(simulator, "deepr_engine", runner.rtl_sources(), geometry.parameters)
    runner.run(made, "deepr_hw.sim.bench_engine", tmp_path, env={"DEEPR_CASE": str(tmp_path / "case.json")})


def test_every_situation_is_visited(tmp_path) -> None:
    """Functional coverage of the engine's benches: each error cause, each end of each counter, each kind of waiting."""
    need("icarus")
    nets = {"a": dense_net(1), "b": dense_net(2), "c": dense_net(3, n_in=13)}
    geometry = Geometry(4, rows=128, words=16, bias_words=16, layers=2, classes=8)
    write_case(tmp_path / "case.json", geometry, nets)
    made = runner.build("icarus", "deepr_engine", runner.rtl_sources(), geometry.parameters)
    runner.run(
        made,
        "deepr_hw.sim.bench_engine",
        tmp_path,
        env={"DEEPR_CASE": str(tmp_path / "case.json"), "DEEPR_COVERAGE": str(tmp_path / "coverage.txt")},
    )
    assert coverage.missing(tmp_path / "coverage.txt") == []


def dense_net(seed: int, n_in: int = 16) -> IntNet:
    """24 hidden outputs of 6 connections each, 7 logits of 8: results go round the second input buffer."""
    rng = np.random.default_rng(seed)
    layers = []
    for width, n_out, fan_in in ((n_in, 24, 6), (24, 7, 8)):
        in_idx = np.concatenate([np.sort(rng.choice(width, fan_in, replace=False)) for _ in range(n_out)])
        layers.append(
            sparse_linear(
                width,
                n_out,
                in_idx,
                np.repeat(np.arange(n_out), fan_in),
                rng.integers(-128, 128, in_idx.size),
                rng.integers(-500, 500, n_out),
                BYTE,
                Format(8, True, 6),
                None if layers else BYTE,
            )
        )
    return IntNet(tuple(layers), Budget("per_layer", tuple(layer.matrix.n_connections for layer in layers)))


def broken_sources(folder, module: str, good: str, bad: str):
    """The engine's sources with ``good`` replaced in ``module``, the copy in ``folder``."""
    text = (runner.RTL / f"{module}.sv").read_text()
    assert text.count(good) == 1
    (folder / f"{module}.sv").write_text(text.replace(good, bad))
    return [folder / path.name if path.stem == module else path for path in runner.rtl_sources()]


def flip_final_weights(image: rtl_image.Image) -> rtl_image.Image:
    slots = image.slots.copy()
    slots[:, image.plan.layers[-1].first_row :] ^= np.uint32(1 << 26)
    return replace(image, slots=slots)


def test_the_engine_bench_sees_flipped_weights(tmp_path) -> None:
    need("icarus")
    geometry = case(tmp_path, 4, 2, flip_final_weights)
    made = runner.build("icarus", "deepr_engine", runner.rtl_sources(), geometry.parameters)
    with pytest.raises(RuntimeError, match="tests failed"):
        runner.run(
            made,
            "deepr_hw.sim.bench_engine",
            tmp_path,
            testcase="idle_and_back_pressure",
            env={"DEEPR_CASE": str(tmp_path / "case.json")},
        )


def test_the_hot_swap_bench_sees_a_network_that_never_takes_effect(tmp_path) -> None:
    """The words of network a come again under the name of b: every frame is whole and right, but never b's."""
    need("icarus")
    geometry = case(tmp_path, 2, 1)
    path = tmp_path / "case.json"
    known = json.loads(path.read_text())
    path.write_text(json.dumps(known | {"writes": known["writes"] | {"b": known["writes"]["a"]}}))
    made = runner.build("icarus", "deepr_engine", runner.rtl_sources(), geometry.parameters)
    with pytest.raises(RuntimeError, match="tests failed"):
        runner.run(made, "deepr_hw.sim.bench_engine", tmp_path, testcase="hot_swap", env={"DEEPR_CASE": str(path)})
    assert "samples under each network in turn" in (tmp_path / "sim.log").read_text()


@pytest.mark.parametrize(("lanes", "seed"), [(1, 0), (2, 1)])
@pytest.mark.parametrize(
    "bad", ["swap_q != '0 || swapping_i", "swap_q != '0 || (swapping_i && !settled_i)", "swap_q != '0 || !settled_i"]
)
def test_a_load_too_soon_after_a_swap_is_seen(bad: str, lanes: int, seed: int, tmp_path, monkeypatch) -> None:
    """A word must not reach the bank that rows under way still read, nor the one that a swap has been asked for."""
    need("icarus")
    monkeypatch.setenv("DEEPR_BUILD", str(tmp_path / "build"))
    sources = broken_sources(tmp_path, "deepr_load", "swap_q != '0 || swapping_i || !settled_i", bad)
    geometry = case(tmp_path, lanes, seed)
    made = runner.build("icarus", "deepr_engine", sources, geometry.parameters)
    with pytest.raises(RuntimeError, match="tests failed"):
        runner.run(
            made,
            "deepr_hw.sim.bench_engine",
            tmp_path,
            testcase="hot_swap",
            env={"DEEPR_CASE": str(tmp_path / "case.json")},
        )


def test_the_hand_over_is_as_short_as_the_pipeline_allows(tmp_path, monkeypatch) -> None:
    """A schedule that reads one row earlier finds the byte in the middle of its write."""
    need("icarus")
    net = IntNet(
        tuple(
            sparse_linear(1, 1, [0], [0], [1], None, BYTE, Format(8, True, 0), BYTE if i < 2 else None)
            for i in range(3)
        ),
        Budget("per_layer", (1, 1, 1)),
    )
    geometry = Geometry(4, rows=512, words=128, bias_words=64, layers=4, classes=32)
    x = np.array([[77], [200]], np.uint8)
    played = engine.play(rtl_image.build(net, 4, geometry), x, tmp_path / "good", "icarus")
    np.testing.assert_array_equal(played.logits, x)
    monkeypatch.setattr(rtl_schedule, "WRITE_TO_READ", rtl_schedule.WRITE_TO_READ - 1)
    with pytest.raises(ValueError, match="invalid literal"):  # X
        engine.play(rtl_image.build(net, 4, geometry), x, tmp_path / "early", "icarus")

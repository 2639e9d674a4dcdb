"""Sweeps: the grid, what is written, going on after an interruption, the same results from a cluster."""

import csv
import importlib
import json
import os
import sys

import pytest

from deepr_hw import cli, data
from deepr_hw.evidence import sweep_figure as compare_figure
from deepr_hw.ir import netfile
from deepr_hw.sparse_set.share import chain
from deepr_hw.train import sweep as compare
from deepr_hw.train.config import BudgetConfig, load_config
from deepr_hw.train.loop import train
from deepr_hw.train.sweep import count_of, make_grid, run_grid, scale_budget

QUICK = ["training.epochs=2", "quantization.warmup_epochs=0", "network.hidden=[20]", "budget.per_layer=[300,100]"]
SIZES = (64, 20, 10)


@pytest.fixture(scope="module")
def digits():
    return data.load("digits")


@pytest.fixture(scope="module")
def grid(digits):
    return make_grid(load_config("digits", QUICK), digits, ["deep_r", "fixed"], ["10%", "400"], 2)


@pytest.fixture(scope="module")
def swept(grid, tmp_path_factory):
    out = tmp_path_factory.mktemp("sweep")
    return out, run_grid(grid, out, jobs=2, backend="threading")


def without_time(rows):
    return [{key: value for key, value in row.items() if key != "seconds"} for row in rows]


def quick_command(out, *options):
    overrides = [word for key in QUICK for word in ("--set", key)]
    result = str(out / "out.json")
    return ["compare", "digits", "--out", str(out), "--seeds", "2", "--json", result, *overrides, *options]


def test_the_grid_is_every_combination(grid):
    assert [cell.name for cell in grid] == [
        f"{method}-{k}-seed{seed}" for method in ("deep_r", "fixed") for k in (148, 400) for seed in (0, 1)
    ]
    assert grid[0].config.budget == BudgetConfig(per_layer=(111, 37)), "the layers keep their proportions"
    assert grid[0].connectivity == 148 / (64 * 20 + 20 * 10)
    assert len({cell.config for cell in grid}) == 8


def test_without_lists_the_configuration_is_what_runs(digits):
    (cell,) = make_grid(load_config("digits", [*QUICK, "training.seed=5"]), digits, [], [], 1)
    assert cell.name == "deep_r-400-seed5"
    assert cell.config.budget == BudgetConfig(per_layer=(300, 100))


@pytest.mark.parametrize(
    ("budget", "scaled"),
    [
        (BudgetConfig(total=7), BudgetConfig(total=90)),
        (BudgetConfig(device="spinnaker2-core"), BudgetConfig(total=90)),
        (BudgetConfig(density=0.5), BudgetConfig(total=90)),
        (BudgetConfig(density=(0.1, 0.5)), BudgetConfig(per_layer=(51, 39))),  # as 128 to 100
        (BudgetConfig(per_layer=(0, 100)), BudgetConfig(per_layer=(1, 89))),
        (BudgetConfig(total=7, lanes=2), BudgetConfig(total=90, lanes=2)),
    ],
)
def test_a_budget_keeps_its_shape(budget, scaled):
    assert scale_budget(budget, 90, chain(SIZES)) == scaled


def test_a_full_layer_gives_its_share_to_the_others():
    assert scale_budget(BudgetConfig(per_layer=(300, 100)), 1400, chain(SIZES)).per_layer == (1200, 200)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((["magic"], []), "training.method = 'magic': expected one of"),
        (([], ["many"]), "budget 'many': write a number of connections or a percentage"),
        (([], ["nan%"]), "budget 'nan%': write a number"),
        (([], ["200%"]), "budget '200%' is 2960 connections: the network has 1 to 1480 positions"),
        (([], ["0"]), "budget '0' is 0 connections"),
        (([], ["1"]), "1 connections: 2 layers"),
    ],
)
def test_impossible_grids(digits, arguments, message):
    with pytest.raises(ValueError, match=message):
        make_grid(load_config("digits", QUICK), digits, *arguments, 1)


def test_a_budget_per_output_has_no_number_to_scale():
    with pytest.raises(ValueError, match=r"budget\.per_output: a sweep over budgets scales"):
        scale_budget(BudgetConfig(per_output=3), 90, chain(SIZES))


def test_percentages():
    assert count_of("1.334%", 266_200) == 3551
    assert count_of(" 3552 ", 266_200) == 3552


def test_a_cell_is_the_training_itself(grid, swept, digits, tmp_path):
    out, rows = swept
    cell, row = grid[1], rows[1]
    result = train(cell.config, digits, tmp_path, progress=lambda metrics, n_epochs: None)
    assert row["test_accuracy"] == result.test["accuracy"]
    assert (tmp_path / "net.safetensors").read_bytes() == (out / "cells" / f"{cell.name}.safetensors").read_bytes()
    assert netfile.load(out / "cells" / f"{cell.name}.safetensors").n_connections == row["n_connections"] == 148


def test_the_csv_holds_every_cell(swept):
    out, rows = swept
    with open(out / "compare.csv", newline="") as file:
        read = list(csv.DictReader(file))
    assert [(r["method"], int(r["n_connections"]), int(r["seed"]), float(r["test_accuracy"])) for r in read] == [
        (r["method"], r["n_connections"], r["seed"], r["test_accuracy"]) for r in rows
    ]
    assert all(int(r["rewired"]) == 0 for r in read if r["method"] == "fixed")
    assert all(int(r["rewired"]) > 0 for r in read if r["method"] == "deep_r")


def test_finished_cells_are_not_run_again(grid, swept, monkeypatch):
    out, rows = swept
    (out / "cells" / f"{grid[3].name}.json").unlink()
    ran = []
    run_cell = compare.run_cell
    monkeypatch.setattr(compare, "run_cell", lambda config: ran.append(config) or run_cell(config))
    again = run_grid(grid, out, jobs=1, backend="threading")
    assert ran == [grid[3].config]
    assert without_time(again) == without_time(rows)


def test_a_backend_that_does_not_stream_gives_the_same(grid, swept, monkeypatch):
    cells = [cell.name for cell, _ in compare._run(grid, 3, streams=False)]
    assert cells == [cell.name for cell in grid]


def test_other_configurations_and_damaged_results_are_refused(swept, digits):
    out, _ = swept
    other = make_grid(load_config("digits", [*QUICK, "training.l1=0.0"]), digits, ["deep_r"], ["400"], 1)
    with pytest.raises(ValueError, match=r"deep_r-400-seed0\.json: belongs to another configuration"):
        run_grid(other, out)
    path = out / "cells" / f"{other[0].name}.json"
    whole = path.read_bytes()
    path.write_bytes(whole[:40])
    with pytest.raises(ValueError, match=r"deep_r-400-seed0\.json: not a result of compare"):
        run_grid(other, out)
    path.write_bytes(whole)


def test_a_cell_that_fails_is_told_and_run_again(grid, tmp_path, monkeypatch, capsys):
    def spoilt(config):
        return {"error": "training diverged"} if config.training.seed else run_cell(config)

    run_cell = compare.run_cell
    command = quick_command(tmp_path, "--budgets", "400", "--backend", "threading")
    monkeypatch.setattr(compare, "run_cell", spoilt)
    assert cli.main(command) == 1
    assert "training diverged" in capsys.readouterr().out
    (point,) = json.loads((tmp_path / "out.json").read_text())["summary"]
    assert (point["seeds"], point["std"]) == (1, 0.0)
    monkeypatch.setattr(compare, "run_cell", run_cell)
    assert cli.main(command) == 0
    assert json.loads((tmp_path / "out.json").read_text())["summary"][0]["seeds"] == 2
    assert (tmp_path / "compare.png").read_bytes().startswith(b"\x89PNG")


def test_divergence_is_an_error_of_the_cell(grid):
    config = load_config("digits", [*QUICK, "training.learning_rate=1e30"])  # in 8 bits, codes saturate at first
    assert "training diverged" in compare.run_cell(config)["error"]


def test_mean_and_standard_deviation():
    rows = [
        {"method": "fixed", "n_connections": k, "connectivity": k / 100, "test_accuracy": a, "error": None}
        for k, a in ((20, 0.5), (10, 0.1), (10, 0.3))
    ]
    rows.append({**rows[0], "n_connections": 30, "test_accuracy": None, "error": "diverged"})
    summary = compare_figure.summarize(rows, "accuracy")
    assert [(p["n_connections"], p["seeds"]) for p in summary] == [(10, 2), (20, 1), (30, 0)]
    assert summary[0]["mean"] == pytest.approx(0.2)
    assert summary[0]["std"] == pytest.approx(0.02**0.5)
    assert compare_figure.draw(summary, "title", "accuracy").startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--address", "127.0.0.1:9"], "--address 127.0.0.1:9: backend loky has no cluster to connect to"),
        (["--budgets", "x"], "budget 'x': write a number"),
        (["--methods", "magic"], "training.method = 'magic'"),
    ],
)
def test_bad_arguments_are_one_line(capsys, tmp_path, arguments, message):
    assert cli.main(["compare", "digits", "--out", str(tmp_path), *arguments]) == 2
    assert message in capsys.readouterr().err


@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::DeprecationWarning:distributed")
def test_a_dask_cluster_gives_the_same(grid, swept, tmp_path):
    distributed = importlib.import_module("distributed") if os.environ.get("CI") else pytest.importorskip("distributed")
    _, rows = swept
    command = quick_command(tmp_path, "--methods", "deep_r,fixed", "--budgets", "10%,400")
    with distributed.LocalCluster(host="127.0.0.1", n_workers=2, threads_per_worker=1, dashboard_address=None) as local:
        assert cli.main([*command, "--backend", "dask", "--address", local.scheduler_address]) == 0
        with distributed.Client(local) as client:
            assert all(client.run(lambda: "deepr_hw.train.loop" in sys.modules).values()), "every worker trained"
    assert without_time(json.loads((tmp_path / "out.json").read_text())["cells"]) == without_time(rows)

"""The bodies of the commands. Each takes the parsed arguments and returns (result for ``--json``, did it pass)."""

import importlib
import json
import tempfile
from argparse import Namespace
from pathlib import Path
from typing import Any

import numpy as np
from rich.table import Table

from . import data, netfile
from . import verify as verification
from .console import CONSOLE
from .files import make_folder, write_bytes, write_text
from .info import describe
from .ir import IntNet

Outcome = tuple[dict[str, Any], bool]

_EXPORTERS = {"onnx": "onnx_flavours", "hls4ml": "hls4ml_project", "rtl": "rtl_image"}


def train(args: Namespace) -> Outcome:
    """``deepr-hw train``."""
    from .config import load_config
    from .train import train as train_network

    config = load_config(_config_name(args), args.overrides)
    make_folder(args.out)
    result = train_network(config, data.load(config.data.name), args.out, resume=args.resume)
    CONSOLE.print(f"{args.out / 'net.safetensors'}: K = {result.net.n_connections} connections, "
                   f"integer test accuracy {100 * result.test_accuracy:.2f} %")
    return {"n_connections": result.net.n_connections, "test_accuracy": result.test_accuracy}, True


def run(args: Namespace) -> Outcome:
    """``deepr-hw run``: the whole path."""
    trained, _ = train(args)
    net_path = args.out / "net.safetensors"
    net = netfile.load(net_path)
    _print_info(describe(net, net_path))
    exported = {target: _export(net, target, args.out / target, {}) for target in _EXPORTERS}
    verified, passed = _verify(net, args, None)
    write_text(args.out / "verify.json", json.dumps(verified, indent=2) + "\n")
    from .report import write_report

    write_report(args.out)
    CONSOLE.print(f"report: {args.out / 'report.html'}")
    return {**trained, "export": exported, "verify": verified}, passed


def compare(args: Namespace) -> Outcome:
    """``deepr-hw compare``. Doesn't pass when a cell failed."""
    from . import compare as sweep
    from . import compare_figure
    from .config import load_config

    config = load_config(_config_name(args), args.overrides)
    dataset = data.load(config.data.name)
    cells = sweep.make_grid(config, dataset, _split(args.methods), _split(args.budgets), args.seeds)
    n_left = len(cells)

    def show(cell: sweep.Cell, row: dict[str, Any], ran: bool) -> None:
        nonlocal n_left
        n_left -= 1
        outcome = row["error"] or f"{100 * row['test_accuracy']:.2f} %" + ("" if ran else " (was there)")
        CONSOLE.print(f"{cell.name}: {outcome}, {n_left} to go", markup=False)

    rows = sweep.run_grid(cells, args.out, args.jobs, args.backend, args.address, show)
    summary = compare_figure.summarize(rows)
    write_bytes(args.out / "compare.png", compare_figure.draw(summary, f"{dataset.name}: {len(rows)} trainings"))
    table = Table("method", "K", "connectivity", "seeds", "test accuracy")
    for point in summary:
        mean = "" if point["mean"] is None else f"{100 * point['mean']:.2f} ± {100 * point['std']:.2f} %"
        table.add_row(point["method"], f"{point['n_connections']:,}", f"{100 * point['connectivity']:.3f} %",
                      str(point["seeds"]), mean)
    CONSOLE.print(table)
    CONSOLE.print(f"{args.out / 'compare.csv'}, {args.out / 'compare.png'}")
    return {"summary": summary, "cells": rows}, all(row["error"] is None for row in rows)


def _config_name(args: Namespace) -> str:
    """The configuration that is meant, ``auto`` resolved."""
    if args.config == "auto":
        return "mnist_paper" if data.mnist_at_hand() else "digits"
    return str(args.config)


def _split(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def info(args: Namespace) -> Outcome:
    """``deepr-hw info``."""
    facts = describe(netfile.load(args.net), args.net)
    _print_info(facts)
    return facts, True


def export(args: Namespace) -> Outcome:
    """``deepr-hw export``."""
    options = {name: value for name in args.option_targets if (value := getattr(args, name)) is not None}
    for name in options:
        if (target := args.option_targets[name]) != args.target:
            raise ValueError(f"--{name.replace('_', '-')}: only export {target} has it")
    return _export(netfile.load(args.net), args.target, args.out, options), True


def verify(args: Namespace) -> Outcome:
    """``deepr-hw verify``."""
    return _verify(netfile.load(args.net), args, args.data)


def synth(args: Namespace) -> Outcome:
    """``deepr-hw synth``."""
    from .sim import place

    net = netfile.load(args.net)
    with tempfile.TemporaryDirectory(prefix="deepr_hw_") as scratch, CONSOLE.status(f"synthesis for {args.target}"):
        done = place.synthesize(net, args.target, args.lanes, args.out or Path(scratch), args.banks, args.seed)
    facts = done.as_json()
    table = Table("target", "lanes", "K", "LUT", "FF", "DSP", "BRAM", "Fmax MHz", "cycles/sample", "images/s")
    table.add_row(args.target, str(args.lanes), f"{net.n_connections:,}",
                  *(f"{facts[name]:,}" for name in ("lut", "ff", "dsp", "bram")),
                  *("-" if facts[name] is None else f"{facts[name]:,.{digits}f}"
                    for name, digits in (("fmax_mhz", 1), ("cycles_per_sample", 0), ("images_per_second", 0))))
    CONSOLE.print(table)
    if done.timing:
        CONSOLE.print(f"critical path: {facts['critical_path']}")
        if args.out:
            CONSOLE.print(f"bitstream: {args.out / 'engine.bit'}")
    return facts, True


def _export(net: IntNet, target: str, folder: Path, options: dict[str, Any]) -> dict[str, Any]:
    try:
        exporter = importlib.import_module(f"deepr_hw.export.{_EXPORTERS[target]}")
    except ModuleNotFoundError as error:
        raise RuntimeError(f"export {target} needs the package {error.name!r}: "
                           f"pip install 'deepr-hw[{target}]'") from error
    written = exporter.export(net, make_folder(folder), **options)
    CONSOLE.print(f"{target}: {folder}")
    return written


def _verify(net: IntNet, args: Namespace, source: str | None) -> Outcome:
    wanted = verification.parse_engines(args.engines, args.samples)
    x = _samples(net, source or net.provenance.get("data", "random"), args.samples)
    table = Table("engine", "samples", "logits", "mismatches", "seconds", "cycles/sample", "MACs/sample")
    comparisons = []
    with CONSOLE.status("verify") as status:
        for c in verification.verify(net, x, wanted, args.lanes, lambda name: status.update(f"verify: {name}")):
            comparisons.append(c)
            colour = "green" if c.passed else "red"
            macs = None if c.n_macs is None else c.n_macs / c.samples
            table.add_row(c.name, f"{c.samples:,}", f"{c.logits:,}", f"[{colour}]{c.mismatches:,}", f"{c.seconds:.1f}",
                          *("" if count is None else f"{count:,.0f}" for count in (c.cycles_per_sample, macs)))
    CONSOLE.print(table)
    return verification.as_json(net, comparisons), all(c.passed for c in comparisons)


def _samples(net: IntNet, source: str, samples: int | None) -> np.ndarray:
    if source == "random":
        return verification.random_samples(net, samples or 1000)
    dataset = data.load(source)
    if dataset.x_format != net.x_format or dataset.n_in != int(np.prod(net.in_shape)):
        raise ValueError(f"data {source}: samples are {dataset.n_in} codes of {dataset.x_format}, the network takes "
                         f"{int(np.prod(net.in_shape))} of {net.x_format}")
    if samples and samples > len(dataset.x_test):
        raise ValueError(f"--samples {samples}: data {source} has {len(dataset.x_test)} test samples")
    return dataset.x_test.reshape(-1, *net.in_shape)


def _print_info(facts: dict[str, Any]) -> None:
    table = Table("layer", "shape", "K", "non-zero", "fan-in min/med/max", "x", "w", "y", "acc bits")
    for i, layer in enumerate(facts["layers"]):
        fan_in, formats = layer["fan_in"], layer["formats"]
        shape = " -> ".join("x".join(map(str, layer[side])) for side in ("in_shape", "out_shape"))
        table.add_row(f"{i} {layer['kind']}", shape, f"{layer['n_connections']:,}", f"{layer['n_nonzero']:,}",
                      f"{fan_in['min']}/{fan_in['median']:g}/{fan_in['max']}", *formats.values(),
                      str(layer["acc_bits"]))
    CONSOLE.print(table)
    CONSOLE.print(f"K = {facts['n_connections']:,} of a budget of {facts['budget']['total']:,} "
                   f"({facts['budget']['kind']}), {facts['n_nonzero']:,} non-zero")
    CONSOLE.print(f"connectivity {100 * facts['connectivity']:.3f} % = {facts['connectivity_formula']}")
    if "file_bytes" in facts:
        CONSOLE.print(f"{facts['file_bytes']:,} bytes, {facts['bytes_per_connection']:.2f} per connection")

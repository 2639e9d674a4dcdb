"""``info``, ``verify`` and ``import``."""

import math
from argparse import Namespace
from dataclasses import replace
from typing import Any

import numpy as np
from rich.table import Table

from deepr_hw import data, memory, reference
from deepr_hw.console import CONSOLE
from deepr_hw.evidence import verify as verification
from deepr_hw.evidence.info import MATRIX_COLUMNS, describe, matrix_rows
from deepr_hw.evidence.verify import Samples
from deepr_hw.files import check_folder, check_writable
from deepr_hw.ir import IntNet, netfile
from deepr_hw.ir.affine import Affine
from deepr_hw.ir.tasks import BUILT_IN, as_text, measure
from deepr_hw.train.remarks import LEAST_USABLE, too_wide

from . import Outcome

_RANDOM = 1000
"""Samples of random codes when no number is asked for."""
_VALUE_BYTES = 32
"""Memory that the widest layer's value of a sample takes in the reference: codes, sums and their scaled copies."""
_CALIBRATION = 2000
"""Training samples that a float model is calibrated on."""


def info(args: Namespace) -> Outcome:
    """``deepr-hw info``."""
    facts = describe(netfile.load(args.net), args.net)
    print_info(facts)
    return facts, True


def print_info(facts: dict[str, Any]) -> None:
    """The facts of ``info.describe`` as a table."""
    table = Table(*MATRIX_COLUMNS)
    for row in matrix_rows(facts):
        table.add_row(*row)
    CONSOLE.print(table)
    CONSOLE.print(
        f"K = {facts['n_connections']:,} of a budget of {facts['budget']['total']:,} "
        f"({facts['budget']['kind']}), {facts['n_nonzero']:,} non-zero"
    )
    if output := facts.get("output"):
        names = facts["class_labels"] or [f"output {i}" for i in range(facts["logits"]["n"])]
        names = names if len(output["offset"]) == len(names) else ["every output"]
        CONSOLE.print(f"regression: value = {output['value']}; frac = {output['frac']}", markup=False)
        for name, offset, factor in zip(names, output["offset"], output["factor"], strict=True):
            CONSOLE.print(f"  {name}: offset = {offset:.9g}, factor = {factor:.9g}", markup=False)
    if log := facts["budget"].get("log"):
        CONSOLE.print(
            f"budget log: {sum(log['active_min']):,}..{sum(log['active_max']):,} connections after each of "
            f"{log['steps']:,} steps, in {len(log['active_min'])} groups of {min(log['active_min']):,}.."
            f"{max(log['active_max']):,}; {log['arithmetic']}"
        )
    CONSOLE.print(f"usable {100 * facts['usable_share']:.1f} %: connections on a complete path from input to output")
    if facts["usable_share"] < LEAST_USABLE:
        CONSOLE.print(f"warning: {too_wide(facts['usable_share'])}", markup=False)
    CONSOLE.print(f"connectivity {100 * facts['connectivity']:.3f} % = {facts['connectivity_formula']}")
    if "file_bytes" in facts:
        CONSOLE.print(f"{facts['file_bytes']:,} bytes, {facts['bytes_per_connection']:.2f} per connection")


def verify(args: Namespace) -> Outcome:
    """``deepr-hw verify``."""
    check_verification(args)
    return verify_net(netfile.load(args.net), args, args.data)


def check_verification(args: Namespace, n_test: int | None = None) -> int | None:
    """The largest number of samples that ``args`` name, or None; ``n_test`` is how many there are, if that is known.

    Raises ``ValueError``, ``OSError`` or ``MissingToolError`` for what can't be done: too many samples, an engine that
    is unknown or not installed, a folder for waveforms that can't be made.
    """
    wanted = verification.parse_engines(args.engines, args.samples)
    named = {item.partition(":")[0].strip(): item.partition(":")[2] for item in args.engines.split(",")}
    numbers = [int(number) for name, number in named.items() if name in wanted and number]
    largest = max([*numbers, *([args.samples] if args.samples else [])], default=None)
    if largest and n_test is not None and largest > n_test:
        raise ValueError(f"{largest} samples are wanted: the data has {n_test} test samples")
    if args.waves is not None:
        check_folder(args.waves)
    return largest


def verify_net(net: IntNet, args: Namespace, source: str | None) -> Outcome:
    """Compare ``net`` in the engines that ``args`` name, on the data ``source`` or what it was trained on."""
    wanted = verification.parse_engines(args.engines, args.samples)
    samples = _samples(net, source or net.provenance.get("data", "random"), args)
    table = Table(
        "engine", "samples", "compared", "mismatches", "seconds", "cycles/sample", "MACs/sample", "utilization"
    )
    comparisons = []
    with CONSOLE.status("verify") as status:
        compared = verification.verify(
            net,
            samples,
            wanted,
            lambda name: status.update(f"verify: {name}"),
            lanes=args.lanes,
            waves=args.waves,
            stream_bytes=args.stream_bytes,
        )
        for c in compared:
            comparisons.append(c)
            if c.refusal is not None:
                table.add_row(c.name, f"{c.samples:,}", "", "[yellow]refused", f"{c.seconds:.1f}")
                continue
            colour = "green" if c.passed else "red"
            macs = None if c.n_macs is None else c.n_macs / c.samples
            table.add_row(
                c.name,
                f"{c.samples:,}",
                f"{c.compared:,} {c.what}",
                f"[{colour}]{c.mismatches:,}",
                f"{c.seconds:.1f}",
                *("" if count is None else f"{count:,.0f}" for count in (c.cycles_per_sample, macs)),
                "" if c.utilization is None else f"{c.utilization:.3f}",
            )
    CONSOLE.print(table)
    for c in comparisons:
        if c.refusal is not None:
            CONSOLE.print(f"{c.name} refuses this network: {c.refusal}", markup=False)
    named = {item.partition(":")[0].strip() for item in args.engines.split(",")}  # "all" means: all that can
    passed = all(c.passed or (c.refusal is not None and c.name not in named) for c in comparisons)
    return {"intnet": netfile.digest(net), **verification.as_json(net, comparisons)}, passed


def _samples(net: IntNet, source: str, args: Namespace) -> Samples:
    if source == "random":
        n = check_verification(args) or _RANDOM
        memory.require(
            _VALUE_BYTES * n * max(net.n_in, *(math.prod(layer.out_shape) for layer in net.layers)), f"{n:,} samples"
        )
        return verification.random_samples(net, n)
    dataset = data.load(source, net.task)
    if dataset.n_in != net.n_in:
        raise ValueError(f"data {source}: samples have {dataset.n_in} values, the network takes {net.n_in}")
    check_verification(args, len(dataset.x_test))
    return verification.samples_of(net, dataset.x_test.reshape(-1, *net.in_shape))


def import_(args: Namespace) -> Outcome:
    """``deepr-hw import``."""
    from deepr_hw.export.imports import onnx_import

    check_writable(args.out)
    onnx_import.check_unit(args.unit)
    task = args.task or (BUILT_IN.get(args.data, "classification") if args.data else None)
    dataset = data.load(args.data, task) if args.data and task else None
    unit: float | None = args.unit
    calibration, values = None, np.zeros(0)
    if dataset is not None:
        unit = unit or (1 / 255 if dataset.x_train.dtype == np.uint8 else None)
        calibration = dataset.x_train[:_CALIBRATION].reshape(-1, *dataset.sample_shape) * (unit or 1.0)
        values = dataset.x_test * (unit or 1.0)
    imported = onnx_import.import_model(args.model, calibration, unit, args.layout, task)
    net = imported.net if unit is None else replace(imported.net, input_map=_per_value(imported.net.input_map, unit))
    result: dict[str, Any] = {"n_connections": imported.net.n_connections, "notes": list(imported.notes)}
    if dataset is not None:
        agreement = onnx_import.agreement(args.model, imported, values, args.layout)
        outputs = np.ldexp(reference.logits(net, net.encode(dataset.x_test)).astype(np.float64), -net.logit_frac)
        if net.task == "regression" and dataset.y_test.shape != outputs.shape:
            raise ValueError(f"data {args.data}: has {dataset.y_test.shape[1]} targets, the network gives {net.n_out}")
        scores = measure(net.task, outputs, dataset.y_test, net.output_map)
        result |= {"agreement": vars(agreement)} | {f"test_{name}": score for name, score in scores.items()}
    netfile.save(net, args.out)
    print_info(describe(net, args.out))
    for note in imported.notes:
        CONSOLE.print(f"note: {note}", markup=False)
    if dataset is not None:
        same = f"same class {agreement.same_class:,}, " if net.task == "classification" else ""
        CONSOLE.print(
            f"agreement with the original on {agreement.samples:,} test samples: {same}equal logits "
            f"{agreement.equal_logits:,} of {agreement.logits:,}, error {100 * agreement.rms_error:.2f} % "
            f"(root mean square); {as_text(scores)}"
        )
    return result, True


def _per_value(unit: Affine, factor: float) -> Affine:
    """``unit`` for values of the data, which the original takes times ``factor``."""
    return Affine((unit.offset / factor).astype(np.float32), (unit.factor * factor).astype(np.float32))

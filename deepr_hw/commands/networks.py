"""``info``, ``verify`` and ``import``."""

from argparse import Namespace
from typing import Any

import numpy as np
from rich.table import Table

from .. import data, netfile, reference
from .. import verify as verification
from ..console import CONSOLE
from ..info import describe
from ..ir import IntNet
from . import Outcome

_CALIBRATION = 2000
"""Training samples that a float model is calibrated on."""


def info(args: Namespace) -> Outcome:
    """``deepr-hw info``."""
    facts = describe(netfile.load(args.net), args.net)
    print_info(facts)
    return facts, True


def print_info(facts: dict[str, Any]) -> None:
    """The facts of ``info.describe`` as a table."""
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
    if log := facts["budget"].get("log"):
        CONSOLE.print(f"budget log: {sum(log['active_min']):,}..{sum(log['active_max']):,} connections after each of "
                      f"{log['steps']:,} steps, in {len(log['active_min'])} groups of {min(log['active_min']):,}.."
                      f"{max(log['active_max']):,}; {log['arithmetic']}")
    CONSOLE.print(f"connectivity {100 * facts['connectivity']:.3f} % = {facts['connectivity_formula']}")
    if "file_bytes" in facts:
        CONSOLE.print(f"{facts['file_bytes']:,} bytes, {facts['bytes_per_connection']:.2f} per connection")


def verify(args: Namespace) -> Outcome:
    """``deepr-hw verify``."""
    return verify_net(netfile.load(args.net), args, args.data)


def verify_net(net: IntNet, args: Namespace, source: str | None) -> Outcome:
    """Compare ``net`` in the engines that ``args`` name, on the data ``source`` or what it was trained on."""
    wanted = verification.parse_engines(args.engines, args.samples)
    x = _samples(net, source or net.provenance.get("data", "random"), args.samples)
    table = Table("engine", "samples", "logits", "mismatches", "seconds", "cycles/sample", "MACs/sample",
                  "utilization")
    comparisons = []
    with CONSOLE.status("verify") as status:
        compared = verification.verify(net, x, wanted, args.lanes, args.waves,
                                       lambda name: status.update(f"verify: {name}"))
        for c in compared:
            comparisons.append(c)
            colour = "green" if c.passed else "red"
            macs = None if c.n_macs is None else c.n_macs / c.samples
            table.add_row(c.name, f"{c.samples:,}", f"{c.logits:,}", f"[{colour}]{c.mismatches:,}", f"{c.seconds:.1f}",
                          *("" if count is None else f"{count:,.0f}" for count in (c.cycles_per_sample, macs)),
                          "" if c.utilization is None else f"{c.utilization:.3f}")
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


def import_(args: Namespace) -> Outcome:
    """``deepr-hw import``."""
    from ..export import onnx_import

    dataset = data.load(args.data) if args.data else None
    unit: float | None = args.unit
    calibration, values = None, np.zeros(0)
    if dataset is not None:
        unit = unit or dataset.x_format.step
        calibration = dataset.x_train[:_CALIBRATION].astype(np.float64) * unit
        values = dataset.x_test.astype(np.float64) * unit
    imported = onnx_import.import_model(args.model, calibration, unit)
    netfile.save(imported.net, args.out)
    print_info(describe(imported.net, args.out))
    for note in imported.notes:
        CONSOLE.print(f"note: {note}", markup=False)
    result: dict[str, Any] = {"n_connections": imported.net.n_connections, "notes": list(imported.notes)}
    if dataset is not None:
        agreement = onnx_import.agreement(args.model, imported, values)
        accuracy = float(np.mean(reference.predict(imported.net, dataset.x_test) == dataset.y_test))
        result |= {"agreement": vars(agreement), "test_accuracy": accuracy}
        CONSOLE.print(f"agreement with the original on {agreement.samples:,} test samples: same class "
                      f"{agreement.same_class:,}, equal logits {agreement.equal_logits:,} of {agreement.logits:,}, "
                      f"error {100 * agreement.rms_error:.2f} % (root mean square); accuracy {100 * accuracy:.2f} %")
    return result, True

"""``export``, ``hls``, ``synth``, ``load-diff`` and ``certify``."""

import errno
import tempfile
from argparse import Namespace
from pathlib import Path
from typing import Any

from rich.table import Table

from deepr_hw.console import CONSOLE
from deepr_hw.files import check_folder, check_writable, folder_for, write_text
from deepr_hw.ir import IntNet, netfile
from deepr_hw.targets import TARGETS, fetch
from deepr_hw.train.runfolder import locked

from . import Outcome


def export(args: Namespace) -> Outcome:
    """``deepr-hw export``."""
    options = {name: value for name in args.option_targets if (value := getattr(args, name)) is not None}
    for name in options:
        if args.target not in (owners := args.option_targets[name]):
            raise ValueError(f"--{name.replace('_', '-')}: only export {' and '.join(owners)} has it")
    return export_net(netfile.load(args.net), args.target, args.out, options), True


def export_net(net: IntNet, target: str, folder: Path, options: dict[str, Any]) -> dict[str, Any]:
    """Write ``net`` for ``target`` into ``folder``; what was written. Raises ``MissingToolError`` for a
    missing package."""
    write = exporter(target)
    with folder_for(folder):
        written: dict[str, Any] = write(net, folder, **options)
    CONSOLE.print(f"{target}: {written.get('path', folder)}", markup=False)
    return written


def exporter(target: str) -> Any:
    """The function that writes networks for ``target``. Raises ``MissingToolError`` for a missing package."""
    return fetch(f"export {target}", TARGETS[target].export)


def synth(args: Namespace) -> Outcome:
    """``deepr-hw synth``."""
    from deepr_hw.sim import place

    if args.out is not None:
        check_folder(args.out)
    net = netfile.load(args.net)
    with tempfile.TemporaryDirectory(prefix="deepr_hw_") as scratch, CONSOLE.status(f"synthesis for {args.target}"):
        done = place.synthesize(net, args.target, args.lanes, args.out or Path(scratch), args.banks, args.seed)
    facts = done.as_json()
    table = Table("target", "lanes", "K", "LUT", "FF", "DSP", "BRAM", "Fmax MHz", "cycles/sample", "images/s")
    table.add_row(
        args.target,
        str(args.lanes),
        f"{net.n_connections:,}",
        *(f"{facts[name]:,}" for name in ("lut", "ff", "dsp", "bram")),
        *(
            "-" if facts[name] is None else f"{facts[name]:,.{digits}f}"
            for name, digits in (("fmax_mhz", 1), ("cycles_per_sample", 0), ("images_per_second", 0))
        ),
    )
    CONSOLE.print(table)
    if done.timing:
        CONSOLE.print(f"critical path: {facts['critical_path']}")
        if args.out:
            CONSOLE.print(f"bitstream: {args.out / 'engine.bit'}")
    return facts, True


def load_diff(args: Namespace) -> Outcome:
    """``deepr-hw load-diff``."""
    from deepr_hw.export.rtl import diff as rtl_diff
    from deepr_hw.export.rtl import image as rtl_image

    check_writable(args.out)
    old, new = netfile.load(args.old), netfile.load(args.new)
    writes = rtl_diff.load_diff(old, new, args.lanes)
    write_text(args.out, "".join(f"{address:06x} {data:08x}\n" for address, data in writes))
    whole = len(rtl_image.build(new, args.lanes).writes)
    CONSOLE.print(f"{args.out}: {len(writes)} writes instead of {whole}")
    return {"writes": len(writes), "whole_image": whole}, True


def hls(args: Namespace) -> Outcome:
    """``deepr-hw hls``."""
    from deepr_hw.export.hls4ml import hls_synth

    net = netfile.load(args.net)
    with CONSOLE.status(f"hls4ml for {args.backend}"), folder_for(args.out) as folder:
        facts = hls_synth.hls(net, folder, args.backend, args.part, args.reuse_factor, args.io_type)
    counts = {"sparse": facts["static"], **{f"stock, {name}": cost for name, cost in facts["stock"].items()}}
    table = Table("counted in the C++", *(name.replace("_", " ") for name in facts["static"]))
    for name, cost in counts.items():
        table.add_row(name, *(f"{count:,}" for count in cost.values()))
    CONSOLE.print(table)
    CONSOLE.print(facts["message"], markup=False)
    return facts, True


def certify(args: Namespace) -> Outcome:
    """``deepr-hw certify``."""
    if not args.run.is_dir():
        raise NotADirectoryError(errno.ENOTDIR, "not the folder of a run", str(args.run))
    with locked(args.run):
        return certify_run(args.run, args.simulator)


def certify_run(run: Path, simulator: str = "icarus") -> Outcome:
    """Print the certificate of folder ``run``, a line per artefact."""
    from deepr_hw.evidence.certify import certify as examine

    with CONSOLE.status("certify"):
        certificate = examine(run, simulator)
    for evidence in certificate.evidence:
        CONSOLE.print(str(evidence), markup=False, style="red" if evidence.fault else None)
    CONSOLE.print("certified: one K everywhere" if certificate.passed else "not certified")
    return certificate.as_json(), certificate.passed

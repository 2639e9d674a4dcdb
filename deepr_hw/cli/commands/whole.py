"""``run``: the whole path in one command."""

import json
from argparse import Namespace
from pathlib import Path
from typing import Any

from deepr_hw import data
from deepr_hw.console import CONSOLE
from deepr_hw.evidence.info import describe
from deepr_hw.evidence.report import write_report
from deepr_hw.extras import MissingToolError
from deepr_hw.files import check_folder, write_text
from deepr_hw.ir import IntNet, netfile
from deepr_hw.targets import TARGETS
from deepr_hw.train.config import load_config
from deepr_hw.train.runfolder import NET, claim, clear, made_of_net, write_record

from . import Outcome
from .networks import check_verification, print_info, verify_net
from .targets import certify_run, export_net, exporter
from .training import check_plots, config_name, train_claimed


def artefacts() -> dict[str, tuple[str, dict[str, Any]]]:
    """Artefact in the folder of a run -> target and options of its export."""
    return {
        path: (target.name, dict(options)) for target in TARGETS.values() for path, options in target.artefacts.items()
    }


def run(args: Namespace) -> Outcome:
    """``deepr-hw run``: the whole path. What can't be done at its end is refused at its beginning."""
    check_folder(args.out)
    config = load_config(config_name(args), args.overrides)
    dataset = data.load(config.data.name, config.data.task)
    _check_tools(args, len(dataset.x_test))
    with claim(args.out, args.resume, args.force) as folder:
        trained, _ = train_claimed(args, config, dataset)
        clear(folder, {*made_of_net(folder), *(target for target, _ in artefacts().values())})
        net = netfile.load(folder / NET)
        print_info(describe(net, folder / NET))
        exported = {name: _export(net, folder, target, options) for name, (target, options) in artefacts().items()}
        made = [name for name, written in exported.items() if "refusal" not in written]
        verified, same_bits = verify_net(net, args, None)
        write_text(folder / "verify.json", json.dumps(verified, indent=2) + "\n")
        write_record(folder, net.provenance["run"], [*made, "verify.json"])
        certificate, same_k = certify_run(folder)
        write_text(folder / "certificate.json", json.dumps(certificate, indent=2) + "\n")
        write_report(folder)
        CONSOLE.print(f"report: {folder / 'report.html'}", markup=False)
    outcome = {**trained, "export": list(exported.values()), "verify": verified, "certificate": certificate}
    return outcome, same_bits and same_k and len(made) == len(exported)


def _check_tools(args: Namespace, n_test: int) -> None:
    """Raise ``MissingToolError`` or ``ValueError`` for what exports, verification, certificate or report would miss."""
    from deepr_hw.sim import runner

    for target, _ in artefacts().values():
        exporter(target)
    check_verification(args, n_test)
    if why := runner.missing("icarus"):
        raise MissingToolError(f"certificate: {why}")
    check_plots("report")


def _export(net: IntNet, folder: Path, target: str, options: dict[str, Any]) -> dict[str, Any]:
    """What was written; or why this target doesn't take the network, which is no reason to drop the others."""
    try:
        return export_net(net, target, folder / target, options)
    except ValueError as error:
        CONSOLE.print(f"{target} refuses this network: {error}", markup=False, style="yellow")
        return {"target": target, **options, "refusal": str(error)}

"""``run``: the whole path in one command."""

import json
from argparse import Namespace

from .. import data, netfile
from ..config import load_config
from ..console import CONSOLE
from ..files import write_text
from ..info import describe
from ..report import write_report
from ..runfolder import MADE_OF_NET, NET, claim, clear, write_record
from . import Outcome
from .networks import print_info, verify_net
from .targets import certify_run, export_net
from .training import config_name, train_claimed

_EXPORTS = (*(("onnx", {"flavour": flavour}) for flavour in ("integer", "qdq", "qonnx")), ("hls4ml", {}), ("rtl", {}))
_ARTEFACTS = (*(f"onnx/{flavour}.onnx" for flavour in ("integer", "qdq", "qonnx")), "hls4ml", "rtl", "verify.json")


def run(args: Namespace) -> Outcome:
    """``deepr-hw run``: the whole path."""
    config = load_config(config_name(args), args.overrides)
    dataset = data.load(config.data.name)
    with claim(args.out, args.resume, args.force) as folder:
        trained, _ = train_claimed(args, config, dataset)
        clear(folder, MADE_OF_NET)
        net = netfile.load(folder / NET)
        print_info(describe(net, folder / NET))
        exported = [export_net(net, target, folder / target, options) for target, options in _EXPORTS]
        verified, same_bits = verify_net(net, args, None)
        write_text(folder / "verify.json", json.dumps(verified, indent=2) + "\n")
        write_record(folder, net.provenance["run"], _ARTEFACTS)
        certificate, same_k = certify_run(folder)
        write_text(folder / "certificate.json", json.dumps(certificate, indent=2) + "\n")
        write_report(folder)
        CONSOLE.print(f"report: {folder / 'report.html'}")
    return {**trained, "export": exported, "verify": verified, "certificate": certificate}, same_bits and same_k

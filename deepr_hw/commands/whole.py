"""``run``: the whole path in one command."""

import json
from argparse import Namespace

from .. import netfile
from ..console import CONSOLE
from ..files import write_text
from ..info import describe
from ..report import write_report
from . import Outcome
from .networks import print_info, verify_net
from .targets import certify_run, export_net
from .training import train

_EXPORTS = (*(("onnx", {"flavour": flavour}) for flavour in ("integer", "qdq", "qonnx")), ("hls4ml", {}), ("rtl", {}))


def run(args: Namespace) -> Outcome:
    """``deepr-hw run``: the whole path."""
    trained, _ = train(args)
    net_path = args.out / "net.safetensors"
    net = netfile.load(net_path)
    print_info(describe(net, net_path))
    exported = [export_net(net, target, args.out / target, options) for target, options in _EXPORTS]
    verified, same_bits = verify_net(net, args, None)
    write_text(args.out / "verify.json", json.dumps(verified, indent=2) + "\n")
    certificate, same_k = certify_run(args.out)
    write_text(args.out / "certificate.json", json.dumps(certificate, indent=2) + "\n")
    write_report(args.out)
    CONSOLE.print(f"report: {args.out / 'report.html'}")
    return {**trained, "export": exported, "verify": verified, "certificate": certificate}, same_bits and same_k

"""The arguments of every command. Imports nothing heavy: ``--help`` answers at once."""

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn, TypeAlias

from deepr_hw.devices.area import LANES
from deepr_hw.export.hls4ml.backends import BACKENDS, DEFAULT
from deepr_hw.targets import ENGINES, TARGETS
from deepr_hw.version import __version__

_Commands: TypeAlias = "argparse._SubParsersAction[_Parser]"

"""What ``verify`` and ``run`` compare unless told otherwise."""

_EPILOG = """\
examples:
  deepr-hw run mnist_paper --out runs/mnist          train, freeze, export, verify in every engine, report
  deepr-hw train digits --out runs/digits            train only
  deepr-hw compare digits --out runs/sweep --methods deep_r,fixed --budgets 10%,25% --seeds 3
  deepr-hw info runs/digits/net.safetensors          what is in a network
  deepr-hw verify runs/digits/net.safetensors        the same bits in ONNX, hls4ml C++ and two RTL simulators
  deepr-hw export rtl runs/digits/net.safetensors --out build/rtl
  deepr-hw certify runs/mnist                        the same K in every artefact of a run
  deepr-hw import pruned.onnx --out net.safetensors  a network that was pruned elsewhere

exit codes: 0 ok, 1 a check failed, 2 bad input (DEEPR_HW_DEBUG=1 shows the traceback)
"""


def make_parser() -> argparse.ArgumentParser:
    """The parser of every command; ``args.body`` is ``module:function`` in ``commands``."""
    parser = _Parser(
        prog="deepr-hw",
        epilog=_EPILOG,
        formatter_class=_Formatter,
        description="Train a network inside a strict budget of K connections (DEEP R, 8 bits)\n"
        "and ship the very same bits to ONNX, hls4ml firmware and RTL.",
    )
    parser.add_argument("--version", action="version", version=f"deepr-hw {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    _add_train(commands)
    _add_run(commands)
    _add_compare(commands)
    _add_info(commands)
    _add_export(commands)
    _add_verify(commands)
    _add_synth(commands)
    _add_load_diff(commands)
    _add_hls(commands)
    _add_certify(commands)
    _add_import(commands)
    return parser


class _Parser(argparse.ArgumentParser):
    """Says in one line what is wrong with a command line."""

    def error(self, message: str) -> NoReturn:
        """Exit with 2."""
        name = self.prog.partition(" ")[2]
        message = " ".join(message.split())
        self.exit(2, f"deepr-hw: {name + ': ' if name else ''}{message} (see {self.prog} --help)\n")


class _Formatter(argparse.RawDescriptionHelpFormatter):
    """Keeps the examples' line breaks."""


def _positive(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 12 and 0 < int(text) < 1 << 31):
        raise argparse.ArgumentTypeError(f"{text[:40]!r} is not a positive whole number below 2**31")
    return int(text)


def _lanes(text: str) -> int:
    if text not in map(str, LANES):
        raise argparse.ArgumentTypeError(f"{text[:40]!r}: an engine has {', '.join(map(str, LANES))} lanes")
    return int(text)


def _unit(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 2.0**-100 <= value <= 2.0**100:
        raise argparse.ArgumentTypeError(f"{text[:40]!r} is not a positive number from 2**-100 to 2**100")
    return value


_TYPES: dict[Any, Any] = {"positive": _positive, "lanes": _lanes}
"""What a target's options may call their type."""


def _command(commands: _Commands, body: str, summary: str, examples: str) -> argparse.ArgumentParser:
    name = body.split(":")[1].strip("_").replace("_", "-")
    parser = commands.add_parser(
        name,
        help=summary,
        description=summary[0].upper() + summary[1:] + ".",
        epilog=f"examples:\n{examples}",
        formatter_class=_Formatter,
    )
    parser.set_defaults(body=body)
    return parser


def _add_config(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "config",
        metavar="CONFIG",
        help="a TOML file, or the name of one that ships: mnist_paper, "
        "digits, auto (mnist_paper where MNIST is at hand, else digits)",
    )
    parser.add_argument("--out", metavar="RUN", type=Path, required=True, help="folder for everything that is made")
    parser.add_argument(
        "--set",
        metavar="KEY=VALUE",
        action="append",
        default=[],
        dest="overrides",
        help="override a key, e.g. training.epochs=3; may be repeated",
    )
    _add_json(parser)


def _add_used_folder(parser: argparse.ArgumentParser) -> None:
    group = parser.add_mutually_exclusive_group()
    group.add_argument(
        "--resume",
        action="store_true",
        help="go on from the checkpoint in RUN; training.epochs may be higher than before, every other key stays",
    )
    group.add_argument("--force", action="store_true", help="replace the run that is in RUN")


def _add_json(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--json",
        metavar="FILE",
        type=Path,
        help="also write the result here, for machines; - is standard output, tables then go to standard error",
    )


def _add_verification(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--engines",
        metavar="LIST",
        default=",".join(engine.name for engine in ENGINES.values() if engine.default),
        help="comma-separated, each NAME or NAME:SAMPLES; all is every one (default: %(default)s)",
    )
    parser.add_argument(
        "--samples",
        metavar="N",
        type=_positive,
        help="samples for every engine that has no number of "
        "its own (default: all; less for slow ones, e.g. hls4ml 1000, verilator 200, icarus 20)",
    )
    parser.add_argument("--lanes", metavar="P", type=_lanes, help="lanes of the RTL: 1, 2, 4, 8 (default) or 16")
    parser.add_argument(
        "--stream-bytes",
        metavar="N",
        type=int,
        choices=(1, 4, 8),
        help="width of the simulated engine's streams: 1, 4 or 8 bytes (default)",
    )
    parser.add_argument(
        "--waves",
        metavar="DIR",
        type=Path,
        help="leave the waveforms of verilator (.vcd) and icarus (.fst) there, for GTKWave or Surfer",
    )


def _add_train(commands: _Commands) -> None:
    parser = _command(
        commands,
        "training:train",
        "train a network inside its budget and freeze it",
        "  deepr-hw train digits --out runs/digits\n"
        "  deepr-hw train my.toml --out runs/mine --set training.epochs=3 --set training.seed=1\n"
        "  deepr-hw train my.toml --out runs/mine --resume     go on after an interruption\n"
        "  deepr-hw train my.toml --out runs/mine --resume --set training.epochs=60     or train longer\n"
        "  deepr-hw train my.toml --out runs/mine --force      anew, in place of what is there\n",
    )
    _add_config(parser)
    _add_used_folder(parser)


def _add_run(commands: _Commands) -> None:
    parser = _command(
        commands,
        "whole:run",
        "train, freeze, export to every target, verify and write a report",
        "  deepr-hw run mnist_paper --out runs/mnist\n"
        "  deepr-hw run auto --out runs/demo     MNIST where its data is at hand, else digits\n"
        "  deepr-hw run digits --out runs/digits --engines onnx,icarus:5\n",
    )
    _add_config(parser)
    _add_used_folder(parser)
    _add_verification(parser)


def _add_compare(commands: _Commands) -> None:
    parser = _command(
        commands,
        "training:compare",
        "train methods x budgets x seeds; a CSV, and accuracy against connectivity",
        "  deepr-hw compare digits --out runs/sweep --methods deep_r,fixed --budgets 10%,25% --seeds 3\n"
        "  deepr-hw compare mnist_paper --out runs/mnist --budgets 0.5%,1%,3552,3% --jobs 2\n"
        "  deepr-hw compare mnist_paper --out runs/mnist --budgets 1%,3% --backend dask --address "
        "127.0.0.1:8786\n\n"
        "finished cells of RUN are not run again: the same command goes on after an interruption\n",
    )
    _add_config(parser)
    parser.add_argument("--methods", metavar="LIST", default="", help="comma-separated (default: the configuration's)")
    parser.add_argument(
        "--budgets",
        metavar="LIST",
        default="",
        help="comma-separated, each a number of connections "
        "or a percentage of all positions (default: the configuration's)",
    )
    parser.add_argument(
        "--seeds",
        metavar="N",
        type=_positive,
        default=3,
        help="seeds per method and budget, from training.seed on (default: %(default)s)",
    )
    parser.add_argument(
        "--jobs",
        metavar="N",
        type=_positive,
        default=-1,
        help="trainings at once (default: one per core, or per worker of the cluster)",
    )
    parser.add_argument(
        "--backend",
        choices=("loky", "threading", "dask", "ray"),
        default="loky",
        help="what runs them: processes, threads, or a cluster (default: %(default)s)",
    )
    parser.add_argument(
        "--address", metavar="HOST:PORT", help="the cluster's scheduler (default: a cluster on this machine)"
    )


def _add_info(commands: _Commands) -> None:
    parser = _command(
        commands,
        "networks:info",
        "show a network's layers, K, non-zeros, fan-in, accumulators and bytes",
        "  deepr-hw info runs/digits/net.safetensors --json info.json\n",
    )
    parser.add_argument("net", metavar="NET", type=Path, help="an IntNet file (.safetensors)")
    _add_json(parser)


def _add_export(commands: _Commands) -> None:
    parser = _command(
        commands,
        "targets:export",
        "write a network as ONNX, as hls4ml firmware or as the RTL's memory image",
        "  deepr-hw export onnx runs/digits/net.safetensors --out build/onnx --flavour qdq\n"
        "  deepr-hw export hls4ml runs/digits/net.safetensors --out build/hls4ml --reuse-factor 16\n"
        "  deepr-hw export rtl runs/digits/net.safetensors --out build/rtl --lanes 8\n",
    )
    parser.add_argument(
        "target",
        choices=TARGETS,
        help="; ".join(f"{target.name}: {target.summary}" for target in TARGETS.values()),
    )
    parser.add_argument("net", metavar="NET", type=Path, help="an IntNet file (.safetensors)")
    parser.add_argument("--out", metavar="DIR", type=Path, required=True, help="folder to write to")
    for name, owners in _export_options().items():
        settings = dict(owners[0][1])
        settings["type"] = _TYPES.get(settings.get("type"), settings.get("type", str))
        settings["help"] = f"{', '.join(target for target, _ in owners)}: {settings['help']}"
        parser.add_argument(f"--{name}", **settings)
    parser.set_defaults(
        option_targets={name.replace("-", "_"): [t for t, _ in owners] for name, owners in _export_options().items()}
    )
    _add_json(parser)


def _export_options() -> dict[str, list[tuple[str, Mapping[str, Any]]]]:
    """Options of ``export`` by name: which targets have it, each with argparse's settings."""
    options: dict[str, list[tuple[str, Mapping[str, Any]]]] = {}
    for target in TARGETS.values():
        for option in target.options:
            options.setdefault(option.name, []).append((target.name, option.settings))
    return options


def _add_verify(commands: _Commands) -> None:
    parser = _command(
        commands,
        "networks:verify",
        "compare every logit of every engine with the integer reference",
        "  deepr-hw verify runs/mnist/net.safetensors --data mnist --json verify.json\n"
        "  deepr-hw verify net.safetensors --data random --engines onnx,icarus:5 --samples 1000\n"
        "  deepr-hw verify net.safetensors --engines icarus:2 --waves waves\n",
    )
    parser.add_argument("net", metavar="NET", type=Path, help="any IntNet file (.safetensors)")
    parser.add_argument(
        "--data",
        metavar="NAME",
        help="mnist, digits, a folder of IDX files, an .npz file, or random "
        "codes (default: what it was trained on, else random)",
    )
    _add_verification(parser)
    _add_json(parser)


def _add_synth(commands: _Commands) -> None:
    parser = _command(
        commands,
        "targets:synth",
        "synthesize the engine: area, clock, images per second, bitstream",
        "  deepr-hw synth runs/mnist/net.safetensors --target ecp5-25k --lanes 8 --json synth.json\n"
        "  deepr-hw synth runs/mnist/net.safetensors --target xc7 --lanes 4     counts only\n",
    )
    parser.add_argument("net", metavar="NET", type=Path, help="an IntNet file (.safetensors)")
    parser.add_argument(
        "--target",
        metavar="TARGET",
        default="ecp5-25k",
        help="ecp5-25k, ecp5-45k, ecp5-85k, ice40-up5k, xc7 or xcup (default: %(default)s)",
    )
    parser.add_argument("--lanes", metavar="P", type=_lanes, default=8, help="multipliers side by side (default: 8)")
    parser.add_argument(
        "--banks",
        metavar="N",
        type=int,
        choices=(1, 2),
        help="connection banks, 2 for a hot swap (default: 2; ice40: 1)",
    )
    parser.add_argument("--seed", metavar="N", type=_positive, default=1, help="of place and route (default: 1)")
    parser.add_argument("--out", metavar="DIR", type=Path, help="keep bitstream, report and logs here")
    _add_json(parser)


def _add_load_diff(commands: _Commands) -> None:
    parser = _command(
        commands,
        "targets:load_diff",
        "the writes that turn one loaded network into the next",
        "  deepr-hw load-diff old/net.safetensors new/net.safetensors --out swap.txt\n",
    )
    parser.add_argument("old", metavar="OLD", type=Path, help="what the idle bank holds (.safetensors)")
    parser.add_argument("new", metavar="NEW", type=Path, help="what it shall hold: same input and output size")
    parser.add_argument("--lanes", metavar="P", type=_lanes, default=8, help="of the engine (default: 8)")
    parser.add_argument("--out", metavar="FILE", type=Path, required=True, help="one 'address data' (hex) per line")
    _add_json(parser)


def _add_hls(commands: _Commands) -> None:
    parser = _command(
        commands,
        "targets:hls",
        "write the hls4ml project; synthesize it where a compiler is on PATH",
        "  deepr-hw hls runs/mnist/net.safetensors --out build/hls --part xc7z020clg400-1\n"
        "  deepr-hw hls runs/mnist/net.safetensors --out build/hls --reuse-factor 64 --json cost.json\n",
    )
    parser.add_argument("net", metavar="NET", type=Path, help="an IntNet file (.safetensors)")
    parser.add_argument("--out", metavar="DIR", type=Path, required=True, help="folder of the project")
    parser.add_argument(
        "--backend",
        choices=[row.name for row in BACKENDS.values() if row.tools],
        default=DEFAULT,
        help="(default: %(default)s)",
    )
    parser.add_argument("--part", metavar="PART", help="FPGA to synthesize for (default: hls4ml's)")
    parser.add_argument(
        "--reuse-factor",
        metavar="N",
        type=_positive,
        default=1,
        help="connections per multiplier (default: %(default)s, fully parallel)",
    )
    parser.add_argument(
        "--io-type", choices=("io_parallel", "io_stream"), default="io_parallel", help="ports (default: %(default)s)"
    )
    _add_json(parser)


def _add_certify(commands: _Commands) -> None:
    parser = _command(
        commands,
        "targets:certify",
        "count K in every artefact of a run, each in a way of its own",
        "  deepr-hw certify runs/mnist --json certificate.json\n",
    )
    parser.add_argument("run", metavar="RUN", type=Path, help="a folder that deepr-hw run made")
    parser.add_argument(
        "--simulator",
        choices=("icarus", "verilator"),
        default="icarus",
        help="what counts the multiply-accumulates (default: %(default)s)",
    )
    _add_json(parser)


def _add_import(commands: _Commands) -> None:
    parser = _command(
        commands,
        "networks:import_",
        "make an integer network of a model that was pruned elsewhere",
        "  deepr-hw import pruned_qdq.onnx --out net.safetensors --data mnist --unit 0.00392157\n"
        "  deepr-hw import weights.npz --out net.safetensors --data my.npz\n"
        "  deepr-hw import state_dict.safetensors --out net.safetensors --data mnist --layout out-in\n",
    )
    parser.add_argument(
        "model",
        metavar="MODEL",
        type=Path,
        help="an .onnx file (QDQ, QONNX, float), or the weights "
        "in .npz or .safetensors: arrays in order, or by key as in a PyTorch state dict",
    )
    parser.add_argument("--out", metavar="NET", type=Path, required=True, help="the IntNet file to write")
    parser.add_argument(
        "--data",
        metavar="NAME",
        help="calibrates a float model on the training samples and measures "
        "agreement with the original on the test samples",
    )
    parser.add_argument(
        "--unit",
        metavar="X",
        type=_unit,
        help="input value of the original per value of the "
        "data, e.g. 0.00392157 for bytes scaled to 0..1 (default: that for bytes, else 1)",
    )
    parser.add_argument(
        "--layout",
        choices=("in-out", "out-in"),
        help="of the matrices in .npz or .safetensors: "
        "(n_in, n_out) or (n_out, n_in) (default: what names and shapes tell)",
    )
    parser.add_argument(
        "--task",
        choices=("classification", "regression"),
        help="whether the largest output is the "
        "class, or the outputs are the answer (default: that of the data; without data a regression "
        "where there is one output)",
    )
    _add_json(parser)

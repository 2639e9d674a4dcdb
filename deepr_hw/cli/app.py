"""The command line: arguments in, exit code out. Each command's body is in ``commands``, imported when it runs."""

import importlib
import json
import os
import sys
import warnings
from argparse import Namespace
from pathlib import Path
from typing import Any

from deepr_hw.targets import BROKEN

from .arguments import make_parser

CHECK_FAILED, BAD_INPUT, INTERRUPTED = 1, 2, 130
_GO_ON = {"train": "with --resume", "run": "with --resume", "compare": "by the same command"}


def main(argv: list[str] | None = None) -> int:
    """Run the command in ``argv`` (default: the process's) and return its exit code."""
    args = make_parser().parse_args(argv)
    try:
        with warnings.catch_warnings():
            warnings.showwarning = _warn
            for why in BROKEN:
                warnings.warn(why, stacklevel=1)
            return _run(args)
    except KeyboardInterrupt:
        how = f"; training goes on {_GO_ON[args.command]}" if args.command in _GO_ON else ""
        print(f"\ndeepr-hw: interrupted{how}", file=sys.stderr)
        return INTERRUPTED
    except (ValueError, OSError, RuntimeError, MemoryError, OverflowError, ModuleNotFoundError) as error:
        if os.environ.get("DEEPR_HW_DEBUG"):
            raise
        print(f"deepr-hw: {_one_line(args.command, error)}", file=sys.stderr)
        return BAD_INPUT


def _run(args: Namespace) -> int:
    module, function = args.body.split(":")
    to_stdout = args.json == Path("-")
    if args.json and not to_stdout:
        _check_json(args)
    body = getattr(importlib.import_module(f"deepr_hw.cli.commands.{module}"), function)
    from deepr_hw.console import CONSOLE

    CONSOLE.stderr = to_stdout  # tables make room for the result
    try:
        result, passed = body(args)
    finally:
        CONSOLE.stderr = False
    if args.json:
        _write(args.json, result)
    return 0 if passed else CHECK_FAILED


def _check_json(args: Namespace) -> None:
    """Raise ``OSError`` unless the result can be written, now or, inside of the folder to be made, then."""
    from deepr_hw.files import check_folder, check_writable

    out = getattr(args, "out", None)
    if out is not None and args.json.parent.absolute() == out.absolute() and not out.exists():
        check_folder(out)
    else:
        check_writable(args.json)


def _write(path: Path, result: dict[str, Any]) -> None:
    text = json.dumps(result, indent=2) + "\n"
    if path == Path("-"):
        sys.stdout.write(text)
        return
    from deepr_hw.files import write_text

    write_text(path, text)


def _warn(message: Warning | str, *where: object, **more: object) -> None:
    """A warning in one line, without the place in the sources."""
    print(f"deepr-hw: warning: {' '.join(str(message).split())}", file=sys.stderr)


def _one_line(command: str, error: Exception) -> str:
    if isinstance(error, OSError) and error.filename is not None:
        return " ".join(f"{error.filename}: {error.strerror}".split())
    if isinstance(error, ModuleNotFoundError):
        from deepr_hw.extras import missing

        error = missing(command, error)
    if isinstance(error, MemoryError):
        error = MemoryError(f"not enough memory: {error}")
    return " ".join(str(error).split()) or type(error).__name__

"""The command line: arguments in, exit code out. Each command's body is in ``commands``, imported when it runs."""

import importlib
import json
import os
import sys
import warnings

from .arguments import make_parser

CHECK_FAILED, BAD_INPUT, INTERRUPTED = 1, 2, 130


def main(argv: list[str] | None = None) -> int:
    """Run the command in ``argv`` (default: the process's) and return its exit code."""
    args = make_parser().parse_args(argv)
    try:
        module, function = args.body.split(":")
        with warnings.catch_warnings():
            warnings.showwarning = _warn
            result, passed = getattr(importlib.import_module(f"deepr_hw.commands.{module}"), function)(args)
        if args.json:
            from .files import write_text

            write_text(args.json, json.dumps(result, indent=2) + "\n")
        return 0 if passed else CHECK_FAILED
    except KeyboardInterrupt:
        how = "by the same command" if args.command == "compare" else "with --resume"
        print(f"\ndeepr-hw: interrupted; training goes on {how}", file=sys.stderr)
        return INTERRUPTED
    except (ValueError, OSError, RuntimeError) as error:
        if os.environ.get("DEEPR_HW_DEBUG"):
            raise
        print(f"deepr-hw: {_one_line(error)}", file=sys.stderr)
        return BAD_INPUT


def _warn(message: Warning | str, *where: object, **more: object) -> None:
    """A warning in one line, without the place in the sources."""
    print(f"deepr-hw: warning: {' '.join(str(message).split())}", file=sys.stderr)


def _one_line(error: Exception) -> str:
    if isinstance(error, OSError) and error.filename is not None:
        return f"{error.filename}: {error.strerror}"
    return " ".join(str(error).split())

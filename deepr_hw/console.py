"""The console that tables are printed to: as wide as the terminal, or 120 columns where there is none."""

import sys

from rich.console import Console

CONSOLE = Console(width=None if sys.stdout.isatty() else 120, highlight=False)

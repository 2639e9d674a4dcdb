"""``python -m deepr_hw``."""

import sys

from .cli import main

sys.exit(main())

"""The bodies of the commands, by what they are about: each takes the parsed arguments and returns ``Outcome``.

``Outcome`` is (what ``--json`` writes, whether every check passed).
"""

from typing import Any

Outcome = tuple[dict[str, Any], bool]

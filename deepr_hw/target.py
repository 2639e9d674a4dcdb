"""What a target is: where a network can go, and what executes it there.

A target is one folder and one ``Target``, declared in its ``target.py``, which names functions as ``module:function``
and imports nothing heavy; ``targets.py`` collects them. Command line, ``verify``, ``run``, ``sizes`` and the
certificate know targets by what stands here and by nothing else.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np


@dataclass(frozen=True)
class EngineRun:
    """What an engine returns.

    logits            : (n, n_out) int32, as the reference gives them
    cycles_per_sample : clock cycles from one sample to the next in steady state, or None where there is no clock
    n_macs            : multiply-accumulates counted by the engine itself over all samples, or None
    utilization       : sum over layers of ceil(K_l / lanes), the cycles that K connections take with every multiplier
                        busy, as a share of ``cycles_per_sample``
    """

    logits: np.ndarray
    cycles_per_sample: float | None = None
    n_macs: int | None = None
    utilization: float | None = None


@dataclass(frozen=True)
class Size:
    """What it takes to write a network down in one way.

    kind    : ``computed``: bytes of plain arrays (connections, biases, tables, no header); ``file``: a whole file as
              written, with names, formats and labels; ``entropy``: what an ideal code of these symbols spends, each
              layer with frequencies of its own that cost nothing. A code that knows more than them (which inputs are
              used, say) can do better
    n_bytes : None where this way can't hold the network; ``remark`` says why
    """

    name: str
    kind: str
    n_bytes: float | None
    remark: str = ""


Function = str | Callable[..., Any]
"""``module:function``, imported only when it is called for, so that nobody needs a tool that he doesn't use; or the
function itself."""


@dataclass(frozen=True)
class Engine:
    """Something that executes an ``IntNet`` besides the reference, or turns values into its codes.

    name         : what ``--engines`` takes
    run          : ``run(net, codes, workdir, **options) -> EngineRun``; of an encoder ``run(net, values, workdir) ->
                   codes``, what an artefact makes of values in the user's unit. Its module may have a function
                   ``missing_program(options)`` that says which program is not installed
    options      : that tell the engines of one function apart
    samples      : how many it takes unless told otherwise; None is all that there are
    encodes      : whether it is an encoder
    default      : whether ``verify`` and ``run`` take it unless told otherwise
    shows_fault  : it shows what a wrong setting does, so that ``all`` does not mean it
    accepts      : options of the command line that it takes, of ``lanes``, ``waves``, ``stream_bytes``
    """

    name: str
    run: Function
    options: Mapping[str, Any] = field(default_factory=dict)
    samples: int | None = None
    encodes: bool = False
    default: bool = False
    shows_fault: bool = False
    accepts: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Option:
    """An option of a target's export on the command line: its name and argparse's settings, whose ``type`` may be the
    word ``positive`` or ``lanes``."""

    name: str
    settings: Mapping[str, Any]


@dataclass(frozen=True)
class Target:
    """Where a network can go.

    name      : what ``export`` calls it; also its folder in that of a run
    summary   : what it is, in a few words
    export    : ``export(net, folder, **options) -> dict`` of what was written
    options   : of the export, for the command line
    artefacts : what ``run`` makes: path in the folder of the run -> options of its export
    engines   : what executes it
    sizes     : ``sizes(net, folder) -> iterable of Size``, with an empty folder to write to; or None
    examine   : ``examine(run, net, simulator) -> list of Evidence`` for the certificate: K counted in what lies in the
                target's folder of that of a run, and compared with what ``net`` (None where it can't be read) exports
                to now; ``testimony.py`` helps. Asked only where there is that folder or the run's record names it. Or
                None
    """

    name: str
    summary: str
    export: Function
    options: tuple[Option, ...] = ()
    artefacts: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    engines: tuple[Engine, ...] = ()
    sizes: Function | None = None
    examine: Function | None = None

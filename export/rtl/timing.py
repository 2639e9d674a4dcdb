"""When the engine takes words, starts samples and gives logits: the cycle formula for streams of any width.

Without a stream narrower than the engine's words or a logit, ``Schedule.interval`` is the formula. A narrower one is
slower than its beats: a word that is complete waits while the lanes write, and the beats behind it wait along.
"""

import math

from .geometry import LATENCY
from .schedule import Schedule
from .words import PACKAGE

_SAMPLES = 40
"""So many samples are walked; the second half is the steady state."""
_STAGES = PACKAGE.constants["StageWrite"]
"""A result is written so many cycles after its row."""


def beats(n_bytes: int, stream_bytes: int) -> int:
    """Beats of a frame of ``n_bytes`` on a stream of ``stream_bytes``."""
    return math.ceil(n_bytes / stream_bytes)


def done_cycles(plan: Schedule, stream_bytes: int, n: int) -> list[int]:
    """Cycle in which each of ``n`` samples' last logit leaves, source and sink always willing, counted from the first
    sample's last input word. Exact.
    """
    parts = max(1, plan.lanes // stream_bytes)  # beats of a word
    last_parts = beats(plan.n_in - (plan.in_words - 1) * plan.lanes, stream_bytes) if parts > 1 else 1
    per_logit = beats(4, stream_bytes)
    written = [row + 1 + _STAGES for row in plan.written_rows]
    taken, accepted = 0, -per_logit
    start = [0] * n
    done = [0] * n
    writes: set[int] = set()
    for k in range(n):
        if k:
            free = start[k - 2] + plan.in_rows + 3 if k > 1 else 0
            for word in range(plan.in_words):
                taken += parts if word < plan.in_words - 1 else last_parts
                taken = max(taken, free)
                while taken in writes:
                    taken += 1
        start[k] = max(taken + 1, start[k - 1] + plan.n_rows if k else 0, done[k - 2] + 1 if k > 1 else 0)
        writes = {cycle for cycle in writes if cycle > taken} | {start[k] + cycle for cycle in written}
        for logit in range(plan.n_out):
            offered = start[k] + plan.collected + LATENCY - 1 if logit == 0 else 0
            accepted = max(accepted + (per_logit if k or logit else 0), offered)
        done[k] = accepted
    return done


def interval(plan: Schedule, stream_bytes: int) -> float:
    """Cycles from sample to sample in steady state on streams of ``stream_bytes`` bytes per beat."""
    if stream_bytes >= max(4, plan.lanes):
        return plan.interval
    done, half = done_cycles(plan, stream_bytes, _SAMPLES), _SAMPLES // 2
    return (done[-1] - done[half - 1]) / half

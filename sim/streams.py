"""Valid/ready streams for cocotb benches: source, sink, patterns, scoreboard."""

import random
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import cocotb
from cocotb.triggers import FallingEdge, RisingEdge

PATIENCE = 10_000
"""Cycles after which a beat that is not taken is a failure."""

Pattern = Callable[[], bool]
"""Asked once per cycle: True means pause in this cycle."""


def never() -> bool:
    """No pause."""
    return False


def chance(percent: int, seed: int) -> Pattern:
    """Pause in ``percent`` of the cycles, at random."""
    rng = random.Random(seed)
    return lambda: rng.randrange(100) < percent


def bursts(busy: int, quiet: int) -> Pattern:
    """``busy`` cycles without, then ``quiet`` cycles with pause, over and over."""

    def states() -> Iterator[bool]:
        while True:
            yield from [False] * busy + [True] * quiet

    state = states()
    return lambda: next(state)


class Stream:
    """Handles of one stream: ``valid``, ``ready`` and the payload by name."""

    def __init__(self, clock: Any, valid: Any, ready: Any, payload: Mapping[str, Any]) -> None:
        self.clock, self.valid, self.ready, self.payload = clock, valid, ready, dict(payload)


class Source:
    """Sends beats (a value per payload name). Valid never waits for ready."""

    def __init__(self, stream: Stream, pause: Pattern = never) -> None:
        self.stream, self.pause = stream, pause
        self.sent = 0
        stream.valid.value = 0

    async def send(self, beats: Iterable[Mapping[str, int]]) -> None:
        """Send ``beats`` in order; returns in the cycle after the last one was taken."""
        stream = self.stream
        for beat in beats:
            while self.pause():
                await RisingEdge(stream.clock)
            for name, handle in stream.payload.items():
                handle.value = beat[name]
            stream.valid.value = 1
            for _ in range(PATIENCE):
                await FallingEdge(stream.clock)
                taken = bool(stream.ready.value)
                await RisingEdge(stream.clock)
                if taken:
                    break
            else:
                raise AssertionError(f"beat {self.sent}: not taken within {PATIENCE} cycles")
            self.sent += 1
            stream.valid.value = 0


class Sink:
    """Takes beats, passes each to ``receive``, and watches the rule: an offered beat stays until it is taken."""

    def __init__(self, stream: Stream, receive: Callable[[dict[str, int]], None], pause: Pattern = never) -> None:
        self.stream, self.receive, self.pause = stream, receive, pause
        self.taken = 0
        self.task = cocotb.start_soon(self._run())

    async def _run(self) -> None:
        stream, offered = self.stream, None
        while True:
            stream.ready.value = int(not self.pause())
            await FallingEdge(stream.clock)
            beat = None
            if stream.valid.value == 1:
                beat = {name: int(handle.value) for name, handle in stream.payload.items()}
            assert offered is None or beat == offered, f"offered {offered}, then {beat} before it was taken"
            offered = beat
            if beat is not None and stream.ready.value == 1:
                self.taken += 1
                self.receive(beat)
                offered = None
            await RisingEdge(stream.clock)

    def stop(self) -> None:
        """Stop taking beats."""
        self.task.cancel()
        self.stream.ready.value = 0


class Scoreboard:
    """Expected outputs in order; counts, and must be closed (``finish``) empty."""

    def __init__(self) -> None:
        self.expected: deque[dict[str, int]] = deque()
        self.matched = 0
        self.closed = False

    def expect(self, beats: Sequence[dict[str, int]]) -> None:
        """Append ``beats`` to what must come."""
        self.expected.extend(beats)

    def receive(self, beat: dict[str, int]) -> None:
        """Compare ``beat`` with the next expected one."""
        assert self.expected, f"beat {self.matched}: got {beat}, expected nothing"
        expected = self.expected.popleft()
        assert beat == expected, f"beat {self.matched}: got {beat}, expected {expected}"
        self.matched += 1

    def agree(self, got: object, expected: object, what: str) -> None:
        """Compare an output at once; it counts."""
        assert got == expected, f"{what}: got {got}, expected {expected}"
        self.matched += 1

    def finish(self, n: int) -> None:
        """Close. Raises ``AssertionError`` unless exactly ``n`` outputs were compared, at least one, none missing."""
        assert not self.expected, f"{len(self.expected)} expected outputs never came"
        assert self.matched == n > 0, f"{self.matched} outputs were compared, expected {n}"
        self.closed = True


def scored(test: Callable[[Any, Scoreboard], Awaitable[None]]) -> Any:
    """``test(dut, score)`` as a cocotb test that also fails when it returns before its scoreboard is closed."""

    async def run(dut: Any) -> None:
        score = Scoreboard()
        await test(dut, score)
        assert score.closed, f"{run.__name__} returned before its scoreboard was closed"

    for name in ("__module__", "__name__", "__qualname__", "__doc__"):
        setattr(run, name, getattr(test, name))
    return cocotb.test()(run)

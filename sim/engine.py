"""Runs an ``IntNet`` on the RTL engine in a simulator."""

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from deepr_hw import reference
from deepr_hw.export.rtl import image as rtl_image
from deepr_hw.export.rtl import timing as rtl_timing
from deepr_hw.export.rtl.geometry import STREAM_BYTES, Geometry
from deepr_hw.export.rtl.package import beats_text
from deepr_hw.export.rtl.schedule import Schedule, required_geometry, schedule
from deepr_hw.files import make_folder, write_text
from deepr_hw.ir import IntNet
from deepr_hw.target import EngineRun

from . import runner


def missing_program(options: Mapping[str, object]) -> str | None:
    """Why the simulator among an engine's ``options`` can't run here, or None."""
    return runner.missing(str(options["simulator"]))


_PLAYER = Path(__file__).resolve().parent / "deepr_player.sv"


@dataclass(frozen=True)
class PlayerRun:
    """What the player wrote.

    logits : (n, n_out) int32;  winner : (n,) class that the engine names
    taken  : (n,) cycle of each frame's last input beat;  first, done : (n,) of its first and last output beat
    samples, cycles, stalls, macs : the engine's own counters
    """

    logits: np.ndarray
    winner: np.ndarray
    taken: np.ndarray
    first: np.ndarray
    done: np.ndarray
    samples: int
    cycles: int
    stalls: int
    macs: int


def common_geometry(net: IntNet, lanes: int) -> Geometry:
    """An engine that holds ``net`` and most networks of its size, so that one build serves many networks."""
    need = required_geometry(net, schedule(net, lanes))
    return Geometry(
        lanes,
        max(need.rows, 8192 // lanes),
        max(need.words, 2048 // lanes),
        max(need.bias_words, 1024 // lanes),
        max(need.layers, 8),
        max(need.classes, 64),
        32,
    )


def play(
    image: rtl_image.Image,
    x: np.ndarray,
    workdir: Path,
    simulator: str,
    idle: int = 0,
    pause: int = 0,
    seed: int = 1,
    waves: bool = False,
    sources: Sequence[Path] | None = None,
    writes: Sequence[tuple[int, int]] | None = None,
    stream_bytes: int | None = None,
) -> PlayerRun:
    """Load ``image``, stream codes ``x`` through the engine; ``idle`` and ``pause`` in percent of the cycles.

    ``sources`` stands in for the engine's own files, ``writes`` for those of the image. With ``stream_bytes`` the
    samples and logits go through the shell's width converters, else the engine is bare. Raises ``RuntimeError`` when
    the bench fails or the engine raises an error flag.
    """
    workdir = make_folder(workdir).resolve()
    geometry, plan = image.geometry, image.plan
    writes = image.writes if writes is None else writes
    write_text(workdir / "load.txt", "".join(f"{address:06x} {data:08x}\n" for address, data in writes))
    write_text(workdir / "beats.txt", beats_text(x, stream_bytes or geometry.lanes))
    sources = [*(sources or runner.rtl_sources()), _PLAYER]
    made = runner.build(simulator, "deepr_player", sources, _parameters(geometry, stream_bytes), waves)
    cycles = rtl_timing.interval(plan, stream_bytes) if stream_bytes else plan.interval
    slowdown = 100 // (100 - max(idle, pause)) + 1
    limit = len(writes) + 1000 + (len(x) + 3) * 2 * slowdown * int(cycles + plan.latency + 20)
    runner.run(
        made,
        "deepr_hw.sim.bench_player",
        workdir,
        env={"DEEPR_CYCLES": str(limit)},
        waves=waves,
        plusargs={
            "load": "load.txt",
            "beats": "beats.txt",
            "out": "out.txt",
            "frames": len(x),
            "idle": idle,
            "pause": pause,
            "seed": seed,
        },
    )
    return _read(workdir / "out.txt", len(x), plan.n_out)


def _read(path: Path, n: int, n_out: int) -> PlayerRun:
    lines = [line.split() for line in path.read_text().splitlines()]
    table = np.array([line for line in lines if line[0].isdigit()], np.int64).reshape(-1, 4)
    if len(table) != n * n_out or not np.array_equal(table[:, 1], np.tile(np.arange(n_out) == n_out - 1, n)):
        raise RuntimeError(
            f"the engine gave {len(table)} beats in {table[:, 1].sum()} frames, expected {n} frames of {n_out}"
        )
    beats = table.reshape(n, n_out, 4)
    taken = np.array([line[1] for line in lines if line[0] == ">"], np.int64)
    counters = [int(word) for word in lines[-1][1:]]
    return PlayerRun(beats[..., 3].astype(np.int32), beats[:, 0, 2], taken, beats[:, 0, 0], beats[:, -1, 0], *counters)


def run(
    net: IntNet,
    x: np.ndarray,
    workdir: Path,
    simulator: str = "verilator",
    lanes: int = 8,
    waves: Path | None = None,
    stream_bytes: int = STREAM_BYTES,
) -> EngineRun:
    """Logits of codes ``x`` (n, *in_shape) from the RTL engine with ``lanes`` lanes on streams of ``stream_bytes``.

    ``cycles_per_sample`` is measured between the last beats of the samples, the first half left out as a run-up;
    ``n_macs`` is the engine's own counter. ``waves`` is a folder for the waveforms: ``icarus.fst`` or
    ``verilator.vcd``. Raises ``RuntimeError`` when the simulator is missing or the bench fails.
    """
    x = reference.check_codes(net, x)
    image = rtl_image.build(net, lanes, common_geometry(net, lanes))
    played = play(image, x, Path(workdir), simulator, waves=waves is not None, stream_bytes=stream_bytes)
    if waves is not None:
        keep_waves(image, Path(workdir), simulator, waves, stream_bytes)
    return measured(played, image.plan)


def measured(played: PlayerRun, plan: Schedule) -> EngineRun:
    """The run as an engine returns it; cycles need more than two samples."""
    n, half = len(played.done), len(played.done) // 2
    if n <= 2:
        return EngineRun(played.logits, None, played.macs)
    cycles = float(played.done[-1] - played.done[half]) / (n - 1 - half)
    return EngineRun(played.logits, cycles, played.macs, plan.least_rows / cycles)


def _parameters(geometry: Geometry, stream_bytes: int | None) -> dict[str, int]:
    return geometry.parameters | ({"StreamBytes": stream_bytes} if stream_bytes else {})


def keep_waves(
    image: rtl_image.Image, workdir: Path, simulator: str, folder: Path, stream_bytes: int | None = None
) -> Path:
    """Move the waveforms of the run in ``workdir`` into ``folder``; cocotb leaves Icarus' beside the build."""
    made = runner.build(
        simulator, "deepr_player", [*runner.rtl_sources(), _PLAYER], _parameters(image.geometry, stream_bytes), True
    )
    left = {"icarus": made.folder / "deepr_player.fst", "verilator": workdir / "dump.vcd"}[simulator]
    kept = make_folder(folder) / f"{simulator}{left.suffix}"
    shutil.move(left, kept)
    return kept

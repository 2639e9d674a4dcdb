"""How many connections, and where: from what the user asks for to a partition with strict limits.

Three questions, answered one after the other, all in one arithmetic that ``explain`` prints:

1. How many fit? ``bytes`` or ``device``: memory less activations and biases, by the bytes of a slot.
2. How many are there? ``global``, ``density``; or, layer by layer, ``per_layer``, ``density = [..]``, ``per_output``.
3. How are they divided? Nothing more: one group, or one per layer. ``per_output``: one per output. ``lanes``: outputs
   ``o mod P`` of a layer belong to lane P. ``tiles``: crossbars of h inputs x w outputs.

Limits of several kinds hold together where one refines the other; anything else is refused with the reason.
"""

from collections.abc import Sequence
from typing import Protocol

import numpy as np

from deepr_hw import memory
from deepr_hw.devices import area
from deepr_hw.devices.parts import DEVICES

from .connections import Shapes, levels_of
from .partition import Partition
from .share import count_positions, share_per_matrix

_GROUP_BYTES = 128
SLOT_BYTES = 4
"""Bytes of one connection in the engine's memory: 22 bits of index, 2 flags, 8 bits of weight."""

__all__ = ["Partition", "count_positions", "explain", "make_partition"]


class Wish(Protocol):
    """What a user may say of a budget; ``train.config.BudgetConfig`` explains each."""

    @property
    def total(self) -> int | None: ...
    @property
    def per_layer(self) -> tuple[int, ...] | None: ...
    @property
    def density(self) -> float | tuple[float, ...] | None: ...
    @property
    def per_output(self) -> int | tuple[int, ...] | None: ...
    @property
    def bytes(self) -> int | None: ...
    @property
    def device(self) -> str | None: ...
    @property
    def lanes(self) -> int | None: ...
    @property
    def tiles(self) -> tuple[int, ...] | None: ...


def make_partition(config: Wish, shapes: Shapes, bias: bool = False) -> Partition:
    """The partition that ``config`` asks for on the positions of matrices of ``shapes`` (n_in, n_out), one to a layer.

    Raises ``ValueError`` naming the key when it is impossible.
    """
    per_layer, total = _layer_limits(config, shapes), _total(config, shapes, bias)
    if per_layer is not None and total is not None and sum(per_layer) > total:
        raise ValueError(
            f"budget: {' + '.join(map(str, per_layer))} = {sum(per_layer)} connections per layer exceed "
            f"the {total} that {_total_key(config)} allows"
        )
    if per_layer is not None and config.total is not None and sum(per_layer) != config.total:
        raise ValueError(f"budget.global = {config.total}: the layers add up to {sum(per_layer)}")
    if config.tiles is not None and (config.lanes is not None or config.per_output is not None):
        other = "lanes" if config.lanes is not None else "per_output"
        raise ValueError(f"budget.tiles cuts across budget.{other}: neither refines the other, so both can't be strict")
    if config.per_output is not None:
        return _per_output(config, shapes)
    if config.lanes is None and config.tiles is None and per_layer is None:
        assert total is not None
        return Partition(
            "global",
            shapes,
            np.array([total], np.int64),
            np.zeros(sum(n_in for n_in, _ in shapes), np.int64),
            np.zeros(sum(n_out for _, n_out in shapes), np.int64),
        )
    if per_layer is None:
        assert total is not None
        per_layer = share_per_matrix(total, shapes)
    if config.lanes is not None:
        blocks = [(n_in, 1, config.lanes) for n_in, _ in shapes]
        return _blocks(f"lanes={config.lanes}", shapes, per_layer, blocks, equal=True)
    if config.tiles is not None:
        h, w = config.tiles
        blocks = [(h, w, -(-n_out // w)) for _, n_out in shapes]
        return _blocks(f"tiles={h}x{w}", shapes, per_layer, blocks, equal=False)
    return Partition(
        "per_layer",
        shapes,
        np.array(per_layer, np.int64),
        np.repeat(np.arange(len(shapes)), [n_in for n_in, _ in shapes]),
        np.zeros(sum(n_out for _, n_out in shapes), np.int64),
    )


def explain(config: Wish, shapes: Shapes, bias: bool = False) -> str:
    """The arithmetic of the budget in a line or two. Raises ``ValueError`` as ``make_partition`` does."""
    partition, positions = make_partition(config, shapes, bias), sum(count_positions(shapes))
    text = (
        f"K = {partition.n_connections:,} of {positions:,} = "
        f"{' + '.join(f'{a} x {b}' for a, b in shapes)} positions "
        f"({100 * partition.n_connections / positions:.3f} %), {partition.kind}, groups of "
        f"{partition.limits.min():,}..{partition.limits.max():,}"
    )
    if config.bytes is None and config.device is None:
        return text
    return f"{_memory_arithmetic(config, shapes, bias)[1]}; {text}"


def _memory_arithmetic(config: Wish, shapes: Shapes, bias: bool) -> tuple[int, str]:
    """Connections that fit, and how that was found: by the engine's area law where device and lanes name an engine."""
    levels = levels_of(shapes)
    if levels and config.device in area.FABRICS and config.lanes in area.LANES:
        fits = area.budget(str(config.device), int(config.lanes or 0), levels)
        return fits, f"{config.device}: the engine with {config.lanes} lanes and two banks holds {fits:,} connections"
    n_bytes = config.bytes if config.bytes is not None else DEVICES[str(config.device)].memory
    source = "" if config.device is None else f"{config.device} ({DEVICES[config.device].source}): "
    n_outputs = sum(n_out for _, n_out in shapes)
    n_activations, n_biases = shapes[0][0] + n_outputs, 4 * n_outputs if bias else 0
    left = n_bytes - n_activations - n_biases
    fits = left // SLOT_BYTES
    return fits, (
        f"{source}({n_bytes:,} bytes - {n_activations:,} of activations - {n_biases:,} of biases) / "
        f"{SLOT_BYTES} bytes per slot = {fits:,} connections"
    )


def _total_key(config: Wish) -> str:
    return next(
        f"budget.{name}"
        for name, value in (
            ("bytes", config.bytes),
            ("device", config.device),
            ("global", config.total),
            ("density", config.density),
        )
        if value
    )


def _total(config: Wish, shapes: Shapes, bias: bool) -> int | None:
    """Connections of the whole network, where something bounds them as a whole."""
    positions = count_positions(shapes)
    totals = []
    if config.bytes is not None or config.device is not None:
        fits, arithmetic = _memory_arithmetic(config, shapes, bias)
        if fits < 1:
            raise ValueError(f"{_total_key(config)}: no connection fits: {arithmetic}")
        totals.append(min(fits, sum(positions)))
    if config.total is not None:
        if config.total > sum(positions):
            raise ValueError(
                f"budget.global = {config.total}: the network has only {sum(positions)} positions "
                f"({' + '.join(map(str, positions))})"
            )
        totals.append(config.total)
    if isinstance(config.density, float):
        totals.append(max(1, round(config.density * sum(positions))))
    if len(totals) == 2 and totals[1] > totals[0]:
        raise ValueError(f"budget: {totals[1]} connections don't fit: {_memory_arithmetic(config, shapes, bias)[1]}")
    return totals[-1] if totals else None


def _layer_limits(config: Wish, shapes: Shapes) -> tuple[int, ...] | None:
    """Connections of each layer, where they are given layer by layer."""
    positions = count_positions(shapes)
    if config.per_output is not None:
        return tuple(n * n_out for n, (_, n_out) in zip(_fan_ins(config, shapes), shapes, strict=True))
    if isinstance(config.density, tuple):
        _check_length("density", config.density, positions)
        return tuple(round(d * n) for d, n in zip(config.density, positions, strict=True))
    if config.per_layer is None:
        return None
    _check_length("per_layer", config.per_layer, positions)
    for i, (limit, n) in enumerate(zip(config.per_layer, positions, strict=True)):
        if limit > n:
            raise ValueError(
                f"budget.per_layer[{i}] = {limit}: layer {i} has only {n} positions ({shapes[i][0]} x {shapes[i][1]})"
            )
    return config.per_layer


def _check_length(key: str, values: Sequence[float], positions: list[int]) -> None:
    if len(values) != len(positions):
        raise ValueError(f"budget.{key} = {list(values)}: has {len(values)} entries for {len(positions)} layers")


def _fan_ins(config: Wish, shapes: Shapes) -> tuple[int, ...]:
    value = config.per_output
    assert value is not None
    fan_ins = value if isinstance(value, tuple) else (value,) * len(shapes)
    _check_length("per_output", fan_ins, count_positions(shapes))
    for i, (fan_in, (n_in, _)) in enumerate(zip(fan_ins, shapes, strict=True)):
        if fan_in > n_in:
            raise ValueError(f"budget.per_output = {fan_in}: layer {i} has only {n_in} inputs per output")
    return fan_ins


def _per_output(config: Wish, shapes: Shapes) -> Partition:
    """One group per output; lanes are balanced as well where every lane has as many outputs."""
    for i, (_, n_out) in enumerate(shapes):
        if config.lanes is not None and n_out % config.lanes:
            raise ValueError(
                f"budget.per_output and budget.lanes = {config.lanes}: layer {i} has {n_out} outputs, "
                "which lanes can't share equally"
            )
    fan_ins, n_outs = _fan_ins(config, shapes), [n_out for _, n_out in shapes]
    return Partition(
        "per_output",
        shapes,
        np.repeat(fan_ins, n_outs).astype(np.int64),
        np.zeros(sum(n_in for n_in, _ in shapes), np.int64),
        np.arange(sum(n_outs), dtype=np.int64),
    )


def _blocks(
    kind: str, shapes: Shapes, per_layer: tuple[int, ...], blocks: Sequence[tuple[int, int, int]], equal: bool
) -> Partition:
    """Groups of input ``i`` and output ``o`` of a layer: lanes (``o mod count``) or tiles ((i // h), (o // w)).

    blocks : per layer (h, w, count): inputs and outputs of a block, blocks side by side
    equal  : share a layer's connections equally over its blocks, else in proportion to their positions
    """
    limits, source_part, target_part, base = [], [], [], 0
    for i, (limit, (n_in, n_out), (h, w, count)) in enumerate(zip(per_layer, shapes, blocks, strict=True)):
        n_groups = -(-n_in // h) * count
        memory.require(_GROUP_BYTES * n_groups, f"budget {kind}: layer {i} has {n_groups:,} groups")
        down, across = np.arange(n_in) // h, np.arange(n_out) % count if equal else np.arange(n_out) // w
        capacity = np.outer(np.bincount(down), np.bincount(across, minlength=count)).ravel()
        shares = _apportion(limit, (capacity > 0) if equal else capacity)
        over = np.flatnonzero(shares > capacity)
        if over.size:
            raise ValueError(
                f"budget {kind}: layer {i} shall hold {limit} connections, {shares[over[0]]} of them in "
                f"block {over[0]}, which has only {capacity[over[0]]} positions"
            )
        limits.append(shares)
        source_part.append(base + down * count)
        target_part.append(across)
        base += capacity.size
    return Partition(kind, shapes, np.concatenate(limits), np.concatenate(source_part), np.concatenate(target_part))


def _apportion(total: int, weights: np.ndarray) -> np.ndarray:
    """Whole numbers in proportion to ``weights`` that add up to ``total``; the largest remainders are rounded up."""
    real = total * weights / weights.sum()
    shares = np.floor(real).astype(np.int64)
    shares[np.argsort(shares - real, kind="stable")[: total - shares.sum()]] += 1
    return shares

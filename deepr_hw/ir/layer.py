"""What every kind of layer promises, and the kinds there are.

A kind is one class in a file of its own that ``register`` makes known. Files, counts, facts and certificates need no
more than this; what computes (the reference, training, each target) has a file per kind in its own room.
"""

from collections.abc import Mapping
from typing import Any, ClassVar, Protocol, Self, TypeVar

import numpy as np

from .fixed import Format
from .matrix import SparseMatrix


class Layer(Protocol):
    """A layer of an ``IntNet``, immutable and sound from its construction on.

    kind      : its name in files
    in_shape  : shape of one sample's input codes; ``out_shape`` of its output
    x_format  : format of the input codes
    y_format  : format of the output codes, or None for raw int32 accumulators
    y_frac    : fractional bits of the output, raw or not
    matrices  : its sparse matrices by name: all its connections
    arrays    : integers that are no connections (biases, tables) by name
    settings  : what else tells it apart from another of its kind: plain JSON values
    acc_range : smallest and largest value of any accumulator; ``acc_bits`` the width that holds them, at most 32
    macs_per_sample : multiply-accumulates that one sample takes
    """

    kind: ClassVar[str]

    @property
    def in_shape(self) -> tuple[int, ...]: ...  # noqa: D102
    @property
    def out_shape(self) -> tuple[int, ...]: ...  # noqa: D102
    @property
    def x_format(self) -> Format: ...  # noqa: D102
    @property
    def y_format(self) -> Format | None: ...  # noqa: D102
    @property
    def y_frac(self) -> int: ...  # noqa: D102
    @property
    def matrices(self) -> Mapping[str, SparseMatrix]: ...  # noqa: D102
    @property
    def arrays(self) -> Mapping[str, np.ndarray]: ...  # noqa: D102
    @property
    def settings(self) -> Mapping[str, Any]: ...  # noqa: D102
    @property
    def acc_range(self) -> tuple[int, int]: ...  # noqa: D102
    @property
    def acc_bits(self) -> int: ...  # noqa: D102
    @property
    def macs_per_sample(self) -> int: ...  # noqa: D102

    @classmethod
    def from_parts(
        cls,
        matrices: Mapping[str, SparseMatrix],
        arrays: Mapping[str, np.ndarray],
        settings: Mapping[str, Any],
        x_format: Format,
        y_format: Format | None,
    ) -> Self:
        """The layer of which these are the parts. Raises ``ValueError`` naming the part that is missing or unsound."""
        ...


L = TypeVar("L", bound=type[Layer])

LAYER_KINDS: dict[str, type[Layer]] = {}
"""Kind -> class."""


def register(cls: L) -> L:
    """Make a kind of layer known to files; a decorator. Raises ``ValueError`` for a name that is taken."""
    if LAYER_KINDS.setdefault(cls.kind, cls) is not cls:
        raise ValueError(f"kind {cls.kind!r}: another class has this name")
    return cls

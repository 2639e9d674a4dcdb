"""The engine's parameters and the constants of its pipeline, as the RTL has them (``rtl/README.md``)."""

from dataclasses import asdict, dataclass

from .words import PACKAGE

LANE_COUNTS = (1, 2, 4, 8, 16)
STREAM_WIDTHS = (1, 4, 8)
"""Bytes per beat that the AXI streams may have."""
STREAM_BYTES = 8
"""Bytes per beat that they have unless told."""

WRITE_TO_READ = PACKAGE.constants["StageWrite"] - PACKAGE.constants["StageAddress"] + 1
"""An activation that ends in row r may be read in row r + 10 and later."""
HOLD_TO_TAKE = 1
"""A final sum that ends in row r may be taken by the collector one row later."""
LATENCY = 13
"""Cycles from the last input beat to the first logit beat, beyond ``Schedule.collected``."""


@dataclass(frozen=True)
class Geometry:
    """Parameters of ``deepr_engine``; the depths are powers of two.

    lanes      : multiply-accumulates per cycle: 1, 2, 4, 8 or 16
    rows       : depth of each lane's slot memory, per bank
    words      : depth of the activation memory, words of ``lanes`` bytes
    bias_words : depth of each lane's bias memory, per bank
    layers     : layer descriptors, per bank
    classes    : most logits per sample
    acc_bits   : width of the accumulators, 16..33
    banks      : 1, or 2 for a hot swap

    Raises ``ValueError`` naming the parameter.
    """

    lanes: int
    rows: int = 512
    words: int = 512
    bias_words: int = 256
    layers: int = 8
    classes: int = 16
    acc_bits: int = 32
    banks: int = 2

    def __post_init__(self) -> None:
        if self.lanes not in LANE_COUNTS:
            raise ValueError(f"lanes = {self.lanes}: expected one of {', '.join(map(str, LANE_COUNTS))}")
        for name, least in (("rows", 2), ("words", 4), ("bias_words", 2), ("layers", 2), ("classes", 2)):
            value = getattr(self, name)
            if not least <= value <= 1 << 16 or value & (value - 1):
                raise ValueError(f"{name} = {value}: must be a power of two in {least}..{1 << 16}")
        if self.classes < self.lanes:
            raise ValueError(f"classes = {self.classes}: must be at least lanes = {self.lanes}")
        if not 16 <= self.acc_bits <= 33:
            raise ValueError(f"acc_bits = {self.acc_bits}: must lie in 16..33")
        if self.banks not in (1, 2):
            raise ValueError(f"banks = {self.banks}: must be 1 or 2")

    @property
    def parameters(self) -> dict[str, int]:
        """The SystemVerilog parameters by name."""
        return {"".join(part.title() for part in name.split("_")): value for name, value in asdict(self).items()}

    def fits(self, need: "Geometry") -> bool:
        """Whether an image made for ``need`` runs here; ``words`` must be equal, as addresses depend on it."""
        return (
            self.lanes == need.lanes
            and self.words == need.words
            and all(
                getattr(self, name) >= getattr(need, name)
                for name in ("rows", "bias_words", "layers", "classes", "acc_bits", "banks")
            )
        )

"""A feed-forward network of dense layers as other people's files describe it, in real numbers."""

from dataclasses import dataclass, field, replace

import numpy as np

from deepr_hw.ir import IntNet


@dataclass(frozen=True)
class Quantizer:
    """``clip(round_half_even(value / step), lowest, highest) * step``; a zero point is already taken off the codes."""

    step: float
    lowest: int
    highest: int

    def within(self, low: float, high: float) -> "Quantizer":
        """The same for values that are clipped to ``low``..``high`` before: exact where these are multiples of step."""
        lowest = self.lowest if low == -np.inf else max(self.lowest, round(low / self.step))
        highest = self.highest if high == np.inf else min(self.highest, round(high / self.step))
        return Quantizer(self.step, min(lowest, highest), highest)

    def codes(self, values: np.ndarray) -> np.ndarray:
        """Codes of real ``values``, as float64 integers."""
        return np.clip(np.rint(values / self.step), self.lowest, self.highest)


@dataclass(frozen=True, eq=False)
class Dense:
    """``y = quantizer(clip(x @ weight + bias, low, high))``; a rectifier is ``low = 0``.

    name      : node of the original
    weight    : (n_in, n_out) float64
    connected : (n_in, n_out) bool, positions that hold a connection
    bias      : (n_out,) float64
    codes     : (n_in, n_out) int64 with ``codes * step == weight``, where the original is quantized with one step
    """

    name: str
    weight: np.ndarray
    connected: np.ndarray
    bias: np.ndarray
    codes: np.ndarray | None = None
    step: float | None = None
    low: float = -np.inf
    high: float = np.inf
    quantizer: Quantizer | None = None
    notes: tuple[str, ...] = ()

    @property
    def is_open(self) -> bool:
        """Whether nothing has been applied to the sums yet."""
        return self.low == -np.inf and self.high == np.inf and self.quantizer is None


@dataclass(frozen=True, eq=False)
class Chain:
    """Layers in order behind ``quantizer(clip(values * scale + offset, low, high))``; ``ending`` names what stood
    behind the logits."""

    layers: tuple[Dense, ...]
    quantizer: Quantizer | None = None
    scale: np.ndarray | float = 1.0
    offset: np.ndarray | float = 0.0
    low: float = -np.inf
    high: float = np.inf
    ending: str = ""

    def without_input_scale(self) -> "Chain":
        """The same with the input's scale and offset in the first layer, where one positive scale holds for all
        features; else the chain as it is."""
        scales, offset = np.unique(np.asarray(self.scale, np.float64)), np.asarray(self.offset, np.float64)
        bounded = self.quantizer is not None or self.low != -np.inf or self.high != np.inf
        if scales.size != 1 or scales[0] <= 0 or (bounded and np.unique(offset).size != 1):
            return self
        scale, first = float(scales[0]), self.layers[0]
        shift = float(offset.reshape(-1)[0]) / scale
        quantizer = self.quantizer
        if quantizer is not None:
            ends = (end - round(shift * scale / quantizer.step) for end in (quantizer.lowest, quantizer.highest))
            quantizer = Quantizer(quantizer.step / scale, *ends)
        offsets = np.broadcast_to(offset, first.weight.shape[0]) @ first.weight
        first = replace(
            first,
            weight=first.weight * scale,
            bias=first.bias + offsets,
            step=None if first.step is None else first.step * scale,
        )
        low, high = (end / scale - shift if bounded else end for end in (self.low, self.high))
        return Chain((first, *self.layers[1:]), quantizer, low=low, high=high, ending=self.ending)

    def evaluate(self, values: np.ndarray) -> list[np.ndarray]:
        """Input and sums of every layer, float64: [input 0, sums 0, sums 1, ...], quantized where the chain is."""
        x = np.asarray(values, np.float64).reshape(len(values), -1) * self.scale + self.offset
        x = np.clip(x, self.low, self.high)
        x = x if self.quantizer is None else self.quantizer.codes(x) * self.quantizer.step
        seen = [x]
        for layer in self.layers:
            seen.append(x @ layer.weight + layer.bias)
            x = np.clip(seen[-1], layer.low, layer.high)
            x = x if layer.quantizer is None else layer.quantizer.codes(x) * layer.quantizer.step
        return seen


@dataclass(frozen=True, eq=False)
class Imported:
    """An imported network.

    net        : the network; ``net.encode`` takes the original's input values
    logit_unit : original output per logit code
    notes      : what was changed on the way; empty where nothing was lost
    """

    net: IntNet
    logit_unit: float
    notes: tuple[str, ...] = field(default=())

    def codes(self, values: np.ndarray) -> np.ndarray:
        """Input codes of the original's input ``values`` (n, ...): (n, n_in) in the type of ``net.x_format``."""
        return self.net.encode(np.asarray(values).reshape(len(values), -1))

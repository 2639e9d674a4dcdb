"""What the engine does with an image, row by row, in plain integers: the oracle of the schedule's rules."""

import numpy as np

from deepr_hw.export.rtl.geometry import WRITE_TO_READ
from deepr_hw.export.rtl.image import Image, activation_words
from deepr_hw.export.rtl.words import DESCRIPTOR, SLOT


def run(image: Image, x: np.ndarray) -> np.ndarray:
    """(n_out,) int64 logits of one sample ``x`` (codes, flat), walking rows and lanes as the hardware does.

    Raises ``ValueError`` where a slot reads a byte before it is there, in the words of the schedule's rules.
    """
    lanes, words = image.geometry.lanes, activation_words(image.geometry, image.in_words, image.plan.n_words)
    bias_bits = max(32, image.geometry.acc_bits)
    # byte address -> (byte, row in which its output ended)
    memory = {i: (int(code) & 0xFF, -WRITE_TO_READ) for i, code in enumerate(x)}
    acc, logits = [0] * lanes, [0] * (int(image.frame[1]) + 1)
    n_logit, n_end, first_row = [0] * lanes, 0, 0
    for layer in map(int, image.layers):
        final, last_row = DESCRIPTOR.get(layer, "layer.is_final"), DESCRIPTOR.get(layer, "last_row")
        shift, bits, signed = (
            DESCRIPTOR.get(layer, f"layer.requantize.{name}") for name in ("shift", "y_bits", "y_signed")
        )
        for row in range(first_row, last_row + 1):
            ended = False
            for lane in range(lanes):
                slot = int(image.slots[lane, row])
                if SLOT.get(slot, "op.mac"):
                    address, weight = SLOT.get(slot, "address"), _signed(SLOT.get(slot, "op.weight"))
                    byte, end = memory.get(address, (0, row))
                    if row < end + WRITE_TO_READ:
                        raise ValueError(f"row {row}, lane {lane}: reads byte {address} too early")
                    acc[lane] += (_signed(byte) if DESCRIPTOR.get(layer, "layer.x_signed") else byte) * weight
                if not SLOT.get(slot, "op.last"):
                    continue
                word = int(image.biases[lane, n_end])
                ended, total = True, acc[lane] + word - (word >> (bias_bits - 1) << bias_bits)
                acc[lane] = 0
                if final:
                    logits[lane + lanes * n_logit[lane]] = total
                    n_logit[lane] += 1
                else:
                    code = _requantize(total, shift, 1 + bits, bool(signed))
                    memory[int(words[n_end]) * lanes + lane] = (code & 0xFF, row)
            n_end += ended
        first_row = last_row + 1
    return np.array(logits)


def _signed(byte: int) -> int:
    return (byte & 0xFF ^ 0x80) - 0x80


def _requantize(total: int, shift: int, bits: int, signed: bool) -> int:
    """As ``deepr_requantize`` does it: the half is in ``total``, a tie shows as a sum that drops only zeros."""
    q = total >> shift
    if shift and total % (1 << shift) == 0:
        q &= ~1
    return min(max(q, -(1 << bits) if signed else 0), (1 << bits) - 1)

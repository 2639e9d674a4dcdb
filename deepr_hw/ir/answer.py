"""How the logits of a regression become answers, for whoever reads an export."""

from typing import Any

from .net import IntNet

ANSWER = "(logit * 2**-frac - offset) * factor, float32"
"""What ``IntNet.decode`` computes."""


def describe_output(net: IntNet) -> dict[str, Any]:
    """What a reader of a regression's logits must know, as plain JSON types: exact numbers, one per output or one for
    all."""
    return {
        "value": ANSWER,
        "frac": net.logit_frac,
        "offset": net.output_map.offset.astype(float).tolist(),
        "factor": net.output_map.factor.astype(float).tolist(),
    }

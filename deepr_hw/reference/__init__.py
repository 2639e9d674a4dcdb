"""The golden model: integers only; every other target is compared with it."""

from .run import check_codes, encode, logits, predict, run_layer, trace
from .sparse_linear import accumulate

__all__ = ["accumulate", "check_codes", "encode", "logits", "predict", "run_layer", "trace"]

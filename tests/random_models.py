"""Random networks in training, quantized or not, for the tests of kernels and freezing."""

import numpy as np

from deepr_hw.ir.fixed import Format
from deepr_hw.sparse_set.budget import make_partition
from deepr_hw.sparse_set.connections import make_connections
from deepr_hw.sparse_set.share import chain
from deepr_hw.train.config import BudgetConfig
from deepr_hw.train.model import Model, calibrate
from deepr_hw.train.sparse_linear import LinearStage


def random_model(seed: int, quantized: bool = True, bits: int = 8, max_width: int = 40) -> tuple[Model, np.ndarray]:
    """A model of 1 to 4 layers with random connections and biases, and 100 random samples of codes."""
    rng = np.random.default_rng(seed)
    sizes = tuple(rng.integers(1, max_width + 1, rng.integers(2, 6)).tolist())
    partition = make_partition(BudgetConfig(density=float(rng.uniform(0.05, 1.0))), chain(sizes))
    stages = [LinearStage(sizes, is_last=True)]
    model = Model(
        make_connections(partition, rng), stages, bool(seed % 2), Format(8, seed % 5 == 4, int(rng.integers(0, 9)))
    )
    model.connections.weight *= np.float32(rng.choice((0.5, 2.0, 6.0)))
    if model.use_bias:
        model.bias[:] = rng.standard_normal(sum(sizes[1:])) * 0.3
    fmt = model.x_format
    x = rng.integers(fmt.lo, fmt.hi + 1, (100, sizes[0])).astype(fmt.dtype)
    if quantized:
        calibrate(model, x, bits, bits)
    return model, x

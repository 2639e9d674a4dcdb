"""From the network in training to the frozen integer network: the only room that sees float and integer."""

from collections.abc import Mapping

import numpy as np

from deepr_hw.ir import Budget, IntNet, sparse_linear
from deepr_hw.ir.affine import IDENTITY, Affine
from deepr_hw.ir.fixed import Format, saturate

from .model import Model


def freeze(
    model: Model,
    class_labels: tuple[str, ...] = (),
    provenance: Mapping[str, str] | None = None,
    input_map: Affine = IDENTITY,
    task: str = "classification",
    output_map: Affine = IDENTITY,
) -> IntNet:
    """``model`` as integers: same codes, same formats; biases rounded to the accumulator's scale. ``input_map`` and
    ``output_map`` are the units of the values that it was trained on.

    Raises ``ValueError`` for a network that is not quantized yet.
    """
    if not model.quantized:
        raise ValueError("the network is not quantized yet: train at least one epoch after quantization.warmup_epochs")
    c = model.connections
    level = np.cumsum((0, *model.sizes))
    source = c.sources()
    layers = []
    x_format = model.x_format
    for i, where in enumerate(c.layer_slices()):
        in_idx, out_idx, code = source[where] - level[i], c.out_idx[where], c.code[where]
        order = np.lexsort((in_idx, out_idx))
        w_format = model.w_formats[i]
        assert w_format is not None
        bias = None
        if model.use_bias:
            real = model.bias[level[i + 1] : level[i + 2]].astype(np.float64)
            bias = saturate(np.rint(np.ldexp(real, x_format.frac + w_format.frac)), Format(32, True, 0))
        y_format = model.y_formats[i] if i < len(model.y_formats) else None
        layers.append(
            sparse_linear(
                model.sizes[i],
                model.sizes[i + 1],
                in_idx[order],
                out_idx[order],
                code[order],
                bias,
                x_format,
                w_format,
                y_format,
            )
        )
        x_format = y_format or x_format
    budget = Budget(c.partition.kind, tuple(c.partition.limits.tolist()))
    return IntNet(tuple(layers), budget, tuple(class_labels), dict(provenance or {}), input_map, task, output_map)

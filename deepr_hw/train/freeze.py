"""From the network in training to the frozen integer network: the only room that sees float and integer."""

from collections.abc import Mapping

from deepr_hw.ir import Budget, IntNet, Layer
from deepr_hw.ir.affine import IDENTITY, Affine

from .model import Model


def freeze(
    model: Model,
    class_labels: tuple[str, ...] = (),
    provenance: Mapping[str, str] | None = None,
    input_map: Affine = IDENTITY,
    task: str = "classification",
    output_map: Affine = IDENTITY,
) -> IntNet:
    """``model`` as integers: same codes, same formats. ``input_map`` and
    ``output_map`` are the units of the values that it was trained on.

    Raises ``ValueError`` for a network that is not quantized yet.
    """
    if not model.quantized:
        raise ValueError("the network is not quantized yet: train at least one epoch after quantization.warmup_epochs")
    c = model.connections
    source, first = c.sources(), c.partition.source_start
    matrices = [
        (source[where] - first[m], c.out_idx[where], c.code[where]) for m, where in enumerate(c.matrix_slices())
    ]
    layers: list[Layer] = []
    bias_first = 0
    for stage, x_format in zip(model.stages, model.x_formats(), strict=True):
        own, matrices = matrices[: len(stage.shapes)], matrices[len(stage.shapes) :]
        bias = model.bias[bias_first : bias_first + stage.n_biases] if model.use_bias else None
        layers += stage.freeze(own, bias, x_format)
        bias_first += stage.n_biases
    budget = Budget(c.partition.kind, tuple(c.partition.limits.tolist()))
    return IntNet(tuple(layers), budget, tuple(class_labels), dict(provenance or {}), input_map, task, output_map)

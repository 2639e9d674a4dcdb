"""Mends an upstream defect: hls4ml 1.3's bit_exact.py looks the inputs of a layer up by the names of layers.

``get_input_layers`` and ``get_output_layers`` compare tensor names with layer names. Keras models name a tensor after
its layer; models from ONNX don't, so the strategy ``distributed_arithmetic`` fails with "has input ... which is not in
the model". This pass gives every tensor the name of the layer that makes it, before those functions look; the network
stays the same. It acts only on models that use that strategy.
"""

from typing import Any

from hls4ml.model.flow import update_flow
from hls4ml.model.optimizer import ModelOptimizerPass, get_available_passes, register_pass

PASS = "name_tensors_after_layers"


class NameTensorsAfterLayers(ModelOptimizerPass):
    """Renames the output tensor of every layer with one output to the name of the layer."""

    def __init__(self) -> None:
        self.name = PASS

    def transform(self, model: Any) -> bool:
        """Rename; True when something changed, as hls4ml's passes say."""
        if not any(model.config.get_strategy(node) == "distributed_arithmetic" for node in model.get_layers()):
            return False
        new_names = {
            node.outputs[0]: node.name
            for node in model.get_layers()
            if len(node.outputs) == 1 and node.outputs[0] != node.name
        }
        for node in model.get_layers():
            for old in [name for name in node.outputs if name in new_names]:
                variable = node.attributes[old]
                del node.attributes[old]
                node.attributes[new_names[old]] = variable
            node.outputs = [new_names.get(name, name) for name in node.outputs]
            node.inputs = [new_names.get(name, name) for name in node.inputs]
        model.outputs = [new_names.get(name, name) for name in model.outputs]
        model.output_vars = {new_names.get(name, name): variable for name, variable in model.output_vars.items()}
        return bool(new_names)


def install() -> None:
    """Register the pass; calling it again changes nothing."""
    if PASS not in get_available_passes():
        register_pass(PASS, NameTensorsAfterLayers)
        update_flow("optimize", add_optimizers=[PASS])

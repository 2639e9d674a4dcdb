"""Makes the models in this folder: trained, pruned and exported by other people's programs, for the import's tests.

    pip install torch brevitas onnxoptimizer onnxscript scikit-learn safetensors
    python -m tests.models.make_models

Two-layer networks on the 8 x 8 digits, input code / 255, 70 % of the weights pruned to 0. Made with PyTorch 2.13 and
Brevitas 0.13; the .onnx files are committed because neither is needed to run the tests.
"""

from pathlib import Path

import brevitas.nn as qnn
import numpy as np
import onnx
import torch
from brevitas.export import export_onnx_qcdq, export_qonnx
from brevitas.quant import (
    Int8WeightPerChannelFloat,
    Int8WeightPerTensorFixedPoint,
    Int8WeightPerTensorFloat,
    Int32Bias,
    Uint8ActPerTensorFixedPoint,
    Uint8ActPerTensorFloat,
)
from torch import nn

from deepr_hw import data

FOLDER = Path(__file__).parent
SPARSITY, EPOCHS = 0.7, 400


def prune(model: nn.Module, sparsity: float) -> None:
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, nn.Linear) and sparsity > 0:
                size = module.weight.abs()
                module.weight *= size > size.flatten().kthvalue(int(sparsity * size.numel())).values


def fit(model: nn.Module, digits: data.Dataset) -> None:
    x, x_test = (
        torch.tensor(np.asarray(15 * a, np.float32).reshape(len(a), 64) / 255) for a in (digits.x_train, digits.x_test)
    )
    y, y_test = (torch.tensor(np.asarray(a, np.int64)) for a in (digits.y_train, digits.y_test))
    optimizer = torch.optim.Adam(model.parameters(), 0.01)
    for epoch in range(EPOCHS):
        model.train()
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(x), y).backward()
        optimizer.step()
        prune(model, SPARSITY * min(1.0, 2 * epoch / EPOCHS))
    model.eval()
    print(f"test accuracy {100 * float((model(x_test).argmax(1) == y_test).float().mean()):.1f} %")


def quantized(weight_quant: type, act_quant: type) -> nn.Module:
    return nn.Sequential(
        qnn.QuantIdentity(act_quant=act_quant, return_quant_tensor=True),
        qnn.QuantLinear(64, 32, bias=True, weight_quant=weight_quant, bias_quant=Int32Bias, return_quant_tensor=True),
        qnn.QuantReLU(act_quant=act_quant, return_quant_tensor=True),
        qnn.QuantLinear(32, 10, bias=True, weight_quant=weight_quant, bias_quant=Int32Bias),
    )


def strip(path: Path) -> None:
    """Take the exporters' notes of where in which source file a node came from out of the file."""
    model = onnx.load(path)
    for node in model.graph.node:
        node.doc_string = ""
        del node.metadata_props[:]
    for info in (*model.graph.value_info, *model.graph.input, *model.graph.output, *model.graph.initializer):
        del info.metadata_props[:]
    del model.graph.metadata_props[:]
    onnx.save(model, path)


def main() -> None:
    torch.manual_seed(0)
    digits = data.load_digits()
    names = {
        "input_names": ["input"],
        "output_names": ["logits"],
        "dynamo": False,
        "dynamic_axes": {"input": {0: "n"}, "logits": {0: "n"}},
    }
    model = nn.Sequential(
        nn.Flatten(), nn.Linear(64, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Dropout(0.1), nn.Linear(32, 10)
    )
    fit(model, digits)
    images = torch.zeros(2, 1, 8, 8)
    torch.onnx.export(model, (images,), FOLDER / "torch_script.onnx", **names)
    torch.onnx.export(
        model,
        (images,),
        FOLDER / "torch_dynamo.onnx",
        dynamo=True,
        input_names=["input"],
        output_names=["logits"],
        dynamic_shapes=({0: torch.export.Dim("n")},),
        external_data=False,
    )
    kinds = {
        "power_of_two": (Int8WeightPerTensorFixedPoint, Uint8ActPerTensorFixedPoint),
        "per_tensor": (Int8WeightPerTensorFloat, Uint8ActPerTensorFloat),
        "per_channel": (Int8WeightPerChannelFloat, Uint8ActPerTensorFloat),
    }
    for kind, quantizers in kinds.items():
        model = quantized(*quantizers)
        fit(model, digits)
        for name, export in (("qonnx", export_qonnx), ("qcdq", export_onnx_qcdq)):
            export(model, args=torch.zeros(1, 64), export_path=str(FOLDER / f"brevitas_{kind}_{name}.onnx"), **names)
    for path in FOLDER.glob("*.onnx"):
        strip(path)


if __name__ == "__main__":
    main()

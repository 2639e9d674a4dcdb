"""The flavours by name."""

import onnx
import pytest

from deepr_hw.export import onnx_flavours
from deepr_hw.export.onnx_count import count_connections
from tests.test_onnx_integer import mnist_shaped


@pytest.mark.parametrize("flavour", onnx_flavours.FLAVOURS)
def test_each_writes_its_file(flavour, tmp_path):
    net = mnist_shaped()
    written = onnx_flavours.export(net, tmp_path, flavour, licence="MIT")
    model = onnx.load(tmp_path / f"{flavour}.onnx")
    about = {entry.key: entry.value for entry in model.metadata_props}
    assert (about["flavour"], about["licence"]) == (flavour, "MIT")
    assert written["bytes"] == (tmp_path / f"{flavour}.onnx").stat().st_size
    assert written["n_connections"] == sum(count_connections(model)) == net.n_connections


def test_options_reach_the_flavour(tmp_path):
    assert onnx_flavours.export(mnist_shaped(), tmp_path, "qonnx", dense=True)["bytes"] > 784 * 300 * 4
    onnx_flavours.export(mnist_shaped(), tmp_path, "integer", float_input=True)
    assert onnx.load(tmp_path / "integer.onnx").graph.input[0].name == "values"


def test_refuses_what_it_does_not_know(tmp_path):
    with pytest.raises(ValueError, match="flavour 'tflite': expected one of integer, qdq, qonnx"):
        onnx_flavours.export(mnist_shaped(), tmp_path, "tflite")
    with pytest.raises(ValueError, match="flavour integer: has no option 'dense', only float_input, licence"):
        onnx_flavours.export(mnist_shaped(), tmp_path, "integer", dense=True)

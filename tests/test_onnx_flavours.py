"""The flavours by name."""

import numpy as np
import onnx
import pytest

from deepr_hw import reference
from deepr_hw.export.onnx import flavours as onnx_flavours
from deepr_hw.export.onnx.count import count_connections
from deepr_hw.export.onnx.session import run_model
from tests.random_nets import random_codes, random_net
from tests.test_onnx_integer import mnist_shaped
from tests.test_units import with_silent_features


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
    with pytest.raises(ValueError, match="flavour integer: has no option 'dense', only batch, float_input, licence"):
        onnx_flavours.export(mnist_shaped(), tmp_path, "integer", dense=True)


@pytest.mark.parametrize("flavour", onnx_flavours.FLAVOURS)
@pytest.mark.parametrize("seed", [4, 7, 21])
def test_a_fixed_batch_leaves_no_shape_open(flavour, seed, tmp_path):
    net = random_net(seed)
    onnx_flavours.export(net, tmp_path, flavour, batch="7")
    graph = onnx.load(tmp_path / f"{flavour}.onnx").graph
    shapes = [entry.type.tensor_type.shape.dim for entry in (*graph.input, *graph.output, *graph.value_info)]
    assert all(dim.HasField("dim_value") for shape in shapes for dim in shape)
    assert graph.input[0].type.tensor_type.shape.dim[0].dim_value == 7
    x = random_codes(net, 7, seed)
    fed = x if flavour == "integer" else np.ldexp(x.astype(np.float32), -net.x_format.frac)
    logits = run_model(tmp_path / f"{flavour}.onnx", fed, level="disable")["logits"]
    frac = 0 if flavour == "integer" else net.logit_frac
    np.testing.assert_array_equal(np.ldexp(logits.astype(np.float64), frac), reference.logits(net, x))


@pytest.mark.parametrize("flavour", onnx_flavours.FLAVOURS)
def test_a_named_batch_is_open(flavour, tmp_path):
    onnx_flavours.export(random_net(4), tmp_path, flavour, batch="n")
    graph = onnx.load(tmp_path / f"{flavour}.onnx").graph
    assert {entry.type.tensor_type.shape.dim[0].dim_param for entry in (*graph.input, *graph.output)} == {"n"}


@pytest.mark.parametrize("batch", ["0", "-3", "1.5", "", "a b", "2147483648", "9" * 30, 0])
def test_refuses_what_is_no_batch(batch, tmp_path):
    with pytest.raises(ValueError, match="expected a number of samples"):
        onnx_flavours.export(random_net(4), tmp_path, "integer", batch=batch)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("flavour", onnx_flavours.FLAVOURS)
def test_real_numbers_are_clipped_never_codes(flavour, tmp_path):
    """Some runtimes take a Clip of uint8 for one of int8."""
    clipped = 0
    for seed in range(12):
        onnx_flavours.export(random_net(seed), tmp_path, flavour)
        graph = onnx.load(tmp_path / f"{flavour}.onnx").graph
        types = {entry.name: entry.type.tensor_type.elem_type for entry in (*graph.value_info, *graph.input)}
        found = [types[node.input[0]] for node in graph.node if node.op_type == "Clip"]
        assert set(found) <= {onnx.TensorProto.FLOAT, onnx.TensorProto.DOUBLE}
        clipped += len(found)
    assert (clipped > 0) == (flavour != "qonnx")


@pytest.mark.parametrize("level", ["disable", "all"])
@pytest.mark.parametrize("flavour", onnx_flavours.FLAVOURS)
def test_an_infinity_says_nothing_where_the_factor_is_0(flavour, level, tmp_path):
    net = with_silent_features(random_net(7))
    options = {"float_input": True} if flavour == "integer" else {}
    written = onnx_flavours.export(net, tmp_path, flavour, batch=3, **options)
    x = np.ones((3, *net.in_shape), np.float32) * np.array([[np.inf], [-np.inf], [1]], np.float32)
    logits = run_model(tmp_path / f"{flavour}.onnx", x, level=level)["logits"].astype(np.float64)
    frac = 0 if flavour == "integer" else net.logit_frac
    np.testing.assert_array_equal(np.ldexp(logits, frac), reference.logits(net, net.encode(x)))
    assert written["n_connections"] == net.n_connections
    model = onnx.load(tmp_path / f"{flavour}.onnx")  # what a runtime makes of no number is its own affair
    scaled = next(node.output[0] for node in model.graph.node if node.op_type == "Mul")
    model.graph.output.append(onnx.helper.make_tensor_value_info(scaled, onnx.TensorProto.FLOAT, None))
    assert np.isfinite(run_model(model.SerializeToString(), x, level=level)[scaled]).all()

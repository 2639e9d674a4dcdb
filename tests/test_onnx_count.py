"""Counting connections by walking the graph: right on every file, and not to be fooled."""

from dataclasses import replace
from functools import partial

import numpy as np
import pytest
from onnx import helper, numpy_helper

from deepr_hw.export.onnx import integer as onnx_integer
from deepr_hw.export.onnx import qdq as onnx_qdq
from deepr_hw.export.onnx import qonnx_export
from deepr_hw.export.onnx.count import count_connections
from deepr_hw.ir.affine import Affine
from tests.random_nets import random_net
from tests.test_onnx_integer import initializer, mnist_shaped


@pytest.mark.parametrize("seed", range(0, 200, 7))
def test_counts_connections_and_avoids_saturating_kernels(seed):
    net = random_net(seed)
    for matrix_positions in (0, onnx_integer.MATRIX_POSITIONS):
        model = onnx_integer.build(net, matrix_positions=matrix_positions)
        assert count_connections(model) == [layer.matrix.n_connections for layer in net.layers]
        types = {info.name: info.type.tensor_type.elem_type for info in (*model.graph.value_info, *model.graph.input)}
        for node in model.graph.node:
            if node.op_type == "MatMulInteger":
                assert types[node.input[0]] == types[node.input[1]]


def swap(model, name, values):
    initializer(model, name).CopyFrom(numpy_helper.from_array(values, name))


@pytest.mark.parametrize(
    ("matrix_positions", "name", "change", "message"),
    [
        (1 << 22, "layer0/in_idx", lambda a: a[:-1], "differ in number"),
        (1 << 22, "layer0/weight", lambda a: a[1:], "differ in number"),
        (0, "layer0/weight", lambda a: a[1:], "differ in number"),
        (0, "layer0/fan_in", lambda a: a + 1, "differ in number"),
    ],
)
def test_count_refuses_a_file_that_contradicts_itself(matrix_positions, name, change, message):
    model = onnx_integer.build(mnist_shaped(), matrix_positions=matrix_positions)
    swap(model, name, change(numpy_helper.to_array(initializer(model, name))))
    with pytest.raises(ValueError, match=message):
        count_connections(model)


def test_count_refuses_a_position_that_occurs_twice():
    model = onnx_integer.build(mnist_shaped())
    for name in ("layer1/in_idx", "layer1/out_idx"):
        values = numpy_helper.to_array(initializer(model, name)).copy()
        values[1] = values[0]
        swap(model, name, values)
    with pytest.raises(ValueError, match=r"layer1/weight_matrix.*occur twice"):
        count_connections(model)


@pytest.mark.parametrize(
    ("node", "message"),
    [
        (("Gemm", ["layer1/codes", "w", "b"]), "operator Gemm is none of ours"),
        (("Mul", ["layer1/acc", "w"]), "scales by more than one number"),
    ],
)
def test_count_refuses_where_connections_may_hide(node, message):
    model = onnx_integer.build(mnist_shaped())
    model.graph.initializer.append(numpy_helper.from_array(np.ones((100, 100), np.float32), "w"))
    model.graph.node.append(helper.make_node(*node, ["hidden"], name="hidden"))
    with pytest.raises(ValueError, match=f"node 'hidden': {message}"):
        count_connections(model)


@pytest.mark.parametrize("build", [partial(onnx_integer.build, float_input=True), onnx_qdq.build, qonnx_export.build])
@pytest.mark.parametrize("changes", [{"offset": 0.0}, {"offset": 3.0}])
def test_the_unit_of_the_input_hides_none(build, changes):
    net = mnist_shaped()
    offset = np.full(784, changes["offset"], np.float32)
    unit = Affine(offset, np.linspace(1, 2, 784, dtype=np.float32))
    model = build(replace(net, input_map=unit))
    assert count_connections(model) == [layer.matrix.n_connections for layer in net.layers]
    node = next(n for n in model.graph.node if n.op_type == "Mul")
    model.graph.node.append(helper.make_node("MatMul", [node.output[0], "layer0/weight"], ["more"], name="more"))
    with pytest.raises(ValueError, match="node 'input/mul': scales by more than one number"):
        count_connections(model)


def test_count_sees_a_hidden_dense_matrix():
    model = onnx_integer.build(mnist_shaped())
    node = next(n for n in model.graph.node if n.op_type == "MatMulInteger")
    dense = np.full((784, 300), 128, np.uint8)
    dense[:20] = 7
    model.graph.initializer.append(numpy_helper.from_array(dense, "dense"))
    node.input[1] = "dense"
    assert count_connections(model)[0] == 6000

"""ONNX's own node tests judge the golden model's arithmetic; then it reads our files."""

import re
import unittest
import warnings

import numpy as np
import onnx
import onnx.backend.test
import pytest
from onnx import helper

from deepr_hw import reference
from deepr_hw.export.onnx import integer as onnx_integer
from deepr_hw.export.onnx import qdq as onnx_qdq
from tests.oracles.onnx_backend import OPERATORS, IntegerBackend
from tests.random_nets import random_codes, random_net

INCLUDED = (
    r"quantizelinear(_axis|_blocked_\w+|_u?int16)?",
    r"dequantizelinear(_axis|_blocked|_u?int16)?",
    "matmulinteger",
    r"qlinearmatmul_\w+",
    r"add(_\w+)?",
    r"argmax_\w+",
    r"clip(?!\w*expanded)\w*",
    r"concat_\w+",
    r"constant_pad\w*",
    r"constantofshape_\w+",
    r"cumsum_\w+",
    "gather_([01]|2d_indices|negative_indices)",
    r"matmul_[1-4]\w+",
    r"mul(_\w+)?",
    "relu",
    "round",
    "scatternd",
    r"shape\w*",
    r"sub(_\w+)?",
    r"transpose_\w+",
    "cast_(DOUBLE|FLOAT16|FLOAT)_to_(DOUBLE|FLOAT16|FLOAT)",
)
"""Node tests of every operator that we emit, in the types that we emit. Left out: integers of less than 8 bits, floats
of 8 bits, ScatterND's reductions, expansions of functions."""


class ExactSuite(onnx.backend.test.BackendTest):
    """The official runner without its tolerance wherever integers come out."""

    @classmethod
    def assert_similar_outputs(cls, ref_outputs, outputs, rtol, atol, model_dir=None):
        super().assert_similar_outputs(ref_outputs, outputs, rtol, atol, model_dir)
        for expected, found in zip(ref_outputs, outputs, strict=True):
            if expected.dtype.kind in "iub":
                np.testing.assert_array_equal(found, expected)


def node_tests() -> dict:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # cases of other operators overflow on purpose while they are made
        cases = ExactSuite(IntegerBackend, __name__).test_cases["OnnxBackendNodeModelTest"]
    wanted = re.compile(rf"test_({'|'.join(INCLUDED)})_cpu")
    return {name: getattr(cases, name) for name in dir(cases) if wanted.fullmatch(name)}


NodeTests = type("NodeTests", (unittest.TestCase,), node_tests())


def test_every_pattern_finds_its_tests():
    names = [name for name in dir(NodeTests) if name.startswith("test_")]
    assert len(names) > 120
    for pattern in INCLUDED:
        assert any(re.fullmatch(f"test_{pattern}_cpu", name) for name in names), pattern


@pytest.mark.parametrize("seed", range(30))
def test_reads_our_files(seed):
    net = random_net(seed)
    x = random_codes(net, 9, seed)
    for matrix_positions in (0, onnx_integer.MATRIX_POSITIONS):
        model = onnx_integer.build(net, matrix_positions=matrix_positions)
        assert {node.op_type for node in model.graph.node} <= set(OPERATORS)
        logits, predicted = IntegerBackend.run_model(model, [x])
        np.testing.assert_array_equal(logits, reference.logits(net, x))
        np.testing.assert_array_equal(predicted, reference.predict(net, x))
    if net.acc_bits <= 25:
        logits, _ = IntegerBackend.run_model(onnx_qdq.build(net, float_input=False), [x])
        np.testing.assert_array_equal(onnx_qdq.to_codes(logits, net.logit_frac), reference.logits(net, x))


@pytest.mark.parametrize("types", [(np.uint8, np.uint8), (np.uint8, np.int8), (np.int8, np.uint8), (np.int8, np.int8)])
def test_matmul_integer_with_every_zero_point(types):
    rng = np.random.default_rng(0)
    a, b = (
        rng.integers(np.iinfo(t).min, np.iinfo(t).max + 1, shape).astype(t)
        for t, shape in zip(types, ((5, 7), (7, 4)), strict=True)
    )
    for zeros in ((0, 0), (3, 100), (127, 127)):
        za, zb = (t(z) for t, z in zip(types, zeros, strict=True))
        expected = (a.astype(int) - int(za)) @ (b.astype(int) - int(zb))
        np.testing.assert_array_equal(OPERATORS["MatMulInteger"](a, b, np.array(za), np.array(zb)), expected)


def test_refuses_an_operator_it_has_not():
    ends = [[helper.make_tensor_value_info(name, 1, [1])] for name in "xy"]
    graph = helper.make_graph([helper.make_node("Sin", ["x"], ["y"], name="wave")], "g", *ends)
    with pytest.raises(ValueError, match="node 'wave': no operator Sin here"):
        IntegerBackend.prepare(helper.make_model(graph))

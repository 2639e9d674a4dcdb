"""The same bits on a CPU that this machine is not: onnxruntime on an emulated Haswell (AVX2, no VNNI)."""

import os
import platform
import shutil

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from deepr_hw import reference
from deepr_hw.export.onnx import emulated as onnx_emulated
from deepr_hw.export.onnx import qdq as onnx_qdq
from deepr_hw.targets import get_engine
from tests.random_nets import random_codes, random_net
from tests.test_onnx_integer import mnist_shaped

pytestmark = [
    pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="only x86 has kernels that saturate"),
    pytest.mark.skipif(
        shutil.which("qemu-x86_64") is None and not os.environ.get("CI"),
        reason="qemu-x86_64 (package qemu-user) is missing",
    ),
]


def test_naive_product_saturates_there(tmp_path):
    """The premise: were this product right, the emulated CPU would prove nothing."""
    graph = helper.make_graph(
        [helper.make_node("MatMulInteger", ["x", "w"], ["logits"])],
        "naive",
        [helper.make_tensor_value_info("x", TensorProto.UINT8, [None, 64])],
        [helper.make_tensor_value_info("logits", TensorProto.INT32, [None, 1])],
        [numpy_helper.from_array(np.full((64, 1), 127, np.int8), "w")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    (tmp_path / "naive.onnx").write_bytes(model.SerializeToString())
    x = np.full((1, 64), 255, np.uint8)
    assert onnx_emulated.run_emulated(tmp_path / "naive.onnx", x, tmp_path, {})[0, 0] < 64 * 255 * 127


@pytest.mark.parametrize("seed", [0, 3])
def test_integer_flavour_is_exact_there(seed, tmp_path):
    net = random_net(seed)
    x = random_codes(net, 32, seed)
    np.testing.assert_array_equal(get_engine("onnx-no-vnni")(net, x, tmp_path).logits, reference.logits(net, x))


@pytest.mark.parametrize(
    ("engine", "exact"), [("onnx-no-vnni", True), ("qdq-no-vnni", True), ("qdq-wrong-session-no-vnni", False)]
)
def test_mnist_shape_by_session(engine, exact, tmp_path):
    net = mnist_shaped()
    x = random_codes(net, 300)
    assert (get_engine(engine)(net, x, tmp_path).logits == reference.logits(net, x)).all() == exact


def test_the_runtime_obeys_the_configuration_in_the_file(tmp_path):
    net = mnist_shaped()
    x = random_codes(net, 100)
    path = onnx_qdq.export(net, tmp_path)["path"]
    values = np.ldexp(x.astype(np.float32), -net.x_format.frac)
    logits = onnx_emulated.run_emulated(path, values, tmp_path, {}, {"ORT_LOAD_CONFIG_FROM_MODEL": "1"})
    np.testing.assert_array_equal(onnx_qdq.to_codes(logits, net.logit_frac), reference.logits(net, x))


def test_says_what_is_missing(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(RuntimeError, match="apt-get install qemu-user"):
        onnx_emulated.run(random_net(0), random_codes(random_net(0), 2), tmp_path)

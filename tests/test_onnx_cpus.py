"""The same bits on a CPU that this machine is not: onnxruntime under qemu's user mode emulation."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

WITHOUT_VNNI = """
import sys
import numpy as np
from onnx import TensorProto, helper, numpy_helper
from deepr_hw import reference
from deepr_hw.export import onnx_integer
from deepr_hw.export.onnx_session import run_model
from tests.random_nets import random_codes, random_net
from tests.test_onnx_integer import mnist_shaped
from pathlib import Path
nets = [*map(random_net, range(16)), mnist_shaped()]
for optimize in (True, False):
    for i, net in enumerate(nets):
        x = random_codes(net, 32, i)
        assert (onnx_integer.run(net, x, Path(sys.argv[1]), optimize).logits == reference.logits(net, x)).all(), i
x = np.full((1, 64), 255, np.uint8)
naive = helper.make_graph(
    [helper.make_node("MatMulInteger", ["x", "w"], ["y"])], "naive",
    [helper.make_tensor_value_info("x", TensorProto.UINT8, [None, 64])],
    [helper.make_tensor_value_info("y", TensorProto.INT32, [None, 1])],
    [numpy_helper.from_array(np.full((64, 1), 127, np.int8), "w")])
naive = helper.make_model(naive, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
print("uint8 x int8 gives", run_model(naive.SerializeToString(), x)["y"][0, 0], "for", 64 * 255 * 127)
"""


def test_exact_on_a_cpu_without_vnni(tmp_path):
    """A Haswell emulated by qemu (AVX2, no VNNI), where the naive uint8 x int8 product is seen to saturate."""
    qemu = shutil.which("qemu-x86_64")
    if qemu is None:
        if os.environ.get("CI"):
            pytest.fail("qemu-x86_64 (package qemu-user) is missing")
        pytest.skip("qemu-x86_64 (package qemu-user) is missing")
    done = subprocess.run([qemu, "-cpu", "Haswell", sys.executable, "-W", "ignore", "-c", WITHOUT_VNNI, str(tmp_path)],
                          capture_output=True, text=True, cwd=Path(__file__).parents[1],
                          env={**os.environ, "PYTHONPATH": "."})
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("uint8 x int8 gives ")
    assert "gives 2072640 for" not in done.stdout

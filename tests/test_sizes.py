"""The table of sizes: what can be counted by hand is counted by hand."""

import numpy as np
import pytest

from bench.sizes import random_layer
from deepr_hw.export import compact
from deepr_hw.export.sizes import as_rows, gap_entropy_bits, sizes
from tests.random_nets import random_net
from tests.test_onnx_integer import mnist_shaped


def test_rows_of_the_mnist_shape():
    rows = {size.name: size for size in sizes(mnist_shaped())}
    biases, k = 4 * 410, 7904
    assert rows["dense int8"].n_bytes == 784 * 300 + 300 * 100 + 100 * 10 + biases
    assert rows["COO, int32 indices"].n_bytes == 9 * k + biases
    assert rows["CSR, int32 indices"].n_bytes == 5 * k + 4 * (301 + 101 + 11) + biases
    assert rows["narrow indices"].n_bytes == 5 * 3552 + 4 * 3552 + 3 * 800 + biases
    assert 0 < rows["ONNX sparse_initializer"].n_bytes - (9 * k + biases) < 200
    files = [rows[f"ONNX {flavour}"].n_bytes for flavour in ("integer", "qdq", "qonnx")]
    assert rows["narrow indices"].n_bytes < min(files) < max(files) < rows["COO, int32 indices"].n_bytes
    assert rows["compact container"].n_bytes == len(compact.pack(mnist_shaped()))
    assert rows["compact container"].n_bytes < 1.1 * rows["indices + 8 bits per weight"].n_bytes


def test_nothing_dense_for_ten_billion_positions():
    net = random_layer(100_000, 100_000, 200_000)
    rows = {row["name"]: row for row in as_rows(net)}
    assert rows["ONNX qdq"]["bytes"] is None
    assert "too many for a matrix" in rows["ONNX qdq"]["remark"]
    assert rows["ONNX integer"]["bytes_per_connection"] < 7
    assert rows["compact container"]["bytes_per_connection"] < 3.5


@pytest.mark.parametrize("seed", range(20))
def test_every_network_has_a_table(seed):
    net = random_net(seed)
    assert len(sizes(net)) == 13
    assert gap_entropy_bits(net) >= 8 * net.n_connections


def test_gap_entropy_by_hand():
    net = random_layer(8, 1, 8)  # every gap is 1, so the positions cost nothing
    assert gap_entropy_bits(net) == 64
    assert compact.bound_bits(net) == pytest.approx(64)
    assert np.isclose(gap_entropy_bits(random_layer(3, 1, 2)), 16 + 2 * np.log2(2)) or \
        np.isclose(gap_entropy_bits(random_layer(3, 1, 2)), 16)

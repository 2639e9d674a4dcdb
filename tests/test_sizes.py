"""The table of sizes: what can be counted by hand is counted by hand."""

import lzma
import math
from collections import Counter
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest

from deepr_hw.evidence.sizes import as_rows, sizes
from deepr_hw.export.compact import container as compact
from deepr_hw.export.compact.sizes import gap_entropy_bits, weight_entropy_bits
from tests.random_nets import one_layer, random_net
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
    uniform = compact.position_bits(mnist_shaped()) / 8 + k
    assert rows["positions and weights"].n_bytes < uniform < rows["compact container"].n_bytes < 1.1 * uniform


def test_nothing_dense_for_ten_billion_positions():
    net = one_layer(100_000, 100_000, 200_000)
    rows = {row["name"]: row for row in as_rows(net)}
    assert rows["ONNX qdq"]["bytes"] is None
    assert "too many for a matrix" in rows["ONNX qdq"]["remark"]
    assert rows["ONNX integer"]["bytes_per_connection"] < 7
    assert rows["compact container"]["bytes_per_connection"] < 3.5


@pytest.mark.parametrize("seed", range(20))
def test_every_network_has_a_table(seed):
    assert len(sizes(random_net(seed))) == 14


def entropy_bits(symbols):
    """-log2 of the probability of a message whose symbols are drawn by its own frequencies, in exact fractions."""
    counts = Counter(int(symbol) for symbol in symbols)
    probability = math.prod(Fraction(count, len(symbols)) ** count for count in counts.values())
    return math.log2(probability.denominator) - math.log2(probability.numerator)


@pytest.mark.parametrize("seed", range(10))
def test_entropies_are_those_of_exact_probabilities(seed):
    net = random_net(seed)
    weights = sum(entropy_bits(layer.matrix.code) for layer in net.layers if layer.matrix.n_connections)
    positions = sum(math.log2(math.comb(layer.matrix.n_positions, layer.matrix.n_connections)) for layer in net.layers)
    gaps = [
        np.diff(layer.matrix.out_idx.astype(int) * layer.n_in + layer.matrix.in_idx, prepend=-1) for layer in net.layers
    ]
    rows = {size.name: size.n_bytes for size in sizes(net)}
    assert weight_entropy_bits(net) == pytest.approx(weights)
    assert rows["positions and weights"] == pytest.approx((positions + weights) / 8)
    assert rows["gaps and weights"] == pytest.approx((sum(map(entropy_bits, gaps)) + weights) / 8)


def recoded(layer, code):
    return replace(layer, matrix=replace(layer.matrix, code=code))


def test_frequent_weights_cost_less_than_eight_bits():
    """As trained ones are: near 0. The code length that gives each code 8 bits is no bound for those, xz shows it."""
    net = one_layer(300, 100, 3000)
    weight = np.rint(np.random.default_rng(0).normal(0, 5, 3000)).astype(int)
    net = replace(net, layers=(recoded(net.layers[0], weight),))
    rows = {size.name: size.n_bytes for size in sizes(net)}
    assert weight_entropy_bits(net) < 5 * 3000
    assert rows["positions and weights"] < rows["compact container, xz"] < compact.position_bits(net) / 8 + 3000
    assert rows["compact container, xz"] == len(lzma.compress(compact.pack(net), preset=9 | lzma.PRESET_EXTREME))
    assert "bits each" in next(row["remark"] for row in as_rows(net) if row["name"] == "positions and weights")


def test_entropies_by_hand():
    net = one_layer(8, 1, 8)  # every gap is 1, so the positions cost nothing
    assert gap_entropy_bits(net) == compact.position_bits(net) == 0
    assert weight_entropy_bits(replace(net, layers=(recoded(net.layers[0], [1, 1, 1, 1, 2, 2, 3, 4]),))) == 14
    assert weight_entropy_bits(random_net(0)) <= 8 * random_net(0).n_connections

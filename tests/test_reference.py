"""The golden model against a dense product of Python integers and exact fractions."""

from fractions import Fraction

import numpy as np
import pytest

from deepr_hw import reference
from deepr_hw.ir import IntNet
from deepr_hw.reference import sparse_linear
from tests.random_nets import random_codes, random_net


def dense_logits(net: IntNet, x: np.ndarray) -> np.ndarray:
    """The same network as dense matrices of Python integers; rounding by ``fractions``, which rounds half to even."""
    codes = x.astype(object)
    for layer in net.layers:
        weight = np.zeros((layer.n_in, layer.n_out), object)
        weight[layer.matrix.in_idx, layer.matrix.out_idx] = layer.matrix.code.astype(object)
        codes = codes @ weight + (0 if layer.bias is None else layer.bias.astype(object))
        fmt = layer.y_format
        if fmt is not None:
            step = Fraction(1, 1 << layer.shift)
            codes = np.vectorize(lambda acc: min(max(round(acc * step), fmt.lo), fmt.hi), otypes=[object])(codes)  # noqa: B023
    return codes


@pytest.mark.parametrize("seed", range(200))
def test_equals_dense_fractions(seed):
    net = random_net(seed)
    x = random_codes(net, 8, seed)
    assert (reference.logits(net, x) == dense_logits(net, x)).all()


@pytest.mark.parametrize("seed", range(40))
def test_accumulator_bound_is_the_largest_sum(seed):
    net = random_net(seed, max_width=8, max_layers=1)
    layer = net.layers[0]
    low, high = layer.acc_range
    weight = np.zeros((layer.n_in, layer.n_out), int)
    weight[layer.matrix.in_idx, layer.matrix.out_idx] = layer.matrix.code
    bias = 0 if layer.bias is None else layer.bias
    corners = [np.where(weight[:, o] > 0, net.x_format.hi, net.x_format.lo) for o in range(layer.n_out)]
    highest = (np.array(corners) @ weight).diagonal()
    assert high == (highest + np.maximum(bias, 0)).max()
    assert low <= reference.logits(net, random_codes(net, 3)).min()
    assert -(1 << (layer.acc_bits - 1)) <= low <= high < 1 << (layer.acc_bits - 1)


def test_batches_larger_than_a_block_agree(monkeypatch):
    net = random_net(3)
    x = random_codes(net, 50)
    whole = reference.logits(net, x)
    monkeypatch.setattr(sparse_linear, "_BLOCK", 1)
    np.testing.assert_array_equal(reference.logits(net, x), whole)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda x: x[:, :-1], "input has shape"),
        (lambda x: x.astype(float), "float64"),
        (lambda x: x.astype(int) + 300, "holds"),
    ],
)
def test_refuses_what_is_no_code(spoil, message):
    net = random_net(1)
    with pytest.raises(ValueError, match=message):
        reference.logits(net, spoil(random_codes(net, 2)))

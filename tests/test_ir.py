"""What the frozen network refuses, and the figures it computes, against plain Python."""

import dataclasses

import numpy as np
import pytest

from deepr_hw.evidence.info import describe
from deepr_hw.ir import Budget, IntNet, sparse_linear
from deepr_hw.ir.fixed import PIXEL, Format

W8 = Format(8, True, 7)
HIDDEN = Format(8, False, 5)


def layer(n_in=4, n_out=3, position=(0, 5, 11), weight=(1, -2, 0), bias=None, x=PIXEL, w=W8, y=None):
    position = np.array(position, int)
    return sparse_linear(n_in, n_out, position % n_in, position // n_in, np.array(weight, int), bias, x, w, y)


def test_counts_and_formats():
    one = layer(bias=[1, 2, 3], y=HIDDEN)
    assert (one.matrix.n_connections, one.matrix.n_nonzero, one.matrix.n_positions) == (3, 2, 12)
    assert one.matrix.fan_in.tolist() == [1, 1, 1]
    assert (one.acc_frac, one.shift) == (15, 10)
    assert one.acc_range == (-2 * 255, 255 + 1)
    assert one.acc_bits == 10
    assert (one.matrix.in_idx.dtype, one.matrix.code.dtype, one.bias.dtype) == (np.uint8, np.int8, np.int32)


def test_nothing_can_be_changed_afterwards():
    net = IntNet((layer(),), Budget("global", (3,)))
    with pytest.raises(ValueError, match="read-only"):
        net.layers[0].matrix.code[0] = 5
    with pytest.raises(dataclasses.FrozenInstanceError):
        net.layers[0].n_in = 5


def test_the_arrays_given_stay_the_callers():
    weight = np.array([1, -2, 0], np.int8)
    held = sparse_linear(4, 3, np.array([0, 1, 3]), np.array([0, 1, 2]), weight, None, PIXEL, W8, None)
    weight[0] = 99
    assert held.matrix.code[0] == 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"weight": (1, 2)}, "differ in length"),
        ({"weight": (1, 2, 128)}, r"code\[2\] = 128"),
        ({"weight": (1, 2, 4), "w": Format(3, True, 0)}, r"code\[2\] = 4: must lie in -4..3"),
        ({"weight": (1.0, 2.0, 3.0)}, None),
        ({"position": (0, 5, 12)}, r"out_idx\[2\] = 3"),
        ({"position": (5, 0, 11)}, "out of order"),
        ({"position": (5, 5, 11)}, "repeats"),
        ({"bias": [1, 2]}, "2 values for n_out = 3"),
        ({"bias": [1, 2, 1 << 31]}, r"bias\[2\]"),
        ({"bias": [1, 2, (1 << 31) - 1], "weight": (1, 2, 3)}, "does not fit 32 bits"),
        ({"w": Format(8, False, 7)}, "weights are signed"),
        ({"x": Format(9, False, 7)}, "at most 8 bits"),
        ({"y": Format(8, False, 20)}, "shift = -5"),
        ({"y": Format(8, False, -20)}, "shift = 35"),
    ],
)
def test_unsound_layers_are_refused(change, message):
    if message is None:  # real weights: numpy would cast them silently
        with pytest.raises(ValueError, match="1-D integer"):
            sparse_linear(4, 3, np.arange(3), np.arange(3), np.array([1.0, 2.0, 3.0]), None, PIXEL, W8, None)
    else:
        with pytest.raises(ValueError, match=message):
            layer(**change)


@pytest.mark.parametrize("size", [0, -1, (1 << 32) + 1])
def test_impossible_sizes_are_refused(size):
    with pytest.raises(ValueError, match=f"n_in = {size}"):
        sparse_linear(size, 3, np.arange(3), np.arange(3), np.arange(3), None, PIXEL, W8, None)


@pytest.mark.parametrize(
    ("layers", "kwargs", "message"),
    [
        ((), {}, "at least one"),
        ((layer(y=HIDDEN), layer()), {}, "layer 0 gives"),
        ((layer(y=HIDDEN),), {}, "raw logits"),
        ((layer(),), {"budget": Budget("global", (2,))}, "exceeds the budget of 2"),
        ((layer(),), {"class_labels": ("a",)}, "1 names for 3 logits"),
    ],
)
def test_unsound_networks_are_refused(layers, kwargs, message):
    with pytest.raises(ValueError, match=message):
        IntNet(layers, **{"budget": Budget("global", (100,)), **kwargs})
    with pytest.raises(ValueError, match="none negative"):
        Budget("global", (-1,))


def test_info_prints_the_formula_of_connectivity():
    net = IntNet((layer(y=HIDDEN), layer(3, 2, (0, 4), (1, 1), x=HIDDEN)), Budget("per_layer", (3, 2)))
    facts = describe(net)
    assert facts["connectivity_formula"] == "n_connections / n_positions = 5 / (4*3 + 3*2)"
    assert facts["connectivity"] == 5 / 18
    assert facts["layers"][1]["matrices"]["weight"]["fan_in"] == {"min": 1, "median": 1.0, "max": 1}

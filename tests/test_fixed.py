"""Rounding and formats against ``fractions`` and against tables of ties."""

from fractions import Fraction

import numpy as np
import pytest

from deepr_hw.ir import fixed
from deepr_hw.ir.fixed import Format


@pytest.mark.parametrize("shift", range(13))
def test_rounding_equals_fractions_on_every_13_bit_integer(shift):
    acc = np.arange(-(1 << 12), 1 << 12)
    expected = [round(Fraction(int(a), 1 << shift)) for a in acc]  # Python rounds a Fraction half to even
    np.testing.assert_array_equal(fixed.round_half_even_shift(acc, shift), expected)


def test_table_of_ties():
    acc = np.array([-7, -6, -5, -3, -2, -1, 1, 2, 3, 5, 6, 7])
    half_even = np.array([-2, -2, -1, -1, 0, 0, 0, 0, 1, 1, 2, 2])
    np.testing.assert_array_equal(fixed.round_half_even_shift(acc, 2), half_even)
    assert (np.floor(acc / 4 + 0.5) != half_even).any()  # half up, AP_RND, is another mode


@pytest.mark.parametrize("shift", [31, 40, 62])
def test_long_shifts_and_the_ends_of_32_bits(shift):
    acc = np.array([-(1 << 31), -(1 << 30), -1, 0, 1, 1 << 30, (1 << 31) - 1])
    expected = [round(Fraction(int(a), 1 << shift)) for a in acc]
    np.testing.assert_array_equal(fixed.round_half_even_shift(acc, shift), expected)


def test_requantize_saturates_both_ways():
    acc = np.array([-10000, -1, 0, 255 << 4, (255 << 4) + 8, 1 << 20])
    np.testing.assert_array_equal(fixed.requantize(acc, 4, Format(8, False, 0)), [0, 0, 0, 255, 255, 255])
    np.testing.assert_array_equal(fixed.requantize(acc, 4, Format(8, True, 0)), [-128, 0, 0, 127, 127, 127])


@pytest.mark.parametrize(
    ("fmt", "lo", "hi", "dtype"),
    [
        (Format(8, True, 7), -128, 127, "int8"),
        (Format(8, False, 8), 0, 255, "uint8"),
        (Format(2, True, 0), -2, 1, "int8"),
        (Format(1, False, 0), 0, 1, "uint8"),
        (Format(9, True, -3), -256, 255, "int16"),
        (Format(32, True, 31), -(1 << 31), (1 << 31) - 1, "int32"),
    ],
)
def test_format_ranges(fmt, lo, hi, dtype):
    assert (fmt.lo, fmt.hi, fmt.dtype) == (lo, hi, np.dtype(dtype))


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ((0, False, 0), "bits = 0"),
        ((1, True, 0), "bits = 1"),
        ((33, True, 0), "bits = 33"),
        ((8, True, 32), "frac = 32"),
    ],
)
def test_impossible_formats_are_refused(args, message):
    with pytest.raises(ValueError, match=message):
        Format(*args)


def test_quantize_is_the_nearest_code_or_the_end():
    fmt = Format(8, True, 4)
    values = np.random.default_rng(0).normal(0, 5, 1000)
    codes = fixed.quantize(values, fmt)
    inside = np.abs(values) < fmt.hi * fmt.step
    assert np.abs(codes * fmt.step - values)[inside].max() <= fmt.step / 2
    np.testing.assert_array_equal(fixed.quantize(np.array([1e9, -1e9, 1 / 32, 3 / 32]), fmt), [127, -128, 0, 2])
    with pytest.raises(ValueError, match="NaN"):
        fixed.quantize(np.array([0.0, np.nan]), fmt)


@pytest.mark.parametrize(
    ("lo", "hi", "bits"), [(0, 0, 1), (-1, 0, 1), (0, 1, 2), (-128, 127, 8), (-129, 0, 9), (0, 128, 9)]
)
def test_signed_bits(lo, hi, bits):
    assert fixed.signed_bits(lo, hi) == bits


@pytest.mark.parametrize(
    ("n", "dtype"),
    [(1, "uint8"), (256, "uint8"), (257, "uint16"), (65536, "uint16"), (65537, "uint32"), (1 << 32, "uint32")],
)
def test_index_dtype(n, dtype):
    assert fixed.index_dtype(n) == np.dtype(dtype)

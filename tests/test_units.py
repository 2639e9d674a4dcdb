"""Units of input and output: the contract in exact rationals, what is found on data, and where it must end up."""

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest

from deepr_hw import data, reference, targets
from deepr_hw.data.scaling import STANDARD, fit_input
from deepr_hw.evidence import verify
from deepr_hw.export.compact import container as compact
from deepr_hw.ir import netfile
from deepr_hw.ir.affine import IDENTITY, Affine, as_float32, encode
from deepr_hw.ir.fixed import PIXEL, Format
from tests.random_nets import random_net


def float32(value: Fraction) -> Fraction:
    """The nearest float32, ties to even, of a number in the normal range."""
    if value == 0:
        return value
    exponent = 0
    while abs(value) * Fraction(2) ** -exponent >= 2**24:
        exponent += 1
    while abs(value) * Fraction(2) ** -exponent < 2**23:
        exponent -= 1
    return round(value * Fraction(2) ** -exponent) * Fraction(2) ** exponent  # round() takes ties to even


def random_unit(rng, n):
    factor = 10.0 ** rng.uniform(-6, 6, n)
    factor *= rng.choice((-1, 1, 1), n)
    return Affine((rng.normal(0, 100, n) / factor).astype(np.float32), factor.astype(np.float32))


def with_silent_features(net):
    """``net`` with a unit per feature in which every second factor is 0."""
    return replace(net, input_map=Affine(np.full(net.n_in, 0.5), np.arange(net.n_in) % 2 * 0.25))


def with_unit(net, rng, per_feature=True):
    return replace(net, input_map=random_unit(rng, net.n_in if per_feature else 1))


@pytest.mark.parametrize("seed", range(20))
def test_codes_are_those_of_exact_rationals_rounded_twice(seed):
    rng = np.random.default_rng(seed)
    unit, fmt = random_unit(rng, 3), Format(8, bool(seed % 2), int(rng.integers(-3, 9)))
    x = unit.inverse(rng.uniform(1.2 * fmt.lo - 5, 1.2 * fmt.hi + 5, (40, 3)) * fmt.step)
    for row, codes in zip(x, encode(x, unit, fmt), strict=True):
        for j, value in enumerate(row):
            difference = float32(Fraction(float(value)) - Fraction(float(unit.offset[j])))
            natural = float32(difference * Fraction(float(unit.factor[j])))
            assert codes[j] == min(max(round(natural * Fraction(2) ** fmt.frac), fmt.lo), fmt.hi)


@pytest.mark.parametrize("seed", range(10))
def test_values_are_a_right_inverse(seed):
    rng = np.random.default_rng(seed)
    net = with_unit(random_net(seed), rng)
    codes = rng.integers(net.x_format.lo, net.x_format.hi + 1, (30, net.n_in)).astype(net.x_format.dtype)
    np.testing.assert_array_equal(net.encode(net.values(codes)), codes)


def test_a_code_that_no_value_has_is_named():
    net = replace(random_net(0), input_map=Affine(np.zeros(1, np.float32), np.zeros(1, np.float32)))
    with pytest.raises(ValueError, match=r"input \[0\]: no value has the code"):
        net.values(np.ones((1, net.n_in), np.int8))


@pytest.mark.parametrize("name", ["offset", "factor"])
@pytest.mark.parametrize("value", [np.nan, np.inf, 1e38])
def test_impossible_units_are_refused(name, value):
    members = {"offset": np.zeros(3, np.float32), "factor": np.ones(3, np.float32)}
    members[name][1] = value
    with pytest.raises(ValueError, match=rf"{name}\[1\] = "):
        Affine(**members)


def test_unit_must_fit_the_network():
    net = random_net(3)
    with pytest.raises(ValueError, match=r"input_map: .* entries for"):
        replace(net, input_map=Affine(np.zeros(net.n_in + 1, np.float32), np.ones(net.n_in + 1, np.float32)))
    with pytest.raises(ValueError, match="NaN"):
        net.encode(np.full((1, net.n_in), np.nan))
    with pytest.raises(ValueError, match="the network takes"):
        net.encode(np.zeros((1, net.n_in + 1)))


@pytest.mark.parametrize("extreme", [1e308, -1e308, np.inf, -np.inf, 3e38])
def test_no_value_that_is_a_number_fails(extreme):
    unit = Affine(np.array([2.0**100, -3, 0], np.float32), np.array([0, 2.0**100, 1], np.float32))
    codes = encode(np.full((1, 3), extreme), unit, STANDARD)[0].tolist()
    assert codes == [0, 127 if extreme > 0 else -128, 127 if extreme > 0 else -128]
    assert np.isfinite(as_float32(np.array([extreme]))).all()


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_an_infinity_counts_as_the_largest_float32(dtype):
    unit = Affine(np.array([3, 3, 0], np.float32), np.array([0, -1, 2.0**-100], np.float32))
    x = np.array([[np.inf] * 3, [-np.inf] * 3, [5] * 3], dtype)
    assert encode(x, unit, STANDARD).tolist() == [[0, -128, 127], [0, 127, -128], [0, -64, 0]]
    assert as_float32(x)[:, 0].tolist() == [2.0**128 - 2.0**104, -(2.0**128) + 2.0**104, 5]
    assert unit.inverse(x.astype(np.float64))[:2, 0].tolist() == [3, 3]


@pytest.mark.parametrize("seed", range(5))
def test_files_keep_units_and_task(tmp_path, seed):
    rng = np.random.default_rng(seed)
    net = replace(
        with_unit(random_net(seed), rng, per_feature=seed % 2 == 0), task="regression", output_map=random_unit(rng, 1)
    )
    netfile.save(net, tmp_path / "net.safetensors")
    for again in (netfile.load(tmp_path / "net.safetensors"), compact.unpack(compact.pack(net))):
        assert (again.input_map, again.output_map, again.task) == (net.input_map, net.output_map, "regression")


def test_files_of_the_version_before_still_load():
    nets = [netfile.load("tests/files/schema1.safetensors"), compact.load("tests/files/version01.compact")]
    for net in nets:
        assert (net.input_map, net.task, net.n_connections) == (IDENTITY, "classification", 158)
    x = np.random.default_rng(0).integers(0, 127, (20, nets[0].n_in)).astype(nets[0].x_format.dtype)
    np.testing.assert_array_equal(*(reference.logits(net, x) for net in nets))


def test_standard_against_numpy():
    rng = np.random.default_rng(0)
    x = rng.normal(5, [0.01, 1, 300], (500, 3))
    unit, fmt = fit_input(x, (3,))
    assert fmt == STANDARD
    np.testing.assert_allclose(unit.offset, x.mean(axis=0), rtol=1e-6)
    np.testing.assert_allclose(unit.factor, 1 / x.std(axis=0), rtol=1e-6)
    codes = encode(x, unit, fmt)
    np.testing.assert_allclose(codes, np.clip((x - x.mean(axis=0)) / x.std(axis=0) * 32, -128, 127), atol=0.51)


def test_a_constant_feature_has_one_code():
    x = np.random.default_rng(0).normal(size=(50, 3))
    x[:, 1] = 7.25
    unit, fmt = fit_input(x, (3,))
    assert unit.factor[1] == 0
    assert not encode(x + 1e6, unit, fmt)[:, 1].any()


@pytest.mark.parametrize(
    ("x", "shape", "expected"),
    [
        (np.arange(256, dtype=np.uint8).reshape(64, 4), (2, 2), np.arange(256)),
        (np.arange(256).reshape(64, 4) / 255, (2, 2), np.arange(256)),
        (
            np.tile(np.arange(17, dtype=np.uint8), 4).reshape(17, 4),
            (2, 2),
            np.rint(np.tile(np.arange(17), 4) * 255 / 16),
        ),
    ],
)
def test_images_share_one_unit_and_use_all_codes(x, shape, expected):
    unit, fmt = fit_input(x, shape)
    assert (unit.size, fmt) == (1, PIXEL)
    np.testing.assert_array_equal(encode(x, unit, fmt).ravel(), expected)


def test_minmax_takes_the_extremes_to_the_ends():
    x = np.random.default_rng(0).normal(5, [0.01, 1, 300], (500, 3))
    unit, fmt = fit_input(x, (3,), "minmax")
    codes = encode(x, unit, fmt)
    assert (codes.min(axis=0) == 0).all()
    assert (codes.max(axis=0) == 255).all()


def test_none_keeps_the_lowest_int8():
    x = np.array([[-128, 1], [100, 127]], np.int8)
    unit, fmt = fit_input(x, (2,), "none")
    assert unit == IDENTITY
    np.testing.assert_array_equal(encode(x, unit, fmt), x)


def test_the_unit_is_found_on_training_samples_only():
    x = np.random.default_rng(0).normal(size=(60, 3))
    samples = data.make_dataset("d", x, np.arange(60) % 2, x[:9] * 50, np.arange(9) % 2)
    part = data.encoded(samples, n_fit=40)
    assert part.input_map == fit_input(x[:40], (3,))[0]
    assert part.input_map != data.encoded(samples).input_map


@pytest.mark.parametrize("name", ["qdq", "qonnx", "qonnx-functions"])
@pytest.mark.parametrize("seed", range(4))
def test_engines_that_take_values_get_those_of_the_codes(name, seed, tmp_path):
    net = with_unit(random_net(seed), np.random.default_rng(seed), per_feature=seed != 1)
    assert verify.compare(net, verify.random_samples(net, 20, seed), name, tmp_path).passed


def test_a_logit_near_an_integer_is_a_mismatch():
    assert verify._mismatches(np.array([[2.0, 3.0000001]]), np.array([[2, 3]])) == 1


@pytest.mark.parametrize("name", sorted(name for name, engine in targets.ENGINES.items() if engine.encodes))
@pytest.mark.parametrize("seed", range(4))
def test_every_encoder_gives_the_codes_of_the_reference(name, seed, tmp_path):
    rng = np.random.default_rng(seed)
    net = random_net(seed) if seed == 3 else with_unit(random_net(seed), rng, per_feature=seed != 1)
    samples = verify.random_samples(net, 50, seed)
    result = verify.compare(net, samples, name, tmp_path)
    assert (result.what, result.refusal, result.mismatches) == ("codes", None, 0)
    assert result.compared == samples.codes.size
    extremes = np.float32([0, -0.0, 1e-45, -1e-38, 1e30, -1e30, 3.4e38, -3.4e38])[:, None] * np.ones(net.n_in)
    assert verify.compare(net, verify.samples_of(net, extremes), name, tmp_path).mismatches == 0
    wrong = verify.Samples(samples.values + 2 * np.abs(samples.values).max() + 1, samples.codes)
    assert verify.compare(net, wrong, name, tmp_path).mismatches > 0

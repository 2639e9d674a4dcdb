"""The compiled products against their NumPy reading, finite differences, and the golden model."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from deepr_hw import reference
from deepr_hw.ir import netfile
from deepr_hw.ir.tasks import EVEN
from deepr_hw.kernel import jit
from deepr_hw.train.compiled import load_batch
from deepr_hw.train.freeze import freeze
from deepr_hw.train.loss import loss_and_slope
from deepr_hw.train.model import Model, calibrate
from deepr_hw.train.sparse_linear import LinearStage
from deepr_hw.train.stage import backward, forward
from tests.oracles.layers import gradients, layer_views
from tests.random_models import random_model


def random_goal(seed, n, n_out):
    """Labels for even seeds, targets for odd ones."""
    rng = np.random.default_rng(seed)
    return rng.integers(0, n_out, n) if seed % 2 == 0 else rng.normal(0, 1, (n, n_out)).astype(np.float32)


def kernel_gradients(model, x, labels, n_batch, smoothing=0.0, weights=EVEN):
    """One step's loss, logits and gradients from the kernels, columns padded as in training."""
    machine = model.machine(n_batch)
    order = np.arange(len(labels))
    load_batch(x, order, machine.x)
    forward(machine.stages, machine.net, machine.values)
    logits = machine.outputs[:, : len(labels)].copy()
    loss, _ = loss_and_slope(machine.outputs, machine.unit, labels, order, smoothing, weights)
    backward(machine.reverse, machine.net, machine.values)
    return loss, logits, machine.net.grad, machine.bias_grad


@pytest.mark.parametrize("quantized", [True, False])
@pytest.mark.parametrize("seed", range(12))
def test_stages_compute_what_one_does(seed, quantized):
    """Where a chain is cut in two stages makes no difference to any bit: not to formats, logits, gradients, layers."""
    model, x = random_model(seed, quantized=False)
    sizes = model.stages[0].sizes
    cut = 1 + seed % (len(sizes) - 1)
    stages = [LinearStage(sizes[: cut + 1], cut == len(sizes) - 1)]
    if cut < len(sizes) - 1:
        stages.append(LinearStage(sizes[cut:], True))
    both = [model, Model(model.connections, stages, model.use_bias, model.x_format)]
    both[1].bias[:] = model.bias
    labels, results = random_goal(seed // 2, 13, model.n_out), []
    for one in both:
        if quantized:
            calibrate(one, x, 8, 8)
        loss, logits, grad, bias_grad = kernel_gradients(one, x[:13], labels, 16)
        results.append((loss, one.outputs(x), logits, grad.copy(), bias_grad.copy()))
    for a, b in zip(*results, strict=True):
        np.testing.assert_array_equal(a, b)
    if quantized:
        assert netfile.digest(freeze(both[0])) == netfile.digest(freeze(both[1]))


def random_weights(seed, n):
    """Weights of very different size, some of them 0."""
    rng = np.random.default_rng(seed)
    return (rng.integers(0, 2, n) * 10.0 ** rng.uniform(-3, 2, n)).astype(np.float32)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("quantized", [True, False])
@pytest.mark.parametrize("seed", range(20))
def test_step_equals_numpy(seed, quantized, weighted):
    model, x = random_model(seed, quantized)
    labels = random_goal(seed // 2, 13, model.n_out)
    smoothing = 0.1 * (seed % 3)
    weights = random_weights(seed, 13) if weighted else EVEN
    loss, logits, grad, bias_grad = kernel_gradients(model, x[:13], labels, 16, smoothing, weights)
    views = layer_views(model)
    expected = gradients(views, x[:13].T.astype(float), labels, smoothing, weights if weighted else 1.0)
    if quantized:
        np.testing.assert_array_equal(logits, expected[1])
    else:
        np.testing.assert_allclose(logits, expected[1], rtol=1e-3, atol=1e-3)
    assert loss == pytest.approx(expected[0], rel=1e-4, abs=1e-5)
    wanted, biases = np.concatenate(expected[2]), np.concatenate(expected[3])
    np.testing.assert_allclose(grad, wanted, rtol=2e-3, atol=1e-5 + 1e-4 * np.abs(wanted).max(initial=0))
    if model.use_bias:
        atol = 1e-5 + 1e-4 * np.abs(biases).max()
        np.testing.assert_allclose(bias_grad, biases, rtol=2e-3, atol=atol)


@pytest.mark.parametrize("weights", [1.0, np.array([0.0, 3.0, 0.1, 1.0, 20.0])], ids=["even", "weighted"])
@pytest.mark.parametrize("regression", [False, True])
@pytest.mark.parametrize("seed", range(1, 12, 2))  # with biases: no accumulator sits on the kink at 0
def test_numpy_gradient_equals_finite_differences(seed, regression, weights):
    model, x = random_model(seed, quantized=False, max_width=8)
    labels = random_goal(2 * seed + regression, 5, model.n_out)
    views = layer_views(model)
    for view in views:
        object.__setattr__(view, "weight", view.weight.astype(np.float64))
    codes = x[:5].T.astype(float)
    loss, _, d_weights, d_biases = gradients(views, codes, labels, weights=weights)
    for view, d_weight, d_bias in zip(views, d_weights, d_biases, strict=True):
        for values, slope in ((view.weight, d_weight), (view.bias, d_bias)):
            for k in range(min(4, values.size)):
                values[k] += 1e-6
                difference = (gradients(views, codes, labels, weights=weights)[0] - loss) / 1e-6 / 5
                values[k] -= 1e-6
                assert difference == pytest.approx(slope[k], abs=1e-4 + 1e-3 * abs(slope[k]))


@pytest.mark.parametrize("regression", [False, True])
@pytest.mark.parametrize("seed", range(6))
def test_whole_weights_are_repetitions(seed, regression):
    """Weights 0 to 3 in one batch give the gradient, the loss and the rewiring's input of samples taken so often."""
    model, x = random_model(seed)
    goal = random_goal(2 * seed + regression, 13, model.n_out)
    times = np.random.default_rng(seed).integers(0, 4, 13)
    times[0] = 1
    weights = (times * (13 / times.sum())).astype(np.float32)
    loss, _, grad, bias_grad = kernel_gradients(model, x[:13], goal, 16, weights=weights)
    grad, bias_grad = grad.copy(), bias_grad.copy()
    each = np.repeat(np.arange(13), times)
    other = kernel_gradients(model, x[each], goal[each], -(-len(each) // 16) * 16)
    assert loss / 13 == pytest.approx(other[0] / len(each), rel=1e-4)
    np.testing.assert_allclose(grad, other[2], rtol=2e-3, atol=1e-6 + 1e-4 * np.abs(grad).max(initial=0))
    np.testing.assert_allclose(bias_grad, other[3], rtol=2e-3, atol=1e-6 + 1e-4 * np.abs(bias_grad).max(initial=0))


@pytest.mark.parametrize("bits", [2, 4, 8])
@pytest.mark.parametrize("seed", range(40))
def test_evaluation_mode_equals_the_reference(seed, bits):
    model, x = random_model(seed, bits=bits)
    net = freeze(model)
    np.testing.assert_array_equal(model.logits(x), reference.logits(net, x))
    assert net.n_connections == model.connections.n_connections


def test_a_flipped_bit_of_one_weight_is_seen():
    model, x = random_model(3)
    expected = reference.logits(freeze(model), x)
    last = model.connections.matrix_slices()[-1]
    model.connections.code[last.start] ^= 0x40
    assert (model.logits(x) != expected).any()


def test_float_network_has_no_integer_logits():
    model, x = random_model(0, quantized=False)
    with pytest.raises(ValueError, match="not quantized"):
        model.logits(x)
    with pytest.raises(ValueError, match="not quantized"):
        freeze(model)


def test_the_cache_of_compiled_code_follows_every_source(tmp_path):
    package = Path(jit.__file__).parent.parent
    names = [path.relative_to(package) for path in jit.sources(package)]
    for name in names:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(package / name, tmp_path / name)
    stamp = jit.source_stamp(tmp_path)
    assert stamp == jit.source_stamp(package)
    for name in names:
        (tmp_path / name).write_text("\n@kernel changed")
        stamp, before = jit.source_stamp(tmp_path), stamp
        assert stamp != before


def test_a_numba_with_other_private_fields_compiles_without_the_cache(monkeypatch):
    """What we write into must be there; else nothing is cached, and nothing fails."""

    class Other:
        _cache_file = object()

        def __init__(self, function):
            pass

    monkeypatch.setattr(jit, "FunctionCache", Other)

    @jit.kernel
    def double(x):
        return 2 * x

    assert double(4) == 8
    assert not isinstance(double._cache, Other)


def test_every_module_with_a_kernel_is_stamped():
    package = Path(jit.__file__).parent.parent
    compiled = {path for path in package.rglob("*.py") if "\n@kernel" in path.read_text()}
    assert compiled == set(jit.sources(package))
    assert package / "kernel" / "noise.py" in compiled

"""Optimizers against their textbook form, schedules, augmentation, early stopping."""

from itertools import pairwise

import numpy as np
import pytest

from deepr_hw import data
from deepr_hw.data.augment import augment
from deepr_hw.kernel.noise import seed_state
from deepr_hw.sparse_set.step import ADAM, MOMENTUM, SGD, decay_idle, precondition
from deepr_hw.train.config import BudgetConfig, Config, TrainingConfig, load_config
from deepr_hw.train.epoch import deformed
from deepr_hw.train.loop import exhausted, train
from deepr_hw.train.methods import METHODS
from deepr_hw.train.runlog import EpochMetrics
from deepr_hw.train.schedule import Course, learning_rates, make_course, make_prior, settled

IMAGES = np.random.default_rng(0).integers(0, 256, (20, 28, 28)).astype(np.uint8)


def test_momentum_and_adam_are_the_textbook_ones():
    rng = np.random.default_rng(0)
    moments, m, v, mean = np.zeros((3, 50), np.float32), np.zeros(50), np.zeros(50), np.zeros(50)
    for step in range(1, 20):
        grad = rng.standard_normal(50).astype(np.float32)
        m, mean = 0.9 * m + grad, 0.9 * mean + 0.1 * grad
        v = 0.99 * v + 0.01 * grad.astype(float) ** 2
        for optimizer, expected in ((SGD, grad), (ADAM, mean / np.sqrt(v / (1 - 0.99**step)))):
            direction = grad.copy()
            precondition(direction, moments, optimizer, 0.9, 0.99)
            np.testing.assert_allclose(direction, expected, rtol=1e-3, atol=1e-5)
    moments, m = np.zeros((1, 50), np.float32), np.zeros(50)
    for _ in range(5):
        grad = rng.standard_normal(50).astype(np.float32)
        m = 0.9 * m + grad
        precondition(grad, moments, MOMENTUM, 0.9, 0.99)
        np.testing.assert_allclose(grad, m, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("optimizer", ["momentum", "adam"])
def test_digits_are_learnt_with(optimizer, tmp_path):
    rate = {"momentum": 0.03, "adam": 0.005}[optimizer]
    config = load_config(
        "digits",
        [
            f"training.optimizer={optimizer}",
            f"training.learning_rate={rate}",
            "training.epochs=30",
            "training.schedule=cosine",
            "network.bias=true",
            "training.label_smoothing=0.05",
        ],
    )
    result = train(config, data.load("digits"), tmp_path, progress=lambda *_: None)
    assert result.test["accuracy"] > 0.95
    assert {m.active_min for m in result.history} == {m.active_max for m in result.history} == {1000}


def test_schedules():
    t = TrainingConfig(epochs=4, learning_rate=1.0, decay=0.5, schedule="step")
    np.testing.assert_allclose(learning_rates(t, 2, 3), 0.25)
    t = TrainingConfig(epochs=4, learning_rate=1.0, decay=0.5, schedule="cosine", warmup=1)
    whole = np.concatenate([learning_rates(t, epoch, 100) for epoch in range(4)])
    assert (np.diff(whole[:50]) > 0).all()
    assert (np.diff(whole[100:]) < 0).all()
    assert 0 < whole[0] < 0.02
    assert whole[-1] < 0.001
    assert whole[200] == pytest.approx(0.5)


def test_the_prior_goes_from_its_first_weight_to_its_last():
    course = Course(10, theta=1.0, total_eta=1.0)

    def weights(**training):
        t = TrainingConfig(l1=1e-3, **training)
        return [make_prior(t, course, epoch).l1 for epoch in range(t.epochs)]

    assert set(weights(epochs=5)) == {1e-3}
    np.testing.assert_allclose(weights(epochs=5, l1_end=2e-4), [1e-3, 8e-4, 6e-4, 4e-4, 2e-4])
    assert weights(epochs=1, l1_end=0.0) == [1e-3]
    with pytest.raises(ValueError, match="l1_end"):
        TrainingConfig(l1_end=-1.0)


def test_the_course_is_the_sum_of_the_rates():
    t = TrainingConfig(epochs=3, batch_size=10, learning_rate=0.4, schedule="step", decay=0.5)
    course = make_course(t, np.array([0.5, -1.5], np.float32), n_samples=25)
    assert course == (10, 1.0, pytest.approx(3 * (0.4 + 0.2 + 0.1)))
    whole = make_course(TrainingConfig(epochs=8, batch_size=10), np.ones(2, np.float32), n_samples=1000)
    assert whole.total_eta == pytest.approx(8 * 100 * 0.01 / 2, rel=0.01), "half a cosine"


@pytest.mark.parametrize(
    ("n_samples", "epochs", "batch"), [(133, 30, 8), (14_000, 20, 17), (60_000, 10, 32), (1, 1, 8)]
)
def test_a_run_on_few_samples_takes_smaller_batches(n_samples, epochs, batch):
    course = make_course(TrainingConfig(epochs=epochs), np.ones(2, np.float32), n_samples)
    assert course.batch_size == batch
    config = Config(BudgetConfig(total=1))
    assert config.training.batch_size == "auto"
    assert settled(config, course).training.batch == batch


def test_the_automatic_prior_takes_four_first_thetas_over_the_run():
    course = Course(32, theta=0.3, total_eta=60.0)
    t = TrainingConfig()
    assert (t.l1, t.idle) == ("auto", 20)
    assert make_prior(t, course, 0) == (pytest.approx(4 * 0.3 / 60), pytest.approx(20 * 0.3 / 60))
    assert make_prior(t, Course(32, 0.3, 0.01), 0).l1 == 0.05, "a newborn must outlive its first step"
    for method in ("fixed", "set", "rigl", "gradual"):
        assert make_prior(TrainingConfig(method=method), course, 0) == (0, 0), "nothing dies there"
        assert make_prior(TrainingConfig(method=method, l1=1e-4), course, 0) == (1e-4, 0)


def test_only_what_has_no_gradient_is_idle():
    weight = np.array([0.5, -0.5, 0.01, -0.01, 0.5, 0.0, -0.0], np.float32)
    decay_idle(weight, np.array([0, -0.0, 0, 0, 1e-30, 0, 0], np.float32), 0.1)
    expected = np.array([0.4, -0.4, 0, -0.0, 0.5, 0, -0.0], np.float32)
    np.testing.assert_array_equal(weight, expected)
    np.testing.assert_array_equal(np.signbit(weight), np.signbit(expected))


def test_a_weaker_prior_at_the_end_leaves_fewer_codes_at_0(tmp_path):
    nonzero = []
    for end in (0.002, 0.0):
        langevin = ["training.optimizer=sgd", "training.learning_rate=0.3", "training.idle=0"]
        prior = ["training.l1=0.002", f"training.l1_end={end}", "training.epochs=20"]
        config = load_config("digits", [*langevin, *prior])
        nonzero.append(
            train(config, data.load("digits"), tmp_path / str(end), progress=lambda *_: None).history[-1].n_nonzero
        )
    assert nonzero[0] < nonzero[1] <= 1000


def test_no_deformation_is_the_identity():
    out = np.zeros_like(IMAGES)
    augment(IMAGES, np.arange(20), out, 0.0, 0.0, 0.0, 0.0, seed_state(np.random.default_rng(0)))
    np.testing.assert_array_equal(out, IMAGES)


def test_a_shift_moves_and_a_turn_turns():
    image = np.zeros((1, 28, 28), np.uint8)
    image[0, 4:8, 10:14] = 200
    centre = []
    for seed in range(200):
        out = np.zeros_like(image)
        augment(image, np.arange(1), out, 3.0, 0.0, 0.0, 0.0, seed_state(np.random.default_rng(seed)))
        weight = out[0] / out.sum()
        centre.append([(weight.sum(axis=1) * np.arange(28)).sum(), (weight.sum(axis=0) * np.arange(28)).sum()])
        assert int(out.sum()) == pytest.approx(int(image.sum()), rel=0.02)
    offset = np.array(centre) - (5.5, 11.5)
    assert np.abs(offset).max() < 3.05
    assert np.abs(offset.mean(axis=0)).max() < 0.5
    assert (offset.std(axis=0) > 1.3).all()
    out = np.zeros_like(image)
    augment(image, np.arange(1), out, 0.0, 30.0, 0.1, 1.0, seed_state(np.random.default_rng(1)))
    assert out.any()
    assert (out != image).any()


def test_augmentation_refuses_what_is_no_image():
    config = load_config("digits", ["augmentation.shift=1"])
    digits = data.encoded(data.load("digits"))
    assert (deformed(config, digits, digits.x_train, np.random.default_rng(0)) != digits.x_train).any()
    flat = data.encoded(data.make_dataset("flat", digits.x_train, digits.y_train, digits.x_test, digits.y_test))
    with pytest.raises(ValueError, match="augmentation: needs images"):
        deformed(config, flat, flat.x_train, np.random.default_rng(0))


@pytest.mark.parametrize(("every", "sets"), [(1, 5), (2, 3), (7, 1)])
def test_epochs_share_deformed_images(every, sets, tmp_path, monkeypatch):
    config = load_config(
        "mnist_paper",
        [
            "data.name=digits",
            "data.validation=100",
            "training.epochs=5",
            "budget.density=0.1",
            "augmentation.shift=1",
            f"augmentation.every={every}",
        ],
    )
    digits = data.load("digits")
    seen = []

    def remember(*arguments):
        seen.append(deformed(*arguments))
        return seen[-1]

    monkeypatch.setattr("deepr_hw.train.loop.deformed", remember)
    whole = train(config, digits, tmp_path / "whole", progress=lambda *_: None)
    assert len(seen) == sets
    assert all((a != b).any() for a, b in pairwise(seen))
    _stop_after(2, config, digits, tmp_path / "parts")
    parts = train(config, digits, tmp_path / "parts", resume=True, progress=lambda *_: None)
    for a, b in zip(whole.net.layers, parts.net.layers, strict=True):
        np.testing.assert_array_equal(a.matrix.code, b.matrix.code)


def _stop_after(epochs, config, dataset, folder):
    def stop(metrics, _):
        if metrics.epoch + 1 == epochs:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(config, dataset, folder, progress=stop)


def test_patience():
    history = [
        EpochMetrics(i, 0, {"accuracy": 0}, {"accuracy": score}, {"accuracy": 0.5}, 1, 1, 0, 1, 0)
        for i, score in enumerate((0.5, 0.9, 0.8, 0.9))
    ]
    assert exhausted(history, 2)
    assert not exhausted(history, 3)
    assert not exhausted(history, 0)
    assert not exhausted(history, 4)


@pytest.mark.parametrize("method", [name for name, method in METHODS.items() if method.dense])
def test_what_meets_its_budget_at_the_end_is_not_stopped_early(method):
    overrides = ["data.validation=200", f"training.method={method}", "training.optimizer=sgd", "training.l1=1e-4"]
    assert load_config("digits", overrides).training.dense
    with pytest.raises(ValueError, match=f"training.patience = 3: stops before the last epoch, at which {method}"):
        load_config("digits", [*overrides, "training.patience=3"])


def test_training_stops_early(tmp_path):
    config = load_config("digits", ["training.epochs=60", "training.patience=3", "data.validation=200"])
    assert len(train(config, data.load("digits"), tmp_path, progress=lambda *_: None).history) < 60

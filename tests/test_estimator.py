"""The scikit-learn estimator: scikit-learn's own checks, the same integers as its frozen network, odd data."""

import pickle
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.metrics import accuracy_score, r2_score
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.class_weight import compute_sample_weight
from sklearn.utils.estimator_checks import parametrize_with_checks

from deepr_hw import DeepRClassifier, DeepRRegressor, estimator, reference, targets
from deepr_hw.estimator import held_out
from deepr_hw.export.onnx import flavours as onnx_flavours
from deepr_hw.export.onnx import qdq as onnx_qdq
from deepr_hw.export.onnx.session import run_model
from deepr_hw.ir import netfile
from deepr_hw.sparse_set.share import chain, share_out, share_per_matrix
from deepr_hw.train.freeze import freeze
from deepr_hw.train.loop import advance
from deepr_hw.train.methods import METHODS

# scikit-learn says that two of its checks can't run here: no pandas, and no SciPy in array API mode
pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.SkipTestWarning")


KINDS = pytest.mark.parametrize("kind", ["classifier", "regressor"])
ANOTHER_COURSE = {
    "check_sample_weight_equivalence_on_dense_data": "a sample of weight 2 is in one batch of an epoch, "
    "two of weight 1 are in two: the steps differ"
}


@parametrize_with_checks(
    [
        DeepRClassifier(),
        DeepRClassifier(hidden=(20,), n_connections=20, budget="global"),
        DeepRRegressor(),
        DeepRRegressor(hidden=(20,), n_connections=80, budget="global"),
    ],
    expected_failed_checks=lambda estimator: ANOTHER_COURSE,
)
@pytest.mark.filterwarnings("ignore:n_connections = .0. the network has only:UserWarning")
def test_scikit_learns_own_checks(estimator, check):
    check(estimator)


@pytest.fixture(scope="module")
def digits():
    x, y = load_digits(return_X_y=True)
    return x[:1400], y[:1400], x[1400:], y[1400:]


def small(**parameters):
    return DeepRClassifier(**{"hidden": (40,), "n_connections": 800, "epochs": 10, "random_state": 0, **parameters})


@pytest.fixture(scope="module")
def fitted(digits):
    return small().fit(*digits[:2])


def test_predictions_are_the_frozen_networks(fitted, digits):
    x = digits[2]
    net, codes = fitted.to_intnet(), fitted.encode(x)
    assert codes.dtype == net.x_format.dtype
    np.testing.assert_array_equal(fitted.predict(x), fitted.classes_[reference.predict(net, codes)])
    np.testing.assert_array_equal(fitted.decision_function(x) * 2.0**net.logit_frac, reference.logits(net, codes))
    np.testing.assert_allclose(fitted.predict_proba(x).sum(axis=1), 1)
    assert fitted.score(x, digits[3]) > 0.85
    assert net.n_connections == fitted.n_connections_ == 800
    assert net.class_labels == tuple("0123456789")


def test_data_sorted_by_class_is_learnt_as_well(digits):
    order = np.argsort(digits[1], kind="stable")
    assert small().fit(digits[0][order], digits[1][order]).score(*digits[2:]) > 0.85


def test_labels_may_be_anything_and_two_classes_give_one_decision(digits):
    x, y = digits[0], np.where(digits[1] < 5, "small", "large")
    model = small().fit(x, y)
    net = model.to_intnet()
    assert net.class_labels == ("large", "small")
    logits = reference.logits(net, model.encode(x)).astype(np.int64)
    np.testing.assert_array_equal(model.decision_function(x) * 2.0**net.logit_frac, logits[:, 1] - logits[:, 0])
    np.testing.assert_array_equal(model.predict(x) == "small", model.decision_function(x) > 0)


def test_same_seed_same_bits_and_pickles(fitted, digits):
    again = clone(fitted).fit(*digits[:2])
    copy = pickle.loads(pickle.dumps(fitted))
    for other in (again, copy):
        np.testing.assert_array_equal(other.decision_function(digits[2]), fitted.decision_function(digits[2]))
    other = small(random_state=1).fit(*digits[:2])
    assert (other.decision_function(digits[2]) != fitted.decision_function(digits[2])).any()


def test_a_pickle_trains_on_as_the_original_would(digits):
    x, y = digits[:2]
    one = small(epochs=2).fit(x, y)
    two = pickle.loads(pickle.dumps(one))
    one.partial_fit(x, y)
    two.partial_fit(x, y)
    np.testing.assert_array_equal(one.decision_function(x), two.decision_function(x))


def test_warm_start_goes_on(digits):
    x, y = digits[:2]
    model = small(warm_start=True, epochs=3).fit(x, y)
    before, loss = model.to_intnet(), model.loss_curve_[-1]
    model.set_params(epochs=2).fit(x, y)
    assert model.n_iter_ == len(model.loss_curve_) == 5
    assert model.loss_curve_[-1] < loss
    assert model.to_intnet() is not before
    assert small(epochs=3).fit(x, y).fit(x, y).n_iter_ == 3, "without warm_start every fit starts anew"


@pytest.mark.parametrize("changed", [{"hidden": (30,)}, {"n_connections": 700}, {"budget": "global"}, {"bias": False}])
def test_warm_start_refuses_another_network(digits, changed):
    model = small(warm_start=True, epochs=1).fit(*digits[:2])
    with pytest.raises(ValueError, match="changed since the network was made"):
        model.set_params(**changed).fit(*digits[:2])


def test_partial_fit_learns_from_parts(digits):
    x, y, x_test, y_test = digits
    model = small()
    for _ in range(5):
        for part in range(0, 1400, 350):
            model.partial_fit(x[part : part + 350], y[part : part + 350], classes=range(10))
    assert model.score(x_test, y_test) > 0.8
    assert model.n_iter_ == 20
    assert model.to_intnet().n_connections == 800


def test_partial_fit_knows_its_classes(digits):
    x, y = digits[:2]
    with pytest.raises(ValueError, match="classes must be given in the first call"):
        small().partial_fit(x, y)
    model = small().partial_fit(x[y < 3], y[y < 3], classes=[0, 1, 2, 3])  # class 3 stays empty
    assert model.decision_function(x).shape == (1400, 4)
    assert set(model.predict(x[y < 3])) <= {0, 1, 2}
    with pytest.raises(ValueError, match="has the label 4, which is not one of the classes"):
        model.partial_fit(x[y == 4], y[y == 4])
    with pytest.raises(ValueError, match="differs from the first call's"):
        model.partial_fit(x[y < 3], y[y < 3], classes=[0, 1, 2])


def test_more_connections_than_positions_is_a_dense_network(digits):
    x, y = digits[:2]
    model = small(hidden=(5,), n_connections=10_000, epochs=1)
    with pytest.warns(UserWarning, match="n_connections = 10000: the network has only 370 positions and is dense"):
        model.fit(x, y)
    assert model.n_connections_ == model.to_intnet().n_connections == model.to_intnet().n_positions == 64 * 5 + 5 * 10


@KINDS
@pytest.mark.parametrize("part", [False, True], ids=["fit", "partial_fit"])
def test_warnings_name_the_users_line(both, kind, part, monkeypatch):
    def with_a_remark(config, dataset, state, *rest):
        state.remarks.append("something odd")
        return advance(config, dataset, state, *rest)

    monkeypatch.setattr(estimator, "advance", with_a_remark)
    model, x, y = both[kind]
    model = clone(model).set_params(n_connections=10_000, epochs=1)
    more = {"classes": np.unique(y)} if part and kind == "classifier" else {}
    with pytest.warns() as caught:
        (model.partial_fit if part else model.fit)(x, y, **more)
    assert [warning.category for warning in caught] == [UserWarning, RuntimeWarning]
    assert [warning.filename for warning in caught] == [__file__] * 2


@pytest.mark.parametrize("k", [9, 0, -5, 2.5, True, "many", None])
def test_fewer_connections_than_classes_are_refused(digits, k):
    with pytest.raises(ValueError, match=r"n_connections = .*: must be a whole number, at least one for each of"):
        small(n_connections=k).fit(*digits[:2])
    assert small(n_connections=10, epochs=1).fit(*digits[:2]).n_connections_ == 10


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"epochs": 0}, "epochs = 0: lies in 1.."),
        ({"epochs": "3"}, "epochs = '3': expected integer"),
        ({"hidden": (9,) * 9, "n_connections": 10, "bias": False, "l1": -1}, "l1 = -1.0: lies in 0.."),
        ({"hidden": (9,) * 19, "n_connections": 10}, "10 connections: 20 layers"),
        ({"learning_rate": -1}, "learning_rate = -1.0: lies in 0.."),
        ({"weight_bits": 9}, "weight_bits = 9: lies in 2..8"),
        ({"hidden": (0,)}, r"hidden = \[0\]: lies in 1"),
        ({"hidden": 50}, "hidden = 50: expected a list of integers"),
        ({"budget": "tight"}, "budget = 'tight': expected 'per_layer', 'global' or a dictionary"),
        ({"budget": {"lane": 8}}, "budget.lane: unknown key; did you mean lanes"),
        ({"optimizer": "lion"}, "optimizer = 'lion': expected one of sgd"),
        ({"method": "magic"}, "method = 'magic': expected one of"),
        ({"learning_rate": 1e30}, "training diverged"),
    ],
)
def test_impossible_parameters_and_divergence(digits, parameters, message):
    with pytest.raises(ValueError, match=message):
        small(**parameters).fit(*digits[:2])


def test_one_class_is_refused():
    with pytest.raises(ValueError, match="y has 1 class, 'a': a classifier needs at least two"):
        small().fit(np.eye(4), ["a"] * 4)


@pytest.mark.parametrize("value", [0.0, 5.0, -1e-3, 1e300, 1e-300])
def test_constant_inputs_give_the_most_frequent_class(value):
    y = np.array([0] * 5 + [1] * 20 + [2] * 10)
    model = small(n_connections=50, hidden=(10,)).fit(np.full((35, 3), value), y)
    assert set(model.predict(np.full((4, 3), value))) == {1}


@pytest.mark.parametrize("scale", [1e-9, 1.0, 1e9])
def test_the_unit_of_the_data_does_not_matter(digits, scale):
    x, y, x_test, _ = digits
    factor = 2.0 ** np.round(np.log2(scale))
    model = small().fit(x * factor, y)
    reference_model = small().fit(x, y)
    np.testing.assert_array_equal(model.decision_function(x_test * factor), reference_model.decision_function(x_test))
    expected = np.clip((x_test - x.mean(axis=0)) / np.maximum(x.std(axis=0), 1e-30) * 32, -128, 127)
    assert np.abs(model.encode(x_test * factor) - np.where(x.std(axis=0) > 0, expected, 0)).max() <= 0.5001


def test_what_exceeds_the_learnt_range_saturates(fitted):
    says_something = fitted.to_intnet().input_map.factor > 0
    for value, code in ((1e308, 127), (-1e308, -128)):
        np.testing.assert_array_equal(fitted.encode(np.full((1, 64), value))[0], np.where(says_something, code, 0))


def test_a_budget_shaped_like_an_engine(digits):
    net = small(budget={"lanes": 8}, epochs=1).fit(*digits[:2]).to_intnet()
    assert net.n_connections == 800
    for layer in net.layers:
        held = np.bincount(layer.matrix.out_idx % 8, minlength=8)
        assert held.max() - held.min() <= 1


@pytest.mark.parametrize("method", METHODS)
def test_every_method_ends_within_the_budget(digits, method):
    langevin = {"optimizer": "sgd", "l1": 1e-5, "learning_rate": 0.3, "batch_size": 10}
    model = small(method=method, epochs=9, **(langevin if method == "soft_deep_r" else {})).fit(*digits[:2])
    net = model.to_intnet()
    assert 700 <= net.n_connections == model.n_connections_ <= 800
    assert model.score(*digits[2:]) > 0.7
    np.testing.assert_array_equal(model.predict(digits[2]), reference.predict(net, model.encode(digits[2])))


def test_momentum_and_a_cosine(digits):
    model = small(optimizer="momentum", batch_size=10, learning_rate=0.05, label_smoothing=0.1).fit(*digits[:2])
    assert model.score(*digits[2:]) > 0.85
    assert model.partial_fit(*digits[:2]).n_iter_ == 11


def test_the_network_goes_to_file_and_engine(fitted, digits, tmp_path):
    net, codes = fitted.to_intnet(), fitted.encode(digits[2])
    netfile.save(net, tmp_path / "net.safetensors")
    run = targets.get_engine("onnx")(netfile.load(tmp_path / "net.safetensors"), codes, tmp_path)
    np.testing.assert_array_equal(run.logits * 2.0**-net.logit_frac, fitted.decision_function(digits[2]))


def test_grid_search(digits):
    search = GridSearchCV(small(epochs=2), {"n_connections": np.array([200, 800]), "method": ["deep_r", "fixed"]}, cv=2)
    search.fit(digits[0][:400], digits[1][:400])
    assert search.best_params_["n_connections"] == 800


def test_the_package_alone_stays_light():
    code = "import sys, deepr_hw; assert not {'numpy', 'sklearn', 'numba'} & set(sys.modules); deepr_hw.DeepRClassifier"
    subprocess.run([sys.executable, "-c", code], check=True)
    with pytest.raises(AttributeError, match="nothing"):
        __import__("deepr_hw").nothing  # noqa: B018


def test_shares_add_up_within_the_positions():
    assert share_per_matrix(3552, chain((784, 300, 100, 10))) == (2416, 891, 245)
    rng = np.random.default_rng(0)
    for _ in range(500):
        positions = rng.integers(1, 50, rng.integers(1, 6)).tolist()
        total = int(rng.integers(len(positions), sum(positions) + 1))
        shares = share_out(total, rng.random(len(positions)) + 0.01, positions)
        assert sum(shares) == total
        assert all(1 <= share <= n for share, n in zip(shares, positions, strict=True))
    with pytest.raises(ValueError, match=r"11 connections: 2 layers with 4 \+ 6 positions can share out 2 to 10"):
        share_out(11, (1, 1), (4, 6))


# Weights


@pytest.fixture(scope="module")
def both(digits):
    """An estimator of each kind with samples of its, too few to be learnt well."""
    return {"classifier": (small(epochs=3), *digits[:2]), "regressor": (regressor(epochs=3), *linear())}


def bits(model, x):
    """What a network is made of: its file's content."""
    net = model.to_intnet()
    arrays = [
        array
        for layer in net.layers
        for array in (layer.matrix.in_idx, layer.matrix.out_idx, layer.matrix.code, layer.bias)
    ]
    units = [net.input_map.offset, net.input_map.factor, net.output_map.offset, net.output_map.factor]
    return [array.tolist() for array in (*arrays, *units, reference.logits(net, model.encode(x)))]


@KINDS
def test_only_proportions_of_weights_count(both, kind):
    model, x, y = both[kind]
    weight = np.random.default_rng(0).random(len(x)) + 0.1
    one, two = (clone(model).fit(x, y, sample_weight=factor * weight) for factor in (1, 2))
    assert bits(one, x) == bits(two, x)
    plain = clone(model).fit(x, y)
    assert bits(plain, x) != bits(one, x)
    assert bits(clone(model).fit(x, y, np.full(len(x), 0.3)), x) == bits(plain, x)
    huge = clone(model).fit(x, y, sample_weight=2.0**1020 * weight)
    assert bits(huge, x) == bits(one, x)


@KINDS
@pytest.mark.parametrize("stops", [False, True], ids=["", "early_stopping"])
def test_a_sample_of_weight_0_is_not_there(both, kind, stops):
    model, x, y = both[kind]
    rng = np.random.default_rng(1)
    weight = rng.random(len(x)) * (rng.random(len(x)) < 0.7)
    model = clone(model).set_params(early_stopping=stops)
    x_other = np.where(weight[:, None] > 0, x, 1e6)
    there = weight > 0
    removed = clone(model).fit(x[there], y[there], weight[there])
    assert bits(clone(model).fit(x_other, y, weight), x) == bits(removed, x)
    ones = clone(model).fit(x, y, there.astype(int))
    assert bits(ones, x) == bits(clone(model).fit(x[there], y[there]), x)


def test_a_heavy_sample_is_answered_first(both):
    """Of two opposite answers to the same sample the heavier one wins, for labels and for numbers."""
    x = np.repeat(np.random.default_rng(0).normal(0, 1, (50, 6)), 2, axis=0)
    x = x[np.random.default_rng(1).permutation(100)]
    y = np.arange(100) % 2
    for heavy in (0, 1):
        weight = np.where(y == heavy, 9.0, 1.0)
        model = small(n_connections=100, batch_size=10).fit(x, y, weight)
        assert np.mean(model.predict(x) == heavy) > 0.8
        answers = regressor(n_connections=100, batch_size=10).fit(x, y, weight).predict(x)
        assert abs(answers.mean() - (0.9 if heavy else 0.1)) < 0.1


def test_balanced_is_the_weight_of_each_class(digits):
    x, y = digits[0], np.where(digits[1] == 3, "three", np.where(digits[1] < 3, "few", "many"))
    own = np.random.default_rng(0).random(len(y)) + 0.5
    balanced = small(epochs=3, class_weight="balanced")
    for sample_weight in (None, own):
        weight = np.ones(len(y)) if sample_weight is None else own / own.max()
        names, counts = np.unique(y), [weight[y == name].sum() for name in np.unique(y)]
        factor = {name: weight.sum() / (3 * count) for name, count in zip(names, counts, strict=True)}
        by_hand = small(epochs=3, class_weight=factor).fit(x, y, sample_weight)
        found = clone(balanced).fit(x, y, sample_weight)
        np.testing.assert_allclose(found.decision_function(x), by_hand.decision_function(x))
    weight = compute_sample_weight("balanced", y)
    assert bits(clone(balanced).fit(x, y), x) == bits(small(epochs=3).fit(x, y, weight), x)


def test_a_dictionary_says_what_a_class_counts(digits):
    x, y = digits[:2]
    by_class = small(epochs=3, class_weight={3: 5.0, 4: 0.5}).fit(x, y)
    by_sample = small(epochs=3).fit(x, y, np.where(y == 3, 5.0, np.where(y == 4, 0.5, 1.0)))
    assert bits(by_class, x) == bits(by_sample, x)
    without = small(epochs=3, class_weight={3: 0}).fit(x, y)
    assert without.classes_.tolist() == [0, 1, 2, 4, 5, 6, 7, 8, 9]
    assert bits(without, x) == bits(small(epochs=3).fit(x[y != 3], y[y != 3]), x)


def test_a_rare_class_is_found_when_it_counts():
    rng = np.random.default_rng(0)
    y = (rng.random(2000) < 0.03).astype(int)
    x, x_test = (
        rng.normal(0, 1, (2000, 6)) + labels[:, None] * np.linspace(0.2, 0.8, 6) for labels in (y, np.arange(2000) % 2)
    )
    found = [
        np.mean(
            DeepRClassifier((16,), 80, epochs=15, class_weight=weight, random_state=0).fit(x, y).predict(x_test)[1::2]
        )
        for weight in (None, "balanced", {1: 30})
    ]
    assert found[0] + 0.3 < min(found[1:])


@KINDS
def test_parts_have_weights_too(both, kind):
    model, x, y = both[kind]
    weight = np.random.default_rng(2).integers(0, 3, len(x))
    more = {"classes": np.unique(y)} if kind == "classifier" else {}
    one, two, plain = (clone(model).partial_fit(x, y, **more) for _ in range(3))
    there = weight > 0
    one.partial_fit(x, y, sample_weight=weight)
    two.partial_fit(x[there], y[there], sample_weight=2.5 * weight[there])
    plain.partial_fit(x[there], y[there])
    assert bits(one, x) == bits(two, x) != bits(plain, x)


def test_a_dictionary_holds_in_parts_without_its_class(digits):
    x, y = digits[:2]
    model = small(class_weight={4: 3.0}).partial_fit(x[y != 4], y[y != 4], classes=range(10)).partial_fit(x, y)
    other = small().partial_fit(x[y != 4], y[y != 4], classes=range(10))
    assert bits(model, x) == bits(other.partial_fit(x, y, sample_weight=np.where(y == 4, 3.0, 1.0)), x)
    with pytest.raises(ValueError, match="class_weight = 'balanced': a part of the data does not tell how large"):
        small(class_weight="balanced").partial_fit(x, y, classes=range(10))


@pytest.mark.parametrize(
    ("weight", "message"),
    [
        (np.ones(299), r"sample_weight: has shape \(299,\) for 300 samples, expected a number for each"),
        (np.ones((300, 1)), r"sample_weight: has shape \(300, 1\) for 300 samples"),
        (np.r_[np.ones(299), -0.5], r"sample_weight\[299\] = -0.5: must be at least 0"),
        (np.r_[np.ones(299), np.nan], "Input sample_weight contains NaN"),
        (np.zeros(300), "sample_weight: every sample has a weight of zero"),
    ],
)
def test_weights_that_no_samples_can_have(weight, message):
    with pytest.raises(ValueError, match=message):
        regressor().fit(*linear(), sample_weight=weight)


@pytest.mark.parametrize(
    ("weight", "message"),
    [
        ({3: -1}, r"class_weight\[3\] = -1.0: must be a finite number, at least 0"),
        ({3: np.inf}, r"class_weight\[3\] = inf: must be a finite number"),
        ({11: 2.0}, "are not in class_weight"),
        ("even", "'class_weight' parameter"),
        (dict.fromkeys(range(1, 10), 0), "y has 1 class, 0: a classifier needs at least two"),
    ],
)
def test_weights_that_no_classes_can_have(digits, weight, message):
    with pytest.raises(ValueError, match=message):
        small(class_weight=weight).fit(*digits[:2])


# Early stopping


@pytest.fixture
def watched(monkeypatch):
    """What ``held_out`` said in the last fit, and the network as frozen after each epoch of it."""
    seen = {"networks": []}

    def split(strata, fraction, rng):
        seen["held"], seen["networks"] = held_out(strata, fraction, rng), []
        return seen["held"]

    def epoch(config, dataset, state, *rest):
        metrics = advance(config, dataset, state, *rest)
        seen["n_trained_on"] = len(dataset.x_train)
        seen["networks"].append(freeze(state.model, (), None, dataset.input_map, dataset.task, dataset.output_map))
        return metrics

    monkeypatch.setattr(estimator, "held_out", split)
    monkeypatch.setattr(estimator, "advance", epoch)
    return seen


def score_of(net, model, x, y, weight):
    """The score of a frozen network by scikit-learn's metrics."""
    logits = reference.logits(net, net.encode(x))
    if net.task == "regression":
        return r2_score(y, net.decode(logits), sample_weight=weight)
    return accuracy_score(y, model.classes_[logits.argmax(axis=1)], sample_weight=weight)


def stopping(model, **parameters):
    return clone(model).set_params(
        **{"epochs": 40, "early_stopping": True, "n_iter_no_change": 3, "learning_rate": 0.03, **parameters}
    )


@KINDS
@pytest.mark.parametrize("weighted", [False, True], ids=["", "weighted"])
def test_the_network_that_answers_what_was_held_out_best_stays(both, kind, weighted, watched):
    model, x, y = both[kind]
    weight = np.random.default_rng(0).random(len(x)) + 0.1 if weighted else None
    model = stopping(model).fit(x, y, weight)
    held, networks = watched["held"], watched["networks"]
    last = None if weight is None else weight[held]
    scores = [score_of(net, model, x[held], y[held], last) for net in networks]
    assert watched["n_trained_on"] == np.count_nonzero(~held)
    assert model.validation_scores_ == pytest.approx(scores, rel=1e-12)
    best = int(np.argmax(scores))
    assert best < len(scores) - 1, "a case in which the last network is not the best"
    assert model.n_iter_ == len(model.loss_curve_) == len(scores) == best + 1 + 3 < 40
    np.testing.assert_array_equal(
        reference.logits(model.to_intnet(), model.encode(x)), reference.logits(networks[best], networks[best].encode(x))
    )
    assert model.best_validation_score_ == max(model.validation_scores_)
    assert model.score(x[held], y[held], last) == pytest.approx(model.best_validation_score_, rel=1e-12)
    assert model.n_connections_ == model.to_intnet().n_connections == model.n_connections
    with pytest.raises(ValueError, match="early_stopping: partial_fit makes one epoch"):
        model.partial_fit(x, y)
    model.set_params(early_stopping=False).partial_fit(x, y)
    assert model.to_intnet().n_connections == model.n_connections
    assert model.validation_scores_ is None is model.best_validation_score_


@KINDS
def test_training_does_not_see_what_is_held_out(both, kind, watched):
    model, x, y = both[kind]
    one = stopping(model, n_iter_no_change=40, epochs=4).fit(x, y)
    held, first = watched["held"], watched["networks"]
    two = stopping(model, n_iter_no_change=40, epochs=4).fit(np.where(held[:, None], -7 * x, x), y)
    np.testing.assert_array_equal(watched["held"], held)
    for net, other in zip(first, watched["networks"], strict=True):
        np.testing.assert_array_equal(reference.logits(net, net.encode(x)), reference.logits(other, other.encode(x)))
    assert one.validation_scores_ != two.validation_scores_


def test_every_class_holds_out_its_share():
    rng = np.random.default_rng(0)
    for n_classes, fraction in ((2, 0.1), (10, 0.25), (40, 0.5), (1, 0.1)):
        counts = rng.integers(1, 100, n_classes) + 10
        counts[0] = 1
        labels = rng.permutation(np.repeat(np.arange(n_classes), counts))
        if len(labels) < 10:
            continue
        held = held_out(labels, fraction, rng)
        assert np.count_nonzero(held) == max(2, round(fraction * len(labels)))
        found = np.bincount(labels[held], minlength=n_classes)
        assert found[0] == 0, "the only sample of a class stays in training"
        assert np.abs(found - np.count_nonzero(held) * (counts - 1) / (counts - 1).sum()).max() <= 1
    labels = np.repeat(np.arange(4), 50)
    one, two, again = (held_out(labels, 0.2, np.random.default_rng(seed)) for seed in (0, 1, 0))
    assert (one != two).any()
    np.testing.assert_array_equal(one, again)
    assert np.bincount(labels[one]).tolist() == [10] * 4


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"validation_fraction": 0}, "validation_fraction = 0: lies between 0 and 1"),
        ({"validation_fraction": 1.0}, "validation_fraction = 1.0: lies between 0 and 1"),
        ({"validation_fraction": 0.9999}, "validation_fraction = 0.9999: would hold out 1400 of 1400 samples"),
        ({"n_iter_no_change": 0}, "n_iter_no_change = 0: must be a whole number from 1"),
        ({"n_iter_no_change": 1.5}, "n_iter_no_change = 1.5: must be a whole number from 1"),
        ({"method": "gradual"}, "early_stopping: method = 'gradual' meets its budget at the end of fit only"),
    ],
)
def test_what_can_not_be_stopped_by(digits, parameters, message):
    with pytest.raises(ValueError, match=message):
        small(early_stopping=True, **parameters).fit(*digits[:2])


def test_a_run_that_begins_anew_forgets_its_scores(digits, monkeypatch):
    """The second epoch says that the run has begun anew: its score is the first one then."""
    calls = []

    def epoch(config, dataset, state, number, back, first):
        calls.append(number)
        if len(calls) == 3:
            vars(state).update(vars(back(True)))
            number = first
        return advance(config, dataset, state, number, back, first)

    monkeypatch.setattr(estimator, "advance", epoch)
    model = small(epochs=4, early_stopping=True).fit(*digits[:2])
    assert calls == [0, 1, 2, 1, 2, 3]
    assert model.n_iter_ == len(model.validation_scores_) == 4
    monkeypatch.undo()
    assert model.validation_scores_ == small(epochs=4, early_stopping=True).fit(*digits[:2]).validation_scores_


@KINDS
def test_going_on_keeps_the_same_samples_apart(both, kind, watched):
    model, x, y = both[kind]
    model = stopping(model, warm_start=True, epochs=3).fit(x, y)
    held = watched["held"]
    model.fit(x, y)
    np.testing.assert_array_equal(watched["held"], held)
    assert (model.n_iter_, len(model.validation_scores_)) == (6, 3)


@KINDS
def test_verbose_prints_a_line_per_epoch(both, kind, capsys):
    model, x, y = both[kind]
    clone(model).fit(x, y)
    assert capsys.readouterr().out == ""
    loud = stopping(model, epochs=2, verbose=True).fit(x, y)
    lines = capsys.readouterr().out.splitlines()
    named = {"classifier": "accuracy", "regressor": "R2"}[kind]
    for i, line in enumerate(lines):
        assert line.startswith(f"epoch {i + 1} of 2: loss {loud.loss_curve_[i]:.4g}, {named} ")
        assert line.endswith(f", validation {loud.validation_scores_[i]:.4f}")
    assert len(lines) == 2


# Regression


def linear(n_out=3, n=300, seed=0):
    """Samples and targets of very different units, linear but for a little noise."""
    rng = np.random.default_rng(seed)
    x = rng.normal(5, 3, (n, 12))
    y = (x - 5) @ rng.normal(0, 1, (12, n_out)) + rng.normal(0, 0.5, (n, n_out))
    return x, y * np.array([1e-4, 1.0, 2e6])[:n_out] + np.array([3.0, -1e3, 1e7])[:n_out]


def regressor(**parameters):
    return DeepRRegressor(**{"hidden": (24,), "n_connections": 200, "epochs": 20, "random_state": 0, **parameters})


@pytest.fixture(scope="module")
def regression():
    x, y = linear()
    return regressor().fit(x[:200], y[:200]), x[200:], y[200:]


def test_a_regressor_learns_targets_of_any_unit(regression):
    model, x, y = regression
    assert model.score(x, y) > 0.85
    assert min(r2_score(y, model.predict(x), multioutput="raw_values")) > 0.8
    net = model.to_intnet()
    assert (net.task, net.n_connections, model.n_connections_, model.n_outputs_) == ("regression", 200, 200, 3)
    natural = np.ldexp(reference.logits(net, model.encode(x)).astype(np.float64), -net.logit_frac).astype(np.float32)
    by_hand = (natural - net.output_map.offset) * net.output_map.factor
    np.testing.assert_array_equal(model.predict(x), by_hand.astype(np.float64))


def test_answers_are_shaped_as_y_was():
    x, y = linear(1)
    flat, column = regressor(epochs=2).fit(x, y[:, 0]), regressor(epochs=2).fit(x, y)
    assert flat.predict(x).shape == (300,)
    assert column.predict(x).shape == (300, 1)
    np.testing.assert_array_equal(flat.predict(x), column.predict(x)[:, 0])


@pytest.mark.parametrize("dtype", [np.int64, np.uint8, bool, object])
def test_whole_numbers_are_targets_too(dtype):
    x, y = linear(1)
    whole = (y[:, 0] > 3 if dtype is bool else np.round((y[:, 0] - 3) * 1e5) + 100).astype(dtype)
    np.testing.assert_array_equal(
        regressor(epochs=2).fit(x, whole).predict(x), regressor(epochs=2).fit(x, whole.astype(np.float64)).predict(x)
    )


def test_a_regressors_onnx_files_give_what_it_predicts(regression, tmp_path):
    model, x, _ = regression
    net, values = model.to_intnet(), x.astype(np.float32)
    paths = {name: onnx_flavours.export(net, tmp_path, name, batch="n")["path"] for name in ("qdq", "qonnx")}
    found = run_model(paths["qdq"], values, options=onnx_qdq.SESSION_OPTIONS)
    np.testing.assert_array_equal(found["prediction"], model.predict(x))
    np.testing.assert_array_equal(net.output_map(run_model(paths["qonnx"], values)["logits"]), model.predict(x))


def test_a_regressors_file_keeps_the_unit(regression, tmp_path):
    model, x, _ = regression
    netfile.save(model.to_intnet(), tmp_path / "net.safetensors")
    net = netfile.load(tmp_path / "net.safetensors")
    np.testing.assert_array_equal(net.decode(reference.logits(net, net.encode(x))), model.predict(x))


def test_a_regressor_learns_from_parts_and_goes_on_from_a_pickle():
    x, y = linear()
    one = regressor(n_connections=300)
    for _ in range(8):
        for part in range(0, 300, 100):
            one.partial_fit(x[part : part + 100], y[part : part + 100])
    assert one.score(x, y) > 0.8
    two = pickle.loads(pickle.dumps(one))
    np.testing.assert_array_equal(one.partial_fit(x, y).predict(x), two.partial_fit(x, y).predict(x))
    with pytest.raises(ValueError, match="y has 2 outputs, the network has 3"):
        one.partial_fit(x, y[:, :2])


@pytest.mark.parametrize(
    ("y", "message"),
    [
        (np.full(300, 1e40), r"y\[0\] = 1e\+40: targets lie in -2\*\*100 to 2\*\*100"),
        (np.full((300, 2), np.nan), "Input y contains NaN"),
        (np.zeros((300, 201)), "n_connections = 200: must be a whole number, at least one for each of the 201 outputs"),
    ],
)
def test_targets_that_no_regression_can_have(y, message):
    with pytest.raises(ValueError, match=message):
        regressor().fit(linear()[0], y)


def test_constant_targets_are_answered_exactly_enough():
    x, _ = linear()
    np.testing.assert_allclose(regressor(epochs=3).fit(x, np.full(300, 7.25)).predict(x), 7.25, rtol=1e-6)


def test_a_regressor_in_pipeline_and_search():
    x, y = linear(1)
    pipeline = make_pipeline(StandardScaler(), regressor(epochs=3))
    search = GridSearchCV(pipeline, {"deeprregressor__n_connections": [12, 200]}, cv=3).fit(x, y[:, 0])
    assert search.best_params_ == {"deeprregressor__n_connections": 200}
    assert clone(regressor(n_connections=50)).n_connections == 50


def test_the_documents_example_runs(tmp_path, monkeypatch, capsys):
    text = (Path(__file__).parent.parent / "docs" / "training.md").read_text()
    (example,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    monkeypatch.chdir(tmp_path)
    exec(example, {})
    r2, epochs, best = map(float, capsys.readouterr().out.split())
    assert r2 > 0.3
    assert best > 0.3
    assert 1 < epochs <= 30

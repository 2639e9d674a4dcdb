"""Weights of samples and classes: what they are, and what they do to a training."""

import numpy as np
import pytest
from sklearn.utils.class_weight import compute_class_weight

from deepr_hw import data, reference
from deepr_hw.ir.tasks import balanced_weights
from deepr_hw.train.config import config_from
from deepr_hw.train.loop import train


def quietly(metrics, n_epochs):
    pass


def test_balanced_weights_are_scikit_learns():
    labels = np.random.default_rng(0).choice(5, 200, p=[0.6, 0.3, 0.07, 0.03, 0])
    found = balanced_weights(labels, 5)
    np.testing.assert_allclose(found[:4], compute_class_weight("balanced", classes=np.arange(4), y=labels))
    assert found[4] == 0
    assert found[labels].mean() == pytest.approx(1)


def imbalanced(n=2000, share=0.03, seed=0):
    """Two overlapping classes, the second one rare; a balanced test set."""
    rng = np.random.default_rng(seed)
    y = (rng.random(n) < share).astype(int)
    y_test = np.arange(1000) % 2
    shift = np.linspace(0.2, 0.8, 6)
    x, x_test = (rng.normal(0, 1, (len(labels), 6)) + labels[:, None] * shift for labels in (y, y_test))
    return data.make_dataset("imbalanced", x, y, x_test, y_test)


def recall_of_the_rare(tmp_path, class_weight, method="deep_r"):
    dataset = imbalanced()
    config = config_from(
        {
            "network": {"hidden": [16]},
            "budget": {"global": 80},
            "training": {"epochs": 15, "class_weight": class_weight, "method": method},
        }
    )
    net = train(config, dataset, tmp_path / f"{class_weight}-{method}", progress=quietly).net
    answers = reference.predict(net, net.encode(dataset.x_test))
    return [float(np.mean(answers[dataset.y_test == label] == label)) for label in (0, 1)]


def test_balanced_classes_find_the_rare_one(tmp_path):
    even, balanced = (recall_of_the_rare(tmp_path, weight) for weight in ("none", "balanced"))
    assert balanced[1] > even[1] + 0.3
    assert np.mean(balanced) > np.mean(even) + 0.1


def test_rewiring_by_gradient_looks_at_the_weights_too(tmp_path):
    assert recall_of_the_rare(tmp_path, "balanced", "rigl")[1] > recall_of_the_rare(tmp_path, "none", "rigl")[1] + 0.3

"""soft-DEEP R against theory: where two thetas are in the long run, chi-square against the enumerated distribution.

Every theta is a Langevin diffusion: in the potential E(w) + alpha * theta while theta >= 0, free while dormant, held at
theta_min. Hence the density is exp(-(E(w) + alpha * sum of max(theta, 0)) / T) above theta_min. Holding a walk of
finite steps at a barrier adds 0.5826 standard deviations of a step to the dormant stretch (see ``test_sampler.py``).
"""

import math
from itertools import pairwise, product

import numpy as np
from scipy.stats import chi2

from deepr_hw.ir.fixed import Format
from deepr_hw.kernel.noise import seed_state
from deepr_hw.sparse_set.budget import make_partition
from deepr_hw.train.config import config_from
from deepr_hw.train.epoch import steps_of_an_epoch
from deepr_hw.train.methods.base import dense_partition
from deepr_hw.train.methods.soft_deep_r import SoftDeepR
from deepr_hw.train.model import make_model
from deepr_hw.train.schedule import Prior

X_FORMAT = Format(8, False, 7)
X, Y = np.array([[100], [200], [250], [50]], np.uint8), np.array([0, 0, 1, 0])
ALPHA = TEMPERATURE = 0.15
ETA = 0.02
DELTA = 0.5826 * math.sqrt(2 * ETA * TEMPERATURE)
EDGES = (0.0, 0.4, 1.0, 20.0)


def chain(n, seed, **rule):
    """(cells visited, signs, theta_min): per record and position 0 for dormant, else 1 + the bin of theta."""
    config = config_from(
        {
            "budget": {"global": 1},
            "network": {"hidden": [], "bias": False},
            "training": {
                "optimizer": "sgd",
                "method": "soft_deep_r",
                "batch_size": len(X),
                "l1": ALPHA,
                "temperature": TEMPERATURE,
                **rule,
            },
        }
    )
    rng = np.random.default_rng(seed)
    budget = make_partition(config.budget, ((1, 2),))
    model = make_model(config, 1, 2, X_FORMAT, rng, dense_partition(budget, "soft_deep_r"))
    SoftDeepR().start(model, budget, config, rng)
    thin, stream = 1000, seed_state(rng)
    order, etas, seen = np.tile(np.arange(len(X)), thin), np.full(thin, ETA), []
    for _ in range(n + 5):
        steps_of_an_epoch(config, model, X, Y, order, etas, stream, Prior(config.training.l1, 0.0))
        theta = model.connections.theta
        assert (theta >= np.float32(SoftDeepR().theta_min(config, budget))).all()
        np.testing.assert_array_equal(np.abs(model.connections.weight), np.maximum(theta, 0))
        seen.append(tuple(np.where(theta < 0, 0, np.searchsorted(EDGES, theta, side="right")).tolist()))
    return seen[5:], np.where(np.signbit(model.connections.weight), -1, 1), SoftDeepR().theta_min(config, budget)


def probabilities(signs, lowest):
    """Probability of each cell, by Gauss-Legendre quadrature."""
    x, weight = np.polynomial.legendre.leggauss(64)
    rules = [(np.zeros(1), np.array([-lowest + DELTA]))]
    rules += [((a + b + (b - a) * x) / 2, (b - a) / 2 * weight) for a, b in pairwise(EDGES)]
    mass = {}
    for cell in product(range(len(rules)), repeat=2):
        theta = np.stack(np.meshgrid(*(rules[b][0] for b in cell), indexing="ij"), axis=-1)
        z = (theta * signs)[..., None, :] * (X * X_FORMAT.step)
        loss = np.mean(np.logaddexp.reduce(z, axis=-1) - z[..., np.arange(len(X)), Y], axis=-1)
        density = np.exp(-(loss + ALPHA * theta.sum(axis=-1)) / TEMPERATURE)
        mass[cell] = rules[cell[0]][1] @ density @ rules[cell[1]][1]
    total = sum(mass.values())
    return {cell: value / total for cell, value in mass.items()}


def p_value(seen, expected):
    counts = np.array([(seen.count(cell), len(seen) * p) for cell, p in expected.items()])
    rare = counts[:, 1] < 8
    counts = np.vstack([counts[~rare], *([counts[rare].sum(axis=0)] if rare.any() else [])])
    return chi2.sf(np.sum((counts[:, 0] - counts[:, 1]) ** 2 / counts[:, 1]), len(counts) - 1)


def test_thetas_follow_the_stationary_distribution():
    seen, signs, lowest = chain(2000, seed=0)
    assert lowest == -TEMPERATURE / ALPHA
    assert p_value(seen, probabilities(signs, lowest)) > 0.001


def test_another_temperature_is_seen():
    seen, signs, lowest = chain(2000, seed=0, temperature=TEMPERATURE * 1.3)
    assert p_value(seen, probabilities(signs, lowest)) < 1e-6

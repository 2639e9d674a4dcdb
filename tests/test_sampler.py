"""The sampler against theory: visits of an enumerable posterior against its stationary distribution, chi-square.

Between rewirings DEEP R is a Langevin diffusion of theta on the active connections, at temperature T; where a theta
reaches 0 it goes on from 0 along a leg drawn uniformly among the dormant positions and their two signs. All legs of a
junction have the same probability and the energy is continuous there (a weight of 0 changes nothing), so the flux
balances for the density

    p(c, w)  ~  exp(-(E(w) + alpha * sum |w|) / T)        every connectivity c of exactly K positions,

the posterior p(theta | data)**(1/T) with a uniform prior over connectivities. Source: Bellec et al. 2018, the theorem
on DEEP R's stationary distribution in "Convergence properties" and its proof in the appendix.

Steps of finite length add to it what a random walk adds that is held at a barrier at 0: a connection born at 0 sits
there, and everything reaches further by delta = 0.5826 standard deviations of a step (Siegmund 1979, corrected
diffusion approximations; the constant is -zeta(1/2) / sqrt(2 pi)). To first order each leg has an atom of weight delta
at w = 0; errors of second order in the step are below what the test resolves.

Soft-DEEP R keeps a theta for every position, of constant sign; there is no barrier at 0, below it a theta only walks,
down to a wall at theta_min. Its density over all thetas, each at least theta_min, is

    p(theta)  ~  exp(-(E(w) + alpha * sum max(theta, 0)) / T),        w = sign * max(theta, 0)

with an atom of weight delta at the wall. Source: Bellec et al. 2018, the theorem on soft-DEEP R in the same section.

What runs is the trainer's own compiled step with the gradient of a real network on real samples. A seed fixes the chain
on one machine; on another, where float sums may round differently, it is another chain of the same distribution.
"""

import math
from itertools import combinations, pairwise, product

import numpy as np
import pytest
from scipy.stats import chi2

from deepr_hw.data import CodedDataset
from deepr_hw.ir.affine import IDENTITY
from deepr_hw.ir.fixed import Format
from deepr_hw.train.config import config_from
from deepr_hw.train.epoch import steps_of_an_epoch
from deepr_hw.train.loop import start
from deepr_hw.train.schedule import Prior

N_IN, N_OUT, K = 3, 2, 2
POSITIONS = list(product(range(N_IN), range(N_OUT)))
X_FORMAT = Format(8, False, 7)
X = np.array([[1, 0, 2], [2, 1, 0], [0, 2, 1], [2, 2, 0], [0, 1, 0], [1, 0, 0], [2, 0, 1], [0, 0, 2]], np.uint8) * 100
Y = np.array([0, 0, 1, 1, 1, 0, 0, 1])
ALPHA = TEMPERATURE = 0.15
ETA = 0.05
DELTA = 0.5826 * math.sqrt(2 * ETA * TEMPERATURE)
BINS = ((-14.0, -3.0, -0.6), (-0.6, 0.0), (0.0, 0.6), (0.6, 3.0, 14.0))
"""Bins of a weight; the inner edges split a bin only for the quadrature."""


def loss(connectivity, w):
    """Mean cross-entropy of the network with weights ``w`` (..., K) at the positions ``connectivity``."""
    logits = np.zeros((*w.shape[:-1], len(X), N_OUT))
    for k, (i, o) in enumerate(connectivity):
        logits[..., o] += w[..., k, None] * (X[:, i] * X_FORMAT.step)
    return np.mean(np.logaddexp.reduce(logits, axis=-1) - logits[..., np.arange(len(X)), Y], axis=-1)


def quadrature(edges, delta, n_nodes=32):
    """Gauss-Legendre nodes and weights over ``edges``, and the atom at 0 for a bin that begins or ends there."""
    x, weight = np.polynomial.legendre.leggauss(n_nodes)
    pieces = [((a + b + (b - a) * x) / 2, (b - a) / 2 * weight) for a, b in pairwise(edges)]
    if 0.0 in edges:
        pieces.append((np.zeros(1), np.full(1, delta)))
    return [np.concatenate(part) for part in zip(*pieces, strict=True)]


def stationary(delta=DELTA):
    """Probability of each cell: which K positions are active and which bin each weight is in."""
    rules = [quadrature(edges, delta) for edges in BINS]
    mass = {}
    for connectivity in combinations(POSITIONS, K):
        for cell in product(range(len(BINS)), repeat=K):
            w = np.stack(np.meshgrid(*(rules[b][0] for b in cell), indexing="ij"), axis=-1)
            density = np.exp(-(loss(connectivity, w) + ALPHA * np.abs(w).sum(axis=-1)) / TEMPERATURE)
            mass[connectivity, cell] = rules[cell[0]][1] @ density @ rules[cell[1]][1]
    total = sum(mass.values())
    return {cell: value / total for cell, value in mass.items()}


def records(n, seed, n_in=N_IN, thin=1000, spoil=None, n_connections=K, **rule):
    """The model after every ``thin`` steps of a chain."""
    config = config_from(
        {
            "budget": {"global": n_connections},
            "network": {"hidden": [], "bias": False},
            "training": {
                "optimizer": "sgd",
                "batch_size": len(X),
                "l1": ALPHA,
                "temperature": TEMPERATURE,
                "seed": seed,
                **rule,
            },
        }
    )
    x = np.ascontiguousarray(X[:, :n_in])
    state = start(config, CodedDataset("tiny", x, Y, x, Y, (n_in,), ("a", "b"), X_FORMAT, IDENTITY))
    if spoil is not None:
        spoil(state.model.connections.partition)
    order, etas = np.tile(np.arange(len(X)), thin), np.full(thin, ETA)
    for i in range(n + 5):
        steps_of_an_epoch(config, state.model, x, Y, order, etas, state.stream, Prior(config.training.l1, 0.0))
        if i >= 5:  # the first five are forgotten
            yield state.model.connections


def visits(n, seed, **options):
    """The cells that a chain of DEEP R is in."""
    seen = []
    for c in records(n, seed, **options):
        bins = np.where(np.signbit(c.weight), np.where(c.weight < -0.6, 0, 1), np.where(c.weight > 0.6, 3, 2))
        seen.append((tuple(zip(c.sources().tolist(), c.out_idx.tolist(), strict=True)), tuple(bins.tolist())))
    return seen


def p_value(seen, expected):
    """Chi-square goodness of fit; cells expected fewer than 8 times count as one."""
    observed = dict.fromkeys(expected, 0)
    for cell in seen:
        observed[cell] += 1
    counts = np.array([(observed[cell], len(seen) * expected[cell]) for cell in expected])
    rare = counts[:, 1] < 8
    counts = np.vstack([counts[~rare], *([counts[rare].sum(axis=0)] if rare.any() else [])])
    statistic = np.sum((counts[:, 0] - counts[:, 1]) ** 2 / counts[:, 1])
    return chi2.sf(statistic, len(counts) - 1)


def connectivities(cells):
    """The same without the weights: visits or probabilities of connectivities alone."""
    if isinstance(cells, list):
        return [connectivity for connectivity, _ in cells]
    sums = {}
    for (connectivity, _), p in cells.items():
        sums[connectivity] = sums.get(connectivity, 0) + p
    return sums


@pytest.fixture(scope="module")
def theory():
    return stationary()


@pytest.fixture(scope="module")
def chain():
    return visits(3000, seed=0)


def test_connectivity_and_weights_follow_the_posterior(chain, theory):
    assert p_value(chain, theory) > 0.001


def test_connectivity_alone_follows_the_posterior(chain, theory):
    expected = connectivities(theory)
    assert len(expected) == math.comb(N_IN * N_OUT, K)
    assert max(expected.values()) > 2 * min(expected.values()), "a posterior that tells connectivities apart"
    assert p_value(connectivities(chain), expected) > 0.001


def test_records_are_independent(chain):
    """Were they not, chi-square would have no meaning: neighbours agree as often as strangers do."""
    seen = connectivities(chain)
    share = np.array([seen.count(c) / len(seen) for c in set(seen)])
    together = np.mean([a == b for a, b in pairwise(seen)])
    assert abs(together - np.sum(share**2)) < 4 * math.sqrt(np.sum(share**2) / len(seen))


def draw_input_0_twice_as_often(partition):
    """Rebirth from a biased draw: input 0 is in the list of sources twice."""
    facts = vars(partition)
    facts["rectangles"] = np.array([[0, 0, 0, N_IN + 1, 0, N_OUT, 0]])
    facts["n_positions"] = np.array([(N_IN + 1) * N_OUT])
    facts["source_order"] = np.array([0, 0, 1, 2])


@pytest.mark.parametrize(
    "wrong",
    [
        {"spoil": draw_input_0_twice_as_often},
        {"l1": 0.7 * ALPHA},
        {"temperature": 2 * TEMPERATURE},
        {"method": "fixed"},
    ],
    ids=["biased rebirth", "weak prior", "hot", "no rewiring"],
)
def test_a_wrong_rule_is_seen(theory, wrong):
    assert p_value(visits(1500, seed=0, thin=600, **wrong), theory) < 1e-9


SOFT_POSITIONS = list(product(range(2), range(2)))
FLOOR = -1.0
"""theta_min at T = alpha and K = 2 of 4: -(1 - 1/2) / (1/2)."""


def soft_stationary(signs):
    """Probability of each cell of soft-DEEP R: every theta in the lower or upper half of the dormant range, or active
    below or above 0.6."""
    active = [quadrature((1e-12, 0.6), 0.0, 12), quadrature((0.6, 3.0, 14.0), 0.0, 12)]
    dormant = (-FLOOR / 2 + DELTA, -FLOOR / 2)
    mass = {}
    for cell in product(range(4), repeat=len(SOFT_POSITIONS)):
        awake = [k for k, state in enumerate(cell) if state >= 2]
        rules = [active[cell[k] - 2] for k in awake]
        theta = np.stack(np.meshgrid(*(nodes for nodes, _ in rules), indexing="ij"), axis=-1) if awake else np.zeros(0)
        energy = loss([SOFT_POSITIONS[k] for k in awake], theta * np.array([signs[k] for k in awake]))
        density = np.exp(-(energy + ALPHA * theta.sum(axis=-1)) / TEMPERATURE)
        for _, weight in reversed(rules):
            density = density @ weight
        mass[cell] = float(density) * math.prod(dormant[state] for state in cell if state < 2)
    total = sum(mass.values())
    return {cell: value / total for cell, value in mass.items()}


def soft_visits(n, seed, **options):
    """The cells that a chain of soft-DEEP R is in, and the signs of its positions."""
    seen, signs = [], None
    for c in records(n, seed, n_in=2, method="soft_deep_r", **options):
        signs = np.copysign(1, c.weight)
        seen.append(tuple(np.searchsorted((FLOOR / 2, 0.0, 0.6), c.theta, side="right").tolist()))
    return seen, signs


def test_soft_deep_r_follows_its_posterior():
    seen, signs = soft_visits(3000, seed=0)
    expected = soft_stationary(signs)
    assert p_value(seen, expected) > 0.001
    asleep = {cell: tuple(state >= 2 for state in cell) for cell in expected}
    sums = {pattern: sum(p for cell, p in expected.items() if asleep[cell] == pattern) for pattern in asleep.values()}
    assert len(sums) == 2 ** len(SOFT_POSITIONS)
    assert p_value([asleep[cell] for cell in seen], sums) > 0.001


@pytest.mark.parametrize(
    "wrong",
    [{"l1": 0.7 * ALPHA}, {"temperature": 2 * TEMPERATURE}, {"n_connections": 1}],
    ids=["weak prior", "hot", "low floor"],
)
def test_a_wrong_rule_of_soft_deep_r_is_seen(wrong):
    seen, signs = soft_visits(1500, seed=0, thin=600, **wrong)
    assert p_value(seen, soft_stationary(signs)) < 1e-9

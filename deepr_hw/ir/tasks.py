"""What a network is for, labels or numbers, and how good its answers are: scores by name, of which the first one
decides."""

import numpy as np

from .affine import IDENTITY, Affine

Scores = dict[str, float]
"""Values by name, the one that decides first: ``accuracy``, a share of 1; or ``r2`` and ``rmse``."""

Recalls = tuple[float | None, ...]
"""Per class the share of its samples that is right; None without samples."""

TASKS = ("classification", "regression")

BUILT_IN = {"mnist": "classification", "digits": "classification", "diabetes": "regression"}
"""Name of a data set that needs no file of the user's -> its task; any other is a path."""

DECIDES = {"classification": "accuracy", "regression": "r2"}
"""Task -> the score that decides."""


EVEN = np.zeros(0, np.float32)
"""Weights of samples that all count the same."""


def balanced_weights(labels: np.ndarray, n_classes: int, weights: np.ndarray | None = None) -> np.ndarray:
    """(n_classes,) float64 weights with which every class that has samples counts the same: those of scikit-learn's
    ``class_weight="balanced"``; 0 for a class without samples.

    weights : (n,) what the samples count already, where that differs
    """
    counts = np.bincount(labels, weights, n_classes)
    return np.divide(counts.sum(), np.count_nonzero(counts) * counts, out=np.zeros(n_classes), where=counts > 0)


def measure(task: str, outputs: np.ndarray, y: np.ndarray, output_map: Affine = IDENTITY) -> Scores:
    """Scores of a network's ``outputs`` (n, n_out) in natural units, n at least 1.

    classification : ``y`` (n,) labels; ``accuracy`` of the largest output, ties to the lowest
    regression     : ``y`` (n, n_out) in the user's unit; ``r2`` and ``rmse`` of what ``output_map`` makes of the
                     outputs, each the mean over the outputs, ``rmse`` in the user's unit
    """
    if task == "classification":
        return {"accuracy": float(np.mean(np.argmax(outputs, axis=1) == y))}
    error = ((output_map(outputs).astype(np.float64) - y) ** 2).mean(axis=0)
    spread = y.var(axis=0)
    share = np.divide(error, spread, out=(error > 0).astype(np.float64), where=spread > 0)
    return {"r2": float(np.mean(1 - share)), "rmse": float(np.mean(np.sqrt(error)))}


def recall(outputs: np.ndarray, y: np.ndarray) -> Recalls:
    """Recalls of a classifier's ``outputs`` (n, n_classes) for labels ``y`` (n,)."""
    right = np.bincount(y[np.argmax(outputs, axis=1) == y], minlength=outputs.shape[1])
    counts = np.bincount(y, minlength=outputs.shape[1])
    return tuple(hits / n if n else None for hits, n in zip(right.tolist(), counts.tolist(), strict=True))


def balanced(recalls: Recalls) -> float:
    """Balanced accuracy: the mean recall of the classes that have samples."""
    known = [value for value in recalls if value is not None]
    return float(np.mean(known))


def decisive(scores: Scores) -> float:
    """The score that decides."""
    return next(iter(scores.values()))


def as_text(scores: Scores) -> str:
    """``scores`` in a line, e.g. ``accuracy 96.82 %`` or ``R2 0.452, RMSE 54.1``."""
    return ", ".join(f"{_TITLES.get(name, name)} {value_text(name, value)}" for name, value in scores.items())


def value_text(name: str, value: float) -> str:
    """``value`` of the score ``name`` as it is printed."""
    if name == "rmse":
        return f"{value:.4g}"
    return f"{value:.3f}" if name == "r2" else f"{100 * value:.2f} %"


def title(name: str) -> str:
    """The score ``name`` as it is printed."""
    return _TITLES.get(name, name)


def cost_of_guessing(task: str, n_out: int) -> float:
    """Loss per sample of who answers the same always: ``log(n_out)`` of a uniform guess, half the variance of
    standardized targets."""
    return float(np.log(max(2, n_out))) if task == "classification" else n_out / 2


_TITLES = {"r2": "R2", "rmse": "RMSE", "balanced_accuracy": "balanced accuracy"}

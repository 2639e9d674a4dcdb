"""What is said in one line each when data or result look wrong: nothing trains to chance in silence."""

from collections.abc import Sequence

import numpy as np

from deepr_hw.data import CodedDataset
from deepr_hw.ir import IntNet
from deepr_hw.ir.tasks import Scores, decisive, title, value_text
from deepr_hw.ir.usable import usable_share

_ROWS = 10_000
"""Training samples that features are judged by, at most."""
_SAME = 0.999
"""Share of the samples whose code is the same from which a feature counts as collapsed."""
_IMBALANCE = 10
"""How many times the smallest class the largest one has to be to be called heavy."""
_FEW_PER_VALUE, _MANY_VALUES = 10, 30
"""Labels look like a regression's targets when there are more values than this, each met less often than this."""
LEAST_USABLE = 0.5
"""Usable share below which a network is said to be too wide for its connections."""
LARGE_RMS = 8.0
"""Root mean square of the inputs from which they are said to be large."""


def is_imbalanced(labels: np.ndarray) -> bool:
    """Whether the largest class is ten times the smallest one that has samples."""
    counts = np.bincount(labels)
    return bool(counts.max() >= _IMBALANCE * counts[counts > 0].min())


def of_data(x: np.ndarray, dataset: CodedDataset, n_fit: int, scale: str) -> list[str]:
    """Remarks on the first ``n_fit`` training samples: values ``x`` (n, n_in), codes and labels in ``dataset``."""
    codes, labels = dataset.x_train[:n_fit], dataset.y_train[:n_fit]
    remarks = _of_features(x[:n_fit][:_ROWS], codes[:_ROWS])
    rms = root_mean_square(dataset)
    if rms > LARGE_RMS:
        remarks.append(
            f"inputs have a root mean square of {rms:.3g} where training wants about 1 (data.scale = "
            f'"{scale}"); data.scale = "auto" brings them there'
        )
    return remarks + (_of_labels(labels, dataset.class_labels) if dataset.task == "classification" else [])


def root_mean_square(dataset: CodedDataset) -> float:
    """Root mean square of the values that training's inputs stand for."""
    codes = dataset.x_train[:_ROWS].astype(np.float64)
    return float(np.sqrt(np.mean(codes**2))) * dataset.x_format.step


def _of_features(x: np.ndarray, codes: np.ndarray) -> list[str]:
    """Features whose values differ while their codes don't."""
    collapsed = 0
    for i in range(codes.shape[1]):
        low = int(codes[:, i].min())
        if np.bincount(codes[:, i].astype(np.int64) - low).max() >= _SAME * len(codes):
            _, counts = np.unique(x[:, i], return_counts=True)
            collapsed += counts.max() < _SAME * len(x)
    if not collapsed:
        return []
    return [
        f"{collapsed} of {codes.shape[1]} features have one code for (nearly) all training samples though their "
        'values differ: give each a scale of its own (data.scale = "standard") or take out what is far off'
    ]


def _of_labels(labels: np.ndarray, names: Sequence[str]) -> list[str]:
    """Empty classes, targets of a regression, imbalance."""
    remarks, counts = [], np.bincount(labels, minlength=len(names))
    empty, n_values = np.flatnonzero(counts == 0), int(np.count_nonzero(counts))
    numbers = list(names) == [str(i) for i in range(len(names))]
    if numbers and n_values > _MANY_VALUES and len(labels) < _FEW_PER_VALUE * n_values:
        remarks.append(
            f"labels look like the targets of a regression: {n_values} different whole numbers up to "
            f'{labels.max()} in {len(labels)} samples; if they are, say data.task = "regression"'
        )
    elif empty.size:
        shown = ", ".join(names[i] for i in empty[:5]) + (", .." if empty.size > 5 else "")
        remarks.append(
            f"{empty.size} of {len(names)} classes have no training sample ({shown})"
            + (": labels should count 0, 1, 2, .. without gaps" if numbers else "")
        )
    if is_imbalanced(labels):
        largest, smallest = int(counts.argmax()), int(np.where(counts, counts, labels.size + 1).argmin())
        remarks.append(
            f"classes are heavily imbalanced: {counts[largest]:,} training samples of class "
            f"{names[largest]}, {counts[smallest]:,} of class {names[smallest]}; look at the balanced "
            "accuracy and the recall of each class"
        )
    return remarks


def of_result(net: IntNet, test: Scores, y_test: np.ndarray) -> list[str]:
    """Remarks on a trained network with the scores ``test`` on samples of the right answers ``y_test``."""
    remarks, name, reached = [], next(iter(test)), decisive(test)
    if net.task == "regression":
        guessed, how = 0.0, "always answering the mean"
    else:
        guessed, how = float(np.bincount(y_test).max() / len(y_test)), "always answering the largest class"
    if reached <= guessed < 1:
        remarks.append(
            f"test {title(name)} {value_text(name, reached)} is no better than {how} ({value_text(name, guessed)})"
        )
    share = usable_share(net)
    if share < LEAST_USABLE:
        remarks.append(too_wide(share))
    return remarks


def too_wide(share: float) -> str:
    """What is said of a network of which only ``share`` of the connections is usable."""
    return (
        f"only {100 * share:.0f} % of the connections lie on a complete path from input to output: the network is "
        "too wide or too deep for so few; narrower layers use them better"
    )

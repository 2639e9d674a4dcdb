"""DEEP R behind scikit-learn's interface, ``DeepRClassifier`` and ``DeepRRegressor``, which predict with the frozen
integer network."""

import copy
import dataclasses
import warnings
from abc import ABC, abstractmethod
from collections.abc import Iterable
from functools import partial
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.utils import Tags, check_random_state
from sklearn.utils.multiclass import check_classification_targets, unique_labels
from sklearn.utils.validation import check_is_fitted, validate_data

from . import reference
from .affine import IDENTITY, Affine, encode
from .budget import positions_per_layer
from .config import BudgetConfig, Config, config_from
from .data import CodedDataset, check_targets
from .fixed import Format
from .freeze import freeze
from .ir import IntNet
from .scaling import fit_input, fit_output
from .share import share_per_layer
from .train import TrainState, advance, start


class DeepREstimator(BaseEstimator, ABC):
    """What the two estimators share: parameters, the network in training, the frozen one.

    A subclass says what the network's answers are: ``_task``, how many outputs there are, what training compares them
    with and what they are called.
    """

    _task: str
    _output_map = IDENTITY
    net_: IntNet

    def __init__(self, hidden: tuple[int, ...] = (300, 100), n_connections: int = 3552, *,
                 budget: str | dict[str, Any] = "per_layer", scale: str = "auto", bias: bool = True,
                 method: str = "deep_r", optimizer: str = "adam", epochs: int = 30, batch_size: int | str = "auto",
                 learning_rate: float = 0.01, schedule: str = "cosine", decay: float = 0.8,
                 l1: float | str = "auto", idle: float = 20.0, temperature: float = 2.5e-11,
                 weight_bits: int = 8, activation_bits: int = 8, warm_start: bool = False,
                 random_state: int | np.random.RandomState | None = None) -> None:
        self.hidden = hidden
        self.n_connections = n_connections
        self.budget = budget
        self.scale = scale
        self.bias = bias
        self.method = method
        self.optimizer = optimizer
        self.epochs = epochs
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.schedule = schedule
        self.decay = decay
        self.l1 = l1
        self.idle = idle
        self.temperature = temperature
        self.weight_bits = weight_bits
        self.activation_bits = activation_bits
        self.warm_start = warm_start
        self.random_state = random_state

    def to_intnet(self) -> IntNet:
        """The frozen integer network, which encodes ``X``; its logits are in the order of ``classes_``, or of the
        columns of ``y``."""
        check_is_fitted(self)
        return self.net_

    def encode(self, X: ArrayLike) -> np.ndarray:  # noqa: N803 - scikit-learn's name
        """(n, n_features) codes of samples ``X``, see ``IntNet.encode``."""
        check_is_fitted(self)
        return self.net_.encode(validate_data(self, X, reset=False))

    @property
    @abstractmethod
    def _n_out(self) -> int:
        """Outputs of the network."""

    @abstractmethod
    def _answers(self, y: np.ndarray) -> np.ndarray:
        """Right answers of samples ``y`` as ``Dataset`` has them. Raises ``ValueError`` for those that don't fit the
        network there is."""

    def _names(self) -> tuple[str, ...]:
        """A name per output, or none at all."""
        return ()

    def _goes_on(self) -> bool:
        """Whether ``fit`` trains the network there is."""
        return self.warm_start and hasattr(self, "net_")

    def _logits(self, X: ArrayLike) -> np.ndarray:  # noqa: N803
        """(n, n_out) integer logits of samples ``X``."""
        return reference.logits(self.to_intnet(), self.encode(X))

    def _reset(self, x: np.ndarray) -> None:
        """An untrained network and the input scale for ``x``; what its answers are is settled already."""
        self._unit: tuple[Affine, Format] = fit_input(x, x.shape[1:], self.scale)
        self._seed = int(check_random_state(self.random_state).randint(1 << 31))
        config = self._config(self.epochs)
        self._made_for = (config.network, config.budget)
        one = self._dataset(x[:1], self._no_answers(1))  # a start looks at sizes and format, not at the samples
        many = dataclasses.replace(one, x_train=np.broadcast_to(one.x_train, x.shape),
                                   y_train=self._no_answers(len(x)))
        self._state: TrainState = start(config, many)
        if self._total() < self.n_connections:
            warnings.warn(f"n_connections = {self.n_connections}: the network has only {self._total()} positions and "
                          "is dense", stacklevel=4)
        self.loss_curve_: list[float] = []

    def _no_answers(self, n: int) -> np.ndarray:
        return np.zeros(n, np.int64) if self._task == "classification" else np.zeros((n, self._n_out))

    def _train(self, x: np.ndarray, y: np.ndarray) -> Self:
        """The epochs of ``fit``."""
        return self._train_epochs(x, y, self._config(self.epochs), 0)

    def _train_one_epoch(self, x: np.ndarray, y: np.ndarray) -> Self:
        """The epoch of ``partial_fit``: at the first learning rate, and with scales found on its samples."""
        done = len(self.loss_curve_)
        config = self._config(done + 1)
        steady = dataclasses.replace(config.training, schedule="step", decay=1.0)
        scales = dataclasses.replace(config.quantization, calibrate_epochs=done + 1)
        return self._train_epochs(x, y, dataclasses.replace(config, training=steady, quantization=scales), done)

    def _train_epochs(self, x: np.ndarray, y: np.ndarray, config: Config, first_epoch: int) -> Self:
        if self._made_for != (config.network, config.budget):
            raise ValueError("hidden, n_connections, budget or bias changed since the network was made: fit anew with "
                             "warm_start=False")
        order = self._state.rng.permutation(len(x))  # scales are found on the first samples: let them be random ones
        dataset = self._dataset(x[order], self._answers(y[order]))
        epoch, begun, said = first_epoch, copy.deepcopy(self._state), len(self._state.remarks)
        while epoch < config.training.epochs:
            before = copy.deepcopy(self._state)
            back = partial(_copy_of, begun, before)
            metrics = advance(config, dataset, self._state, epoch, back, first_epoch)
            self._state.history.append(metrics)
            epoch = metrics.epoch + 1
        for remark in self._state.remarks[said:]:
            warnings.warn(remark, RuntimeWarning, stacklevel=4)
        self.loss_curve_ = [metrics.loss for metrics in self._state.history]
        self.n_iter_ = len(self.loss_curve_)
        self.n_connections_ = self._state.model.connections.n_connections
        provenance = {"method": self.method, "seed": str(self._seed)}
        self.net_ = freeze(self._state.model, self._names(), provenance, self._unit[0], self._task, self._output_map)
        return self

    def _dataset(self, x: np.ndarray, answers: np.ndarray) -> CodedDataset:
        input_map, x_format = self._unit
        codes = encode(x, input_map, x_format)
        return CodedDataset("fit", codes, answers, codes[:0], answers[:0], codes.shape[1:], self._names(), x_format,
                            input_map, self._output_map)

    def _sizes(self) -> tuple[int, ...]:
        return (self.n_features_in_, *self.hidden, self._n_out)

    def _total(self) -> int:
        """K, at most the number of positions."""
        total, n_out = self.n_connections, self._n_out
        if not isinstance(total, int | np.integer) or isinstance(total, bool) or total < n_out:
            what = "classes" if self._task == "classification" else "outputs"
            raise ValueError(f"n_connections = {total!r}: must be a whole number, at least one for each of the "
                             f"{n_out} {what}")
        return min(int(total), sum(positions_per_layer(self._sizes())))

    def _config(self, epochs: int) -> Config:
        """The parameters as a configuration, which checks them."""
        hidden = [_plain(width) for width in self.hidden] if isinstance(self.hidden, Iterable) else self.hidden
        training = {name: _plain(getattr(self, name)) for name in (
            "method", "optimizer", "batch_size", "learning_rate", "schedule", "decay", "label_smoothing", "l1",
            "idle", "temperature") if hasattr(self, name)}
        config = config_from({
            "data": {"task": self._task},
            "network": {"hidden": hidden, "bias": _plain(self.bias)},
            "quantization": {name: _plain(getattr(self, name)) for name in ("weight_bits", "activation_bits")},
            "training": {**training, "epochs": _plain(epochs), "seed": self._seed},
            "budget": {"global": 1}})
        scales = dataclasses.replace(config.quantization, calibrate_epochs=config.training.epochs // 2)
        return dataclasses.replace(config, budget=self._budget(), quantization=scales)

    def _budget(self) -> BudgetConfig:
        total = self._total()
        if isinstance(self.budget, dict):
            further = {key: _plain(value) for key, value in self.budget.items()}
            return config_from({"budget": {"global": total, **further}}).budget
        if self.budget not in ("per_layer", "global"):
            raise ValueError(f"budget = {self.budget!r}: expected 'per_layer', 'global' or a dictionary")
        if self.budget == "global":
            return BudgetConfig(total=total)
        return BudgetConfig(per_layer=share_per_layer(total, self._sizes()))


class DeepRClassifier(ClassifierMixin, DeepREstimator):
    """Classifier with at most ``n_connections`` connections at every step of its training, weights of 8 bits or fewer.
    (Rival methods that are dense by nature, such as ``method="gradual"``, get there at the end of ``fit`` only.)

    What predicts is the integer network that ``to_intnet`` gives, so every target that takes it predicts the same.
    Features become 8-bit codes by an offset and a factor each, learnt in the first ``fit`` and part of that network.

    hidden        : widths of the hidden layers
    n_connections : K; more than there are positions means a dense network, with a warning
    budget        : ``"per_layer"`` shares K out in proportion to n_in + n_out and holds each layer's share;
                    ``"global"`` lets connections move between layers; a dictionary gives a configuration's further
                    ``[budget]`` keys, e.g. ``{"lanes": 8}``
    scale         : how features become codes: ``"auto"``, ``"standard"``, ``"minmax"`` or ``"none"`` (``scaling.py``)
    bias          : whether neurons have a trained bias (one number per neuron, no connection, so not part of K)
    method, optimizer, schedule, label_smoothing : as in ``[training]`` of a configuration
    epochs        : passes over the data in ``fit``; ``partial_fit`` makes one
    learning_rate : at its highest; falls along ``schedule`` (``"step"``: epoch e uses ``learning_rate * decay**e``);
                    ``partial_fit`` always uses the first
    l1, idle, temperature : the pull to 0, the further one of what leads nowhere, and the noise, as in ``[training]``
    warm_start    : ``fit`` goes on from the network there is
    random_state  : int, ``RandomState`` or None

    Attributes: ``classes_``, ``n_features_in_``, ``n_connections_`` (held, never more than asked for), ``n_iter_``
    (epochs trained), ``loss_curve_`` (mean loss of each).

    Source: Bellec, Kappel, Maass, Legenstein, ICLR 2018.

    >>> from sklearn.datasets import load_digits
    >>> X, y = load_digits(return_X_y=True)
    >>> model = DeepRClassifier(hidden=(64,), n_connections=1000, random_state=0).fit(X, y)
    >>> model.to_intnet().n_connections
    1000
    """

    _task = "classification"

    def __init__(self, hidden: tuple[int, ...] = (300, 100), n_connections: int = 3552, *,
                 budget: str | dict[str, Any] = "per_layer", scale: str = "auto", bias: bool = True,
                 method: str = "deep_r", optimizer: str = "adam", epochs: int = 30, batch_size: int | str = "auto",
                 learning_rate: float = 0.01, schedule: str = "cosine", decay: float = 0.8,
                 label_smoothing: float = 0.0, l1: float | str = "auto", idle: float = 20.0,
                 temperature: float = 2.5e-11, weight_bits: int = 8, activation_bits: int = 8,
                 warm_start: bool = False, random_state: int | np.random.RandomState | None = None) -> None:
        super().__init__(hidden, n_connections, budget=budget, scale=scale, bias=bias, method=method,
                         optimizer=optimizer, epochs=epochs, batch_size=batch_size, learning_rate=learning_rate,
                         schedule=schedule, decay=decay, l1=l1, idle=idle, temperature=temperature,
                         weight_bits=weight_bits, activation_bits=activation_bits, warm_start=warm_start,
                         random_state=random_state)
        self.label_smoothing = label_smoothing

    def fit(self, X: ArrayLike, y: ArrayLike) -> Self:  # noqa: N803
        """Train on samples ``X`` (n, n_features) and labels ``y`` (n,).

        Raises ``ValueError`` for unsound data, fewer than two classes, fewer connections than classes, impossible
        parameters, and when training diverges.
        """
        goes_on = self._goes_on()
        x, labels = self._checked(X, y, not goes_on)
        if not goes_on:
            self._begin(x, unique_labels(labels))
        return self._train(x, labels)

    def partial_fit(self, X: ArrayLike, y: ArrayLike, classes: ArrayLike | None = None) -> Self:  # noqa: N803
        """One epoch on a part of the data. The first call names all ``classes`` and fixes the input scale.

        Raises ``ValueError`` as ``fit`` does, and for labels or ``classes`` that don't fit the first call's.
        """
        first = not hasattr(self, "net_")
        x, labels = self._checked(X, y, first)
        if first and classes is None:
            raise ValueError("classes must be given in the first call of partial_fit: all that will ever come")
        if first:
            self._begin(x, unique_labels(classes))
        elif classes is not None and not np.array_equal(unique_labels(classes), self.classes_):
            raise ValueError(f"classes = {classes} differs from the first call's {self.classes_}")
        return self._train_one_epoch(x, labels)

    def decision_function(self, X: ArrayLike) -> np.ndarray:  # noqa: N803
        """The integer logits times ``2**-logit_frac``: (n, n_classes) float64; for two classes (n,), the second's
        minus the first's. Exact."""
        logits = self._logits(X).astype(np.int64)
        real = np.ldexp(logits, -self.net_.logit_frac)
        return real[:, 1] - real[:, 0] if len(self.classes_) == 2 else real

    def predict(self, X: ArrayLike) -> np.ndarray:  # noqa: N803
        """(n,) label of each sample: the largest integer logit, ties to the first of ``classes_``."""
        best = reference.predict(self.to_intnet(), self.encode(X))
        return self.classes_[best]

    def predict_proba(self, X: ArrayLike) -> np.ndarray:  # noqa: N803
        """(n, n_classes) softmax of the logits' real values."""
        logits = np.ldexp(self._logits(X).astype(np.int64), -self.net_.logit_frac)
        p = np.exp(logits - logits.max(axis=1, keepdims=True))
        return p / p.sum(axis=1, keepdims=True)

    def _checked(self, X: ArrayLike, y: ArrayLike, reset: bool) -> tuple[np.ndarray, np.ndarray]:  # noqa: N803
        x, labels = validate_data(self, X, y, reset=reset)
        check_classification_targets(labels)
        return x, labels

    def _begin(self, x: np.ndarray, classes: np.ndarray) -> None:
        if len(classes) < 2:
            raise ValueError(f"y has 1 class, {classes.tolist()[0]!r}: a classifier needs at least two")
        self.classes_ = classes
        self._reset(x)

    @property
    def _n_out(self) -> int:
        return len(self.classes_)

    def _names(self) -> tuple[str, ...]:
        return tuple(map(str, self.classes_))

    def _answers(self, y: np.ndarray) -> np.ndarray:
        unknown = np.setdiff1d(y, self.classes_)
        if unknown.size:
            raise ValueError(f"y has the label {unknown.tolist()[0]!r}, which is not one of the classes "
                             f"{self.classes_}")
        return np.searchsorted(self.classes_, y).astype(np.int64)


class DeepRRegressor(RegressorMixin, DeepREstimator):
    """Regressor with at most ``n_connections`` connections at every step of its training, weights of 8 bits or fewer.

    It learns to make the squared error small; several columns of ``y`` count the same, whatever their unit. Features
    become codes, and outputs the unit of ``y``, by an offset and a factor each, learnt in the first ``fit`` and part
    of the network that ``to_intnet`` gives.

    Parameters are those of ``DeepRClassifier`` but for what is about classes.

    Attributes: ``n_outputs_``, ``n_features_in_``, ``n_connections_``, ``n_iter_``, ``loss_curve_`` (half the squared
    error, in units of the variance of ``y``, summed over the outputs; the mean of each epoch).

    Source: Bellec, Kappel, Maass, Legenstein, ICLR 2018.

    >>> from sklearn.datasets import load_diabetes
    >>> X, y = load_diabetes(return_X_y=True)
    >>> model = DeepRRegressor(hidden=(32,), n_connections=100, random_state=0).fit(X, y)
    >>> model.predict(X).shape, model.to_intnet().n_connections
    ((442,), 100)
    """

    _task = "regression"

    def fit(self, X: ArrayLike, y: ArrayLike) -> Self:  # noqa: N803
        """Train on samples ``X`` (n, n_features) and numbers ``y`` (n,) or (n, n_outputs).

        Raises ``ValueError`` for unsound data, fewer connections than outputs, impossible parameters, and when
        training diverges.
        """
        goes_on = self._goes_on()
        x, targets = self._checked(X, y, not goes_on)
        if not goes_on:
            self._begin(x, targets)
        return self._train(x, targets)

    def partial_fit(self, X: ArrayLike, y: ArrayLike) -> Self:  # noqa: N803
        """One epoch on a part of the data. The first call fixes the units of inputs and outputs.

        Raises ``ValueError`` as ``fit`` does, and for another number of outputs than the first call's.
        """
        first = not hasattr(self, "net_")
        x, targets = self._checked(X, y, first)
        if first:
            self._begin(x, targets)
        return self._train_one_epoch(x, targets)

    def predict(self, X: ArrayLike) -> np.ndarray:  # noqa: N803
        """(n,) or (n, n_outputs) answers in the unit of ``y``, as the first ``y`` was shaped: the float32 numbers of
        ``IntNet.decode``, as float64."""
        logits = self._logits(X)
        answers = self.net_.decode(logits).astype(np.float64)
        return answers[:, 0] if self._flat else answers

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags

    def _checked(self, X: ArrayLike, y: ArrayLike, reset: bool) -> tuple[np.ndarray, np.ndarray]:  # noqa: N803
        x, targets = validate_data(self, X, y, reset=reset, multi_output=True, y_numeric=True)
        targets = targets.astype(np.float64)
        check_targets("y", targets, len(x))
        return x, targets

    def _begin(self, x: np.ndarray, targets: np.ndarray) -> None:
        self._flat = targets.ndim == 1
        self.n_outputs_ = 1 if self._flat else targets.shape[1]
        self._output_map = fit_output(targets.reshape(len(targets), -1))
        self._reset(x)

    @property
    def _n_out(self) -> int:
        return self.n_outputs_

    def _answers(self, y: np.ndarray) -> np.ndarray:
        answers = y.reshape(len(y), -1)
        if answers.shape[1] != self.n_outputs_:
            raise ValueError(f"y has {answers.shape[1]} outputs, the network has {self.n_outputs_}")
        return answers


def _copy_of(begun: TrainState, before: TrainState, whole: bool) -> TrainState:
    """A state to go back to: that before the whole fit, or before the last epoch."""
    return copy.deepcopy(begun if whole else before)


def _plain(value: Any) -> Any:
    """``value`` as Python's own number where it is NumPy's."""
    return value.item() if isinstance(value, np.generic) else value

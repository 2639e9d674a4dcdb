"""DEEP R behind scikit-learn's interface, ``DeepRClassifier`` and ``DeepRRegressor``, which predict with the frozen
integer network."""

import copy
import dataclasses
import sys
import warnings
from abc import ABC, abstractmethod
from collections.abc import Iterable
from functools import partial
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.metrics import accuracy_score, r2_score
from sklearn.utils import Tags, check_array, check_random_state
from sklearn.utils.class_weight import compute_class_weight
from sklearn.utils.multiclass import check_classification_targets, unique_labels
from sklearn.utils.validation import check_is_fitted, validate_data

from deepr_hw.data.scaling import fit_input, fit_output
from deepr_hw.ir.affine import IDENTITY, Affine, encode
from deepr_hw.ir.fixed import Format
from deepr_hw.ir.tasks import EVEN, as_text, balanced_weights
from deepr_hw.sparse_set.share import chain, count_positions, share_per_matrix
from deepr_hw.train.config import BudgetConfig, Config, config_from
from deepr_hw.train.freeze import freeze
from deepr_hw.train.loop import TrainState, advance, start
from deepr_hw.train.methods import METHODS

from . import reference
from .data import CodedDataset, check_targets
from .ir import IntNet

_FEWEST_HELD = 2
"""Samples that a validation needs: R2 is the share of a variance."""


class Samples(NamedTuple):
    """Samples ``x`` (n, n_features), labels or targets ``y`` (n, ...), ``weight`` (n,) float64 above 0."""

    x: np.ndarray
    y: np.ndarray
    weight: np.ndarray

    def take(self, which: np.ndarray) -> "Samples":
        """Those of an index or mask, in its order."""
        return Samples(*(array[which] for array in self))


class DeepREstimator(BaseEstimator, ABC):
    """What the two estimators share: parameters, the network in training, the frozen one.

    A subclass says what the network's answers are: ``_task``, how many outputs there are, what training compares them
    with, what they are called and how good they are.
    """

    _task: str
    _output_map = IDENTITY
    net_: IntNet

    def __init__(
        self,
        hidden: tuple[int, ...] = (300, 100),
        n_connections: int = 3552,
        *,
        budget: str | dict[str, Any] = "per_layer",
        scale: str = "auto",
        bias: bool = True,
        method: str = "deep_r",
        optimizer: str = "adam",
        epochs: int = 30,
        batch_size: int | str = "auto",
        learning_rate: float = 0.01,
        schedule: str = "cosine",
        decay: float = 0.8,
        l1: float | str = "auto",
        idle: float = 20.0,
        temperature: float = 2.5e-11,
        weight_bits: int = 8,
        activation_bits: int = 8,
        warm_start: bool = False,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        n_iter_no_change: int = 10,
        verbose: bool | int = False,
        random_state: int | np.random.RandomState | None = None,
    ) -> None:
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
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.n_iter_no_change = n_iter_no_change
        self.verbose = verbose
        self.random_state = random_state

    def fit(self, X: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None = None) -> Self:
        """Train on samples ``X`` (n, n_features) and what is right for them: labels ``y`` (n,) of a classifier,
        numbers (n,) or (n, n_outputs) of a regressor.

        sample_weight : (n,) how much each sample counts in the loss, beside the others; one of 0 is not there at all

        Raises ``ValueError`` for unsound data, fewer connections than outputs, impossible parameters, and when
        training diverges.
        """
        fresh = not (self.warm_start and hasattr(self, "net_"))
        samples = self._samples(X, y, sample_weight, fresh, None if fresh else self._classes())
        if fresh:
            self._seed = self._draw_seed()
        fit, held = self._split(samples)
        if fresh:
            self._settle(fit.y)
            self._reset(fit.x)
        return self._train(fit, held, self._config(self.epochs), 0)

    def to_intnet(self) -> IntNet:
        """The frozen integer network, which encodes ``X``; its logits are in the order of ``classes_``, or of the
        columns of ``y``."""
        check_is_fitted(self)
        return self.net_

    def encode(self, X: ArrayLike) -> np.ndarray:
        """(n, n_features) codes of samples ``X``, see ``IntNet.encode``."""
        check_is_fitted(self)
        return self.net_.encode(validate_data(self, X, reset=False))

    @property
    @abstractmethod
    def _n_out(self) -> int:
        """Outputs of the network."""

    @abstractmethod
    def _checked(self, X: ArrayLike, y: ArrayLike, reset: bool) -> tuple[np.ndarray, np.ndarray]:
        """Samples and right answers as arrays. Raises ``ValueError`` for unsound ones."""

    @abstractmethod
    def _settle(self, y: np.ndarray) -> None:
        """Settle what the outputs of an untrained network stand for, by the right answers ``y``."""

    @abstractmethod
    def _answers(self, y: np.ndarray) -> np.ndarray:
        """Right answers of samples ``y`` as ``Dataset`` has them. Raises ``ValueError`` for those that don't fit the
        network there is."""

    @abstractmethod
    def _score(self, outputs: np.ndarray, samples: Samples) -> float:
        """What ``score`` gives for ``samples`` when the network's outputs are these, (n, n_out) in natural units."""

    def _names(self) -> tuple[str, ...]:
        """A name per output, or none at all."""
        return ()

    def _classes(self) -> np.ndarray | None:
        """The classes of the network there is."""
        return None

    def _class_factor(self, y: np.ndarray, weight: np.ndarray, classes: np.ndarray | None) -> np.ndarray | float:
        """What the weights of samples are multiplied with for the class they are of."""
        return 1.0

    def _logits(self, X: ArrayLike) -> np.ndarray:
        """(n, n_out) integer logits of samples ``X``."""
        return reference.logits(self.to_intnet(), self.encode(X))

    def _strata(self, y: np.ndarray) -> np.ndarray:
        """(n,) numbers that are the same for samples of which the same share is to be held out."""
        return np.zeros(len(y), np.int64) if self._task == "regression" else np.unique(y, return_inverse=True)[1]

    def _draw_seed(self) -> int:
        return int(check_random_state(self.random_state).randint(1 << 31))

    def _samples(
        self,
        X: ArrayLike,
        y: ArrayLike,
        sample_weight: ArrayLike | None,
        reset: bool,
        classes: np.ndarray | None = None,
    ) -> Samples:
        """The samples that count, with the product of their own weights, in units of the largest, and their class's.

        classes : those there are; None for what ``y`` has
        """
        x, y = self._checked(X, y, reset)
        weight = _own_weights(sample_weight, len(x))
        weight = weight * self._class_factor(y, weight, classes)
        counts = weight > 0
        if not counts.any():
            raise ValueError("sample_weight: every sample has a weight of zero")
        samples = Samples(x, y, weight)
        return samples if counts.all() else samples.take(counts)

    def _split(self, samples: Samples) -> tuple[Samples, Samples | None]:
        """Samples to train on, and those held out to stop by."""
        fraction, patience = self.validation_fraction, self.n_iter_no_change
        if not self.early_stopping:
            return samples, None
        if not 0 < fraction < 1:
            raise ValueError(f"validation_fraction = {fraction}: lies between 0 and 1, neither of them included")
        if not isinstance(patience, int | np.integer) or patience < 1:
            raise ValueError(f"n_iter_no_change = {patience!r}: must be a whole number from 1")
        if self.method in METHODS and METHODS[self.method].dense:
            raise ValueError(f"early_stopping: method = {self.method!r} meets its budget at the end of fit only")
        held = held_out(self._strata(samples.y), fraction, np.random.default_rng((1, self._seed)))
        return samples.take(~held), samples.take(held)

    def _reset(self, x: np.ndarray) -> None:
        """An untrained network and the input scale for ``x``; what its answers are is settled already."""
        self._unit: tuple[Affine, Format] = fit_input(x, x.shape[1:], self.scale)
        config = self._config(self.epochs)
        self._made_for = (config.network, config.budget)
        one = self._dataset(x[:1], self._no_answers(1))  # a start looks at sizes and format, not at the samples
        many = dataclasses.replace(one, x_train=np.broadcast_to(one.x_train, x.shape), y_train=self._no_answers(len(x)))
        self._state: TrainState = start(config, many)
        if self._total() < self.n_connections:
            _warn(
                f"n_connections = {self.n_connections}: the network has only {self._total()} positions and is dense",
                UserWarning,
            )
        self.loss_curve_: list[float] = []

    def _no_answers(self, n: int) -> np.ndarray:
        return np.zeros(n, np.int64) if self._task == "classification" else np.zeros((n, self._n_out))

    def _fit_part(
        self,
        X: ArrayLike,
        y: ArrayLike,
        sample_weight: ArrayLike | None,
        classes: np.ndarray | None = None,
    ) -> Self:
        """``partial_fit``: an epoch at the first learning rate, with scales found on its samples. The first call of a
        classifier names the ``classes``."""
        if self.early_stopping:
            raise ValueError("early_stopping: partial_fit makes one epoch, there is nothing to stop")
        first = not hasattr(self, "net_")
        samples = self._samples(X, y, sample_weight, first, classes if first else self._classes())
        if first:
            self._seed = self._draw_seed()
            self._settle(samples.y if classes is None else classes)
            self._reset(samples.x)
        done = len(self.loss_curve_)
        config = self._config(done + 1)
        steady = dataclasses.replace(config.training, schedule="step", decay=1.0)
        scales = dataclasses.replace(config.quantization, calibrate_epochs=done + 1)
        return self._train(samples, None, dataclasses.replace(config, training=steady, quantization=scales), done)

    def _train(self, samples: Samples, held: Samples | None, config: Config, first_epoch: int) -> Self:
        if self._made_for != (config.network, config.budget):
            raise ValueError(
                "hidden, n_connections, budget or bias changed since the network was made: fit anew with "
                "warm_start=False"
            )
        # scales are found on the first samples: let them be random ones
        samples = samples.take(self._state.rng.permutation(len(samples.x)))
        dataset = self._dataset(samples.x, self._answers(samples.y), _of_mean_one(samples.weight))
        said = len(self._state.remarks)
        self._run(config, dataset, held, first_epoch)
        for remark in self._state.remarks[said:]:
            _warn(remark, RuntimeWarning)
        self.loss_curve_ = [metrics.loss for metrics in self._state.history]
        self.n_iter_ = len(self.loss_curve_)
        self.n_connections_ = self._state.model.connections.n_connections
        provenance = {"method": self.method, "seed": str(self._seed)}
        self.net_ = freeze(self._state.model, self._names(), provenance, self._unit[0], self._task, self._output_map)
        return self

    def _run(self, config: Config, dataset: CodedDataset, held: Samples | None, first_epoch: int) -> None:
        """The epochs from ``first_epoch`` on. With samples held out, until they have been answered no better for
        ``n_iter_no_change`` epochs; what stays is the network that answered them best."""
        epoch, begun, best = first_epoch, copy.deepcopy(self._state), self._state.model
        scores: list[float] = []
        codes = None if held is None else encode(held.x, *self._unit)
        while epoch < config.training.epochs:
            before = copy.deepcopy(self._state)
            metrics = advance(config, dataset, self._state, epoch, partial(_copy_of, begun, before), first_epoch)
            self._state.history.append(metrics)
            epoch = metrics.epoch + 1
            if held is not None and codes is not None:
                del scores[metrics.epoch - first_epoch :]  # of a run that has begun anew
                scores.append(self._score(self._state.model.natural(codes), held))
                if len(scores) == 1 or scores[-1] > max(scores[:-1]):
                    best = copy.deepcopy(self._state.model)
            if self.verbose:
                found = f", validation {scores[-1]:.4f}" if scores else ""
                print(
                    f"epoch {epoch} of {config.training.epochs}: loss {metrics.loss:.4g}, "
                    f"{as_text(metrics.train)}{found}"
                )
            if scores and len(scores) - 1 - int(np.argmax(scores)) >= self.n_iter_no_change:
                break
        if scores:
            self._state.model = best
        self.validation_scores_ = scores or None
        self.best_validation_score_ = max(scores) if scores else None

    def _dataset(self, x: np.ndarray, answers: np.ndarray, weights: np.ndarray = EVEN) -> CodedDataset:
        input_map, x_format = self._unit
        codes = encode(x, input_map, x_format)
        return CodedDataset(
            "fit",
            codes,
            answers,
            codes[:0],
            answers[:0],
            codes.shape[1:],
            self._names(),
            x_format,
            input_map,
            self._output_map,
            weights,
        )

    def _sizes(self) -> tuple[int, ...]:
        return (self.n_features_in_, *self.hidden, self._n_out)

    def _total(self) -> int:
        """K, at most the number of positions."""
        total, n_out = self.n_connections, self._n_out
        if not isinstance(total, int | np.integer) or isinstance(total, bool) or total < n_out:
            what = "classes" if self._task == "classification" else "outputs"
            raise ValueError(
                f"n_connections = {total!r}: must be a whole number, at least one for each of the {n_out} {what}"
            )
        return min(int(total), sum(count_positions(chain(self._sizes()))))

    def _config(self, epochs: int) -> Config:
        """The parameters as a configuration, which checks them."""
        hidden = [_plain(width) for width in self.hidden] if isinstance(self.hidden, Iterable) else self.hidden
        training = {
            name: _plain(getattr(self, name))
            for name in (
                "method",
                "optimizer",
                "batch_size",
                "learning_rate",
                "schedule",
                "decay",
                "label_smoothing",
                "l1",
                "idle",
                "temperature",
            )
            if hasattr(self, name)
        }
        config = config_from(
            {
                "data": {"task": self._task},
                "network": {"hidden": hidden, "bias": _plain(self.bias)},
                "quantization": {name: _plain(getattr(self, name)) for name in ("weight_bits", "activation_bits")},
                "training": {**training, "epochs": _plain(epochs), "seed": self._seed},
                "budget": {"global": 1},
            }
        )
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
        return BudgetConfig(per_layer=share_per_matrix(total, chain(self._sizes())))


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
    class_weight  : how much the samples of a class count in the loss: a dictionary by label, 1 where it says nothing;
                    ``"balanced"``: every class counts the same; None: every sample does
    l1, idle, temperature : the pull to 0, the further one of what leads nowhere, and the noise, as in ``[training]``
    warm_start    : ``fit`` goes on from the network there is
    early_stopping : ``fit`` trains on all but ``validation_fraction`` of the samples, as many of each class, and keeps
                    the network that answers those best; it ends when none did better for ``n_iter_no_change`` epochs
    verbose       : print a line per epoch
    random_state  : int, ``RandomState`` or None

    Attributes: ``classes_``, ``n_features_in_``, ``n_connections_`` (held, never more than asked for), ``n_iter_``
    (epochs trained), ``loss_curve_`` (mean loss of each); with ``early_stopping`` ``validation_scores_`` (``score`` on
    the samples held out, with their weights, after each epoch of the last ``fit``) and ``best_validation_score_``, else
    None.

    Source: Bellec, Kappel, Maass, Legenstein, ICLR 2018.

    >>> from sklearn.datasets import load_digits
    >>> X, y = load_digits(return_X_y=True)
    >>> model = DeepRClassifier(hidden=(64,), n_connections=1000, random_state=0).fit(X, y)
    >>> model.to_intnet().n_connections
    1000
    """

    _task = "classification"

    def __init__(
        self,
        hidden: tuple[int, ...] = (300, 100),
        n_connections: int = 3552,
        *,
        budget: str | dict[str, Any] = "per_layer",
        scale: str = "auto",
        bias: bool = True,
        method: str = "deep_r",
        optimizer: str = "adam",
        epochs: int = 30,
        batch_size: int | str = "auto",
        learning_rate: float = 0.01,
        schedule: str = "cosine",
        decay: float = 0.8,
        label_smoothing: float = 0.0,
        class_weight: str | dict[Any, float] | None = None,
        l1: float | str = "auto",
        idle: float = 20.0,
        temperature: float = 2.5e-11,
        weight_bits: int = 8,
        activation_bits: int = 8,
        warm_start: bool = False,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        n_iter_no_change: int = 10,
        verbose: bool | int = False,
        random_state: int | np.random.RandomState | None = None,
    ) -> None:
        super().__init__(
            hidden,
            n_connections,
            budget=budget,
            scale=scale,
            bias=bias,
            method=method,
            optimizer=optimizer,
            epochs=epochs,
            batch_size=batch_size,
            learning_rate=learning_rate,
            schedule=schedule,
            decay=decay,
            l1=l1,
            idle=idle,
            temperature=temperature,
            weight_bits=weight_bits,
            activation_bits=activation_bits,
            warm_start=warm_start,
            early_stopping=early_stopping,
            validation_fraction=validation_fraction,
            n_iter_no_change=n_iter_no_change,
            verbose=verbose,
            random_state=random_state,
        )
        self.label_smoothing = label_smoothing
        self.class_weight = class_weight

    def partial_fit(
        self,
        X: ArrayLike,
        y: ArrayLike,
        classes: ArrayLike | None = None,
        sample_weight: ArrayLike | None = None,
    ) -> Self:
        """One epoch on a part of the data. The first call names all ``classes`` and fixes the input scale.

        sample_weight : as in ``fit``, beside the other samples of this call

        Raises ``ValueError`` as ``fit`` does, for labels or ``classes`` that don't fit the first call's, and for what
        a part can't tell: balanced classes, and when to stop.
        """
        first, named = not hasattr(self, "net_"), None if classes is None else unique_labels(classes)
        if first and named is None:
            raise ValueError("classes must be given in the first call of partial_fit: all that will ever come")
        if isinstance(self.class_weight, str):
            raise ValueError(
                f"class_weight = {self.class_weight!r}: a part of the data does not tell how large the "
                "classes are; give partial_fit a dictionary"
            )
        if not first and named is not None and not np.array_equal(named, self.classes_):
            raise ValueError(f"classes = {named} differs from the first call's {self.classes_}")
        return self._fit_part(X, y, sample_weight, named)

    def decision_function(self, X: ArrayLike) -> np.ndarray:
        """The integer logits times ``2**-logit_frac``: (n, n_classes) float64; for two classes (n,), the second's
        minus the first's. Exact."""
        logits = self._logits(X).astype(np.int64)
        real = np.ldexp(logits, -self.net_.logit_frac)
        return real[:, 1] - real[:, 0] if len(self.classes_) == 2 else real

    def predict(self, X: ArrayLike) -> np.ndarray:
        """(n,) label of each sample: the largest integer logit, ties to the first of ``classes_``."""
        best = reference.predict(self.to_intnet(), self.encode(X))
        return self.classes_[best]

    def predict_proba(self, X: ArrayLike) -> np.ndarray:
        """(n, n_classes) softmax of the logits' real values."""
        logits = np.ldexp(self._logits(X).astype(np.int64), -self.net_.logit_frac)
        p = np.exp(logits - logits.max(axis=1, keepdims=True))
        return p / p.sum(axis=1, keepdims=True)

    def _checked(self, X: ArrayLike, y: ArrayLike, reset: bool) -> tuple[np.ndarray, np.ndarray]:
        x, labels = validate_data(self, X, y, reset=reset)
        check_classification_targets(labels)
        return x, labels

    def _settle(self, y: np.ndarray) -> None:
        classes = unique_labels(y)
        if len(classes) < 2:
            raise ValueError(f"y has 1 class, {classes.tolist()[0]!r}: a classifier needs at least two")
        self.classes_ = classes

    def _classes(self) -> np.ndarray:
        return self.classes_

    def _class_factor(self, y: np.ndarray, weight: np.ndarray, classes: np.ndarray | None) -> np.ndarray | float:
        if self.class_weight is None:
            return 1.0
        classes = unique_labels(y) if classes is None else classes
        index = _index(y, classes)
        if isinstance(self.class_weight, str) and self.class_weight == "balanced":
            return balanced_weights(index, len(classes), weight)[index]
        factor = compute_class_weight(self.class_weight, classes=classes, y=y)
        bad = np.flatnonzero(~(np.isfinite(factor) & (factor >= 0)))
        if bad.size:
            raise ValueError(
                f"class_weight[{classes.tolist()[bad[0]]!r}] = {factor[bad[0]]}: must be a finite number, at least 0"
            )
        return factor[index]

    @property
    def _n_out(self) -> int:
        return len(self.classes_)

    def _names(self) -> tuple[str, ...]:
        return tuple(map(str, self.classes_))

    def _answers(self, y: np.ndarray) -> np.ndarray:
        return _index(y, self.classes_)

    def _score(self, outputs: np.ndarray, samples: Samples) -> float:
        answers = self.classes_[outputs.argmax(axis=1)]
        return float(accuracy_score(samples.y, answers, sample_weight=samples.weight))


class DeepRRegressor(RegressorMixin, DeepREstimator):
    """Regressor with at most ``n_connections`` connections at every step of its training, weights of 8 bits or fewer.

    It learns to make the squared error small; several columns of ``y`` count the same, whatever their unit. Features
    become codes, and outputs the unit of ``y``, by an offset and a factor each, learnt in the first ``fit`` and part
    of the network that ``to_intnet`` gives.

    Parameters are those of ``DeepRClassifier`` but for what is about classes.

    Attributes: ``n_outputs_``; the others as of ``DeepRClassifier``, ``loss_curve_`` being half the squared error in
    units of the variance of ``y``, summed over the outputs.

    Source: Bellec, Kappel, Maass, Legenstein, ICLR 2018.

    >>> from sklearn.datasets import load_diabetes
    >>> X, y = load_diabetes(return_X_y=True)
    >>> model = DeepRRegressor(hidden=(32,), n_connections=100, random_state=0).fit(X, y)
    >>> model.predict(X).shape, model.to_intnet().n_connections
    ((442,), 100)
    """

    _task = "regression"

    def partial_fit(self, X: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None = None) -> Self:
        """One epoch on a part of the data. The first call fixes the units of inputs and outputs.

        sample_weight : as in ``fit``, beside the other samples of this call

        Raises ``ValueError`` as ``fit`` does, for another number of outputs than the first call's, and for
        ``early_stopping``: a part doesn't tell when to stop.
        """
        return self._fit_part(X, y, sample_weight)

    def predict(self, X: ArrayLike) -> np.ndarray:
        """(n,) or (n, n_outputs) answers in the unit of ``y``, as the first ``y`` was shaped: the float32 numbers of
        ``IntNet.decode``, as float64."""
        logits = self._logits(X)
        answers = self.net_.decode(logits).astype(np.float64)
        return answers[:, 0] if self._flat else answers

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags

    def _checked(self, X: ArrayLike, y: ArrayLike, reset: bool) -> tuple[np.ndarray, np.ndarray]:
        x, targets = validate_data(self, X, y, reset=reset, multi_output=True, y_numeric=True)
        targets = targets.astype(np.float64)
        check_targets("y", targets, len(x))
        return x, targets

    def _settle(self, y: np.ndarray) -> None:
        self._flat = y.ndim == 1
        targets = y.reshape(len(y), -1)
        self.n_outputs_, self._output_map = targets.shape[1], fit_output(targets)

    @property
    def _n_out(self) -> int:
        return self.n_outputs_

    def _answers(self, y: np.ndarray) -> np.ndarray:
        answers = y.reshape(len(y), -1)
        if answers.shape[1] != self.n_outputs_:
            raise ValueError(f"y has {answers.shape[1]} outputs, the network has {self.n_outputs_}")
        return answers

    def _score(self, outputs: np.ndarray, samples: Samples) -> float:
        return float(r2_score(samples.y, self._output_map(outputs), sample_weight=samples.weight))


def held_out(strata: np.ndarray, fraction: float, rng: np.random.Generator) -> np.ndarray:
    """(n,) bool, which samples to hold out, a ``fraction`` of all: drawn by ``rng``, the same share of each value of
    ``strata`` (n,), but never its only one.

    Raises ``ValueError`` when there are not so many.
    """
    n = len(strata)
    order = np.lexsort((rng.random(n), strata))
    may = order[1:][strata[order[1:]] == strata[order[:-1]]]  # all but one of each
    n_held = max(_FEWEST_HELD, round(fraction * n))
    if n_held > len(may):
        raise ValueError(
            f"validation_fraction = {fraction}: would hold out {n_held} of {n} samples, training needs "
            "one of each class"
        )
    held = np.zeros(n, bool)
    held[may[(2 * np.arange(n_held) + 1) * len(may) // (2 * n_held)]] = True
    return held


def _index(labels: np.ndarray, classes: np.ndarray) -> np.ndarray:
    """(n,) int64 place of each label among the sorted ``classes``. Raises ``ValueError`` for one that isn't there."""
    unknown = np.setdiff1d(labels, classes)
    if unknown.size:
        raise ValueError(f"y has the label {unknown.tolist()[0]!r}, which is not one of the classes {classes}")
    return np.searchsorted(classes, labels).astype(np.int64)


def _own_weights(sample_weight: ArrayLike | None, n: int) -> np.ndarray:
    """(n,) float64, in units of the largest. Raises ``ValueError`` for what can't be the weights of ``n`` samples."""
    if sample_weight is None:
        return np.ones(n)
    weight = check_array(sample_weight, ensure_2d=False, dtype=np.float64, input_name="sample_weight")
    if weight.shape != (n,):
        raise ValueError(f"sample_weight: has shape {weight.shape} for {n} samples, expected a number for each")
    bad = np.flatnonzero(weight < 0)
    if bad.size:
        raise ValueError(f"sample_weight[{bad[0]}] = {weight[bad[0]]}: must be at least 0")
    return weight / max(weight.max(), np.finfo(np.float64).tiny)


def _of_mean_one(weight: np.ndarray) -> np.ndarray:
    """(n,) float32 ``weight`` as training takes it; ``EVEN`` where all are the same."""
    return EVEN if weight.min() == weight.max() else (weight / weight.mean()).astype(np.float32)


def _warn(text: str, category: type[Warning]) -> None:
    """Warn at the line of whoever called into this module."""
    depth = 1
    while sys._getframe(depth).f_code.co_filename == __file__:
        depth += 1
    warnings.warn(text, category, stacklevel=depth + 1)


def _copy_of(begun: TrainState, before: TrainState, whole: bool) -> TrainState:
    """A state to go back to: that before the whole fit, or before the last epoch."""
    return copy.deepcopy(begun if whole else before)


def _plain(value: Any) -> Any:
    """``value`` as Python's own number where it is NumPy's."""
    return value.item() if isinstance(value, np.generic) else value

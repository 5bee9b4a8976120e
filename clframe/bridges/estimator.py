"""A strategy of clframe as an estimator of scikit-learn."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils import check_random_state
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data

from clframe import pieces, strategies
from clframe.data import Dataset, TensorSource
from clframe.errors import bad_option
from clframe.eval.evaluator import modules
from clframe.loop import refuse_hidden
from clframe.scenarios import Stream
from clframe.seeding import isolated
from clframe.strategies.build import Setup
from clframe.types import Strategy

CHUNK = 1024


class ContinualClassifier(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """A classifier that is trained by a strategy of clframe; every call of `partial_fit` is one more experience.

    `fit(X, y)` is one experience from the start. The samples of earlier calls are kept, as the memory of a strategy holds ids and
    not samples; `state_bytes` of the strategy does not count what its memory does not refer to.

    Args:
        strategy: such as "er(size=200)" or "er+lwf".
        model: such as "mlp" or "mlp(hidden=[100])".
        optimizer: "sgd", "adam" or "adamw".
        lr: learning rate.
        momentum: momentum of sgd.
        weight_decay: weight decay.
        batch_size: new samples an update.
        epochs: passes over the samples of a call.
        input_shape: shape that a row of X is brought into, such as (1, 28, 28) for a convolutional model; as it is by default.
        random_state: an integer for repeatable results; None draws one from numpy's global generator.

    Attributes:
        classes_: the labels, sorted.
        strategy_: the strategy as it has been trained.
        n_features_in_: columns of X.

    Raises:
        ValueError: what scikit-learn asks estimators to refuse: shapes, labels and values that break its rules.
        ClframeError: a strategy or model that cannot be built; it is a ValueError as well.

    Example:
        >>> from sklearn.datasets import load_digits
        >>> x, y = load_digits(return_X_y=True)
        >>> early = y < 5
        >>> model = ContinualClassifier("er(size=200)", lr=0.01, epochs=3, random_state=0)
        >>> _ = model.partial_fit(x[early], y[early], classes=range(10)).partial_fit(x[~early], y[~early])
        >>> model.score(x, y) > 0.8
        True

    Differences:
        1. scikit-learn's `partial_fit` has no boundaries; here a call is an experience, and a strategy is told so.
        2. X is taken as float32.
        3. A class that a call of `partial_fit` has not brought yet can be predicted, as with scikit-learn's own estimators.
    """

    def __init__(
        self,
        strategy: str = "er(size=200)",
        model: str = "mlp",
        *,
        optimizer: str = "sgd",
        lr: float = 0.05,
        momentum: float = 0.0,
        weight_decay: float = 0.0,
        batch_size: int = 10,
        epochs: int = 10,
        input_shape: tuple[int, ...] | None = None,
        random_state: Any = None,
    ) -> None:
        self.strategy, self.model, self.optimizer = strategy, model, optimizer
        self.lr, self.momentum, self.weight_decay = lr, momentum, weight_decay
        self.batch_size, self.epochs, self.input_shape, self.random_state = batch_size, epochs, input_shape, random_state

    def fit(self, X: Any, y: Any) -> ContinualClassifier:
        """Learn from the start, in one experience: X (n, d), y (n,)."""
        x, labels = validate_data(self, X, y, dtype=np.float32)
        check_classification_targets(labels)
        self._start(np.unique(labels))
        return self._experience(x, labels)

    def partial_fit(self, X: Any, y: Any, classes: Any = None) -> ContinualClassifier:
        """Learn one more experience: X (n, d), y (n,); `classes`, all that will ever come, are given at the first call."""
        first = not hasattr(self, "classes_")
        x, labels = validate_data(self, X, y, dtype=np.float32, reset=first)
        check_classification_targets(labels)
        if first:
            if classes is None:
                raise ValueError("classes must be passed on the first call to partial_fit.")
            self._start(np.unique(np.asarray(classes)))
        elif classes is not None and not np.array_equal(np.unique(np.asarray(classes)), self.classes_):
            raise ValueError(f"classes must be those of the first call, {self.classes_}; got {np.unique(np.asarray(classes))}.")
        return self._experience(x, labels)

    def predict(self, X: Any) -> Any:
        """Labels (n,)."""
        scores = self._scores(X)
        return self.classes_[scores.argmax(axis=1)]

    def predict_proba(self, X: Any) -> Any:
        """Softmax of the scores (n, C)."""
        scores = self._scores(X).astype(np.float64)
        raised = np.exp(scores - scores.max(axis=1, keepdims=True))
        return raised / raised.sum(axis=1, keepdims=True)

    def __getstate__(self) -> dict[str, Any]:
        """For pickle and copy: the strategy as its state."""
        state = dict(super().__getstate__())
        if "strategy_" in state:
            state["strategy_"] = self.strategy_.state_dict()
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        """The strategy made again, and its state put back."""
        super().__setstate__(state)
        if "strategy_" in state:
            saved, stream = state["strategy_"], self._stream()
            self.strategy_ = self._made(stream)
            self.strategy_.begin(stream.experiences[-1].train)
            self.strategy_.load_state_dict(saved)

    def _start(self, classes: Any) -> None:
        self.classes_ = classes
        self._seed = int(check_random_state(self.random_state).randint(2**31 - 1))
        self._x, self._y, self._ends = np.zeros((0, 0), dtype=np.float32), np.zeros(0, dtype=np.int64), [0]
        self.__dict__.pop("strategy_", None)

    def _experience(self, x: Any, labels: Any) -> ContinualClassifier:
        unknown = np.setdiff1d(labels, self.classes_)
        if len(unknown):
            raise ValueError(f"y must hold the classes {self.classes_}; got {unknown[0]}. Name every class at the first call.")
        x = x if self.input_shape is None else self._shaped(x)
        self._x = x if not len(self._y) else np.concatenate([self._x, x])
        self._y = np.concatenate([self._y, np.searchsorted(self.classes_, labels)])
        self._ends.append(len(self._y))
        stream = self._stream()
        if not hasattr(self, "strategy_"):
            self.strategy_ = self._made(stream)
        experience = stream.experiences[-1]
        with pieces.isolated_run(self._seed, torch.get_num_threads()):
            self.strategy_.begin(experience.train)
            for _, batch in experience.steps():
                self.strategy_.observe(batch)
            self.strategy_.end(experience.train)
        return self

    def _stream(self) -> Stream:
        """What has come so far, an experience a call; the ids of earlier samples stay what they were."""
        source = TensorSource(self._x, self._y, name="X", class_names=[str(c) for c in self.classes_])
        segments = [np.arange(a, b) for a, b in zip(self._ends, self._ends[1:], strict=False)]
        data = Dataset("X", source, source, allow_missing=True)
        return Stream("X", data, segments, segments).walked(batch_size=self.batch_size, epochs=self.epochs, seed=self._seed)

    def _made(self, stream: Stream) -> Strategy:
        with pieces.isolated_run(self._seed, torch.get_num_threads()):
            network = pieces.network(self.model, "single", stream, self._seed)
            make = pieces.optimizer(self.optimizer, self.lr, self.momentum, self.weight_decay)
            setup = Setup(network, make, self._seed, epochs=self.epochs, width=len(self.classes_), batch_size=self.batch_size)
            made = strategies.build(self.strategy, setup)
        refuse_hidden(stream, made)
        return made

    def _scores(self, X: Any) -> Any:
        check_is_fitted(self, "strategy_")
        x = validate_data(self, X, dtype=np.float32, reset=False)
        rows = torch.from_numpy(np.ascontiguousarray(x if self.input_shape is None else self._shaped(x)))
        with isolated(*modules(self.strategy_)):
            scores = torch.cat([self.strategy_.predict(part) for part in torch.split(rows, CHUNK)])
        found = scores.numpy().astype(np.float64)
        return np.where(np.isfinite(found), found, np.finfo(np.float64).min / 4)

    def _shaped(self, x: Any) -> Any:
        assert self.input_shape is not None
        if np.prod(self.input_shape) != x.shape[1]:
            raise bad_option("input_shape", f"a shape of {x.shape[1]} numbers, the columns of X", self.input_shape, "Correct it.")
        return x.reshape(len(x), *self.input_shape)

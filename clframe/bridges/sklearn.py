"""scikit-learn, both ways: a classifier with `partial_fit` as a strategy, a strategy as an estimator."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, final

import numpy as np
import torch

from clframe.bridges import pickled
from clframe.bridges.estimator import ContinualClassifier
from clframe.errors import CompositionError, DataError, bad_option, unknown_name
from clframe.locate import in_a_line, locate
from clframe.seeding import seed_for
from clframe.strategies.build import Setup
from clframe.types import Batch, Train

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["ESTIMATORS", "ContinualClassifier", "PartialFit", "strategy"]

ESTIMATORS = {
    "SGDClassifier": "sklearn.linear_model:SGDClassifier",
    "Perceptron": "sklearn.linear_model:Perceptron",
    "PassiveAggressiveClassifier": "sklearn.linear_model:PassiveAggressiveClassifier",
    "GaussianNB": "sklearn.naive_bayes:GaussianNB",
    "BernoulliNB": "sklearn.naive_bayes:BernoulliNB",
    "MultinomialNB": "sklearn.naive_bayes:MultinomialNB",
    "ComplementNB": "sklearn.naive_bayes:ComplementNB",
    "MLPClassifier": "sklearn.neural_network:MLPClassifier",
}
"""Those of scikit-learn that learn from batches; any other is written module:Name."""
SCORES = ("decision_function", "predict_joint_log_proba", "predict_log_proba", "predict_proba")


def strategy(setup: Setup, estimator: str = "SGDClassifier", **options: Any) -> PartialFit:
    """A classifier of scikit-learn with `partial_fit`: SGDClassifier, GaussianNB, MLPClassifier, or any as module:Name.

    Args:
        setup: what a run is made from; of it only the seed and the number of classes are used.
        estimator: one of `ESTIMATORS`, or "module:Name".
        options: of its constructor.

    Raises:
        OptionError: an unknown estimator or option, or a class without partial_fit.

    Example:
        >>> import clframe
        >>> words = "sklearn(estimator=GaussianNB)"
        >>> result = clframe.run("split-digits", words, evaluate="boundaries")
        >>> result.metrics.acc > 0.7
        True

    Reference: Pedregosa et al., "Scikit-learn: machine learning in Python", 2011.
    """
    if estimator not in ESTIMATORS and ":" not in estimator:
        raise unknown_name("estimator", estimator, ESTIMATORS)
    made = locate(ESTIMATORS.get(estimator, estimator), "estimator")
    known = list(inspect.signature(made).parameters)
    for option in options:
        if option not in known:
            raise unknown_name(f"option of estimator {estimator!r}", option, known)
    if "random_state" in known and options.get("random_state") is None:
        options["random_state"] = seed_for(setup.seed, "strategy", "sklearn") % 2**32
    found = made(**options)
    if not callable(getattr(found, "partial_fit", None)):
        raise bad_option("estimator", "one with partial_fit, to learn from a stream", estimator, "Give 'SGDClassifier'.")
    return PartialFit(found, estimator, setup.model.num_classes)


@final
class PartialFit:
    """A classifier of scikit-learn that sees the batches of a stream, each once: `partial_fit(x, y)`.

    Inputs are flattened; the classes of the whole stream are given at the first call, as scikit-learn asks for. A class without
    samples so far scores -inf. The network of the run is not used, and the budget counts none: what the classifier keeps are the
    bytes of its pickled state, and its FLOPs are not known.

    Args:
        estimator: the classifier.
        name: what it is called, for messages.
        classes: classes of the whole stream.

    Logs:
        - sklearn/samples: samples that the classifier was given

    Differences:
        1. What the estimator draws comes from `random_state`, which follows from the run's seed where it is not given.
        2. Batches are those of the stream: `SGDClassifier` makes one step a sample in each, `MLPClassifier` one step a batch.
        3. `MLPClassifier` keeps the loss of every update (`loss_curve_`), so its state grows by some bytes an update.
        4. Scores are `decision_function`, or the log-probabilities where there is none; ties are broken by the lowest class.
    """

    requires = frozenset[str]()

    def __init__(self, estimator: Any, name: str, classes: int) -> None:
        self.estimator, self.name, self.classes = estimator, name, classes
        self.count = np.zeros(classes, dtype=np.int64)
        self._weighted = "sample_weight" in inspect.signature(estimator.partial_fit).parameters

    def begin(self, train: Train) -> None:
        """Nothing is due: the stream may hide its boundaries."""

    def observe(self, batch: Batch) -> Mapping[str, Tensor]:
        """Give the batch to the classifier.

        Raises:
            CompositionError: samples have weights, and the classifier takes none.
            DataError: the classifier refuses the samples.
        """
        given: dict[str, Any] = {}
        if batch.weight is not None:
            if not self._weighted:
                raise CompositionError(
                    f"weighted samples need an estimator that takes them; {self.name!r} does not. Choose another."
                )
            given["sample_weight"] = batch.weight.double().cpu().numpy()
        x, y = _flat(batch.x), batch.y.cpu().numpy()
        try:
            self.estimator.partial_fit(x, y, classes=np.arange(self.classes), **given)
        except ValueError as error:
            raise DataError(
                f"estimator {self.name!r} must take the samples; it says {in_a_line(error)}. Choose another."
            ) from error
        self.count += np.bincount(y, minlength=self.classes)
        return {"sklearn/samples": torch.tensor(float(len(batch)))}

    def end(self, train: Train) -> None:
        """Nothing is due."""

    def predict(self, x: Tensor, task: Tensor | None = None) -> Tensor:
        """Scores (B, C), float64 on the CPU so that they order the classes as the estimator does."""
        scores = np.full((len(x), self.classes), -np.inf)
        if self.count.any():
            scores = np.where(self.count > 0, self._scores(_flat(x)), -np.inf)
        found = torch.from_numpy(scores)
        return found.to(x.device, torch.float32 if x.device.type == "mps" else torch.float64)

    def state_dict(self) -> dict[str, Any]:
        """The pickled estimator, as bytes in a tensor; samples of each class so far."""
        return {"estimator": pickled.dumped(self.estimator), "count": torch.from_numpy(self.count.copy())}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Put back what `state_dict` returned; what would run other code than the estimator's is refused."""
        self.estimator = pickled.loaded(state["estimator"], type(self.estimator).__module__)
        self.count = state["count"].numpy().copy()

    def ledger(self) -> dict[str, Any]:
        """Declared use: the bytes of the pickled estimator; no network."""
        return {
            "optimizer_bytes": 0,
            "state_bytes": {"sklearn": pickled.dumped(self.estimator).numel() + self.count.nbytes},
            "forwards": 0,
            "backwards": 0,
            "network": False,
        }

    def describe(self) -> dict[str, Any]:
        """Name and options, for the resolved spec."""
        options = {name: str(value) for name, value in sorted(self.estimator.get_params().items())}
        return {"strategy": "sklearn", "estimator": self.name, "options": options}

    def _scores(self, x: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        answer = next((getattr(self.estimator, name) for name in SCORES if hasattr(self.estimator, name)), None)
        with np.errstate(all="ignore"):  # of classes without samples, which are masked
            found = np.eye(self.classes)[self.estimator.predict(x)] if answer is None else answer(x)
        scores: np.ndarray[Any, Any] = np.asarray(found, dtype=np.float64)
        return np.column_stack([-scores, scores]) if scores.ndim == 1 else scores


def _flat(x: Tensor) -> np.ndarray[Any, Any]:
    return x.detach().flatten(1).cpu().numpy()

"""FeTrIL: feature translation."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Literal, final

import torch
from torch.nn import functional

from clframe.errors import bad_option
from clframe.strategies.build import Setup
from clframe.strategies.frozen import Frozen, add_to_means
from clframe.strategies.loss import classification_loss

if TYPE_CHECKING:
    from torch import Tensor


@final
class FeTrIL(Frozen):
    """FeTrIL: features of a new class, moved to where an old class was, stand in for those of the old class.

        F^_k = F_n(k) - mu_n(k) + mu_k   for an old class k,   n(k) = the new class whose mean is nearest to mu_k
        F^_c = F_c                       for a class c of the experience just over

    with the features F_c of the experience's samples, their mean mu_c, and the means mu_k kept of the past. A linear classifier
    is trained on all F^ at the end of every experience and answers `predict` until the end of the next; with
    backbone="first", the linear head of the network answers during the first. So its curve moves at boundaries only. What is
    kept of the past is d numbers a class; the features of the experience in progress are part of the state until it is over.
    One output over all classes: where tasks are revealed they are not used, and other tasks' classes are not masked. Each
    sample of an experience counts once, in the first epoch.

    Args:
        backbone: "first" (the network is trained on the first experience, then frozen) or "given" (frozen as it comes).
        similarity: "euclidean" (smallest distance of the means) or "cosine" (largest cosine), for n(k).
        classifier: "linear-svc" (one against the rest, squared hinge, on features of length 1) or "linear" (a softmax layer).
        cost: C of the support vector classifier.
        epochs: passes of the softmax layer over F^, in batches of 128, with momentum 0.9 and weight decay 5e-4.
        lr: its learning rate at first; it falls to 0 along a cosine.

    Raises:
        OptionError: an unknown word, a cost, number of epochs or learning rate that is not positive; backbone="first" and a
            first experience of one class.

    Logs:
        - ce: cross-entropy while the backbone is trained
        - fetril/samples: samples whose features were kept with this update, 0 after the first epoch of an experience
        - fetril/spread: their mean squared distance to the mean of their class

    Example:
        >>> import clframe
        >>> result = clframe.run("split-digits", "fetril", model="mlp(hidden=[40])", evaluate="boundaries")
        >>> result.budget.state_bytes["fetril"] == 4 * 10 * (40 + 1) * 2  # means and weights; the classifier
        True

    Reference: Petit, Popescu, Schindler, Picard and Delezoide, "FeTrIL: feature translation for exemplar-free class-incremental
    learning", 2023, section 3.

    Differences:
        1. The first experience is trained once, by the run's optimizer; the authors train a second network from the first, with
           AugMix and Lookahead.
        2. All features are brought to length 1 for "linear-svc"; the authors' code leaves the first 512 rows as they are.
        3. The authors' code compares means by Euclidean distance, PyCIL's by cosine; both are here.
        4. The softmax layer starts at 0 (PyCIL: at random), and features keep their length, as in PyCIL.
        5. A class that comes again is represented by its new samples alone; its mean, kept for later, is that of all.
        6. With one class so far, that class is the answer. A class not yet in the classifier scores -inf.
        7. A sample of weight w counts as w samples in the means and, for both classifiers, in the loss.
    """

    name = "fetril"

    def __init__(
        self,
        setup: Setup,
        backbone: Literal["first", "given"] = "first",
        similarity: Literal["euclidean", "cosine"] = "euclidean",
        classifier: Literal["linear-svc", "linear"] = "linear-svc",
        cost: float = 1.0,
        epochs: int = 50,
        lr: float = 0.05,
    ) -> None:
        if similarity not in ("euclidean", "cosine"):
            raise bad_option("similarity", "'euclidean' or 'cosine'", similarity, "Give similarity='euclidean'.")
        if classifier not in ("linear-svc", "linear"):
            raise bad_option("classifier", "'linear-svc' or 'linear'", classifier, "Give classifier='linear-svc'.")
        for name, value in (("cost", cost), ("epochs", epochs), ("lr", lr)):
            if not value > 0:
                raise bad_option(name, "positive", value, "Leave it out.")
        self.similarity, self.classifier, self.cost, self.epochs, self.lr = similarity, classifier, cost, epochs, lr
        super().__init__(setup, backbone)
        self.requires = frozenset({"boundaries"})

    def take(self, features: Tensor, y: Tensor, weight: Tensor) -> None:
        """Keep the features until the experience is over."""
        if "features" not in self.statistics:
            assert self._size is not None
            self.statistics["features"] = features.new_zeros(self._size, features.shape[1])
            self.statistics["weights"] = features.new_zeros(self._size)
            self.statistics["labels"] = y.new_zeros(self._size)
        rows = slice(self.taken, self.taken + len(y))
        for name, values in (("features", features), ("labels", y), ("weights", weight)):
            self.statistics[name][rows] = values

    def close(self) -> None:
        """Train the classifier on the experience's features and on the translated ones, and drop them."""
        features, labels, weights = (self.statistics.pop(name)[: self.taken] for name in ("features", "labels", "weights"))
        count, mean = self.statistics["count"], self.statistics["mean"]
        x, y, weight = pseudo_features(features, labels, weights, count, mean, self.similarity)
        fitted = self._support_vectors(x, y, weight) if self.classifier == "linear-svc" else self._softmax(x, y, weight)
        self.statistics["rows"], self.statistics["bias"] = fitted

    def solve(self) -> tuple[Tensor, Tensor] | None:
        """The classifier; None before there is one."""
        return (self.statistics["rows"], self.statistics["bias"]) if "rows" in self.statistics else None

    def scores(self, features: Tensor, solution: tuple[Tensor, Tensor] | None) -> Tensor:
        """The classifier's outputs."""
        if solution is None:
            return features.new_full((len(features), self.model.num_classes), -torch.inf)
        rows, bias = solution
        return torch.addmm(bias, functional.normalize(features) if self.classifier == "linear-svc" else features, rows.T)

    def _support_vectors(self, x: Tensor, y: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
        from sklearn.svm import LinearSVC

        rows, bias, classes = *self._nothing(x), torch.unique(y)
        bias[classes] = 0.0
        if len(classes) > 1:
            machine = LinearSVC(C=self.cost, dual=False, random_state=0, max_iter=10_000)
            machine.fit(functional.normalize(x).double().cpu().numpy(), y.cpu().numpy(), weight.double().cpu().numpy())
            found, offset = torch.from_numpy(machine.coef_).to(x), torch.from_numpy(machine.intercept_).to(x)
            if len(classes) == 2:  # scikit-learn gives one row, that of the second class
                found, offset = torch.cat([-found, found]), torch.cat([-offset, offset])
            rows[classes], bias[classes] = found, offset
        return rows, bias

    def _softmax(self, x: Tensor, y: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
        classes = torch.unique(y)
        target, total = torch.searchsorted(classes, y), self.epochs * math.ceil(len(x) / 128)
        rows = x.new_zeros(len(classes), x.shape[1], requires_grad=True)
        bias = x.new_zeros(len(classes), requires_grad=True)
        optimizer = torch.optim.SGD([rows, bias], lr=self.lr, momentum=0.9, weight_decay=5e-4)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=total)
        for _ in range(self.epochs):
            for chosen in torch.split(torch.randperm(len(x), generator=self.generator).to(x.device), 128):
                logits = functional.linear(x[chosen], rows, bias)
                loss = classification_loss(logits, target[chosen], weight[chosen])
                rows.grad, bias.grad = torch.autograd.grad(loss, (rows, bias))
                optimizer.step()
                schedule.step()
        every_row, every_bias = self._nothing(x)
        every_row[classes], every_bias[classes] = rows.detach(), bias.detach()
        return every_row, every_bias

    def _nothing(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return x.new_zeros(self.model.num_classes, x.shape[1]), x.new_full((self.model.num_classes,), -torch.inf)


def pseudo_features(
    features: Tensor, y: Tensor, weight: Tensor, count: Tensor, mean: Tensor, similarity: str
) -> tuple[Tensor, Tensor, Tensor]:
    """The features F^ of all classes so far, with labels and weights: those of the experience first, as they are.

    Args:
        features, y, weight: (n, d), (n,), (n,) of the experience.
        count, mean: weights (C,) and means (C, d) of all classes so far.
        similarity: "euclidean" or "cosine".
    """
    here, own = torch.zeros_like(count), torch.zeros_like(mean)
    add_to_means(features, y, weight, here, own)
    new = here.nonzero()[:, 0]
    x, labels, weights = [features], [y], [weight]
    for k in ((count > 0) & (here == 0)).nonzero()[:, 0].tolist():
        source = new[nearest(mean[k], own[new], similarity)]
        mine = y == source
        x.append(features[mine] - own[source] + mean[k])
        labels.append(torch.full_like(y[mine], k))
        weights.append(weight[mine])
    return torch.cat(x), torch.cat(labels), torch.cat(weights)


def nearest(centroid: Tensor, others: Tensor, similarity: str) -> int:
    """Which of the rows (m, d) is most similar to the centroid (d,)."""
    if similarity == "cosine":
        return int(functional.cosine_similarity(others, centroid[None]).argmax())
    return int((others - centroid).square().sum(1).argmin())

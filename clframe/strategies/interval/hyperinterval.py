"""Interval hypernetworks: boxes of embeddings become boxes of weights, and what is certified over them cannot be forgotten."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.func import functional_call

from clframe.models.interval import Box, Promise
from clframe.models.interval.forward import propagate, refuse_unbounded, traced
from clframe.strategies.build import Setup
from clframe.strategies.interval.embeddings import check_boxes, nested, radii, universal
from clframe.strategies.interval.generated import Generated
from clframe.strategies.interval.options import Options
from clframe.strategies.interval.promises import Promises
from clframe.strategies.interval.surest import weighted_entropy
from clframe.strategies.interval.target import narrow
from clframe.strategies.interval.worst_case import kept_inside, worst_loss
from clframe.strategies.loss import classification_loss
from clframe.strategies.sparse.inference import chosen
from clframe.types import Batch, Train

if TYPE_CHECKING:
    from torch import Tensor, fx


class HyperInterval(Generated):
    """HyperInterval: a task has a box of embeddings, and every network that the hypernetwork makes from it must solve the task.

        box_t   = e_t -+ gamma softmax(p_t)                               the task is told, or inferred
                = gamma/(2d) cos(e_t) -+ gamma/d                          "universal": all boxes overlap, whatever the e_t are
        Theta_t = bounds of H over box_t                                  a box of weights; c_t its centre
        loss    = kappa CE(f(x; c_t), y) + (1 - kappa) CE(worst over Theta_t, y)
                  + beta mean_{j != t} drift_j + fisher sum_{j != t} F_j . drift_j - volume mean log(radius of Theta_t / s + 1e-5)
        drift_j = (c_j - c_j*)^2, "universal": the mean of that of both ends and the centre; *: as the task began

    with F_j the diagonal Fisher information of the weights that answered for task j when it ended, and s the scale of each weight.

    gamma and volume rise from 0, and kappa falls from 1, in a line over the share `ramp` of a task's updates. What answers is
    f(x; c_t), or, "universal", f(x; H(e*)) for all tasks, with e* the centre of what all boxes have in common.

    The guarantee: when a task ends, `promise` keeps Theta_t. A sample that every network in Theta_t classifies correctly (a
    certified one) is classified correctly by whatever answers later, as long as that lies in Theta_t; whether it does is seen
    without data. Trained as above it mostly does not ("soft"), as H moves. With `hard` it always does: what answers for a task is
    moved into its Theta_t, weight by weight, and "universal", each new Theta_t is kept inside those of all earlier tasks.

    Args:
        setup: what every strategy is made from.
        infer: "none" where the task is told; "universal" for one network for all tasks, which must share their classes; "entropy",
            "energy", or "interval", entropy weighted by narrow bounds, for the network that is surest: no certificate covers that.
        gamma: sum of the radii of a box of embeddings.
        kappa: weight of the centre's loss at the end, in [0, 1].
        volume: how strongly wide boxes of weights are rewarded; the rest of the loss makes them narrower.
        beta: how strongly earlier outputs are held.
        hard: keep what answers inside the boxes of weights of earlier tasks.
        ramp: share of a task's updates in which gamma and kappa come to their values, in (0, 1].
        nesting: "cos" or "tanh", for "universal".
        embedding, hidden, chunk, chunk_embedding: of the hypernetwork (see `Hypernetwork`).
        fisher, samples: how strongly, beyond that, weighted by F_j, and training samples of a task that F_j is measured on.
        sampled: earlier tasks that are compared in an update; 0: all.
        lookahead: take the gradient of the drift after a step on the task's loss.
        warmup, decay: shares of a task's updates, at its start and end, in which the learning rate rises, and falls to 0.
        reference_compat: what the published code does, where this differs: see 1 to 4, and 7.

    Raises:
        OptionError: an option breaks its rule; a model that cannot be bounded.

    Logs:
        - ce: kappa times the cross-entropy of the centre.
        - hyperinterval/worst: (1 - kappa) times that of the worst network in the box, or less while that is large.
        - hyperinterval/drift: beta times the drift, from the second task on.
        - hyperinterval/fisher: fisher times its weighted sum, where that is asked for.
        - hyperinterval/volume: - volume times the mean log of the radii, where that is asked for.

    Example:
        >>> import clframe
        >>> options = {"model": "mlp(hidden=(50,))", "optimizer": "adam", "lr": 0.003, "epochs": 6, "batch_size": 32}
        >>> result = clframe.run("task-incremental", "hyperinterval(hard=True)", evaluate="boundaries", **options)
        >>> kept = result.certificates[result.certificates.name == "kept"].value
        >>> result.metrics.acc > 0.9, float(kept.min())
        (True, 1.0)

    Reference: Krukowski et al., "HINT: hypernetwork approach to training weight interval regions in continual learning" (first
        "HyperInterval"), 2024; its code, pkrukowski1/HyperInterval.

    Differences:
        1. The mean over earlier tasks is weighted by beta; there it is divided by their number a second time (reference_compat).
        2. kappa falls in a line; there by 5e-5 an update, and it jumps to its end at half time (reference_compat).
        3. The worst case is bounded over differences of logits; there the bounds of the logits are subtracted (reference_compat).
        4. The universal network is H(e*); there it is the centre of the bounds around e* with the full radius, which need not lie
           in any box (reference_compat).
        5. All layers are bounded soundly, convolutions and inputs of either sign, too; there, three networks stand in for bounds
           wherever a layer is not linear.
        6. The learning rate falls at the end of a task; there the best weights by validation accuracy, or training loss, are taken.
        7. The worst-case loss counts no more than 1 + that of the centre while it is larger (reference_compat), and the learning
           rate rises at the start of a task: else a task may begin with a worst case that leaves no unit of the target active.
        8. Chunks, weights by Fisher information, a reward for wide boxes, and hard containment, which there are no counterparts of.
    """

    inferences = ("none", "universal", "entropy", "energy", "interval")
    checked_on_touchy = "mlp(hidden=[24])"  # dropout and normalisation have no bounds while training

    def __init__(
        self,
        setup: Setup,
        *,
        infer: str = "none",
        gamma: float = 0.1,
        kappa: float = 0.5,
        volume: float = 0.0,
        beta: float = 0.01,
        hard: bool = False,
        ramp: float = 0.5,
        nesting: str = "cos",
        embedding: int = 24,
        hidden: Sequence[int] = (50, 50),
        chunk: int = 4000,
        chunk_embedding: int = 8,
        fisher: float = 0.0,
        samples: int = 256,
        sampled: int = 0,
        lookahead: bool = False,
        warmup: float = 0.1,
        decay: float = 0.5,
        reference_compat: bool = False,
    ) -> None:
        check_boxes(gamma, kappa, volume, ramp, nesting)
        sizes = (infer, embedding, hidden, chunk, chunk_embedding)
        super().__init__(setup, "hyperinterval", Options(*sizes, beta, fisher, samples, sampled, lookahead, warmup, decay))
        self.gamma, self.kappa, self.volume, self.hard, self.ramp = gamma, kappa, volume, hard, ramp
        self.nesting, self.reference_compat = nesting, reference_compat
        self.spread: dict[int, nn.Parameter] = {}
        self.promises = Promises(shared=infer == "universal")
        self._graphs: dict[int, fx.GraphModule] = {}
        refuse_unbounded(traced(self.target.train()))

    @property
    def risen(self) -> float:
        """How far gamma and kappa have come, in [0, 1]."""
        return min(1.0, self._steps / (self.ramp * self.updates)) if self._size else 0.0

    @property
    def weight_of_centre(self) -> float:
        """kappa now."""
        if self.reference_compat:
            return self.kappa if self._steps >= self.updates // 2 else max(1 - 5e-5 * self._steps, self.kappa)
        return 1 - (1 - self.kappa) * self.risen

    def box(self, task: int) -> Box:
        """The box of embeddings (d,) of a task, as large as it is now."""
        gamma = self.gamma * (self.risen if task == self._task else 1.0)
        if self.infer == "universal":
            return nested(self.embeddings[task], gamma, self.nesting)
        return Box.around(self.embeddings[task], radii(self.spread[task], gamma))

    def region(self, tasks: Sequence[int]) -> Box:
        """The boxes of weights (T, P) that the hypernetwork makes of the tasks' boxes of embeddings."""
        boxes = [self.box(t) for t in tasks]
        return self.net.bounds(torch.stack([b.centre for b in boxes]), torch.stack([b.radius for b in boxes]))

    def limit(self, task: int) -> Box | None:
        """What must hold the weights (P,) of this task, where containment is hard."""
        return self.promises.limit(task) if self.hard else None

    def aim(self) -> None:
        """The boxes of weights of the other tasks."""
        with torch.no_grad():
            self._goal = {t: self.region([t]) for t in self.others}

    def trained(self, task: int) -> list[nn.Parameter]:
        """The embedding, and the shape of its box where that is learned."""
        return [self.embeddings[task]] if self.infer == "universal" else [self.embeddings[task], self.spread[task]]

    def born(self, task: int) -> None:
        """An embedding, and equal radii."""
        super().born(task)
        self.spread[task] = nn.Parameter(torch.zeros_like(self.embeddings[task]))

    def fit(self) -> None:
        """At the centre of the first task's box."""
        (e,) = self.embeddings.values()
        centre = nested(e, self.gamma, self.nesting).centre if self.infer == "universal" else e
        self.net.fit(centre[None])

    def terms(self, batch: Batch) -> dict[str, Tensor]:
        """The loss of the centre, and that of the worst network in the box."""
        region, y = self._inside(self._task), self._output[batch.y]
        kappa, count, compat = self.weight_of_centre, len(self._classes[self._task]), self.reference_compat
        scores = functional_call(self.target.with_outputs(count), narrow(self.net.split(region.centre), count), (batch.x,))
        centre = classification_loss(scores, y, batch.weight, batch.mass)
        if kappa == 1:
            return {"ce": centre}
        worst = worst_loss(self._graph(count), batch.x, y, self._boxes(region, count), batch.weight, batch.mass, not compat)
        share = 1.0 if compat else ((1 + centre) / worst).detach().clamp(max=1.0)
        terms = {"ce": kappa * centre, "hyperinterval/worst": (1 - kappa) * share * worst}
        if self.volume:
            terms["hyperinterval/volume"] = -self.volume * self.risen * (region.radius / self.net.scale + 1e-5).log().mean()
        return terms

    def change(self, tasks: Sequence[int]) -> Tensor:
        """Of the centres; the mean of that of both ends and the centre, where one network is to lie in all boxes."""
        now = self.region(tasks)
        low, high = (torch.cat([getattr(self._goal[t], end) for t in tasks]) for end in ("lower", "upper"))
        centre = (now.centre - (low + high) / 2).square()
        ends = (now.lower - low).square() + (now.upper - high).square()
        return centre if self.infer != "universal" else (centre + ends) / 3

    def drift(self, tasks: Sequence[int]) -> dict[str, Tensor]:
        """Terms that hold what is put out for these tasks; in the published code, with beta over their number."""
        terms = super().drift(tasks)
        return {n: term / len(self.others) for n, term in terms.items()} if self.reference_compat else terms

    def make(self, task: int) -> dict[str, Tensor]:
        """c_t, or H(e*); inside the boxes that were promised, where containment is hard."""
        if self.infer != "universal":
            weights = self.region([task]).centre[0]
        elif self.reference_compat:
            star, each = self.universal(), self.gamma / self.net.embedding
            weights = self.net.bounds(star[None], torch.full_like(star, each)[None]).centre[0]
        else:
            weights = self.net(self.universal()[None])[0]
        limit = self.limit(task)
        return self.net.split(weights if limit is None else kept_inside(weights, limit))

    @torch.no_grad()
    def predict(self, x: Tensor, task: Tensor | None = None) -> Tensor:
        """Scores (B, C), each sample by the network of its task, by the one that is surest, or by the one for all."""
        if self.infer != "interval":
            return super().predict(x, task)
        scores, sure = (torch.stack([of(t, x) for t in self.embeddings]) for of in (self.scores_of, self.surety))
        return chosen(scores, sure)

    def surety(self, task: int, x: Tensor) -> Tensor:
        """How sure (B,) all networks in the box of a task are, taken together."""
        count = len(self._classes[task])
        return -weighted_entropy(propagate(self._graph(count), x, self._boxes(self._inside(task), count)).out)

    @torch.no_grad()
    def universal(self) -> Tensor:
        """e*, the centre of what all boxes of embeddings have in common."""
        return universal([self.box(t) for t in self.embeddings])

    def end(self, train: Train) -> None:
        """The task is over: its box of weights is a promise from now on."""
        super().end(train)
        with torch.no_grad():
            region = self._inside(self._task)
        self.promises.keep(self._task, Box(region.lower.clone(), region.upper.clone()))

    def promise(self, experience: int, task: int | None) -> Promise | None:
        """The box of weights of an experience's task and what answers for it now; None where the task is inferred, or not begun."""
        key = experience if task is None or self.infer != "none" else task
        if self.infer not in ("none", "universal") or key not in self.embeddings:
            return None
        count = len(self._classes[key])
        with torch.no_grad():
            region = self.promises.boxes[key] if key in self.promises.boxes else self._inside(self._task)
            deployed = {n: w.clone() for n, w in narrow(self.weights(key), count).items()}
        return Promise(self.target.with_outputs(count), self._boxes(region, count), deployed, self._classes[key])

    def _inside(self, task: int) -> Box:
        """The box of weights (P,) of a task as it is made now."""
        region, limit = self.region([task]), self.limit(task)
        low, high = region.lower[0], region.upper[0]
        return Box(low, high) if limit is None else Box(kept_inside(low, limit), kept_inside(high, limit))

    def _boxes(self, region: Box, outputs: int) -> dict[str, Box]:
        low, high = self.net.split(region.lower), self.net.split(region.upper)
        return narrow({name: Box(low[name], high[name]) for name in low}, outputs)

    def _graph(self, outputs: int) -> fx.GraphModule:
        if outputs not in self._graphs:
            self._graphs[outputs] = traced(self.target.with_outputs(outputs))
        return self._graphs[outputs]

    def passes(self, size: int, held: int) -> tuple[float, float]:
        """The box of a batch is counted as four passes of it, bounds of the hypernetwork as two."""
        return size * (5 if self.weight_of_centre < 1 else 1), 2 * (1 + held)

    def kept(self) -> object:
        """Promises and the shapes of boxes, too."""
        return [super().kept(), [p.detach() for p in self.spread.values()], self.promises.ends()]

    def state_dict(self) -> dict[str, Any]:
        """And the shapes of boxes, and what was promised."""
        spread = {t: p.detach().clone() for t, p in self.spread.items()}
        return {**super().state_dict(), "spread": spread, "promised": self.promises.ends()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Put back what `state_dict` returned."""
        self.spread = {t: nn.Parameter(p.to(self._device, copy=True)) for t, p in state["spread"].items()}
        self.promises.put_back(state["promised"], self._device)
        super().load_state_dict(state)

    def describe(self) -> Mapping[str, Any]:
        """Name and options, for the resolved spec."""
        return self.described("HyperInterval", "gamma", "kappa", "volume", "hard", "ramp", "nesting", "reference_compat")

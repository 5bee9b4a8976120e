"""Generative replay: what is recalled is made by a generator of the past."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor

from clframe.errors import bad_option
from clframe.models import vae
from clframe.seeding import generator as generator_of
from clframe.seeding import seeded
from clframe.strategies.part import Part, View
from clframe.strategies.replay import check_share, sharing
from clframe.strategies.synthetic import (
    Samples,
    balanced,
    chosen,
    effective_classes,
    moments,
    samples_of,
    variance,
)
from clframe.types import Batch, Train

if TYPE_CHECKING:
    from clframe.generations.policies import Scores
    from clframe.models import Network

UPDATE = 64
"""Samples of an update of a generator."""


class GenerativeReplay(Part):
    """Deep generative replay: what is recalled is made by a generator that was itself trained on what its predecessor made.

        new samples B of experience k:   loss = CE(B) / k + (1 - 1 / k) CE(R),   R = {(x', y')},  x' ~ G_{k-1}
        y' = argmax of the classifier at the end of experience k - 1, over the classes met;  or the class that G was told

        at the end of experience k:  G_k fitted to policy(D_k, S_1, ..., S_{k-1});   S_k = `size` samples of G_k, with labels

    with D_k the real samples of the experience and CE the mean cross-entropy. No real sample of the past is kept. So G_k learns the
    past from samples of earlier generators only: a loop that consumes its own output, whose memory S is managed by a policy of
    `clframe.generations`. "replace(allow_collapse=true)" is the published method: only the last generator's samples stand for the
    past. "accumulate" keeps those of all. What a policy takes no row of is forgotten; new data are not optional: where a policy
    takes none of D_k, all of it is added. Rows are weighted so that the past and the new data weigh what they have weighed in the
    stream, each task or class that the generator is told by itself (`balance`).

    G is a variational autoencoder of multilayer perceptrons over the flat inputs x, with a Gaussian likelihood whose one variance v
    is fitted, too; samples are draws from it, noise of variance v included. It is made for standardised inputs of any kind.

        loss_i = KL(q(z | x_i, c_i) || N(0, I)) - ln N(x_i; decoder(z, c_i), v I),   z ~ q(z | x_i, c_i)

    with c the task where it is revealed, and the class with `conditional`. Tasks and classes are drawn as often as they have come.

    Args:
        size: samples of each generator that are kept for the next ones.
        policy: what the next generator is fitted to: "accumulate", "replace(allow_collapse=true)", "accumulate-subsample",
            "fixed-real(share=0.5)", "golden", "sensitivity-subsample", or your own; see `clframe.generations.policies`.
        conditional: the generator is told classes, so that no classifier has to label what it makes.
        batch_size: samples to recall at each update; as many as the new batch by default.
        new_share: share of the loss that the new batch gets, in (0, 1); "1/k" in the k-th experience, so that every experience
            counts the same; or None: every sample does.
        balance: weight rows as above; false leaves the weights to the policy.
        epochs: passes over what a generator is fitted to.
        hidden: units of each of the two hidden layers of encoder and decoder.
        latent: numbers of z.
        lr: learning rate of Adam, which fits the generators in batches of 64.

    Raises:
        OptionError: an option out of range, an unknown policy, or one that collapses and is not allowed to.
        DataError: inputs that are not real numbers, or do not vary.
        DivergedError: a generator's loss is no longer finite.

    Logs:
        - ce: the weighted mean of the cross-entropy over new and recalled samples.
        - generative-replay/kept: share of the recalled samples that the network answers as they are labelled.
        - generative-replay/rows: once an experience, of the generator at hand: rows that it was fitted to.
        - generative-replay/real_share: share of their weight that was on real rows.
        - generative-replay/loss: its loss on the real samples that it was fitted to, with z the mean of q, in nats a number.
        - generative-replay/variance: trace of the covariance of `size` of its samples, over that of all real samples so far.
        - generative-replay/classes: exp of the entropy of their labels: the number of equally frequent classes.

    Example:
        >>> import clframe
        >>> words = "generative-replay(conditional=true,hidden=50,size=200,epochs=5)"
        >>> result = clframe.run("split-digits", words, evaluate="boundaries")
        >>> "generative-replay/variance" in set(result.terms.term)
        True

    Reference: Shin, Lee, Kim and Kim, "Continual learning with deep generative replay", NeurIPS 2017, equation 1. The VAE in its
        place, the shares and the conditional generator: van de Ven, Siegelmann and Tolias, "Brain-inspired replay for continual
        learning with artificial neural networks", Nature Communications 11, 2020. The policies: Gerstgrasser et al., "Is model
        collapse inevitable?", COLM 2024.
    Differences:
        1. A variational autoencoder instead of a WGAN-GP, fitted anew for each experience instead of going on.
        2. The policies. The paper draws the samples of the past for G_k from G_{k-1} while it is fitted; here they are `size` rows,
           drawn once. None of the policies but replace is published for this purpose.
        3. Labels are the classifier's answers, not its distribution: `lwf` beside it distils. Answers are those of the linear head,
           among classes met.
        4. The weights of `balance`; the paper's generator sees what its predecessor makes, in its proportions.
        5. With separate heads a generated sample has a task, which the generator was told; van de Ven et al. ask all earlier heads.
        6. A pass through a generator counts in the budget as one through the network.
    """

    name = "generative-replay"
    requires = frozenset({"boundaries"})
    grows = frozenset({"experiences"})

    def __init__(
        self,
        size: int = 1000,
        policy: str = "accumulate",
        conditional: bool = False,
        batch_size: int | None = None,
        new_share: float | Literal["1/k"] | None = "1/k",
        balance: bool = True,
        epochs: int = 20,
        hidden: int = 200,
        latent: int = 20,
        lr: float = 1e-3,
    ) -> None:
        from clframe.generations.policies import policy as policy_of

        for option, value in {"size": size, "batch_size": batch_size, "epochs": epochs, "hidden": hidden, "latent": latent}.items():
            if value is not None and value < 1:
                raise bad_option(option, "a positive integer", value, "Leave it out.")
        if not lr > 0:
            raise bad_option("lr", "positive", lr, "Give lr=0.001.")
        check_share(new_share)
        self.size, self.policy, self.conditional, self.batch_size = size, policy, conditional, batch_size
        self.new_share, self.balance = new_share, balance
        self.epochs, self.hidden, self.latent, self.lr = epochs, hidden, latent, lr
        self._choose = policy_of(policy)
        self.needs_head = not conditional
        self.state = ("weights", "shards", "seen", "sums", "measures") + (() if conditional else ("teacher",))
        self.weights: dict[str, Tensor] = {}
        self.shards: list[dict[str, Tensor]] = []
        self.measures: dict[str, float] = {}
        self.seen, self.sums = torch.zeros(0, 3, dtype=torch.float64), torch.zeros(0, dtype=torch.float64)
        self._net: vae.VAE | None = None

    def bind(self, model: Network, generator: torch.Generator) -> None:
        """The old classifier has the model's shape from the start; its weights count once there is something to label."""
        super().bind(model, generator)
        if not self.conditional:
            self.teacher = copy.deepcopy(model).requires_grad_(False).eval()

    def begin(self, train: Train) -> None:
        """The k-th experience."""
        self._share = 1.0 / (1 + (train.experience or 0)) if self.new_share == "1/k" else self.new_share

    def recall(self, batch: Batch) -> Batch | None:
        """New samples of the generator of all that came before, with labels."""
        if not self.weights:
            return None
        made = self._made(self.batch_size or len(batch), batch.x.shape[1:])
        device = batch.x.device
        task = None if batch.task is None else made.task.to(device)
        x, index = made.x.to(device).reshape(-1, *batch.x.shape[1:]), torch.full((len(made),), -1)
        return sharing(batch, Batch(x, made.y.to(device), index, task=task), self._share)

    def absorb(self, view: View) -> Mapping[str, Tensor]:
        """How well the old classifier's answers are kept; with the first update that recalls, also how the generator is."""
        rows = view.groups.get(self.name)
        if rows is None:
            return {}
        kept = (view.logits[rows].detach().argmax(1) == view.batch.y[rows]).float().mean()
        found, self.measures = {name: kept.new_tensor(value) for name, value in self.measures.items()}, {}
        return {"kept": kept, **found}

    def end(self, train: Train) -> None:
        """Fit the next generator to what the policy chooses; keep samples of it for the ones to come."""
        new = samples_of(train)
        before = self._groups()[1]
        self._count(new)
        past = torch.zeros(len(self._groups()[1]), dtype=torch.float64)
        past[: len(before)] = before
        kept = [Samples(**one) for one in self.shards]
        rows, real, used = chosen(self._choose, kept, new, self._seed(), self._scores([*kept, new]))
        group = self._told(rows, len(past)).argmax(1)
        weight = balanced(rows.weight, group, real, past, self._groups()[1] - past) if self.balance else rows.weight
        self._fit(rows, weight)
        if not self.conditional:
            self.teacher.load_state_dict(self.model.state_dict())
        shape = next(iter(train.batches(1))).x.shape[1:]
        made = self._made(self.size, shape)
        self.shards = [self.shards[k] for k in used] + [made.plain()]
        self.measures = self._measured(new, made, len(rows), float(weight[real].sum() / weight.sum()))

    def _count(self, new: Samples) -> None:
        """Count the samples of each task and class; what came first stays first, as the generators were told by position."""
        known = {(int(t), int(c)): float(n) for t, c, n in self.seen.tolist()}
        for t, c, w in zip(new.task.tolist(), new.y.tolist(), new.weight.tolist(), strict=True):
            known[t, c] = known.get((t, c), 0.0) + w
        self.seen = torch.tensor([[t, c, n] for (t, c), n in known.items()], dtype=torch.float64)
        sums = moments(new.x, new.weight)
        self.sums = self.sums + sums if len(self.sums) else sums

    def _groups(self) -> tuple[Tensor, Tensor]:
        """What the generator is told apart, as numbers (G,), and the weight of each (G,): tasks, or classes of tasks."""
        keys = self._keys(self.seen[:, 0].long(), self.seen[:, 1].long()).tolist()
        mass = dict.fromkeys(keys, 0.0)
        for key, n in zip(keys, self.seen[:, 2].tolist(), strict=True):
            mass[key] += n
        return torch.tensor(list(mass)), torch.tensor(list(mass.values()), dtype=torch.float64)

    def _keys(self, task: Tensor, y: Tensor) -> Tensor:
        return (task + 1) * self.model.num_classes + (y if self.conditional else 0)

    def _told(self, some: Samples, width: int) -> Tensor:
        """One-hot (n, width); zeros for what the generator was never told."""
        return (self._keys(some.task, some.y)[:, None] == self._groups()[0][None, :width]).float()

    def _network(self) -> vae.VAE:
        if self._net is None:
            device = next(self.model.parameters()).device
            self._net = vae.rebuilt(self.weights, "gaussian").to(device)
        return self._net

    @torch.no_grad()
    def _made(self, count: int, shape: torch.Size) -> Samples:
        """New samples with their labels."""
        net, (keys, mass) = self._network(), self._groups()
        group = torch.multinomial(mass, count, replacement=True, generator=self.generator)
        z, noise = (torch.randn(count, numbers, generator=self.generator) for numbers in (net.latent, net.inputs))
        told = torch.nn.functional.one_hot(group, len(keys)).float()
        device = net.variance.device
        x = net.decode(z.to(device), told.to(device)) + net.variance.sqrt() * noise.to(device)
        task = keys[group] // self.model.num_classes - 1
        y = keys[group] % self.model.num_classes if self.conditional else self._labelled(x.reshape(-1, *shape), task)
        return Samples(x.cpu(), y, task, torch.ones(count, dtype=torch.float64))

    def _labelled(self, x: Tensor, task: Tensor) -> Tensor:
        """What the old classifier answers, among the classes that it has met (n,)."""
        told = task.to(x.device) if int(task.min()) >= 0 else None
        met = torch.zeros(self.model.num_classes, dtype=torch.bool)
        met[self.seen[:, 1].long()] = True
        self.forwards += len(x)
        scores: Tensor = self.teacher(x, told).cpu()
        return scores.masked_fill(~met, -torch.inf).argmax(1)

    def _seed(self) -> int:
        return int(torch.randint(2**62, (), generator=self.generator))

    def _fit(self, rows: Samples, weight: Tensor) -> None:
        seed, device = self._seed(), next(self.model.parameters()).device
        width = len(self._groups()[0])
        x, told = rows.x.to(device), self._told(rows, width).to(device)
        mass = (weight / weight.mean()).float().to(device)
        with torch.enable_grad():
            with seeded(seed, "weights"):
                net = vae.VAE(x.shape[1], width, self.hidden, self.latent, "gaussian").to(device)
            random = generator_of(seed, "fit")
            vae.fit(net, lambda i: (x[i], told[i]), mass, epochs=self.epochs, batch=UPDATE, lr=self.lr, random=random)
        self.forwards += self.epochs * len(x)
        self.backwards += self.epochs * len(x)
        self._net, self.weights = net, net.state_dict()

    @torch.no_grad()
    def _scores(self, some: list[Samples]) -> Scores | None:
        """What the last generator says of all rows, for policies that ask."""
        from clframe.generations.policies import Scores

        if not self._choose.needs_scores or not self.weights:
            return None
        net = self._network()
        told = [(one.x.to(net.variance.device), self._told(one, net.told).to(net.variance.device)) for one in some]
        embedding = torch.cat([net.encode(*pair)[0] for pair in told]).cpu().numpy()
        loss = torch.cat([net(*pair, None) for pair in told]).double().cpu().numpy()
        return Scores(embedding, loss)

    @torch.no_grad()
    def _measured(self, new: Samples, made: Samples, rows: int, real_share: float) -> dict[str, float]:
        net = self._network()
        device = net.variance.device
        loss = net(new.x.to(device), self._told(new, net.told).to(device), None).mean() / net.inputs
        return {
            "rows": float(rows),
            "real_share": real_share,
            "loss": float(loss),
            "variance": variance(moments(made.x, made.weight)) / variance(self.sums),
            "classes": effective_classes(made.y),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Put back what `state_dict` returned."""
        super().load_state_dict(state)
        self._net = None

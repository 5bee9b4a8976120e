"""Learning without forgetting."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch
from torch.nn import functional

from clframe.errors import bad_option
from clframe.strategies.part import Part, View
from clframe.types import Train

if TYPE_CHECKING:
    from torch import Tensor

    from clframe.models import Network


class LwF(Part):
    """LwF: the new samples' scores for old classes stay near those of the model at the end of the last experience.

        penalty = strength * mean_x KL( softmax(t_old(x) / T) || softmax(s_old(x) / T) )

    with teacher scores t, student scores s, both restricted to the classes seen before (and renormalised), temperature T.
    With separate heads the penalty is the sum over the heads of earlier tasks, each over its own classes.

    Args:
        strength: weight of the penalty, lambda.
        temperature: T.
        squared: multiply by T^2, so that the gradient does not shrink as T grows.

    Raises:
        OptionError: a negative strength or a temperature that is not positive.

    Logs:
        - lwf/kd: the penalty

    Example:
        >>> import clframe
        >>> result = clframe.run("split-digits", "lwf(strength=2)")
        >>> sorted(result.terms.term.unique())
        ['ce', 'lwf/kd']

    Reference: Li and Hoiem, "Learning without forgetting", 2016, equations 2 and 3.
    Differences:
        1. The divergence instead of the cross-entropy: the same gradient, and 0 when nothing was lost.
        2. De Lange et al.'s code does not renormalise over the old classes and forces the penalty to 0 on the first update,
           where it is 0 here by itself.
        3. The published method has a warm-up of the new head, and weight decay; here that is the user's optimizer.
        4. `squared` is Hinton et al.'s factor (2015); the paper, Avalanche and De Lange et al.'s code have none. Avalanche keeps
           the old model in training mode, so that dropout draws and the statistics of batch normalisation move.
    """

    name = "lwf"
    needs_head = True
    state = ("teacher", "questions")
    requires = frozenset({"boundaries", "classes"})

    def __init__(self, strength: float = 1.0, temperature: float = 2.0, squared: bool = False) -> None:
        if not strength >= 0:
            raise bad_option("strength", "zero or positive", strength, "Give strength=1.0.")
        if not temperature > 0:
            raise bad_option("temperature", "positive", temperature, "Give temperature=2.0.")
        self.strength, self.temperature, self.squared = strength, temperature, squared
        self.questions: list[list[int]] = []

    def bind(self, model: Network, generator: torch.Generator) -> None:
        """The teacher has the model's shape from the start; its weights count once there is something to teach."""
        super().bind(model, generator)
        self.teacher = copy.deepcopy(model).requires_grad_(False).eval()

    def penalty(self, view: View) -> Mapping[str, Tensor]:
        """The distillation term, over the new samples."""
        if not self.questions:
            return {}
        x, features = view.batch.x[view.new], view.features[view.new]
        with torch.no_grad():
            taught = self.teacher.features(x)
        self.forwards += len(x)
        scale = self.strength * (self.temperature**2 if self.squared else 1.0)
        total = torch.zeros((), device=x.device)
        for task, *classes in self.questions:
            asked = torch.full((len(x),), task, device=x.device) if task >= 0 else None
            with torch.no_grad():
                target = (self.teacher.head(taught, asked)[:, classes] / self.temperature).log_softmax(1)
            answer = (self.model.head(features, asked)[:, classes] / self.temperature).log_softmax(1)
            total = total + functional.kl_div(answer, target, reduction="batchmean", log_target=True)
        return {"kd": scale * total}

    def end(self, train: Train) -> None:
        """The model becomes the teacher; the classes just learned become old. A question is [task or -1, class, ...]."""
        assert train.classes is not None
        self.teacher.load_state_dict(self.model.state_dict())
        task = train.task if train.task is not None else -1
        known = {question[0]: set(question[1:]) for question in self.questions}
        known[task] = known.get(task, set()) | set(train.classes)
        self.questions = [[t, *sorted(classes)] for t, classes in sorted(known.items())]

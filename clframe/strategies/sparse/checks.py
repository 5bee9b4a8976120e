"""What a network must be for a subnet of its own for every task."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import nn

from clframe.errors import bad_option
from clframe.models import Head, Network
from clframe.models.norms import WEIGHTED

if TYPE_CHECKING:
    from torch import Tensor


def maskable(model: Network) -> dict[str, Tensor]:
    """The weights of the backbone's Linear and Conv layers, by name."""
    return {f"backbone.{n}.weight": m.weight for n, m in model.backbone.named_modules() if isinstance(m, WEIGHTED)}


def check_head(model: Network, name: str, told: bool) -> Head:
    """The head, if it has rows of its own for each task where the task is told, and one row a class where it is not.

    Raises:
        OptionError: it has not.
    """
    head = model.head
    if isinstance(head, Head) and (head.kind == "multi") is told:
        return head
    rule = f"'multi' for {name!r} where the task is told" if told else f"'single' for {name!r} that infers the task"
    remedy = "Leave it out; a task-incremental stream tells the task, any other needs infer=entropy where the method has it."
    raise bad_option("head", rule, getattr(head, "kind", "none"), remedy)


def check_weights(weights: dict[str, Tensor], model: Network, name: str) -> None:
    """There are masked weights, each is a parameter of its own, and no two layers share one.

    Raises:
        OptionError: there are none, or one is shared or computed.
    """
    kind = type(model.backbone).__name__
    if not weights:
        raise bad_option("model", f"one with Linear or Conv layers for {name!r}", kind, "Give 'mlp'.")
    computed = [n for n, w in weights.items() if not isinstance(w, nn.Parameter)]
    if computed:
        rule = f"one whose weights are plain parameters for {name!r}"
        raise bad_option("model", rule, f"{kind}, where {computed[0]} is computed", "Take the parametrisation away.")
    names: dict[int, str] = {}
    for n, p in model.named_parameters(remove_duplicate=False):
        if id(p) in names:
            rule = f"one in which no two layers share a parameter for {name!r}"
            raise bad_option("model", rule, f"{kind}, where {n} is {names[id(p)]}", "Give each layer its own.")
        names[id(p)] = n

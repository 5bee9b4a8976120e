"""Normalize-and-project."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import torch

from clframe.errors import CompositionError, bad_option, unknown_name
from clframe.models.norms import WEIGHTED, Weighted, scale_invariant
from clframe.strategies.part import Part, View

if TYPE_CHECKING:
    from torch import Tensor, nn

    from clframe.models import Network


class NaP(Part):
    """NaP: weights that a normalisation follows keep the norms that they were initialised with.

    Such weights are scale invariant: f(c W) = f(W) and grad(c W) = grad(W) / c. As the gradient is orthogonal to W, every step
    of SGD makes W longer, and a step turns it by less and less: the effective learning rate falls though nobody lowered it.

        W_l <- W_l rho_l / |W_l|,   rho_l = |W_l| at the start      every k updates, for every layer l
        effective-lr = mean_l lr / |W_l|^2

    with |.| the Frobenius norm. The layers are the linear and convolutional ones of the backbone whose output goes into
    normalisation and nowhere else, wherever the backbone computes them and whatever they are called. The bias of a layer is
    multiplied by the same factor as its weight, and the running mean (variance) of a batch normalisation after it by the factor
    (its square), so that projecting changes no output, neither in training nor in evaluation.

    A backbone without normalisation has nothing to project: give it some before every nonlinearity, as in model
    "mlp(norm=layer)" or "cnn(norm=layer)"; the ResNets have batch normalisation. Switch weight decay off, since it would only
    be projected away. With projecting=False nothing is written, and the same quantities are logged, for comparison.

    Args:
        every: k, updates between two projections.
        projecting: False only measures.
        layers: names of the layers in the backbone, such as ("layers.0", "layers.3"), taken at your word instead of those found.

    Raises:
        OptionError: an `every` below 1, a name in `layers` that is no linear or convolutional layer, or a layer of zeros.
        CompositionError: the backbone has no layer that is followed by normalisation, or its forward cannot be traced.

    Logs:
        - nap/effective-lr: mean over the layers of lr / |W_l|^2, after the update.
        - nap/norm: mean over the layers of |W_l|, after the update.

    Example:
        >>> import clframe
        >>> from clframe.strategies import NaP
        >>> result = clframe.run("split-digits", [NaP()], model="mlp(norm=layer)")
        >>> rates = result.terms.query("term == 'nap/effective-lr'").value
        >>> bool(rates.max() - rates.min() < 1e-5 * rates.max())
        True

    Reference: Lyle et al., "Normalization and effective learning rates in reinforcement learning", 2024.

    Differences:
        1. The scale and offset of a normalisation are trained and not projected; the paper offers to project, to regularise or
           to drop them.
        2. The head is not projected.
        3. The bias and the running statistics are rescaled with the weight. The paper's layers have no bias, and nor do those of
           the models of clframe with a `norm`.
        4. Public code (Plasticine) chooses by the names of parameters, and so may project a normalisation's own scale; here
           the type of a layer and what follows it decide.
        5. lr / |W|^2 is the effective rate of SGD; the relative step of Adam is of the order lr / |W|.
    """

    name = "nap"
    state = ("target", "updates")
    checked_on = "mlp(hidden=[24],norm=layer)"  # the conformance suite's own network has nothing to project

    def __init__(self, every: int = 1, projecting: bool = True, layers: Sequence[str] | None = None) -> None:
        if every < 1:
            raise bad_option("every", "a positive integer", every, "Give every=1.")
        self.every, self.projecting, self.layers = every, projecting, layers
        self.updates = 0

    def bind(self, model: Network, generator: torch.Generator) -> None:
        """Find the layers, and note their norms."""
        super().bind(model, generator)
        group = {id(p): i for i, g in enumerate(self.optimizer.param_groups) for p in g["params"]}
        found = scale_invariant(model.backbone) if self.layers is None else _named(model.backbone, self.layers)
        found = [(layer, norms) for layer, norms in found if id(layer.weight) in group and layer.weight.requires_grad]
        if not found:
            raise CompositionError(
                f"'nap' needs a linear or convolutional layer with normalisation right after it; {type(model.backbone).__name__} "
                "has none that is trained, so there is nothing to project. Use a model that has, such as 'mlp(norm=layer)'."
            )
        self._weights: list[Tensor] = [layer.weight for layer, _ in found]
        self._group = [group[id(layer.weight)] for layer, _ in found]
        self._carried = [(i, power, t) for i, (layer, norms) in enumerate(found) for power, t in _carried(layer, norms)]
        self.target = self._norms()
        if not bool((self.target > 0).all()):
            raise bad_option("layers", "of weights that are not all zero", 0.0, "Initialise them, or leave them out.")

    def constrain(self, view: View) -> None:
        """Back onto the spheres, when it is time."""
        self.updates += 1
        if not self.projecting or self.updates % self.every:
            return
        factor = self.target / self._norms()
        torch._foreach_mul_(self._weights, list(factor.unbind()))
        for i, power, tensor in self._carried:
            tensor.mul_(factor[i] ** power)

    def absorb(self, view: View) -> Mapping[str, Tensor]:
        """The effective learning rate and the norms."""
        norms, groups = self._norms(), self.optimizer.param_groups
        rates = torch.tensor([float(groups[i]["lr"]) for i in self._group], dtype=norms.dtype).to(norms.device)
        return {"effective-lr": (rates / norms.square()).mean(), "norm": norms.mean()}

    @torch.no_grad()
    def _norms(self) -> Tensor:
        return torch.stack(torch._foreach_norm(self._weights))


def _named(backbone: nn.Module, names: Sequence[str]) -> list[tuple[Weighted, list[nn.Module]]]:
    """The layers with these names."""
    known = {name: layer for name, layer in backbone.named_modules() if isinstance(layer, WEIGHTED)}
    for name in names:
        if name not in known:
            raise unknown_name("layer of 'nap'", name, known)
    return [(known[name], []) for name in dict.fromkeys(names)]


def _carried(layer: Weighted, norms: list[nn.Module]) -> list[tuple[int, Tensor]]:
    """What must be rescaled with the weight, and by which power of its factor."""
    found: list[tuple[int, Tensor | None]] = [(1, layer.bias)]
    for norm in norms:
        found += [(1, getattr(norm, "running_mean", None)), (2, getattr(norm, "running_var", None))]
    return [(power, t) for power, t in found if t is not None]

"""Progressive heads."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal

import torch

from clframe.errors import bad_option
from clframe.models import Head
from clframe.strategies.part import Part, View
from clframe.types import Train

if TYPE_CHECKING:
    from torch import Tensor

    from clframe.models import Network


class Progressive(Part):
    """Progressive heads: an experience trains the rows of the head of its own classes, and no other row ever moves.

    Rows of classes that earlier experiences learned stay exactly as these left them, and rows of classes still to come as they
    were initialised, whatever momentum, weight decay or another part's term would do to them.

        theta <- optimizer(theta, g)
        w_r, b_r <- as they were      for every row r but those of the classes of this experience

    With `backbone` "frozen", the backbone too is put back after every update from the second experience on, running statistics
    included: what the first experience learned are the features, and scores of old classes never change again, bit for bit.

    This is the head of three families. With a head for each task ("multi", which task-incremental streams get by default) and
    a trained backbone it is the usual multi-head training, made exact under momentum and weight decay; with a frozen one, the
    fine-tuning of new heads that Progressive Networks are compared with: these add a column of new layers for each task, fed by
    lateral connections from the frozen ones, where here only the head grows. With one head for all classes ("single") and a
    part that recalls, it is one of the four ingredients of SGM: old output weights stay frozen while old samples are rehearsed.

    Args:
        backbone: "trained", or "frozen" after the first experience.

    Raises:
        OptionError: an unknown `backbone`, or a model with head "none", which has no rows.

    Logs: nothing of its own.

    Example:
        >>> import clframe
        >>> result = clframe.run("split-digits", "er+progressive(backbone=frozen)", head="cosine")
        >>> sorted(result.terms.term.unique())
        ['ce']

    Reference: Rusu et al., "Progressive neural networks", 2016, section 2 and its baselines; Harun and Kanan, "Overcoming the
        stability gap in continual learning", 2024, for old output weights that stay frozen.

    Differences:
        1. No columns and no lateral connections (Rusu et al.); no initialisation of new rows by class means, no soft targets and
           no low-rank adapters (Harun and Kanan).
        2. A class that comes back with a later experience is trained again there; with a head for each task it has another row.
        3. What all rows share, the scale of head "cosine", is trained in the first experience only.
        4. A frozen backbone with batch normalisation or dropout still trains by the statistics of the batch, and drops; it is
           its function in evaluation that does not change.
    """

    name = "progressive"
    state = ("statistics",)
    requires = frozenset({"boundaries", "classes"})

    def __init__(self, backbone: Literal["trained", "frozen"] = "trained") -> None:
        if backbone not in ("trained", "frozen"):
            raise bad_option("backbone", "'trained' or 'frozen'", backbone, "Give backbone='trained'.")
        self.backbone = backbone
        self.statistics: list[Tensor] = []

    def bind(self, model: Network, generator: torch.Generator) -> None:
        """There must be rows."""
        super().bind(model, generator)
        if not isinstance(model.head, Head):
            raise bad_option("head", "one with a row for each class", model.head.kind, "Give head='single'.")
        self._head = model.head

    def begin(self, train: Train) -> None:
        """Other rows are trained from now on. A forward pass already moves running statistics, so these are noted here."""
        self._classes, self._task, self._later = train.classes, train.task, train.experience != 0
        body = self.model.backbone
        frozen = self._later and self.backbone == "frozen"
        self._body: list[Tensor] = list(body.parameters()) if frozen else []
        self._buffers: list[Tensor] = list(body.buffers()) if frozen else []
        self.statistics = [b.clone() for b in self._buffers]
        self._fixed: list[Tensor] | None = None

    def penalty(self, view: View) -> Mapping[str, Tensor]:
        """No term; before the first update, a copy of what will not move in this experience."""
        if self._fixed is None:
            head, self._others = self._head, self._rows_of_others()
            self._rows: list[Tensor] = [head.weight] if head.bias is None else [head.weight, head.bias]
            self._whole = [*self._body, head.scale] if self._later and head.scale is not None else self._body
            self._fixed = [t.detach()[self._others] for t in self._rows] + [t.detach().clone() for t in self._whole]
        return {}

    def constrain(self, view: View) -> None:
        """Put back what must not move."""
        assert self._fixed is not None
        for rows, kept in zip(self._rows, self._fixed, strict=False):
            rows.index_copy_(0, self._others, kept)
        if self._whole:
            torch._foreach_copy_(self._whole, self._fixed[len(self._rows) :])
        for buffer, kept in zip(self._buffers, self.statistics, strict=True):
            buffer.copy_(kept)

    def _rows_of_others(self) -> Tensor:
        """The rows that are not of this experience's classes."""
        table = self._head.table
        assert self._classes is not None
        own = table[self._task or 0 if self._head.kind == "multi" else 0, list(self._classes)]
        other = torch.ones(len(self._head.weight), dtype=torch.bool, device=table.device)
        other[own] = False
        return other.nonzero().flatten()

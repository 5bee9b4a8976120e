"""Random draws with given probabilities, decided the same whoever does the blocks."""

from clframe.selection.draws.draw import Draw
from clframe.selection.draws.scores import Scores
from clframe.selection.draws.with_replacement import iid
from clframe.selection.draws.without_replacement import systematic

__all__ = ["Draw", "Scores", "iid", "systematic"]

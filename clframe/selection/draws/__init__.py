"""Random draws with given probabilities, decided the same whoever does the blocks."""

from clframe.selection.draws.draw import Draw
from clframe.selection.draws.iid import iid
from clframe.selection.draws.scores import Scores
from clframe.selection.draws.systematic import systematic

__all__ = ["Draw", "Scores", "iid", "systematic"]

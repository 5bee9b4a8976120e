"""Where the real data of a study comes from: a data set, a text file, or a distribution whose theory is known."""

from __future__ import annotations

import gzip
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, final

import numpy as np
import numpy.typing as npt

from clframe import registry
from clframe.data.hashing import fingerprint, spaced
from clframe.errors import DataError, bad_option
from clframe.generations.generators.interface import Columns, rows_of
from clframe.seeding import rng

TEXTS = (".txt", ".txt.gz", ".md")
HELD_OUT = 1000
"""Rows that are held out by default, at most; of a text the last tenth, at most as many."""


@final
@dataclass(frozen=True)
class Real:
    """Real data: what the first generation trains on, and what every generation is measured on.

    Attributes:
        train: rows by column.
        heldout: others, never trained on.
        facts: what theory needs to know, such as dimensions and sigma.
    """

    train: Columns
    heldout: Columns
    facts: Mapping[str, float] = field(default_factory=dict)

    def fingerprint(self) -> str:
        """A hash of all of it."""
        return fingerprint(*(piece for part in (self.train, self.heldout) for name in sorted(part) for piece in (name, part[name])))


@dataclass(frozen=True)
class Normal:
    """Standard normal rows (n, d): data for `gaussian`.

    Example:
        >>> made = Normal(d=2)(3, 5, seed=0, data_dir=None)
        >>> made.train["x"].shape, made.heldout["x"].shape
        ((3, 2), (5, 2))
    """

    d: int = 1

    def __call__(self, rows: int, heldout: int, seed: int, data_dir: str | None) -> Real:
        """Draw."""
        random, n = rng(seed, "normal"), rows or 100
        x = random.normal(size=(n, self.d))
        return Real({"x": x}, {"x": random.normal(size=(heldout or HELD_OUT, self.d))}, {"dimensions": self.d})


@dataclass(frozen=True)
class LinearModel:
    """y = x'w + sigma e with standard normal x and w; the held-out targets have no noise, so the loss is (x'(w_n - w))^2.

    Example:
        >>> made = LinearModel(d=2)(3, 5, seed=0, data_dir=None)
        >>> made.train["y"].shape, dict(made.facts)
        ((3,), {'dimensions': 2, 'sigma': 1.0})
    """

    d: int = 10
    sigma: float = 1.0

    def __call__(self, rows: int, heldout: int, seed: int, data_dir: str | None) -> Real:
        """Draw."""
        random, n = rng(seed, "linear-model"), rows or 100
        w, x, far = random.normal(size=self.d), random.normal(size=(n, self.d)), random.normal(size=(heldout or HELD_OUT, self.d))
        train = {"x": x, "y": x @ w + self.sigma * random.normal(size=n)}
        return Real(train, {"x": far, "y": far @ w}, {"dimensions": self.d, "sigma": self.sigma})


@dataclass(frozen=True)
class Moons:
    """scikit-learn's two half circles (n, 2), with their labels: data for `kernel-density`.

    Example:
        >>> Moons()(4, 4, seed=0, data_dir=None).train["label"].shape
        (4,)
    """

    noise: float = 0.1

    def __call__(self, rows: int, heldout: int, seed: int, data_dir: str | None) -> Real:
        """Draw."""
        from sklearn.datasets import make_moons

        n = rows or 500
        state = int(rng(seed, "moons").integers(2**31))
        x, label = make_moons(n + (heldout or HELD_OUT), noise=self.noise, random_state=state)
        return Real({"x": x[:n], "label": label[:n]}, {"x": x[n:], "label": label[n:]}, {"dimensions": 2})


@dataclass(frozen=True)
class Text:
    """A text file, cut at ends of lines into pieces of about `letters` characters; the last tenth is held out.

    Example:
        >>> from tempfile import mkdtemp
        >>> place = Path(mkdtemp()) / "a.txt"
        >>> _ = place.write_text("a line of text\\n" * 40)
        >>> made = Text(str(place), letters=30)(0, 0, seed=0, data_dir=None)
        >>> len(made.train["text"]), len(made.heldout["text"])
        (18, 2)
    """

    path: str
    letters: int = 256

    def __call__(self, rows: int, heldout: int, seed: int, data_dir: str | None) -> Real:
        """Read."""
        pieces = _pieces(_text(self.path), self.letters)
        cut = len(pieces) - max(1, len(pieces) // 10)
        if cut < 1:
            raise DataError(f"{self.path} must be longer than {2 * self.letters} characters; it is one piece. Take a longer text.")
        train, held = np.array(pieces[:cut]), np.array(pieces[cut:])
        return Real({"text": _some(train, rows, seed, "train")}, {"text": _some(held, heldout or HELD_OUT, 0, "heldout")})


@dataclass(frozen=True)
class Named:
    """A data set of clframe; images as whole numbers from 0 to 255, (n, h, w) or (n, h, w, 3), anything else as it is, with labels.

    Example:
        >>> made = Named("digits")(100, 50, seed=0, data_dir=None)
        >>> made.train["x"].shape, str(made.train["x"].dtype), made.heldout["label"].shape
        ((100, 8, 8), 'uint8', (50,))
    """

    name: str

    def __call__(self, rows: int, heldout: int, seed: int, data_dir: str | None) -> Real:
        """Read."""
        from clframe.data import load

        found = load(self.name, data_dir, standardise=False)
        ids = _some(np.arange(len(found.train)), rows, seed, "train")
        held = _some(np.arange(len(found.test)), heldout or HELD_OUT, 0, "heldout")
        top = _top(found.train)
        return Real(_columns(found.train, ids, top), _columns(found.test, held, top))


def source(words: str) -> Any:
    """What makes the real data: called with (rows, heldout, seed, data_dir), where 0 rows are all or the usual number.

    Args:
        words: "normal(d=1)", "linear-model(d=10,sigma=1)", "moons(noise=0.1)", "text(path=FILE,letters=256)", a text file,
            or a data set of clframe.

    Raises:
        OptionError: an unknown option.

    Example:
        >>> source("normal(d=3)"), source("tales.txt")
        (Normal(d=3), Text(path='tales.txt', letters=256))
    """
    name, options = registry.parse(words)
    made = {"normal": Normal, "linear-model": LinearModel, "moons": Moons, "text": Text}
    if name in made:
        return registry.call("data", name, made[name], options)
    if name.endswith(TEXTS):
        return Text(name, **options)  # type: ignore[arg-type]
    if options:
        raise bad_option("data", "a data set without options", words, f"Write data: {name}.")
    return Named(name)


def _some(values: npt.NDArray[Any], count: int, seed: int, part: str) -> npt.NDArray[Any]:
    """So many of them, drawn at random, in their order; all for 0.

    Raises:
        OptionError: there are not so many.
    """
    if count > len(values) and part == "train":
        raise bad_option("rows", f"at most the {len(values):,} that the data has for training", count, "Give fewer rows.")
    if not count or count >= len(values):
        return values
    return values[np.sort(rng(seed, "source", part).choice(len(values), count, replace=False))]


def _text(path: str) -> str:
    try:
        if path.endswith(".gz"):
            with gzip.open(path, "rt", encoding="utf-8") as file:
                return file.read()
        return Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeError, EOFError) as error:
        raise DataError(f"{path} must be a readable text file; got {error}. Correct the path.") from error


def _pieces(text: str, letters: int) -> list[str]:
    if letters < 1:
        raise bad_option("letters", "a positive integer", letters, "Give letters=256.")
    found, piece = [], ""
    for line in text.splitlines(keepends=True):
        piece += line
        if len(piece) >= letters:
            found.append(piece)
            piece = ""
    return [*found, piece] if piece.strip() else found


def _columns(source: Any, ids: npt.NDArray[np.int64], top: float) -> Columns:
    import torch

    x = source.fetch(torch.from_numpy(ids)).cpu().numpy()
    if len(source.input_shape) == 3:
        x = np.round(255 * np.clip(x / top, 0, 1)).astype(np.uint8).transpose(0, 2, 3, 1)
        x = x[..., 0] if x.shape[3] == 1 else x
    found = {"x": x, "label": np.asarray(source.y)[ids]}
    rows_of(found)
    return found


def _top(source: Any) -> float:
    """The value of white: the largest in some evenly spaced training rows."""
    import torch

    return float(source.fetch(torch.from_numpy(spaced(len(source), 2000))).max()) if len(source.input_shape) == 3 else 1.0

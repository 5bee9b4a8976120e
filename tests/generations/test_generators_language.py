"""The language model: learned from scratch, in either shape; skipped where the extra is missing."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from clframe.errors import MissingExtraError, OptionError
from clframe.generations.generators import generator
from clframe.generations.generators.interface import model_hash

TEXTS = {"text": np.array([f"the {a} sat on the {b}.\n" for a in ("cat", "dog", "hen") for b in ("mat", "rug", "log", "bed")] * 6)}
SMALL = "vocabulary=280,context=16,width=16,layers=1,heads=1,epochs=8,batch=8,lr=0.01"


def test_a_missing_extra_is_answered_with_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tokenizers", None)
    with pytest.raises(MissingExtraError, match=r"Run: pip install 'clframe\[text\]'"):
        generator("language")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("language(kind=bert)", "kind of language model must be a known name"),
        ("language(vocabulary=100)", "vocabulary must be a whole number from 258"),
        ("language(width=30,heads=4)", "width must be a multiple of twice the heads"),
        ("language(temperature=0.0)", "temperature must be positive"),
    ],
)
def test_wrong_options_are_refused(words: str, message: str) -> None:
    with pytest.raises(OptionError, match=message):
        generator(words)


@pytest.mark.parametrize("kind", ["gpt2", "llama"])
def test_it_learns_makes_and_scores_texts(kind: str) -> None:
    pytest.importorskip("transformers")
    pytest.importorskip("tokenizers")
    made, again = (generator(f"language(kind={kind},{SMALL})") for _ in range(2))
    for model in (made, again):
        model.prepare(TEXTS)
        model.fit(TEXTS, np.ones(72), 0)
    assert model_hash(made) == model_hash(again)
    loss = made.score(TEXTS)
    assert loss.shape == (72,) and loss.mean() < 2.0 < made.score({"text": np.array(["zqx vwk jjy"])})[0]
    new, same = made.sample(300, 1), again.sample(300, 1)
    assert new["text"].tolist() == same["text"].tolist() and len(set(new["text"])) > 50
    assert made.score(new).mean() < 4 and made.embed(TEXTS).shape == (72, 16)


def test_texts_of_other_lengths_beside_it_do_not_change_a_score() -> None:
    pytest.importorskip("transformers")
    pytest.importorskip("tokenizers")
    made = generator(f"language({SMALL})")
    made.fit(TEXTS, np.ones(72), 0)
    alone = made.score({"text": np.array(["the cat"])})
    beside = made.score({"text": np.array(["the cat", "the dog sat on the log and on the mat."])})
    assert alone[0] == pytest.approx(beside[0], abs=1e-5)


def test_a_study_on_a_text_file(tmp_path: Path) -> None:
    pytest.importorskip("transformers")
    pytest.importorskip("tokenizers")
    from clframe.generations.loop import Run

    (tmp_path / "tale.txt").write_text("".join(TEXTS["text"]))
    words = f"language({SMALL.replace('epochs=8', 'epochs=1')})"
    data = f"text(path={tmp_path / 'tale.txt'},letters=20)"
    asked = Run(data, words, "sensitivity-subsample", 2, 0, rows=40, out=str(tmp_path / "run"))
    assert [g.rows <= 40 and bool(np.isnan(g.variance)) for g in asked(None)] == [True, True]


def test_short_texts_are_made_as_often_as_they_were_there() -> None:
    """A mean over texts of means over tokens would weigh a short text twelve times, and a loop would end in empty texts."""
    pytest.importorskip("transformers")
    pytest.importorskip("tokenizers")
    short = np.arange(200) % 4 == 0
    data = {"text": np.where(short, "a", "b" * 24)}
    made = generator("language(vocabulary=258,context=32,width=16,layers=1,heads=1,epochs=8,batch=20,lr=0.01)")
    made.fit(data, np.ones(200), 0)
    letters = [len(text) for text in made.sample(500, 1)["text"]]
    assert np.mean([n <= 1 for n in letters]) == pytest.approx(0.25, abs=0.1)

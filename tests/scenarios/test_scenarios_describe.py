"""Streams as data, as a table, as a picture."""

from __future__ import annotations

import io
import json

import numpy as np
import pytest
from rich.console import Console

from clframe.data import Dataset
from clframe.scenarios import Stream, class_incremental, data_incremental, gaussian, permuted, recurring
from clframe.scenarios.describe import class_shares, describe, figure, table


def text_of(stream: Stream) -> str:
    out = io.StringIO()
    Console(file=out, width=120).print(table(stream))
    return out.getvalue()


def test_the_description_is_plain_and_complete(toy: Dataset) -> None:
    plain = describe(class_incremental(toy, experiences=3, validation=0.2, class_order="sorted"))
    assert json.loads(json.dumps(plain)) == plain
    assert [e["classes"] for e in plain["experiences"]] == [[0, 1], [2, 3], [4, 5]]
    assert sum(e["train"] + e["validation"] for e in plain["experiences"]) == len(toy.train)
    assert sum(e["test"] for e in plain["experiences"]) == len(toy.test)


def test_the_table_has_a_row_an_experience_and_says_what_is_hidden(toy: Dataset) -> None:
    text = " ".join(text_of(gaussian(toy, experiences=3)).split())
    assert table(gaussian(toy, experiences=3)).row_count == 3
    assert "Revealed: nothing. Hidden: boundaries, classes, task_test, task_train. Each sample comes once." in text
    assert "validation" not in text
    assert "validation" in text_of(class_incremental(toy, validation=0.2))


def test_the_middle_of_a_long_table_is_left_out() -> None:
    text = text_of(data_incremental("digits", experiences=1000))
    assert "1,000 experiences" in text
    assert "989" not in text
    assert all(word in text for word in ("...", " 9 ", "990", "999"))


@pytest.mark.parametrize("epochs", [1, 2])
def test_class_shares_follow_the_stream(toy: Dataset, epochs: int) -> None:
    stream = class_incremental(toy, experiences=3, class_order="sorted").walked(batch_size=4, epochs=epochs)
    edges, shares = class_shares(stream)
    assert edges[0] == 0
    assert edges[-1] == stream.starts[-1]
    assert set(stream.starts) <= set(edges.tolist())
    np.testing.assert_allclose(shares.sum(axis=0), 1.0)
    for k, start in enumerate(stream.starts[:-1]):
        inside = (edges[:-1] >= start) & (edges[1:] <= stream.starts[k + 1])
        assert shares[2 * k : 2 * k + 2, inside].sum() == pytest.approx(inside.sum())


@pytest.mark.parametrize(
    "make",
    [
        lambda: class_incremental("digits"),
        lambda: permuted("digits", experiences=3),
        lambda: recurring("digits"),
        lambda: data_incremental("digits", experiences=1000),
    ],
)
def test_the_figure_is_drawn(make: object) -> None:
    stream = make()  # type: ignore[operator]
    drawn = figure(stream)
    out = io.BytesIO()
    drawn.savefig(out, format="png", dpi=40)
    assert out.getvalue().startswith(b"\x89PNG")
    shown = [axes for axes in drawn.axes if axes.get_images()]
    assert len(shown) == min(len(stream), 10) * 3 or len(stream) == 1000


def test_streams_without_images_have_a_figure_too(toy: Dataset) -> None:
    drawn = figure(gaussian(toy, experiences=3))
    assert drawn.axes[0].get_title(loc="left") == "gaussian: 3 experiences, boundaries hidden"

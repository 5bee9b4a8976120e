"""The report of a coreset: its numbers are those of the coreset, it links to nothing, and it refuses what it cannot show."""

from __future__ import annotations

import io
import json
import re
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import replace
from html import unescape
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from clframe.cli.main import main
from clframe.errors import ClframeError
from clframe.eval.report import coreset_coverage, coreset_figures, coreset_map, coreset_words
from clframe.eval.report.coreset import Shown, View, coreset_report, render
from clframe.eval.report.coreset_files import view_of_files
from clframe.eval.report.coreset_samples import as_image
from clframe.selection import Coreset, Pool, coverage, load, pool_of, select
from clframe.selection.methods.auto_words import described
from clframe.selection.pool import InMemory
from clframe.selection.pool.pool import BLOCK
from clframe.selection.trial import Comparison, Trial, trials

N = 600
RANDOM = np.random.default_rng(0)
X = RANDOM.normal(size=(N, 4)).astype(np.float32)
LOSS = np.exp(X[:, 0]).astype(np.float64)
LABEL = np.array(["ant", "bee", "cow"])[(X[:, 1] > 0).astype(int) + (X[:, 1] > 1)]
POOL = pool_of(X, loss=LOSS, label=LABEL, ids=[f"s{i}" for i in range(N)])
CORESET = select(POOL, 60, "stratified(by=label,allocation=equal)", seed=1)
PNG = io.BytesIO()
Image.new("RGB", (3, 2), (255, 0, 0)).save(PNG, "PNG")


@pytest.fixture(scope="module")
def compared() -> Comparison:
    tried = trials(POOL, [30, 120], ["stratified", "sensitivity", "k-center"], repeats=6, k=10)
    return Comparison.of(POOL, tried, repeats=6, k=10)


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    pictures = [{"bytes": PNG.getvalue(), "path": None}] * N
    names = [f"<i>text {i}</i>" for i in range(N)]
    columns = {"embedding": list(X), "loss": LOSS, "kind": LABEL, "name": [f"s{i}" for i in range(N)], "text": names}
    table = pa.table({**columns, "image": pa.array(pictures, pa.struct([("bytes", pa.binary()), ("path", pa.string())]))})
    pq.write_table(table, tmp_path / "pool.parquet", row_group_size=100)
    np.save(tmp_path / "x.npy", (X * 100).astype(np.int16).reshape(N, 2, 2))
    np.save(tmp_path / "flat.npy", X[:, :3])
    np.save(tmp_path / "pictures.npy", np.zeros((N, 5, 6), dtype=np.uint8))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def page(coreset: Coreset = CORESET, pool: Pool | None = POOL, **options: object) -> str:
    return render(coreset, Shown(pool, **options))  # type: ignore[arg-type]


def words(text: str) -> str:
    return " ".join(unescape(re.sub(r"<style>.*?</style>|<[^>]+>", " ", text, flags=re.S)).split())


def test_the_numbers_are_those_of_the_coreset() -> None:
    said, estimate, m = words(page()), CORESET.mean_loss, CORESET.manifest
    assert estimate is not None and "60 of 600 rows of pool by stratified" in said
    ends = f"{estimate.mean:.4g}, with a 95 % interval from {estimate.low:.4g} to {estimate.high:.4g}"
    assert (
        f"The mean loss over the pool is {ends} (± {100 * estimate.half / estimate.mean:.3g} %); 60 losses were looked at" in said
    )
    assert (
        f"count as {m['effective_size']:.0f} equal ones (effective size, of 60); the largest is {m['largest_weight']:.3g}" in said
    )
    assert f"The mean of all 600 losses is {LOSS.mean():.4g}" in said
    assert m["key"] in said and m["pool"]["hash"] in said
    assert "select(pool, 60, 'stratified(by=label,allocation=equal)', seed=1)" in said


def test_the_table_of_classes_is_that_of_the_rows() -> None:
    table = pd.DataFrame({"label": LABEL[CORESET.rows], "weight": CORESET.weights}).groupby("label")["weight"].agg(["size", "sum"])
    found = coverage.of_column(CORESET.choice, POOL, "label")
    assert found.parts == table.index.tolist() and found.chosen.tolist() == table["size"].tolist()
    np.testing.assert_allclose(found.by_weight, table["sum"] / table["sum"].sum())
    np.testing.assert_allclose(found.coverage, 1.0)
    for name in found.parts:
        rows = int((name == LABEL).sum())
        share = f"{100 * rows / N:.1f}"
        assert f"{name} 1.00 {share} {share} 33.3 {rows:,} 20" in words(page())


def test_parts_without_a_chosen_row_are_counted() -> None:
    top = np.flatnonzero(LABEL != "cow")[:40]
    coreset = replace(
        CORESET, ids=POOL.id_of(top), choice=replace(CORESET.choice, rows=top, **dict.fromkeys(("weight",), np.ones(40)))
    )
    found = coverage.of_column(coreset.choice, POOL, "label")
    assert found.empty == 1 and found.coverage[2] == 0 and found.worst.tolist() == [2] and found.worst_coverage == 0
    share = f"{100 * (LABEL == 'cow').mean():.2g}"
    assert f"1 of 3 classes has no chosen row: {share} % of the pool" in coreset_coverage.sentence(found)


def test_cells_are_those_of_the_choice_and_their_coverage_is_computed_from_the_rows() -> None:
    coreset = select(POOL, 60, "stratified", seed=3, k=12)
    said = words(page(coreset))
    assert "Cells: 12 of k-means, those of the choice" in said and "All 12 cells have a chosen row" in said
    assert "made for this page" in words(page(coreset, k=5)) and "made for this page" in words(page())


def test_it_links_to_nothing_and_runs_nothing(compared: Comparison) -> None:
    made = page(compared=compared, view=View(images=np.zeros((N, 4, 4), dtype=np.uint8)))
    assert {a.partition(":")[0][:1] for a in re.findall(r"(?:src|href)=[\"']([^\"']*)", made)} <= {"d", "#"}
    assert not re.search(r"https?://|<script|@import|<link|url\((?!#)", made)
    assert made == page(compared=compared, view=View(images=np.zeros((N, 4, 4), dtype=np.uint8)))


def test_without_data_it_says_how_to_get_the_rest() -> None:
    made = page(pool=None)
    said = words(made)
    assert "clframe select report DIR DATA --label COLUMN" in said and "Map of the embedding" not in said
    assert "<h3>Samples</h3>" not in made and "<h3>Weights</h3>" in made
    assert "Strata by label" in said and f"33.3 {int((LABEL == 'ant').sum())} 20" in said  # the manifest has them
    assert "Coverage is the share" not in words(page(select(POOL, 9, "uniform"), None))


def test_warnings_are_those_of_the_manifest() -> None:
    def warned(facts: dict[str, object], **manifest: object) -> str:
        found = {**CORESET.manifest, "facts": {**CORESET.manifest["facts"], **facts}, **manifest}
        return " ".join(coreset_words.warnings(replace(CORESET, manifest=found)))

    assert warned({}) == ""
    assert "correlation of guessed and real losses is 0.05" in warned({"correlation_of_guess_and_loss": 0.05})
    assert "correlation" not in warned({"correlation_of_guess_and_loss": 0.7})
    assert "2.0 rows a stratum are few" in warned({"strata": 30})
    assert "7 weights are negative" in warned({"negative_weights": 7})
    assert "fewer than half of its rows" in warned({}, effective_size=20.0)
    fixed = select(POOL, 20, "k-center")
    assert "the choice is not random" in words(page(fixed)) and "no losses were given" in words(
        page(select(pool_of(X), 9, "uniform"), None)
    )


def test_auto_says_why() -> None:
    coreset = select(pool_of(X, loss=np.exp(3 * X[:, 0])), 200, "auto", k=30)
    facts, said = coreset.manifest["facts"], words(page(coreset, None))
    assert f"Chosen by auto, which took {described(facts['chosen'])}: {facts['reason']}" in said
    for name, one in facts["candidates"].items():
        share = f"{100 * one['variance'] / facts['candidates']['uniform']['variance']:.0f} %"
        assert f"{described(name)} {share}" in said


def test_uniform_is_always_drawn_and_what_has_no_estimate_is_named(compared: Comparison) -> None:
    assert list(coreset_figures.drawn(compared)) == ["uniform", "stratified", "sensitivity"]
    once = {t.method: t.repeats for t in compared.trials}
    assert once == {"uniform": 6, "stratified": 6, "sensitivity": 6, "k-center": 1}
    made = page(compared=compared)
    said = words(made)
    assert "not drawn: k-center" in said and "over 6 draws" in said and "By losses looked at" in said
    labels = [
        t for t in re.findall(r"<text[^>]*>([^<]*)</text>", made) if t in ("uniform", "stratified", "sensitivity", "k-center")
    ]
    assert sorted(labels) == sorted(2 * ["uniform", "stratified", "sensitivity"])
    for trial in compared.trials:
        if trial.error is not None and trial.low is not None and trial.high is not None:
            assert f"{100 * trial.error:.3g} [{100 * trial.low:.3g}, {100 * trial.high:.3g}]" in said


def test_a_budget_of_tokens_is_said_and_asked_for_again() -> None:
    pool = pool_of(X, tokens=np.full(N, 10))
    coreset = select(pool, "400 tokens", "uniform")
    said = words(page(coreset, pool))
    assert (
        "They cost 400 of the 400 tokens that were asked for." in said and "select(pool, '400 tokens', 'uniform', seed=0)" in said
    )


def test_ticks_are_numbers(compared: Comparison) -> None:
    fig = coreset_figures.pareto_figure(compared)
    ax = fig.axes[0]
    ticks = [t.get_text() for t in (*ax.get_xticklabels(), *ax.get_yticklabels())]
    assert {"30", "120"} <= set(ticks) and all(float(t.replace(",", "")) > 0 for t in ticks)
    assert (ax.get_xscale(), ax.get_yscale()) == ("log", "log")


@pytest.mark.parametrize("method", ["uniform", "sensitivity(mixture=0.5)", "k-center", "greg", "scored(column=loss)", "leverage"])
def test_every_kind_of_choice_has_a_page(method: str) -> None:
    assert f"by {method.partition('(')[0]}" in words(page(select(POOL, 50, method, k=8)))


@pytest.mark.parametrize("x", [X[:, :1], np.zeros((N, 3))], ids=["one number", "all alike"])
def test_an_embedding_without_a_map(x: np.ndarray) -> None:
    pool = pool_of(x, loss=LOSS, many=np.arange(N) // 2, price=LOSS)
    made = words(page(select(pool, 50, "uniform"), pool))
    assert "Map of the embedding" not in made and "Column many" in made and "The 8 of 300 that are covered least" in made
    assert "Not shown: price (numbers)" in made and "weights are all equal" in made


def test_the_pool_is_read_in_blocks() -> None:
    most = [0]

    class Watched:
        shape = (3 * BLOCK, 3)
        inner = InMemory(np.random.default_rng(0).normal(size=shape))

        def read(self, start: int, stop: int) -> np.ndarray:
            most[0] = max(most[0], stop - start)
            return self.inner.read(start, stop)

        def take(self, rows: np.ndarray) -> np.ndarray:
            most[0] = max(most[0], len(rows))
            return self.inner.take(rows)

        def describe(self) -> dict[str, object]:
            return self.inner.describe()

    pool = pool_of(Watched())  # type: ignore[arg-type]
    coreset = select(pool, 100, "uniform")
    most[0] = 0
    assert "Map of the embedding" in page(coreset, pool, k=16)
    assert 0 < most[0] <= BLOCK


def test_from_the_command_line(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = ["pool.parquet", "--loss", "loss", "--label", "kind", "--id", "name"]
    assert main(["select", *data, "--size", "40", "--method", "stratified(by=label)", "--out", "chosen"]) == 0
    words_ = ["--size", "40", "--methods", "stratified(by=label),k-center", "--repeats", "5", "--out", "chosen"]
    assert main(["select", "compare", *data, *words_, "--k", "4"]) == 0
    printed = capsys.readouterr().out
    assert "not random, so tried once" in printed and "written: chosen/compare.json" in printed
    assert [t["repeats"] for t in json.loads(Path("chosen/compare.json").read_text())["trials"]] == [5, 5, 1]
    assert main(["select", "report", "chosen", *data, "--text-column", "text"]) == 0
    assert capsys.readouterr().out == "report: chosen/report.html\n"
    made = Path("chosen/report.html").read_text()
    coreset = load("chosen")
    heaviest = int(coreset.rows[np.argsort(-coreset.weights, kind="stable")[0]])
    assert f"&lt;i&gt;text {heaviest}&lt;/i&gt;" in made and "<i>text" not in made
    command = "pool.parquet --loss loss --label kind --id name --size 40 --method 'stratified(by=label)' --seed 0 --out chosen"
    assert command in words(made) and "Error of the mean loss, root mean square over 5 draws" in words(made)
    assert main(["select", "report", "chosen", *data, "--image-column", "image", "--out", "images.html"]) == 0
    assert Path("images.html").read_text().count('<img src="data:image/png;base64,') == 24
    assert main(["select", "report", "chosen", "--out", "bare.html"]) == 0
    bare = words(Path("bare.html").read_text())
    assert "clframe select report DIR DATA" in bare and "select pool.parquet --label LABEL --loss LOSS --id ID --size 40" in bare


def lab(colour: str) -> np.ndarray:
    """A colour in CIELAB, where a distance of 2 is just seen side by side."""
    share = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)]) / 255
    linear = np.where(share <= 0.04045, share / 12.92, ((share + 0.055) / 1.055) ** 2.4)
    xyz = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9503]]) @ linear / [0.9505, 1, 1.0888]
    f = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


def test_ten_classes_have_colours_far_from_each_other_and_from_the_page() -> None:
    for mode, ground in ((list(coreset_map.COLOURS), "#ffffff"), (list(coreset_map.COLOURS.values()), "#14181d")):
        places = [lab(c) for c in (*mode[:10], ground)]
        gaps = [np.linalg.norm(a - b) for i, a in enumerate(places) for b in places[:i]]
        assert min(gaps) > 25, mode
    pool = pool_of(X, label=np.arange(N) % 10)
    made = page(select(pool, 100, "stratified(by=label)"), pool)
    assert "coloured by label" in words(made) and {
        c for c in coreset_map.COLOURS if f"({c[1:]}" in made or f"--c{c[1:]},{c}" in made
    } >= set(list(coreset_map.COLOURS)[:10])


def test_strata_have_their_names_on_the_map() -> None:
    pool = pool_of(X, time=np.arange(N))
    found = coreset_map.embedding_map(select(pool, 40, "stratified(by=time:4)"), pool)
    assert found is not None and found.kinds == ["1/4", "2/4", "3/4", "4/4"] and found.by == "time:4"


def test_arrays_that_are_pictures_are_shown_as_such(place: Path) -> None:
    assert main(["select", "x.npy", "--size", "9", "--method", "uniform", "--out", "chosen"]) == 0
    assert main(["select", "report", "chosen", "x.npy"]) == 0
    assert Path("chosen/report.html").read_text().count('<img src="data:image/png;base64,') == 9
    assert main(["select", "report", "chosen", "x.npy", "--image-column", "pictures.npy", "--out", "other.html"]) == 0
    assert Path("other.html").read_text().count('<img src="data:image/png;base64,') == 9
    assert view_of_files("flat.npy").shape is None and view_of_files("x.npy", shape="4x1x1").shape == (4, 1, 1)
    assert as_image(np.array([[-1.0, 1.0]])).tobytes() == b"\x00\xff" and as_image({"bytes": PNG.getvalue()}).size == (3, 2)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (["pool.parquet", "--shape", "3x3"], "shape must be HxW, HxWx1 or HxWx3 with the 4 numbers of an embedding; got '3x3'"),
        (["pool.parquet", "--shape", "2by2"], "shape must be HxW or HxWxC; got '2by2'"),
        (["pool.parquet", "--text-column", "txt"], "column must be a known name; got 'txt'. Did you mean 'text'"),
        (["pool.parquet", "--text-column", "loss"], "texts must be strings; got float"),
        (["pool.parquet", "--image-column", "text"], "images must be arrays (h, w) or (h, w, 3), or bytes of pictures; got str"),
        (
            ["x.npy", "--image-column", "rows.npy"],
            "or, if the embeddings are these pixels, leave the images out and give --shape 2x2",
        ),
        (["pool.parquet", "--image-column", "image", "--shape", "2x2"], "view of samples must be one of --image-column"),
        (["--shape", "2x2"], "--shape must come with the data"),
        (["flat.npy"], "flat must have the 4 numbers in a row that the coreset was chosen from; got 3"),
        (["pool.parquet", "--id", "name"], "pool must have id 0 in row 0, as the coreset has; got 's0'"),
        (["pool.parquet", "--label", "sort"], "column must be a known name; got 'sort'"),
        (["pool.parquet", "--compare", "pool.parquet"], "pool.parquet must be a comparison of methods"),
        (["pool.parquet", "--compare", "few.json"], "repeats of the comparison must be at least 5 to be drawn; got 2"),
        (["pool.parquet", "--compare", "alone.json"], "alone.json must have trials of uniform; got none"),
        (["--out", "chosen/manifest.json/r.html"], "chosen/manifest.json/r.html must be a file that can be written"),
        (["short.parquet"], "short must have the 600 rows that the coreset was chosen from; got 599"),
    ],
)
def test_what_cannot_be_shown_is_refused_and_nothing_is_written(
    place: Path, given: list[str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    pd.read_parquet("pool.parquet", columns=["embedding"]).iloc[1:].to_parquet("short.parquet", index=False)
    trial = Trial("uniform", 10, 0.1, 0.05, 0.2, 1.0, 0.2, 10.0, 2)
    Comparison((trial,), 2, {"rows": N}, 1.0).save("few.json")
    Comparison((replace(trial, method="greg"),), 9, {"rows": N}, 1.0).save("alone.json")
    select(pool_of(X, name="pool"), 600, "uniform").save("chosen")
    np.save("rows.npy", X)
    before = {p.name for p in place.rglob("*")}
    assert main(["select", "report", "chosen", *given]) == 2
    found = capsys.readouterr().err
    assert says in found and "np." not in found
    assert {p.name for p in place.rglob("*")} == before


def refused(call: Callable[[], object]) -> str:
    with pytest.raises(ClframeError) as error:
        call()
    return str(error.value)


def test_in_python_the_same_is_refused(tmp_path: Path, compared: Comparison) -> None:
    def written(**options: object) -> Callable[[], object]:
        return lambda: coreset_report(CORESET, POOL, tmp_path / "r.html", **options)  # type: ignore[arg-type]

    assert "texts must be one for each of the 600 rows; got 3" in refused(written(view=View(texts=["a"] * 3)))
    assert "got float64 (4,)" in refused(written(view=View(images=X.astype(float))))
    assert "images must be encoded pictures such as PNG" in refused(written(view=View(images=[b"no"] * N)))
    assert "view of samples must be one of images, texts and shape" in refused(lambda: View(texts=[""], shape=(2, 2)))
    exact = replace(compared, trials=tuple(replace(t, error=0.0) for t in compared.trials))
    assert "comparison must be of a mean loss above 0" in refused(written(compared=exact))
    other = pool_of(X[::-1].copy(), loss=LOSS, label=LABEL, ids=POOL.ids)
    assert "The data is not what the coreset was chosen from: its hash is" in words(page(CORESET, other))
    x = X.copy()
    x[7, 0] += 1
    assert "The data is not what" in words(page(CORESET, pool_of(x, loss=LOSS, label=LABEL, ids=POOL.ids)))
    assert not list(tmp_path.iterdir())
    assert coreset_report(CORESET, POOL, tmp_path / "deep" / "r.html", view=View(texts=list(LABEL))).exists()


CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


@pytest.mark.browser
@pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium")
@pytest.mark.parametrize("width", [500, 1400])
def test_nothing_overflows_in_a_browser(tmp_path: Path, compared: Comparison, width: int) -> None:
    probe = "<script>document.title = document.documentElement.scrollWidth - window.innerWidth</script></body>"
    path = tmp_path / "report.html"
    path.write_text(page(compared=compared).replace("</body>", probe).replace("<details>", "<details open>"), encoding="utf-8")
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking"]
    where = [f"--user-data-dir={tmp_path / 'profile'}", f"--window-size={width},900", "--dump-dom", path.as_uri()]
    dom = subprocess.run([str(CHROMIUM), *options, *where], capture_output=True, text=True, timeout=60, check=True).stdout
    assert [int(x) <= 0 for x in re.findall(r"<title>(-?\d+)</title>", dom)] == [True]

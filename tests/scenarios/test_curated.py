"""Streams that train on coresets: budgets, weights that leave the loss unbiased, records, refusals."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from torch.nn import functional

import clframe
from clframe.checkpoint import Interrupted
from clframe.curation import curated
from clframe.data import from_arrays, load
from clframe.errors import ClframeError, CompositionError, DataError, OptionError
from clframe.models import build as network
from clframe.scenarios import Stream, class_incremental, data_incremental, gaussian, recurring
from clframe.scenarios.catalog import build
from clframe.scenarios.describe import describe, table
from clframe.seeding import rng, seed_for
from clframe.selection import pool_of, select
from clframe.strategies import Learner, Replay
from clframe.strategies.loss import classification_loss, weighted_mean
from clframe.types import Source

BY_LOSS = "sensitivity(mixture=0.3,draw=systematic)"


def losses(seed: int = 0) -> np.ndarray:
    """A loss for each training sample of digits, skewed, that its inputs tell something of."""
    x = load("digits").train.fetch(torch.arange(1438)).reshape(1438, -1).numpy()
    return np.exp(x @ rng(seed, "direction").normal(size=64) / 8).astype(np.float64)


def small(seed: int = 0) -> tuple[Stream, np.ndarray]:
    """Two experiences of 30 samples, and a skewed number for each."""
    x, y = np.arange(120, dtype=np.float32).reshape(60, 2), np.arange(60) % 4
    stream = class_incremental(from_arrays(x, y, x, y), experiences=2, class_order="sorted")
    return stream, np.random.default_rng(seed).pareto(1.2, 60) + 0.05


def test_each_experience_keeps_a_share_of_its_own_samples_and_all_its_tests() -> None:
    whole = class_incremental("digits", validation=0.1)
    stream = curated(whole, method="stratified(by=label)", budget="20 %", seed=3)
    for ids, chosen in zip(whole.segments, stream.segments, strict=True):
        assert len(chosen) == int(0.2 * len(ids) + 0.5)
        assert np.isin(chosen, ids).all()
    assert stream.tests is whole.tests
    assert stream.validation is whole.validation
    assert len(stream.on_validation().experiences[0].test) == len(whole.validation[0])
    assert [len(ids) for ids in curated(whole, budget=7).segments] == [7] * 5
    assert [ids.tolist() for ids in curated(whole, budget="100%").segments] == [ids.tolist() for ids in whole.segments]


def test_later_experiences_and_tests_are_not_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = class_incremental("digits", class_order="sorted")
    allowed, source = set(np.concatenate(whole.segments).tolist()), type(whole.data.train)
    seen: list[set[int]] = []
    real = source.fetch

    def fetch(self: Source, index: torch.Tensor) -> torch.Tensor:
        seen.append(set(index.tolist()))
        return real(self, index)

    monkeypatch.setattr(source, "fetch", fetch)
    stream = curated(whole, method="k-center", budget=5)
    assert set().union(*seen) <= allowed
    assert all(any(ids <= set(own.tolist()) for own in whole.segments) for ids in seen)  # one experience at a time
    first = curated(whole[:1], method="k-center", budget=5)
    assert first.segments[0].tolist() == stream.segments[0].tolist()


@pytest.mark.parametrize("method", [BY_LOSS, "sensitivity", "stratified(by=label,allocation=equal)", "k-center"])
def test_the_mean_over_the_batches_of_an_epoch_is_the_estimate_of_the_coreset(method: str) -> None:
    whole = data_incremental("digits", experiences=2, seed=1)
    loss = losses()
    stream = curated(whole, method=method, budget="20%", loss=loss)
    value = torch.from_numpy(losses(seed=5))
    for k, ids in enumerate(whole.segments):
        pool = pool_of(whole.data.train.fetch(torch.from_numpy(ids)).numpy(), label=whole.data.train.y[ids])
        chosen = select(pool, round(0.2 * len(ids)), method, loss=loss[ids], seed=seed_for(0, "curated", k))
        estimate = (chosen.weights * value.numpy()[ids[chosen.rows]]).sum() / len(ids)
        total, count = 0.0, 0
        for _, batch in stream.walked(batch_size=7).experiences[k].steps():
            assert batch.weight is not None
            assert batch.mass is not None
            total += len(batch) * float(weighted_mean(value[batch.index], batch.weight.double(), batch.mass.double()))
            count += len(batch)
        assert count == len(chosen.rows)
        assert total / count == pytest.approx(estimate, rel=1e-6)


def test_the_loss_of_an_epoch_is_unbiased_over_2000_coresets() -> None:
    stream, score = small()
    later = 0.5 * score + np.random.default_rng(1).random(60)
    found: dict[str, list[float]] = {"loss": [], "self-normalised": []}
    for seed in range(2000):
        made = curated(stream, method="scored(how=proportional)", columns={"score": score}, budget=6, seed=seed)
        ids = made.segments[0]
        assert made.curation is not None
        weight = np.ones(6) if made.curation.in_loss is None else made.curation.in_loss[ids]
        found["loss"].append(float((later[ids] * weight).mean()))
        found["self-normalised"].append(float((later[ids] * weight).sum() / weight.sum()))
    truth = later[stream.segments[0]].mean()
    errors = {name: np.std(values, ddof=1) / np.sqrt(2000) for name, values in found.items()}
    assert abs(np.mean(found["loss"]) - truth) < 4 * errors["loss"]
    assert errors["loss"] < 0.7 * errors["self-normalised"]  # what dividing by the sum of the weights would lose


def test_weighted_batches_bring_samples_in_proportion_and_with_weight_one() -> None:
    stream, score = small()
    made = curated(stream, method="scored(how=proportional)", columns={"score": score}, budget=10, weights="batches")
    assert made.curation is not None
    assert made.curation.weight is not None
    walked = made.walked(batch_size=4, epochs=500)
    often = np.zeros(60)
    for _, index in walked.experiences[0].walk():
        np.add.at(often, index.numpy(), 1)
    assert often.sum() == 500 * 10
    expected = made.curation.weight / made.curation.weight[made.segments[0]].sum() * 10
    assert np.abs(often / 500 - expected)[made.segments[0]].max() < 4 * np.sqrt(0.25 / 500)
    _, batch = next(walked.experiences[0].steps())
    assert batch.weight is None
    assert batch.mass is None
    joint = dataclasses.replace(walked, order=clframe.scenarios.Cumulative())
    both = np.zeros(60)
    for _, index in joint.experiences[1].walk():
        np.add.at(both, index.numpy(), 1)
    assert np.abs(both / 500 - made.curation.weight / made.curation.weight.sum() * 20)[both > 0].max() < 4 * np.sqrt(0.5 / 500)


def test_where_all_weigh_the_same_training_is_that_on_the_chosen_samples_bit_for_bit() -> None:
    made = curated("split-digits(experiences=2)", method="uniform", budget="30%")
    plain = dataclasses.replace(made, curation=None)
    for use in ("loss", "batches", "none"):
        other = curated("split-digits(experiences=2)", method="uniform", budget="30%", weights=use)
        assert next(other.experiences[0].steps())[1].weight is None
        one, two = (clframe.run(s, "er(size=30)", evaluate="boundaries") for s in (other, plain))
        assert one.terms.value.tolist() == two.terms.value.tolist()
    assert made.fingerprint() != plain.fingerprint()


def test_replay_keeps_its_share_and_recalled_samples_keep_their_weights() -> None:
    stream = curated("split-digits(experiences=2,class_order=sorted)", method=BY_LOSS, budget="30%", loss=losses())
    stream = stream.walked(batch_size=10)
    model = network("mlp", (1, 8, 8), 10, options={"hidden": (16,)})
    for share in (None, 0.3):
        made = Learner(model, torch.optim.SGD(model.parameters(), lr=0.05), Replay(size=50, batch_size=5, new_share=share))
        made.begin(stream.experiences[0].train)
        steps = stream.experiences[0].steps()
        for _ in range(8):
            made.observe(next(steps)[1])
        batch = next(steps)[1]
        joined, groups, _ = made._union(batch)
        weight = torch.from_numpy(stream.curation.in_loss)[joined.index]  # type: ignore[union-attr]
        each = functional.cross_entropy(model(joined.x), joined.y, reduction="none") * weight
        new, old = each[groups["new"]], each[groups["er"]]
        expected = each.mean() if share is None else share * new.mean() + (1 - share) * old.mean()
        found = classification_loss(model(joined.x), joined.y, joined.weight, joined.mass)
        assert found.item() == pytest.approx(expected.item(), rel=1e-5)


def test_samples_that_were_not_chosen_are_never_in_the_stream() -> None:
    whole = class_incremental("digits")
    stream = curated(whole, budget=5)
    left_out = np.setdiff1d(whole.segments[0], stream.segments[0])[:1]
    with pytest.raises(CompositionError, match="in the stream already"):
        stream.experiences[0].train.fetch(torch.from_numpy(left_out))


def test_losses_are_asked_for_sparingly_and_counted(tmp_path: Path) -> None:
    np.save(tmp_path / "losses.npy", losses())
    np.save(tmp_path / "features.npy", np.random.default_rng(0).random((1438, 3, 2), dtype=np.float32))
    for embedding in (tmp_path / "features.npy", "pca(dimensions=4)", "inputs"):
        made = curated("split-digits", method="auto", budget=60, loss=tmp_path / "losses.npy", embedding=embedding, cells=8)
        assert made.curation is not None
        assert made.curation.facts["queries"] == sum(made.curation.facts["chosen"]) == 300
        assert len({*made.curation.facts["found"][0]} & {"chosen", "why"}) > 0
    other = curated("split-digits", method="k-center", budget=9, embedding=np.random.default_rng(1).random((1438, 2)))
    assert [len(ids) for ids in other.segments] == [9] * 5


def test_a_run_by_name_records_its_choice_and_goes_on_where_it_was_stopped(tmp_path: Path) -> None:
    np.save(tmp_path / "losses.npy", losses())
    words = (
        f"curated(stream=split-digits(experiences=2,validation=0.1),method=sensitivity,budget=40,"
        f"loss='{tmp_path / 'losses.npy'}',weights=batches)"
    )
    whole = clframe.run(words, "er(size=30)", evaluate="boundaries", epochs=2)
    facts = whole.spec["curation"]
    assert facts["method"] == "sensitivity"
    assert (facts["budget"], facts["weights"]) == (40, "batches")
    assert facts["queries"] > 0
    assert len(facts["key"]) == 32
    given = {"evaluate": "boundaries", "epochs": 2, "out": tmp_path / "run"}
    with pytest.raises(Interrupted):
        clframe.run(words, "er(size=30)", **given, progress=lambda n, _: n == 9)  # type: ignore[arg-type]
    clframe.run(words, "er(size=30)", **given)  # type: ignore[arg-type]
    again = clframe.load(tmp_path / "run")[0]
    assert again.rows.correct.tolist() == whole.rows.correct.tolist()
    assert again.spec["curation"] == json.loads(json.dumps(facts))
    tuned = clframe.run(words, "er(size=30)", evaluate="boundaries", tested_on="validation")
    assert tuned.rows.total.max() < whole.rows.total.max()


def test_a_file_names_the_stream_beneath_and_files_beside_it(tmp_path: Path) -> None:
    np.save(tmp_path / "losses.npy", losses())
    np.save(tmp_path / "margin.npy", losses(1))
    written = {
        "scenario": "curated",
        "stream": {"scenario": "class-incremental", "data": "digits", "experiences": 2, "class_order": "sorted"},
        "method": "scored(column=margin,largest=false)",
        "budget": "10%",
        "loss": "losses.npy",
        "columns": {"margin": "margin.npy"},
    }
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(written))
    stream = build(str(tmp_path / "mine.yaml"))
    assert stream.name == "mine"
    rows = class_incremental("digits", experiences=2, class_order="sorted").segments[0]
    assert set(stream.segments[0]) == set(rows[np.argsort(losses(1)[rows])[: len(stream.segments[0])]])
    (tmp_path / "over.yaml").write_text("scenario: curated\nstream: other.yaml\nbudget: 6\n")
    (tmp_path / "other.yaml").write_text("scenario: split-digits\nexperiences: 2\n")
    assert [len(ids) for ids in build(str(tmp_path / "over.yaml")).segments] == [6, 6]


def test_a_validation_share_is_held_out_of_the_stream_beneath() -> None:
    outside, inside = build("curated(validation=0.2)"), build("curated(stream=split-digits(validation=0.2))")
    assert outside.fingerprint() == inside.fingerprint() == curated("split-digits", validation=0.2).fingerprint()
    for chosen, held in zip(outside.segments, outside.validation, strict=True):
        assert not np.isin(chosen, held).any()
    with pytest.raises(OptionError, match="validation must be 0 for a stream that was built without"):
        curated(class_incremental("digits"), validation=0.2)


def test_it_says_what_it_is() -> None:
    stream = curated(budget="10%")
    assert describe(stream)["curation"]["chosen"] == [len(ids) for ids in stream.segments]
    json.dumps(describe(stream))
    assert "144 of 1,438 training samples by stratified(by=label), weighted loss" in str(table(stream).caption)
    assert "curation" not in describe(class_incremental("digits"))


def test_experiences_that_share_samples_share_weights_or_are_refused() -> None:
    again = recurring("digits", experiences=4, classes_per_experience=2, schedule=[[0, 1], [0, 2], [0, 1], [3, 4]], repeat=True)
    assert [len(ids) for ids in curated(again, method="uniform", budget=10).segments] == [10] * 4
    with pytest.raises(OptionError, match="a sample must weigh the same wherever it comes"):
        curated(again, method="k-center", budget="60%")
    assert curated(again, method="k-center", budget="60%", weights="none").curation is not None


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"budget": "0%"}, "budget must be a percentage above 0% and up to 100%.*got '0%'"),
        ({"budget": "101%"}, "got '101%'"),
        ({"budget": 0}, "got 0"),
        ({"budget": 0.1}, "got 0.1"),
        ({"budget": True}, "got True"),
        ({"budget": "a%"}, "got 'a%'"),
        ({"budget": "0.1%"}, "enough for one of the 288 samples of experience 0; got '0.1%'. Give budget=0.18% or more"),
        ({"budget": 288}, "at most the 28. samples of experience"),
        ({"budget": 1}, "in experience 0, of 288 samples, size must be at least 2"),
        ({"weights": "both"}, "weights must be a known name; got 'both'"),
        ({"method": "strat"}, "Did you mean 'stratified'"),
        ({"method": "sensitivity"}, "method 'sensitivity' needs losses"),
        ({"embedding": "pixels"}, "embedding must be a known name; got 'pixels'"),
        ({"embedding": "pca(dimensions=0)"}, "dimensions must be a positive integer; got 0"),
        ({"embedding": "nowhere.npy"}, "embedding must be a readable .npy file"),
        ({"embedding": np.zeros((5, 2))}, "embedding must have one row for each of the 1,438 training samples; got 5"),
        ({"loss": np.full(1438, -1.0)}, "loss must be finite numbers of at least 0; got -1 for sample 0"),
        ({"loss": np.zeros((1438, 2))}, "loss must be one number for each sample"),
        ({"stream": curated(budget=5)}, "stream must be one that is not curated"),
        ({"stream": gaussian("digits"), "method": "k-center", "weights": "batches"}, "weights must be 'loss' or 'none'"),
    ],
)
def test_what_breaks_a_rule_is_refused_in_a_sentence(options: dict[str, object], message: str) -> None:
    with pytest.raises((OptionError, DataError), match=message):
        curated(**{"stream": "split-digits(class_order=sorted)", **options})  # type: ignore[arg-type]


def test_names_refuse_what_is_no_stream() -> None:
    for words in ("curated(stream=3)", "curated(stream=nowhere)", "curated(budgt=3)", "curated(stream=curated)"):
        with pytest.raises(ClframeError):
            build(words)

"""The loop: what is measured when, purity, exact resume, reveals."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

import clframe
from clframe import strategies
from clframe.errors import CompositionError, DataError, OptionError, RunError
from clframe.eval.result import Result
from clframe.strategies import LwF, Part, Replay

MEASURED = ["n", "trained", "evaluated", "correct", "total", "subset"]


def rows(result: Result) -> pd.DataFrame:
    return result.rows[MEASURED]


def weights(path: Path) -> dict[str, torch.Tensor]:
    state = torch.load(path / "checkpoint.pt", weights_only=True)
    found: dict[str, torch.Tensor] = state["strategy"]["model"]
    return found


def test_every_experience_is_measured_at_the_start_and_at_every_boundary() -> None:
    result = clframe.run("split-digits", "finetune", evaluate="boundaries")
    ends = (0, *result.curves.ends)
    assert sorted(result.rows.n.unique()) == sorted(ends)
    assert all(len(result.rows[result.rows.n == n]) == 5 for n in ends)
    assert result.rows[result.rows.n == 0].trained.unique().tolist() == [-1]


def test_in_between_only_experiences_whose_training_has_begun() -> None:
    result = clframe.run("split-digits", "finetune", evaluate="every(k=5)")
    between = result.rows[~result.rows.n.isin((0, *result.curves.ends))]
    assert len(between) > 0
    assert (between.evaluated <= between.trained).all()
    assert (between.n % 5 == 0).all()


def test_every_update_is_measured_and_none_twice() -> None:
    result = clframe.run("split-digits", "er(size=50)")
    assert result.updates.tolist() == list(range(int(result.updates[-1]) + 1))
    assert not result.rows.duplicated(["n", "evaluated", "subset"]).any()


@pytest.mark.parametrize(
    "strategy", ["finetune", "er(size=100)", "lwf", "ewc(strength=1,samples=32)", "er(size=50)+lwf+ewc(strength=1,samples=32)"]
)
def test_measuring_never_changes_training(strategy: str, tmp_path: Path) -> None:
    found = []
    for evaluate in ("every", "every(k=5)", "boundaries"):
        out = tmp_path / evaluate
        clframe.run("split-digits", strategy, model="mlp(hidden=[32],dropout=0.5)", evaluate=evaluate, out=out)
        found.append(weights(out))
    for other in found[1:]:
        assert all(torch.equal(found[0][k], other[k]) for k in found[0])


def test_a_model_that_draws_while_it_predicts_does_not_move_training(tmp_path: Path) -> None:
    class Noisy(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear = torch.nn.Linear(64, 16)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.linear(x.flatten(1) + 0.1 * torch.randn(x.shape[0], 64))

    torch.manual_seed(0)
    module = Noisy()
    for evaluate in ("every", "boundaries"):
        clframe.run("split-digits", "er", model=module, evaluate=evaluate, out=tmp_path / evaluate)
    first, second = weights(tmp_path / "every"), weights(tmp_path / "boundaries")
    assert all(torch.equal(first[k], second[k]) for k in first)


def test_the_callers_random_numbers_and_threads_are_left_alone() -> None:
    torch.manual_seed(7)
    state, threads = torch.get_rng_state(), torch.get_num_threads()
    clframe.run("split-digits", "er", model="mlp(hidden=[16],dropout=0.5)", threads=1, evaluate="boundaries")
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.get_num_threads() == threads


def test_seeds_move_everything_and_repeat_exactly() -> None:
    first, again, other = (clframe.run("split-digits", "er", seed=s, evaluate="every(k=10)") for s in (1, 1, 2))
    pd.testing.assert_frame_equal(rows(first), rows(again))
    pd.testing.assert_frame_equal(first.terms, again.terms)
    assert not rows(first).equals(rows(other))


def test_the_order_of_parts_does_not_matter_bit_for_bit() -> None:
    forward = clframe.run("split-digits", "er(size=60)+lwf+ewc(strength=1,samples=32)", evaluate="boundaries")
    backward = clframe.run("split-digits", "ewc(strength=1,samples=32)+lwf+er(size=60)", evaluate="boundaries")
    pd.testing.assert_frame_equal(rows(forward), rows(backward))
    pd.testing.assert_frame_equal(forward.terms, backward.terms)


def test_the_curve_subset_is_fixed_stratified_and_shared_by_methods() -> None:
    one, two = (clframe.run("split-digits", s, subset=20, evaluate="every(k=10)") for s in ("finetune", "er"))
    curve = one.rows[one.rows.subset == "curve"]
    assert (curve.total == 20).all()
    boundary = one.rows[one.rows.n == one.curves.ends[0]]
    assert sorted(boundary.subset.unique()) == ["curve", "full"]
    start = [r.rows[(r.rows.n == 0) & (r.rows.subset == "curve")].correct.tolist() for r in (one, two)]
    assert start[0] == start[1]


def test_bits_hold_what_the_counts_say() -> None:
    result = clframe.run("split-digits", "finetune", bits=True, evaluate="every(k=20)")
    for row in result.rows.itertuples():
        unpacked = np.unpackbits(np.frombuffer(row.bits, dtype=np.uint8))[: row.total]
        assert unpacked.sum() == row.correct


def test_per_class_counts_add_up_to_the_full_rows() -> None:
    result = clframe.run("split-digits", "er", evaluate="boundaries")
    summed = result.classes.groupby(["n", "evaluated"])[["correct", "total"]].sum().reset_index()
    full = result.rows[result.rows.subset == "full"][["n", "evaluated", "correct", "total"]].reset_index(drop=True)
    merged = full.merge(summed, on=["n", "evaluated"], suffixes=("", "_classes"))
    assert len(merged) == len(full)
    assert (merged.correct == merged.correct_classes).all()
    assert (merged.total == merged.total_classes).all()


def test_a_strategy_that_needs_what_is_hidden_is_refused_before_training() -> None:
    with pytest.raises(CompositionError, match="'boundaries'"):
        clframe.run("gaussian-digits", "ewc")


def test_hidden_boundaries_mean_one_beginning_and_one_end() -> None:
    heard: list[str] = []

    class Listener(Part):
        name = "listener"

        def begin(self, train: object) -> None:
            heard.append(f"begin {getattr(train, 'experience', '?')}")

        def end(self, train: object) -> None:
            heard.append("end")

    clframe.run("gaussian-digits", [Listener()], evaluate="boundaries")
    assert heard == ["begin None", "end"]


def test_a_loss_that_is_not_finite_stops_with_a_sentence_and_a_checkpoint(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="loss term 'ce' must be finite; got nan at update"):
        clframe.run("split-digits", "finetune", lr=1e6, evaluate="boundaries", out=tmp_path / "r", checkpoint_every=1)
    assert not (tmp_path / "r" / "metrics.json").exists()


def test_a_label_out_of_range_and_an_empty_experience_are_sentences() -> None:
    x = np.zeros((20, 4), dtype=np.float32)
    stream = clframe.scenarios.class_incremental(clframe.data.from_arrays(x, np.arange(20) % 2), experiences=2)
    with pytest.raises(DataError, match="experience 1"):
        clframe.scenarios.Stream("mine", stream.data, [stream.segments[0], np.array([], dtype=np.int64)], stream.tests)
    with pytest.raises(OptionError, match="more"):
        clframe.scenarios.class_incremental(stream.data, experiences=2).walked(batch_size=0)


def test_cumulative_and_joint_beat_finetuning_and_cost_what_they_cost() -> None:
    found = {s: clframe.run("split-digits", s, evaluate="boundaries", lr=0.1) for s in ("finetune", "cumulative", "joint")}
    accuracy = {s: r.metrics.acc or 0.0 for s, r in found.items()}
    assert accuracy["finetune"] < 0.4 < 0.7 < min(accuracy["cumulative"], accuracy["joint"])
    assert found["joint"].budget.passes == pytest.approx(1.0)
    assert found["cumulative"].budget.passes > 2.5


def test_objects_compose_like_words() -> None:
    stream = clframe.scenarios.class_incremental("digits", experiences=5, seed=0)
    words = clframe.run(stream, "er(size=60)+lwf", evaluate="boundaries")
    objects = clframe.run(stream, [LwF(), Replay(size=60)], evaluate="boundaries")
    pd.testing.assert_frame_equal(rows(words), rows(objects))


def test_two_parts_of_one_name_are_refused() -> None:
    with pytest.raises(CompositionError, match="'er' twice"):
        clframe.run("split-digits", "er(size=20)+er(size=60)")


def test_two_gradient_projections_are_refused() -> None:
    class One(Part):
        name = "one"

        def project(self, view: strategies.View) -> None:
            pass

    class Two(One):
        name = "two"

    with pytest.raises(CompositionError, match="'one' and 'two'"):
        clframe.run("split-digits", [One(), Two()])


class Still(torch.nn.Module):
    """A strategy of its own that never learns: predicts by a fixed random projection."""

    requires: frozenset[str] = frozenset()

    def __init__(self, setup: strategies.Setup) -> None:
        super().__init__()
        self.matrix = torch.randn(64, 10, generator=torch.Generator().manual_seed(0))

    def begin(self, train: object) -> None: ...
    def end(self, train: object) -> None: ...

    def observe(self, batch: object) -> dict[str, torch.Tensor]:
        return {}

    def predict(self, x: torch.Tensor, task: torch.Tensor | None = None) -> torch.Tensor:
        return x.flatten(1) @ self.matrix


def test_a_model_that_never_changes_has_no_gap_even_on_a_subset() -> None:
    """With a subset drawn anew at every evaluation the minimum is biased and WF has a floor (De Lange et al.'s code)."""
    result = clframe.run("split-digits", Still, subset=30)
    metrics = result.metrics
    assert metrics.wf_10 == metrics.wf_100 == metrics.wp_10 == 0.0
    assert metrics.gap_depth == 0.0
    last = result.rows[(result.rows.n == result.updates[-1]) & (result.rows.subset == "curve")]
    assert metrics.min_acc == pytest.approx((last.correct / last.total)[:-1].mean())
    assert metrics.acc_curve != metrics.acc


def test_the_end_of_an_experience_is_on_the_curve_whatever_the_plan() -> None:
    result = clframe.run("split-digits", "finetune", evaluate="every(k=7)")
    assert set(result.curves.ends) <= set(result.updates.tolist())


def test_replayed_samples_keep_their_own_task_labels() -> None:
    """Published replay gave recalled samples their class label as a task label: wrong with separate heads."""
    seen = []

    class Spy(Part):
        name = "spy"

        def absorb(self, view: strategies.View) -> None:
            assert view.batch.task is not None
            seen.append(torch.stack([view.batch.y, view.batch.task], 1)[view.groups.get("er", slice(0, 0))])

    stream = clframe.scenarios.task_incremental("digits", class_order="sorted")
    clframe.run(stream, [Replay(size=60), Spy()], evaluate="boundaries")
    recalled = torch.cat(seen)
    assert len(recalled) > 500
    assert torch.equal(recalled[:, 0] // 2, recalled[:, 1])


def test_part_objects_start_fresh_in_every_run_and_keep_their_options_in_their_names() -> None:
    parts = [Replay(size=50), Replay(size=200), LwF()]
    objects = clframe.compare("split-digits", parts, seeds=2, evaluate="boundaries")
    assert objects.strategies == ["er(size=50)", "er(size=200)", "lwf"]
    for name in objects.strategies:
        words = clframe.compare("split-digits", [name], seeds=2, evaluate="boundaries")
        for one, two in zip(objects.of(name), words, strict=True):
            pd.testing.assert_frame_equal(rows(one).reset_index(drop=True), rows(two).reset_index(drop=True))


@pytest.mark.parametrize(
    "options",
    [{"strategies": ["er", "er"]}, {"strategies": [Replay(), Replay()]}, {"seeds": [0, 0]}, {"scenario": ["split-digits"] * 2}],
)
def test_the_same_run_does_not_count_as_two_seeds(options: dict[str, Any]) -> None:
    with pytest.raises(OptionError, match="different from each other"):
        clframe.compare(**{"scenario": "split-digits", "strategies": ["finetune"], **options})


def test_a_run_that_lies_in_two_places_counts_once(tmp_path: Path) -> None:
    for place in ("a", "b"):
        clframe.run("split-digits", "finetune", evaluate="boundaries", out=tmp_path / place)
    assert len(clframe.load(tmp_path / "a", tmp_path / "b")) == 1


def test_upper_bounds_stand_alone() -> None:
    with pytest.raises(CompositionError, match="'joint' must stand alone"):
        clframe.run("split-digits", "joint+er")


def test_a_function_of_a_setup_is_a_strategy_in_words_too(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text(
        "import torch\nfrom clframe.strategies import Learner\n\n"
        "def make(setup, lr: float = 0.1):\n"
        "    return Learner(setup.model, torch.optim.SGD(setup.model.parameters(), lr=lr))\n"
    )
    result = clframe.run("split-digits", f"{file}:make(lr=0.05)", evaluate="boundaries")
    plain = clframe.run("split-digits", "finetune", evaluate="boundaries")
    pd.testing.assert_frame_equal(rows(result), rows(plain))


def test_a_part_that_overrides_nothing_is_refused_with_the_likely_hook() -> None:
    class Typo(Part):
        name = "typo"

        def penalize(self, view: strategies.View) -> dict[str, torch.Tensor]:
            return {}

    with pytest.raises(CompositionError, match="Did you mean 'penalty' for 'penalize'"):
        clframe.run("split-digits", [Typo()])


def test_a_penalty_without_names_is_refused() -> None:
    class Nameless(Part):
        name = "nameless"

        def penalty(self, view: strategies.View) -> Any:
            return view.logits.mean()

    with pytest.raises(CompositionError, match="penalty must return a mapping of named terms; 'nameless' returned a Tensor"):
        clframe.run("split-digits", [Nameless()])


def test_window_metrics_are_null_where_the_plan_is_too_coarse() -> None:
    """A drop between two evaluations that lie w updates apart is invisible to WF^w: no value is better than a small one."""
    coarse = clframe.run("split-digits", "finetune", evaluate="every(k=10)").metrics
    assert coarse.wf_10 is None
    assert coarse.wp_10 is None
    assert coarse.wf_100 is not None
    dense = clframe.run("split-digits", "finetune", evaluate="dense(first=10, every=5)").metrics
    assert dense.wf_10 is not None
    assert dense.wf_10 > 0.5

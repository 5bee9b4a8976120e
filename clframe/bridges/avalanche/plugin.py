"""clframe's evaluator, record table and report in an Avalanche script, by one line."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from avalanche.benchmarks import CLScenario

from clframe.bridges.avalanche.making import quiet
from clframe.bridges.avalanche.scenarios import with_places
from clframe.bridges.avalanche.watching import Watched, finished
from clframe.environment import describe
from clframe.errors import DataError, RunError
from clframe.eval.budget import Meter
from clframe.eval.evaluator import Evaluator
from clframe.eval.plan import plan
from clframe.eval.records import Records
from clframe.eval.result import Result
from clframe.rundir import RunDirectory
from clframe.scenarios.stream import Stream
from clframe.types import Reveals, Step


class ContinualEvaluationPlugin:
    """Measures a strategy after every update of an Avalanche script, on every experience's test set, and writes a report.

    Give it to any strategy: `plugins=[ContinualEvaluationPlugin(benchmark, out="report")]`. When the last experience of the
    benchmark has been trained, `out` is a run directory: tables, metrics, and `report.html`, as `clframe.run` writes them;
    `clframe report`, `clframe.load` and the comparison with clframe's own runs work on it.

    The strategy is asked as its own `eval` would ask it (multi-head models, BiC's correction, iCaRL's means), but measuring leaves
    no trace: no generator moves, no model grows, no metric of Avalanche is touched.

    Args:
        benchmark: the benchmark that the script trains on.
        out: directory of the run; None keeps everything in memory, see `result`.
        train: the training stream, where it is not the benchmark's, such as one of `split_online_stream`.
        evaluate: when to measure between boundaries: "every", "every(k=5)", "dense", "log", "boundaries".
        subset: test samples an experience for these measurements, drawn once; 0 for all.
        name: what tables call the strategy; its class and plugins by default.
        scenario: what tables call the benchmark; see `scenario`.
        seed: root of the draw of the subset.
        report: write report.html into `out`.

    Attributes:
        n: updates up to now.

    Raises:
        ClframeError: a benchmark that is no scenario (see `scenario`), an unknown plan, or a directory that holds something else.

    Example:
        >>> import io, torch
        >>> from avalanche.logging import TextLogger
        >>> from avalanche.training.plugins import EvaluationPlugin
        >>> from avalanche.training.supervised import Naive
        >>> from clframe.bridges.avalanche import ContinualEvaluationPlugin, benchmark
        >>> made, model = benchmark("split-digits"), torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 10))
        >>> plugin = ContinualEvaluationPlugin(made, evaluate="every(k=10)")
        >>> optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        >>> silent = EvaluationPlugin(loggers=[TextLogger(io.StringIO())])
        >>> strategy = Naive(model=model, optimizer=optimizer, train_mb_size=10, plugins=[plugin], evaluator=silent)
        >>> _ = strategy.train(made.train_stream)
        >>> plugin.result().finished, plugin.result().accuracy.shape[1]
        (True, 5)

    Differences:
        1. A boundary is measured when everything that belongs to the experience is done, also what plugins do at its end.
        2. The updates of an experience are Avalanche's iterations.
    """

    supports_distributed = False

    def __init__(
        self,
        benchmark: CLScenario[Any],
        out: str | Path | None = None,
        *,
        train: Iterable[Any] | None = None,
        evaluate: str = "every",
        subset: int = 1000,
        name: str | None = None,
        scenario: str | None = None,
        seed: int = 0,
        report: bool = True,
        reveals: Reveals | None = None,
    ) -> None:
        with quiet():
            found = with_places(benchmark, train, scenario, reveals, "eval")
        self._stream: Stream = found[0]
        self._places: Sequence[int] = found[1]
        self._directory = None if out is None else RunDirectory(Path(out))
        self._plan, self._evaluate, self._subset, self._seed = plan(evaluate), evaluate, subset, seed
        self._name, self._report = name, report
        self.n = 0
        self._experience, self._since = -1, 0
        self._watched: Watched | None = None
        self._pending: Step | None = None
        self._boundary: int | None = None
        self._done = False

    def before_train_dataset_adaptation(self, strategy: Any, **_: Any) -> None:
        """The next experience begins: what the last one left is measured before the model is adapted."""
        self._measure_boundary()

    def before_training_exp(self, strategy: Any, **_: Any) -> None:
        """The model is adapted; at the very beginning, everything is measured."""
        k = self._place(strategy.experience.current_experience)
        if self._watched is None:
            self._start(strategy)
        if k != self._experience:
            self._experience, self._since = k, 0

    def before_training_iteration(self, strategy: Any, **_: Any) -> None:
        """The update before this one was not the last of its experience: measure it, where the plan says so."""
        self._measure_pending()

    def after_training_iteration(self, strategy: Any, **_: Any) -> None:
        """One update is complete."""
        assert self._watched is not None
        self.n += 1
        self._since += 1
        self._watched.samples += len(strategy.mbatch[0])
        step = Step(self.n, self._experience, strategy.clock.train_exp_epochs, self._since - 1, self._since, False)
        self._records.train(step, {"loss": strategy.loss.detach().reshape(-1)[0].clone()})
        self._pending = step if self._evaluator.due(step) else None

    def after_training_exp(self, strategy: Any, **_: Any) -> None:
        """An experience, or a small one of an online stream, is over."""
        at = strategy.experience.current_experience
        if at + 1 == len(self._places) or self._places[at + 1] != self._experience:
            self._pending, self._boundary = None, self._experience
        else:
            self._measure_pending()

    def after_training(self, strategy: Any, **_: Any) -> None:
        """`train` is done, and all that plugins do at the end of an experience."""
        self._measure_boundary()

    def result(self) -> Result:
        """What was measured up to now, as `clframe.run` returns it.

        Raises:
            RunError: nothing has been trained yet.
        """
        if self._watched is None:
            raise RunError("a result must hold measurements; this plugin has seen no training yet. Train the strategy that has it.")
        result = finished(self._spec, self._watched, self._stream, self._evaluator, self._records, self._meter, self.n, self._done)
        return result

    def _start(self, strategy: Any) -> None:
        self._watched = Watched(strategy, self._stream.num_classes)
        walked = self._stream.walked(
            batch_size=max(1, strategy.train_mb_size),
            epochs=1 if self._stream.online else strategy.train_epochs,
            device=strategy.device,
            seed=self._seed,
        )
        self._stream = walked
        self._evaluator = Evaluator(walked, self._plan, subset=self._subset, seed=self._seed, device=strategy.device)
        given = {"evaluate": self._evaluate, "subset": self._subset, "seed": self._seed}
        self._spec = self._watched.spec(walked, self._name, given)
        if self._directory is not None:
            import torch

            self._directory.claim(self._spec, describe(strategy.device, torch.get_num_threads()))
        self._records = Records(self._spec["options"]["strategy"], self._seed)
        self._meter = Meter()
        self._records.eval(*self._evaluator.everything(self._watched.now(), 0, -1))

    def _measure_pending(self) -> None:
        step, self._pending = self._pending, None
        if step is not None and self._watched is not None:
            self._records.eval(self._evaluator(self._watched.now(), step))

    def _measure_boundary(self) -> None:
        k, self._boundary = self._boundary, None
        if k is None or self._watched is None:
            return
        self._records.eval(*self._evaluator.everything(self._watched.now(), self.n, k))
        if k == len(self._stream) - 1:
            self._done = True
            if self._directory is not None:
                self._directory.save(self.result(), self._evaluator.chosen(), self._report)

    def _place(self, at: int) -> int:
        places = self._places
        if not 0 <= at < len(places) or places[at] < self._experience:
            raise DataError(
                f"experiences must be those of the plugin's training stream, in order; got number {at} of {len(places)}. Give the "
                "plugin the stream that is trained: ContinualEvaluationPlugin(benchmark, train=stream)."
            )
        return places[at]

"""TensorBoard: a run as event files."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, final

from clframe.bridges.extra import bring
from clframe.errors import bad_option
from clframe.eval.boards import About


@final
class TensorBoard:
    """A run as TensorBoard event files: `tensorboard --logdir DIR` shows all runs below DIR.

    Scalars stand over updates, not seconds. The options of the run and what came out are a row of the page HPARAMS.

    Args:
        run: the run.
        folder: directory of the event files, in which each run has one of its own; by default `tensorboard` in the run directory.

    Raises:
        MissingExtraError: TensorBoard is not installed.
        OptionError: no folder is given and the run has no directory.

    Example:
        >>> import tempfile, clframe
        >>> out = tempfile.mkdtemp()
        >>> result = clframe.run("split-digits", "er", evaluate="boundaries", out=out, log="tensorboard", report=False)
        >>> [p.name.startswith("events.out.tfevents") for p in (result.path / "tensorboard").iterdir()][:1]
        [True]
    """

    def __init__(self, run: About, folder: str | None = None) -> None:
        module = bring("torch.utils.tensorboard", "dashboard 'tensorboard'", "log", package="tensorboard", at_least="2.10")
        self._run, self._place = run, place(run, folder, "tensorboard")
        self.position = run.position if any(self._place.glob("events.out.tfevents*")) else -1
        # What an earlier attempt wrote of updates that come again is taken back.
        again = None if self.position < 0 else self.position + 1
        self._writer: Any = module.SummaryWriter(str(self._place), purge_step=again)

    def log(self, n: int, values: Mapping[str, float]) -> None:
        """Scalars at update `n`."""
        for name, value in values.items():
            self._writer.add_scalar(name, value, n)

    def flush(self) -> None:
        """Write to the disk what was logged."""
        self._writer.flush()

    def close(self, summary: Mapping[str, float] | None) -> None:
        """Of a finished run, write options and metrics to the page HPARAMS; close the file."""
        if summary is not None:
            metrics = {name: value for name, value in summary.items() if name.startswith("metrics/")}
            self._writer.add_hparams(dict(self._run.options), metrics, run_name=".", global_step=max(self.position, 0))
        self._writer.close()


def place(run: About, folder: str | None, name: str) -> Path:
    """Where a dashboard of files writes: a folder of the run in the one given, or beside the run.

    Raises:
        OptionError: neither is there.
    """
    if folder is not None:
        parts = (run.scenario, run.strategy, f"seed-{run.seed}-{run.identity[:6]}")
        found = Path(folder).joinpath(*("".join(c if c.isalnum() or c in "+-_.=," else "-" for c in part) for part in parts))
    elif run.folder is not None:
        found = run.folder / name
    else:
        raise bad_option("folder", f"given to {name} where the run has no directory", None, f"Give out=, or {name}(folder=logs).")
    found.mkdir(parents=True, exist_ok=True)
    return found

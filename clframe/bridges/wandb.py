"""Weights & Biases: a run, offline by default."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, final

from clframe.bridges.extra import bring
from clframe.bridges.tensorboard import place
from clframe.errors import bad_option
from clframe.eval.boards import About

MODES = ("offline", "online")


@final
class WandB:
    """A run for Weights & Biases. Offline, nothing leaves the machine until `wandb sync` is called on its folder.

    The axis of every chart is "update". A run that is resumed writes another folder with the same id; `wandb sync` joins them.

    Args:
        run: the run.
        project: its name; by default "clframe".
        folder: directory of the offline files, in which each run has one of its own; by default `wandb` in the run directory.
        mode: "offline", or "online" for a machine that is logged in.

    Raises:
        MissingExtraError: wandb is not installed, or is too old.
        OptionError: another mode, or no folder where the run has no directory.

    Example:
        >>> import tempfile, clframe
        >>> out = tempfile.mkdtemp()
        >>> result = clframe.run("split-digits", "er", evaluate="boundaries", out=out, report=False)
        >>> result.log("wandb")  # doctest: +SKIP
    """

    def __init__(self, run: About, project: str = "clframe", folder: str | None = None, mode: str = "offline") -> None:
        if mode not in MODES:
            raise bad_option("mode", "'offline' or 'online'", mode, "Give wandb(mode=offline).")
        wandb = bring("wandb", "dashboard 'wandb'", "log", at_least="0.19.10")
        where = place(run, folder, "wandb")
        number = run.identity[:16]
        self.position = run.position if any(where.rglob(f"*run-*-{number}")) else -1
        settings = wandb.Settings(silent=True, console="off", x_disable_stats=True, x_disable_meta=True, root_dir=str(where))
        self._run: Any = wandb.init(
            mode=mode,
            dir=str(where),
            project=project,
            group=run.scenario,
            name=run.name,
            id=number,
            config=dict(run.options),
            reinit="create_new",
            settings=settings,
        )
        self._run.define_metric("update")
        self._run.define_metric("*", step_metric="update")

    def log(self, n: int, values: Mapping[str, float]) -> None:
        """One entry of the history, at update `n`."""
        self._run.log({"update": n, **values})

    def flush(self) -> None:
        """W&B writes in a process of its own."""

    def close(self, summary: Mapping[str, float] | None) -> None:
        """What came out, of a finished run; the end."""
        if summary is not None:
            self._run.summary.update(dict(summary))
        self._run.finish()

"""`clframe run --settings`: the jobs of a comparison with what a protocol chose for each strategy."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

from clframe.errors import OptionError

if TYPE_CHECKING:
    from clframe.comparison import Job, Options
    from clframe.eval.protocol.frozen import Setting

Found = dict[tuple[str, str], "Setting"]
"""By scenario and strategy, both as they were asked for."""


def found_for(
    source: str,
    scenarios: Sequence[str],
    strategies: Sequence[str],
    seeds: Sequence[int],
    options: Mapping[str, Any],
    arguments: Sequence[str],
) -> Found:
    """The setting of every strategy on every scenario.

    Args:
        source: "tuned" or a settings file, as in `clframe.eval.protocol.settings_for`.
        scenarios, strategies, seeds: what was asked for.
        options: of all runs, as far as they are no setting's.
        arguments: as given on the command line.

    Raises:
        ClframeError: no setting, one whose tuning saw the data, or an option that was given and that a setting sets.
    """
    from clframe.eval.protocol.lookup import Shelf

    shelf = Shelf(source, options["data_dir"])
    found = {(a, b): shelf.find(b, a, seeds) for a in scenarios for b in strategies}
    for (_, strategy), setting in found.items():
        _refuse_conflict(source, strategy, {**setting.options, **setting.told}, options, arguments)
    return found


def with_setting(job: Job, found: Found) -> Job:
    """The job with its setting's strategy and options; as it is where there are no settings."""
    setting = found.get((str(job.scenario), str(job.strategy)))
    if setting is None:
        return job
    return dataclasses.replace(
        job, strategy=setting.strategy, options=cast("Options", {**job.options, **setting.options, **setting.told})
    )


def _refuse_conflict(
    source: str, strategy: str, frozen: Mapping[str, Any], options: Mapping[str, Any], arguments: Sequence[str]
) -> None:
    """Refuse an option that was given, on the command line or in a configuration, and that the setting has otherwise."""
    from clframe.experiment import run

    defaults = {name: p.default for name, p in inspect.signature(run).parameters.items()}
    given = {a[2:].partition("=")[0].replace("-", "_") for a in arguments if a.startswith("--")}
    for name, value in frozen.items():
        if options[name] != value and (name in given or options[name] != defaults[name]):
            option = name.replace("_", "-")
            raise OptionError(
                f"an option that a setting fixes must be left out; got --{option} {options[name]!r}, and {source!r} has "
                f"{value!r} for {strategy!r}. Leave --{option} out, or leave --settings out and give all values as options."
            )

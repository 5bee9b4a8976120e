"""Results as tables to compute with: pandas, polars, CSV, Parquet."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from clframe.errors import MissingExtraError, RunError, bad_option
from clframe.eval.metrics import METRICS
from clframe.eval.report import html, published
from clframe.eval.report.tables import value
from clframe.eval.result import OWN, Result, Results

if TYPE_CHECKING:
    import pandas as pd

KINDS = ("pandas", "polars")


def runs(results: Results) -> pd.DataFrame:
    """One row a run: scenario, strategy, source, seed, finished, every metric, every number of the budget.

    A value that is not defined is null, never 0. Metrics are in their own units (`METRICS`), bytes and seconds in bytes and
    seconds; the columns of the budget are named budget_NAME.

    Example:
        >>> import clframe
        >>> results = clframe.compare("split-digits", ["finetune", "er"], seeds=2, evaluate="boundaries")
        >>> runs(results)[["strategy", "seed", "min_acc"]].shape
        (4, 3)
    """
    import pandas as pd

    rows = []
    for result in results:
        metrics = {name: value(result, name) for name in METRICS}
        numbers = {n: v for n, v in result.budget.as_dict().items() if isinstance(v, int | float)} if result.source == OWN else {}
        rows.append({**_named(result), "finished": result.finished, **metrics, **{f"budget_{n}": v for n, v in numbers.items()}})
    frame = pd.DataFrame(rows)
    return frame.astype({name: "float64" for name in METRICS if name in frame})


def records(results: Results) -> pd.DataFrame:
    """One row a measurement of any run: scenario, strategy, source, seed, n, trained, evaluated, correct, total, accuracy, subset,
    seconds.

    Example:
        >>> import clframe
        >>> result = clframe.run("split-digits", "er", evaluate="boundaries")
        >>> table = records(Results([result]))
        >>> bool((table.accuracy == table.correct / table.total).all())
        True
    """
    import pandas as pd

    tables = []
    for result in results:
        rows = result.rows.drop(columns=[c for c in ("run", "seed", "bits") if c in result.rows])
        rows.insert(list(rows.columns).index("total") + 1, "accuracy", rows["correct"] / rows["total"])
        for position, (name, told) in enumerate(_named(result).items()):
            rows.insert(position, name, told)
        tables.append(rows)
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame()


def of_kind(frame: pd.DataFrame, kind: str) -> Any:
    """The frame itself, or as polars.

    Raises:
        OptionError: another kind.
        MissingExtraError: polars is not installed.
    """
    if kind not in KINDS:
        raise bad_option("kind", "'pandas' or 'polars'", kind, "Leave it out for pandas.")
    if kind == "pandas":
        return frame
    try:
        import polars
    except ImportError as error:
        raise MissingExtraError("kind 'polars' needs polars, which is not installed. Run: pip install 'clframe[polars]'") from error
    return polars.from_pandas(frame)


def write(results: Results, path: Path) -> Path:
    """Write the table of metrics as .md or .tex, or one row a run as .csv or .parquet; whole or not at all.

    Raises:
        OptionError: another ending.
        RunError: the file cannot be written.
    """
    kinds: dict[str, Callable[[Path], object]] = {
        ".md": lambda p: html.save(published.markdown(results), p),
        ".tex": lambda p: html.save(published.latex(results), p),
        ".csv": lambda p: runs(results).to_csv(p, index=False),
        ".parquet": lambda p: runs(results).to_parquet(p, index=False),
    }
    if path.suffix not in kinds:
        raise bad_option("table", f"a file that ends in {', '.join(kinds)}", str(path), "Name it table.md.")
    temporary = path.with_name(f".{path.stem}.{os.getpid()}{path.suffix}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        kinds[path.suffix](temporary)
        os.replace(temporary, path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise RunError(f"{str(path)!r} must be a file that can be written; {error}. Give another --table.") from error
    return path


def _named(result: Result) -> dict[str, Any]:
    return {"scenario": result.scenario, "strategy": result.strategy, "source": result.source, "seed": result.seed}

"""Train on a coreset: any stream, of which each experience brings only chosen samples of its own, with weights.

It stands above the scenarios and above the selection of samples, neither of which knows the other.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from clframe.data.hashing import fingerprint
from clframe.errors import DataError, OptionError, bad_option, unknown_name
from clframe.scenarios import Stream
from clframe.scenarios.catalog import build
from clframe.scenarios.curation import Curation
from clframe.seeding import seed_for
from clframe.selection.choice import Ask, Choice, Method
from clframe.selection.clustering import KMeans, cluster
from clframe.selection.estimate import effective
from clframe.selection.losses import Losses
from clframe.selection.methods import method as named
from clframe.selection.pool import Pool
from clframe.selection.pool.of_source import embedded, of_each
from clframe.types import Ids

USES = ("loss", "batches", "none")
Values = str | Path | npt.NDArray[Any]


def curated(
    stream: Stream | Mapping[str, Any] | str = "split-digits",
    *,
    method: str = "stratified(by=label)",
    budget: str | int = "10%",
    weights: str = "loss",
    embedding: Values = "inputs",
    loss: Values | None = None,
    columns: Mapping[str, Values] | None = None,
    cells: int = 0,
    validation: float = 0.0,
    seed: int = 0,
    name: str = "curated",
) -> Stream:
    """Any stream, of which every experience trains on a coreset of its own samples; tests and validation stay as they are.

    With the weight W_i of a chosen sample, how many of the N samples of the experience it stands for, and m chosen in all:

        "loss":      w_i = W_i m / N multiplies its loss, and the loss of a batch is divided by its size. The mean over one epoch
                     is sum_i W_i l_i / N: where the draw is random, an unbiased estimate of the mean loss over the experience
        "batches":   m samples are drawn into every epoch, in proportion to W, and weigh 1: on average sum_i W_i l_i / sum_i W_i
        "none":      the chosen samples are all alike

    Each experience is chosen from by itself, as it comes: no later sample and no test sample is looked at.

    Args:
        stream: what is trained on otherwise: a stream, its name with options, or what a YAML file says of it.
        method: how to choose: a name of `clframe list methods`, with options.
        budget: samples of each experience: a percentage, or a number.
        weights: what the weights are for, as above; never for two of these.
        embedding: what methods that look at samples see: "inputs" (flattened), "pca(dimensions=50)" of them, a .npy file or an
            array with one row for each training sample of the data.
        loss: of each training sample of the data, for methods that ask for losses: a .npy file or an array. Those asked for are
            counted.
        columns: more of each training sample, by name: .npy files or arrays. The labels are the column "label".
        cells: cells of k-means in each experience, for methods that need them; 0: by its size.
        validation: share of each experience held out before the choice, where the stream is built here.
        seed: root of the stream, if that is built here, and of the choice.
        name: name in reports.

    Raises:
        OptionError: an unknown method or use of weights, a budget that leaves an experience without samples or asks for more than
            it has, a stream that is curated already, or one sample with different weights in two experiences.
        DataError: a file that is not there or holds something else than one finite row for each sample.

    Example:
        >>> stream = curated("split-digits(class_order=sorted)", budget="10%")
        >>> [len(ids) for ids in stream.segments], [len(ids) for ids in stream.tests]
        ([29, 29, 29, 29, 28], [72, 72, 72, 72, 71])
        >>> stream.curation.facts["chosen"], stream.curation.facts["queries"]
        ([29, 29, 29, 29, 28], 0)

    Reference: none; see the methods. Sampling in proportion to the weight or weighting the loss: Axiotis et al., "Data-efficient
        learning via clustering-based sensitivity sampling: foundation models and beyond", 2024.
    """
    if not isinstance(stream, Stream):
        stream = build(stream, options={"validation": validation} if validation else {}, seed=seed)
    if validation and not stream.validation:
        raise bad_option("validation", "0 for a stream that was built without", validation, "Give it to that stream.")
    if stream.curation is not None:
        raise bad_option("stream", "one that is not curated", stream.name, "Name the stream beneath it.")
    if weights not in USES:
        raise unknown_name("weights", weights, USES)
    chooser, source = named(method), stream.data.train
    sizes = [_size(budget, len(ids), k) for k, ids in enumerate(stream.segments)]
    look = embedded(embedding, source)
    known = None if loss is None else of_each("loss", loss, len(source), least=0.0)
    more = {str(key): of_each(f"columns[{key!r}]", values, len(source)) for key, values in (columns or {}).items()}
    chosen: dict[int, tuple[Ids, Chosen]] = {}
    for k, ids in enumerate(stream.segments):
        if id(ids) in chosen:  # experiences that share their samples share their coreset
            continue
        pool = Pool(look(ids), columns={**{key: values[ids] for key, values in more.items()}, "label": source.y[ids]})
        losses = None if known is None else Losses(known[ids], len(ids))
        chosen[id(ids)] = ids, _choose(chooser, pool, sizes[k], losses, cells, seed_for(seed, "curated", k), k)
    found = [chosen[id(ids)][1] for ids in stream.segments]
    segments = [ids[one.choice.rows] for ids, one in zip(stream.segments, found, strict=True)]
    facts = _facts(found, segments, method, budget, weights, str(embedding) if isinstance(embedding, str | Path) else "an array")
    table = None if weights == "none" else _table(found, segments, len(source))
    curation = Curation(facts, table, "batches" if weights == "batches" else "loss")
    return dataclasses.replace(stream, name=name, segments=segments, curation=curation)


@dataclasses.dataclass(frozen=True)
class Chosen:
    """What was chosen of one experience: of how many samples, and how many losses were asked for."""

    choice: Choice
    of: int
    queries: int

    @property
    def weight(self) -> npt.NDArray[np.float64]:
        """W_i m / N of the chosen samples (m,)."""
        found: npt.NDArray[np.float64] = self.choice.weight * (len(self.choice.rows) / self.of)
        return found


def _choose(chooser: Method, pool: Pool, size: int, losses: Losses | None, cells: int, seed: int, k: int) -> Chosen:
    def clustered() -> Any:
        return cluster(pool, KMeans(k=cells), seed)

    try:
        choice = chooser(Ask(pool, size, seed, losses, clustered))
    except (OptionError, DataError) as error:
        raise type(error)(f"in experience {k}, of {pool.n:,} samples, {error}") from error
    if not len(choice.rows):
        raise bad_option("budget", "enough for a sample of every experience", f"0 rows of experience {k}", "Give a larger budget.")
    return Chosen(choice, pool.n, 0 if losses is None else losses.queries)


def _size(budget: str | int, n: int, k: int) -> int:
    """How many of the n samples of experience k."""
    share = _share(budget)
    if share is None:
        size = int(budget)
        if size > n:
            raise bad_option("budget", f"at most the {n:,} samples of experience {k}", budget, "Give a percentage, such as 10%.")
        return size
    size = math.floor(n * share / 100 + 0.5)
    if size == 0:
        least = math.ceil(50 / n * 100) / 100
        rule = f"enough for one of the {n:,} samples of experience {k}"
        raise bad_option("budget", rule, budget, f"Give budget={least:g}% or more.")
    return size


def _share(budget: str | int) -> float | None:
    """The percentage; None where a number of samples is given."""
    if isinstance(budget, int) and not isinstance(budget, bool) and budget >= 1:
        return None
    words = budget.strip() if isinstance(budget, str) else ""
    try:
        share = float(words[:-1]) if words.endswith("%") else math.nan
    except ValueError:
        share = math.nan
    if not 0 < share <= 100:
        rule = "a percentage above 0% and up to 100%, or a positive number of samples, as a number"
        raise bad_option("budget", rule, budget, "Give budget=10% for a tenth of every experience.")
    return share


def _table(found: list[Chosen], segments: list[Ids], n: int) -> npt.NDArray[np.float32] | None:
    """The weight of every training id (n,); None where all that were chosen weigh the same."""
    weights = [one.weight for one in found]
    if all(np.allclose(w, 1.0, rtol=1e-6, atol=0.0) for w in weights):
        return None
    table = np.zeros(n, dtype=np.float32)
    for k, (ids, w) in enumerate(zip(segments, weights, strict=True)):
        clash = (table[ids] != 0) & ~np.isclose(table[ids], w, rtol=1e-6)
        if clash.any():
            raise OptionError(
                f"a sample must weigh the same wherever it comes; got {table[ids][clash][0]:g} and, in experience {k}, "
                f"{w[clash][0]:g} for sample {int(ids[clash][0])}. Give weights=none, or method=uniform."
            )
        table[ids] = w
    return table


def _facts(
    found: list[Chosen], segments: list[Ids], method: str, budget: str | int, weights: str, embedding: str
) -> dict[str, Any]:
    """How the samples were chosen, as plain data: `key` is a hash of ids and weights, `found` what the method says of itself."""
    pieces = [array for ids, one in zip(segments, found, strict=True) for array in (ids, one.choice.weight)]
    once = {id(one): one for one in found}
    return {
        "method": method,
        "budget": budget,
        "weights": weights,
        "embedding": embedding,
        "of": [one.of for one in found],
        "chosen": [len(one.choice.rows) for one in found],
        "queries": sum(one.queries for one in once.values()),
        "effective_size": [round(effective(one.weight, np.ones(len(one.weight), dtype=np.int64)), 3) for one in found],
        "largest_weight": [round(float(one.weight.max()), 3) for one in found],
        "key": fingerprint(*pieces),
        "found": [_plain(one.choice.facts) for one in found],
    }


def _plain(facts: Mapping[str, Any]) -> dict[str, Any]:
    """The facts that are one value; tables by stratum are left out."""
    values = {name: value.item() if isinstance(value, np.generic) else value for name, value in facts.items()}
    return {name: value for name, value in values.items() if isinstance(value, str | int | float | None)}

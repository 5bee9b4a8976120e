"""A dataset card: what was written, how it was made, how to read it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import yaml

from clframe.scenarios import Stream
from clframe.selection.coreset import Coreset

if TYPE_CHECKING:
    import datasets


def card(thing: Stream | Coreset, made: datasets.DatasetDict, name: str) -> str:
    """The text of README.md, with the header in which the hub looks for files, sizes and tags."""
    scenario = isinstance(thing, Stream)
    header = {
        "pretty_name": thing.name if isinstance(thing, Stream) else name,
        "tags": ["clframe", "continual-learning" if scenario else "coreset"],
        "configs": [
            {"config_name": "default", "data_files": [{"split": split, "path": f"{split}.parquet"} for split in made]},
        ],
    }
    lines = _of_stream(thing, name) if isinstance(thing, Stream) else _of_coreset(thing, name)
    rows = [f"| {split} | {len(data):,} | {', '.join(f'`{c}`' for c in data.column_names)} |" for split, data in made.items()]
    table = ["| split | rows | columns |", "|---|---|---|", *rows]
    return "\n".join(["---", yaml.safe_dump(header, sort_keys=False).strip(), "---", "", *lines, "", *table, ""])


def _of_stream(stream: Stream, name: str) -> Iterator[str]:
    from clframe import __version__

    yield f"# {stream.name}"
    yield ""
    yield f"A stream of {len(stream)} experiences over {stream.data.name}, written by clframe {__version__}."
    yield ""
    yield "- `id`: number of the sample in its source; `input`: float32, normalised as the stream delivers it; `label`."
    yield "- `experience`, `place`: in which experiences the sample comes, and at which place of each."
    yield f"- A learner may know: {', '.join(sorted(stream.reveals.names())) or 'nothing'}."
    yield f"- Order of an experience: {type(stream.order).__name__}, seed {stream.seed}. Tested on: {stream.tested_on}."
    yield f"- Fingerprint of data, ids and order: `{stream.fingerprint()}`."
    yield from _reading("to_scenario", name)


def _of_coreset(coreset: Coreset, name: str) -> Iterator[str]:
    from clframe import __version__

    m: dict[str, Any] = dict(coreset.manifest)
    yield f"# {name}"
    yield ""
    yield f"{len(coreset):,} of {m['pool']['rows']:,} samples, chosen with `{m['method']}`, written by clframe {__version__}."
    yield ""
    yield "- `coreset_weight`: how many samples of the pool each stands for; `coreset_probability`: how often it was to be drawn."
    found = coreset.mean_loss
    if found is not None:
        yield f"- Mean loss over the pool: {found.mean:.6g}, 95 % interval {found.low:.6g} to {found.high:.6g}."
    yield f"- Kish's effective size: {m.get('effective_size', '–')}. All of the manifest is in `clframe.json`."
    yield from _reading("to_coreset", name)


def _reading(call: str, name: str) -> Iterator[str]:
    yield from ("", "```python", f"from clframe.bridges.huggingface import {call}", "", f'{call}("{name}")', "```")

"""The settings that ship with clframe: what deployable protocols chose in the studies of this folder.

CLFRAME_DATA=DIR clframe protocol papers/reality_check/study.yaml --out runs/reality_check
python -m papers.tuned runs/reality_check/settings.json
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from typing import Any

from clframe.eval.protocol.frozen import FORMAT, read
from clframe.eval.protocol.lookup import TUNED

PROTOCOLS = ("gtep",)


def together(files: Sequence[str]) -> dict[str, Any]:
    """The settings of several studies under the protocols that ship, as one file says them.

    Raises:
        OptionError: a file that is no settings file.
    """
    found = [setting for file in files for setting in read(file) if setting.protocol in PROTOCOLS]
    return {
        "format": FORMAT,
        "settings": [{**setting.plain(), "hash": setting.hash} for setting in found],
        "sketches": {setting.seen.name: setting.seen.plain() for setting in found},
    }


if __name__ == "__main__":
    TUNED.write_text(json.dumps(together(sys.argv[1:]), indent=1) + "\n")
    print(f"{TUNED}: {', '.join(setting.method for setting in read(TUNED))}")

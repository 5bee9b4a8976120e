"""`clframe COMMAND`: the entry point, its exit codes and its errors.

Exit codes: 0 done; 1 a check failed; 2 something to mend in what was asked (one sentence says what); 130 or 143 stopped by
Ctrl-C or SIGTERM, resumable; 70 a defect of clframe.
"""

from __future__ import annotations

import importlib
import os
import signal
import sys
from collections.abc import Sequence

COMMANDS = {
    "run": "run strategies along a scenario, over seeds, and report",
    "resume": "continue stopped runs exactly where they stopped",
    "report": "compare any runs: tables, curves, one HTML file",
    "log": "send runs to dashboards: TensorBoard, MLflow, Weights & Biases",
    "export": "write the model of one task, to be used without clframe, and measure it",
    "select": "choose a weighted subset of training data: select, compare, report, dedup, inspect, materialize",
    "pool": "real and generated data, and where it comes from: add, log, show, fsck, check",
    "show": "print and draw a scenario",
    "protocol": "tune and evaluate as separate phases on separate data: a study as one YAML file",
    "generations": "models that train on what models made: generators x policies x seeds, as one YAML file",
    "list": "the names there are: strategies, scenarios, data sets, models, metrics",
    "check": "run the conformance suite on a strategy, scenario or memory of your own",
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    debug = "--debug" in arguments
    arguments = [a for a in arguments if a != "--debug"]
    if arguments[:1] == ["--version"]:
        from clframe import __version__

        print(f"clframe {__version__}")
        return 0
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        print(_usage())
        return 0 if arguments else 2
    return _guarded(arguments[0], arguments[1:], debug)


def _guarded(name: str, arguments: list[str], debug: bool) -> int:
    from clframe.errors import ClframeError, unknown_name

    signal.signal(signal.SIGTERM, _stop)
    if os.getcwd() not in sys.path:
        sys.path.append(os.getcwd())  # so that module:Name finds what lies here, as it does under `python -m`
    try:
        if name not in COMMANDS:
            raise unknown_name("command", name, COMMANDS)
        code: int = importlib.import_module(f"clframe.cli.{name}_command").main(arguments)
        return code
    except ClframeError as error:
        if debug:
            raise
        print(f"clframe {name}: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt as stop:
        number = getattr(stop, "number", signal.SIGINT)
        print(f"clframe {name}: stopped. {' '.join(getattr(stop, '__notes__', []))}".strip(), file=sys.stderr)
        return 128 + int(number)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:
        if debug:
            raise
        place = _users_line(error)
        if place:
            print(f"clframe {name}: your code at {place} raised {type(error).__name__}: {error}. See --debug.", file=sys.stderr)
            return 2
        print(
            f"clframe {name}: a defect of clframe, not of your input: {type(error).__name__}: {error}. "
            "Run it again with --debug for the traceback, and please report it.",
            file=sys.stderr,
        )
        return 70


def _users_line(error: BaseException) -> str:
    """FILE:LINE if the error was raised in code that is neither clframe's nor an installed package's."""
    import traceback
    from pathlib import Path

    import clframe

    ours = Path(clframe.__file__).parent
    frames = [f for f in traceback.extract_tb(error.__traceback__) if "site-packages" not in f.filename]
    outside = [f for f in frames if not Path(f.filename).is_relative_to(ours) and "/lib/python" not in f.filename]
    last = next((f for f in reversed(frames) if f in outside or Path(f.filename).is_relative_to(ours)), None)
    return f"{last.filename}:{last.lineno}" if last is not None and last in outside and last.name != "<module>" else ""


def _stop(number: int, frame: object) -> None:
    error = KeyboardInterrupt()
    error.number = number  # type: ignore[attr-defined]
    raise error


def _usage() -> str:
    width = max(map(len, COMMANDS))
    lines = [f"  {name:<{width}}  {what}" for name, what in COMMANDS.items()]
    return "\n".join(
        [
            "usage: clframe COMMAND [options]        clframe COMMAND --help",
            "",
            *lines,
            "",
            "  clframe run --scenario split-digits --strategy er,ewc,lwf,finetune --seeds 3 --out runs/first",
            "",
            "--debug shows the traceback of an error; --version the version.",
        ]
    )


if __name__ == "__main__":
    sys.exit(main())

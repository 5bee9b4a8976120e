"""Where tasks are done: one after another in this process, in a pool of processes, or on the machines of a Ray cluster."""

from __future__ import annotations

from clframe.errors import bad_option
from clframe.executors.in_process import InProcess
from clframe.executors.processes import Processes
from clframe.executors.task import Ended, Executor, Outcome, Progress, Task, Tell

__all__ = ["Ended", "Executor", "InProcess", "Outcome", "Processes", "Progress", "Task", "Tell", "executor"]


def executor(written: str = "auto", jobs: int = 1) -> Executor:
    """An executor; use it in a `with` statement, so that its processes end with it.

    Args:
        written: "in-process"; "processes"; "ray" (the cluster of this machine, or one that is started for the purpose) or
            "ray://HOST:PORT" (any cluster); "auto" takes processes for more than one job.
        jobs: tasks at the same time; a Ray cluster does as many as it has processors for.

    Raises:
        OptionError: an unknown executor, or no job at all.
        MissingExtraError: Ray is asked for and not installed.

    Example:
        >>> with executor("auto", jobs=1) as here:
        ...     type(here).__name__
        'InProcess'
    """
    if jobs < 1:
        raise bad_option("jobs", "a positive integer", jobs, "Give jobs=1.")
    if written == "in-process" or (written == "auto" and jobs == 1):
        return InProcess()
    if written in ("auto", "processes"):
        return Processes(jobs)
    if written == "ray" or written.startswith("ray://"):
        from clframe.executors.on_ray import OnRay

        return OnRay(None if written == "ray" else written)
    raise bad_option("executor", "auto, in-process, processes, ray or ray://HOST:PORT", written, "Leave it out for this machine.")

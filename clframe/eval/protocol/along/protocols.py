"""The protocols that choose at every experience: current-task, seen-tasks, stability-decay, adaptive."""

from __future__ import annotations

from dataclasses import fields
from importlib.util import find_spec

from clframe.errors import MissingExtraError, bad_option
from clframe.eval.protocol.along.choosers import Adaptive, Best, Chooser, StabilityDecay
from clframe.eval.protocol.protocols import Place, Protocol, Streams, validated


def _along(name: str, looks_at: str, chooser: Chooser) -> Protocol:
    def phases(s: Streams, share: float) -> tuple[Place, Place]:
        held = validated(s.evaluation, share)
        return Place(held, "validation"), Place(s.evaluation if chooser.retrains else held)

    return Protocol(name, looks_at, True, True, "each", phases, chooser)


def current_task() -> Protocol:
    """Every experience is tuned for itself: greedy.

        h_k = argmax_h acc(Val_k | trained with h from where the learner stands on Train_k)

    Then the experience is trained with h_k on Train_k and Val_k, and the walk goes on from there.

    Reference: Lee et al., "Hyperparameter selection in continual learning", 2024, "current-task".
    """
    return _along("current-task", "validation samples of the experience in progress, at every experience", Best())


def seen_tasks(by: str = "validation") -> Protocol:
    """Every experience is tuned for all that was seen so far.

    With "validation", h_k maximises the mean accuracy over Val_1, ..., Val_k. These samples have to be stored, and are never
    trained on, so that the reported run learns from fewer samples than those of other protocols.

    With "memory", h_k maximises the median over classes of the accuracy over Val_k and a share of what the method remembers, the
    same share of every class, withheld from replay in the tries. Then the experience is trained on everything.

    Args:
        by: "validation" or "memory".

    Raises:
        OptionError: another.

    Reference: Lee et al., 2024, "seen-tasks (Val)" and "seen-tasks (Mem)".
    Differences:
        1. The share that is withheld is the study's `validation`.
        2. Withheld samples are not replayed; methods that also take class means or targets over the memory still do so over all
           of it, and methods without a memory are scored on Val_k alone.
        3. With "validation" what was taken is trained again from the same point on the same samples, which gives the same learner.
    """
    if by == "validation":
        what = "stored validation samples of all experiences so far, at every experience"
        return _along("seen-tasks", what, Best("seen", retrains=False))
    if by == "memory":
        what = "validation samples of the experience in progress and withheld samples of the memory, at every experience"
        return _along("seen-tasks(by=memory)", what, Best("memory"))
    raise bad_option("by", "'validation' or 'memory'", by, "Leave it out for validation samples of all experiences so far.")


def stability_decay(drop: float = 0.2, decay: float = 0.5, attempts: int = 10, carry_over: bool = True) -> Protocol:
    """As much stability as costs no more than a share of the plasticity.

    At every experience, from where the learner stands: (1) fine-tuning without the method, with every value of the optimizer's
    options; lr* is the best and A* its accuracy on Val_k. (2) The method with lr* and its own options at their highest values,
    which decay until

        acc(Val_k) >= (1 - drop) A*

    or there were `attempts`; the last attempt is taken either way. Of several options each decays alone, one after the other, and
    then all of them; then again from there.

    Every option of a part that the space names is one of stability: the larger the value, the more is kept. Lists and ranges give
    the highest value; the decay may leave a list.

    Args:
        drop: share of the plastic accuracy that may be lost.
        decay: factor of an attempt.
        attempts: of an experience, at most.
        carry_over: begin the next experience at the values that were taken, so that stability only goes down, as in the released
            code, which keeps the first values and does not use them; otherwise at the highest again.

    Raises:
        OptionError: a drop or decay outside (0, 1), or no attempt.

    Reference: De Lange et al., "A continual learning survey: defying forgetting in classification tasks", 2021, section 4.
    Differences:
        1. The learning rates and the highest values are the study's, not those of the authors' table.
        2. What was taken is trained again with the validation samples.
        3. An attempt that diverged counts as one below the threshold, and is never taken.
        4. A method without options of stability is tuned as in current-task.
    """
    for name, value in (("drop", drop), ("decay", decay)):
        if not 0 < value < 1:
            raise bad_option(name, "in (0, 1)", value, f"Give {name}={0.2 if name == 'drop' else 0.5}.")
    if attempts < 1:
        raise bad_option("attempts", "a positive integer", attempts, "Give attempts=10.")
    chooser = StabilityDecay(drop, decay, attempts, carry_over)
    return _along(
        _named("stability-decay", chooser), "validation samples of the experience in progress, at every experience", chooser
    )


def adaptive(m: int = 3, top: int = 2, trials: int = 5) -> Protocol:
    """All options at the first experiences; after them only those that mattered most.

    At the first m experiences the whole search, as in current-task. A functional analysis of variance of their trials then says
    how much each option explains; at later experiences the `top` of them are tuned again with `trials` trials, the first of which
    is what was taken last, and the others stay as they are.

    Args:
        m: experiences with the whole search.
        top: options that are tuned after them.
        trials: at each experience after them.

    Raises:
        OptionError: one of them is not positive.
        MissingExtraError: Optuna, which analyses the variance, is not installed.

    Reference: Semola et al., "Adaptive hyperparameter optimization for continual learning scenarios", 2024.
    Differences:
        1. The shares of importance are averaged over the first experiences, because scores of different experiences are on
           different scales.
        2. A grid search goes on with random draws after the first experiences.
    """
    for name, value in (("m", m), ("top", top), ("trials", trials)):
        if value < 1:
            raise bad_option(name, "a positive integer", value, f"Give {name}=3.")
    if find_spec("optuna") is None:
        raise MissingExtraError("protocol 'adaptive' needs Optuna, which is not installed. Run: pip install 'clframe[tune]'")
    what = f"validation samples of the experience in progress: all options at the first {m}, the {top} most important later"
    chooser = Adaptive(m, top, trials)
    return _along(_named("adaptive", chooser), what, chooser)


def _named(name: str, chooser: StabilityDecay | Adaptive) -> str:
    """The name with the options that are not the default ones.

    Example:
        >>> _named("stability-decay", StabilityDecay(drop=0.1, carry_over=False))
        'stability-decay(drop=0.1,carry_over=false)'
    """
    given = {f.name: getattr(chooser, f.name) for f in fields(chooser) if getattr(chooser, f.name) != f.default}
    return name + (f"({','.join(f'{k}={str(v).lower()}' for k, v in given.items())})" if given else "")

"""What every memory must do: keep within its size, draw from its own generator, know its inclusion probabilities."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from torch import Tensor

from clframe.checkpoint import write
from clframe.selection import Memory
from clframe.snapshot import copied
from clframe.testing.compare import difference
from clframe.testing.outcome import NotApplicable, require
from clframe.testing.subject import MemorySubject

SIZE, LENGTH, BATCH, SEEDS = 12, 90, 10, 400


def keeps_within_its_size(subject: MemorySubject) -> None:
    """After every batch it holds at most `size` ids, all different, all offered, and counts what it has seen."""
    memory, (index, y) = subject.build(SIZE, 0), _stream()
    for low in range(0, LENGTH, BATCH):
        _offer(memory, index[low : low + BATCH], y[low : low + BATCH])
        kept = memory.selection().index
        high = low + BATCH
        require(len(kept) == len(memory), f"after {high} samples selection() holds {len(kept)} ids and len() says {len(memory)}.")
        require(len(kept) <= SIZE, f"a memory of size {SIZE} holds {len(kept)} ids after {high} samples.")
        require(len(np.unique(kept)) == len(kept), f"an id is held twice after {high} samples.")
        require(bool(np.isin(kept, index[:high].numpy()).all()), f"it holds an id that was never offered, after {high} samples.")
        require(memory.seen == high, f"after {high} samples `seen` is {memory.seen}.")


def deterministic(subject: MemorySubject) -> None:
    """The same generator gives the same memory and the same draws; torch's global generator stays where it was."""
    before = torch.get_rng_state()
    (first, drawn), (again, redrawn) = (_filled(subject, seed) for seed in (0, 0))
    unlike = difference(copied(first.state_dict()), copied(again.state_dict()))
    require(unlike is None, f"two memories with the same generator differ: {unlike}.")
    require(torch.equal(drawn, redrawn), "two memories with the same generator draw differently.")
    require(torch.equal(before, torch.get_rng_state()), "it draws from torch's global generator. Draw from self.generator.")


def inputs_stay_untouched(subject: MemorySubject) -> None:
    """update leaves the ids and labels that it was given as they were."""
    index, y = _stream()
    before = (index.clone(), y.clone())
    _offer(subject.build(SIZE, 0), index, y)
    require(torch.equal(before[0], index) and torch.equal(before[1], y), "update changed the ids or labels that it was given.")


def state_is_exact(subject: MemorySubject) -> None:
    """Its state is plain, comes back from a file, and a memory that was restored half-way ends like one that was not."""
    (index, y), half = _stream(), LENGTH // 2
    memory = subject.build(SIZE, 0)
    _offer(memory, index[:half], y[:half])
    with TemporaryDirectory() as name:
        write(Path(name) / "state.pt", {"state": memory.state_dict()})
        loaded = torch.load(Path(name) / "state.pt", weights_only=True)["state"]
    restored = subject.build(SIZE, 1)
    restored.load_state_dict(loaded)
    for one in (memory, restored):
        _offer(one, index[half:], y[half:])
    unlike = difference(copied(memory.state_dict()), copied(restored.state_dict()))
    require(unlike is None, f"restored half-way, the memory ends differently: {unlike}.")
    require(torch.equal(memory.draw(5), restored.draw(5)), "restored half-way, the memory draws differently.")


def draws_what_it_holds(subject: MemorySubject) -> None:
    """draw(k) gives k different ids that it holds, all of them where it holds fewer."""
    memory, _ = _filled(subject, 0)
    kept = set(memory.selection().index.tolist())
    for count in (1, 5, SIZE, 2 * SIZE):
        drawn = memory.draw(count).tolist()
        require(len(drawn) == len(set(drawn)) == min(count, len(memory)), f"draw({count}) gave {len(drawn)} ids: {drawn}.")
        require(set(drawn) <= kept, f"draw({count}) gave an id that the memory does not hold.")


def probabilities_are_honest(subject: MemorySubject) -> None:
    """Inclusion probabilities lie in (0, 1], weights are their inverses, and weighted means are unbiased over 400 seeds.

    The Horvitz-Thompson estimate sum_i v_i / p_i over the kept samples is compared with the sum over the stream, for values
    that depend on the position and on the class; its mean must lie within 4 standard errors.
    """
    if not subject.made.unbiased:
        raise NotApplicable("chooses by a rule, not at random")
    index, y = _stream()
    values = {"the position": index.double().numpy() / LENGTH, "the class": (1.0 + y).double().numpy()}
    estimates: dict[str, list[float]] = {what: [] for what in values}
    for seed in range(SEEDS):
        memory = subject.build(SIZE, seed)
        for low in range(0, LENGTH, BATCH):
            _offer(memory, index[low : low + BATCH], y[low : low + BATCH])
        found = memory.selection()
        inside = bool(((found.probability > 0) & (found.probability <= 1)).all())
        require(inside, f"inclusion probabilities must lie in (0, 1]; got {found.probability.min()} to {found.probability.max()}.")
        require(bool(np.allclose(found.weight * found.probability, 1)), "weights must be 1 / probability.")
        for what, value in values.items():
            estimates[what].append(float((value[found.index] * found.weight).sum()))
    for what, value in values.items():
        mean, error = np.mean(estimates[what]), np.std(estimates[what], ddof=1) / np.sqrt(SEEDS)
        off = abs(mean - value.sum()) / max(error, 1e-9 * value.sum())
        require(
            off <= 4,
            f"the weighted sum of {what} is {mean:.2f} on average, not {value.sum():.2f}: {off:.1f} standard errors off.",
        )


def slots_are_where_they_are_said_to_be(subject: MemorySubject) -> None:
    """update returns the slot of each sample that it holds now and -1 for the others; what is kept there comes back with it."""
    memory, (index, y) = subject.build(SIZE, 0), _stream()
    for low in range(0, LENGTH, BATCH):
        ids = index[low : low + BATCH]
        slots = memory.update(ids, y[low : low + BATCH])
        require(len(slots) == len(ids), f"update of {len(ids)} samples returned {len(slots)} slots.")
        held = slots >= 0
        wrong = memory.index[slots[held]] != ids[held]
        require(not bool(wrong.any()), f"update says that samples {ids[held][wrong].tolist()} are held where others are.")
        memory.keep(slots, twice=2 * ids)
    if "twice" in memory.extra:
        stale = memory.extra["twice"][: len(memory)] != 2 * memory.index[: len(memory)]
        require(not bool(stale.any()), f"{int(stale.sum())} slots hold another sample than the one that update returned them for.")


def _offer(memory: Memory, index: Tensor, y: Tensor) -> None:
    """One batch, which is a whole experience for a memory that settles."""
    memory.update(index, y)
    if memory.settles:
        memory.settle(index, y, torch.stack([index.float().sin(), index.float().cos()], dim=1))


def _stream() -> tuple[Tensor, Tensor]:
    """Ids 0..89 in order; class 0 has 60 of them, class 1 20 and class 2 10, mixed."""
    y = torch.tensor([0, 1, 0, 0, 2, 0, 1, 0, 0] * (LENGTH // 9), dtype=torch.int64)
    return torch.arange(LENGTH), y


def _filled(subject: MemorySubject, seed: int) -> tuple[Memory, Tensor]:
    memory, (index, y) = subject.build(SIZE, seed), _stream()
    for low in range(0, LENGTH, BATCH):
        _offer(memory, index[low : low + BATCH], y[low : low + BATCH])
    return memory, memory.draw(5)

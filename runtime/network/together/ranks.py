"""Processes that do one piece of work together, each on a device of its own: `ranks`.

All of them draw the same random numbers and see the same batches. Of each batch a rank takes its
`Share`; what is summed over examples is summed over the ranks. So all come to the same weights and
the same choices, those of one process with the same batches to rounding, and only the first writes.
`torchrun` starts them; a process that was started alone is a world of its own, in which all of this
does nothing.
"""

from __future__ import annotations

import atexit
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, Final, TypeVar, cast

import torch
import torch.distributed as dist
from attrs import define, frozen
from torch import Tensor, nn

from bayesnas.dsl.diagnostics import Diagnostic, DiagnosticError
from bayesnas.runtime.network.together.launch import launch
from bayesnas.runtime.tasks.bundle import Bundle
from bayesnas.runtime.tasks.interface import Losing

Batch = TypeVar("Batch", bound=Tensor | Bundle)
Result = TypeVar("Result")

PATIENCE: Final = timedelta(seconds=10)  # for the store that tells who has failed first
_WHOLE: Final = {1: torch.int8, 2: torch.int16, 4: torch.int32, 8: torch.int64}  # by bytes


@frozen
class Share:
    """What a rank takes of a batch of ``count`` examples.

    Args:
        count: of the whole batch.
        rows: those it takes; None: all of them.
        counts: whether they count. Of a batch of fewer examples than ranks each takes all, and only
            those of the first count.
    """

    count: int
    rows: slice | None = None
    counts: bool = True

    def of(self, batch: Batch) -> Batch:
        """Its rows of a batch [N, ...]."""
        return batch if self.rows is None else cast(Batch, batch[self.rows])

    @property
    def size(self) -> int:
        """How many examples it takes."""
        return self.count if self.rows is None else self.rows.stop - self.rows.start

    def spread(self, rows: Tensor) -> Tensor:
        """Its rows as a whole batch [N, ...], zeros where the others' are."""
        if self.rows is None:
            return rows
        batch = rows.new_zeros(self.count, *rows.shape[1:])
        batch[self.rows] = rows
        return batch

    def whole(self, rows: Tensor) -> Tensor:
        """The rows of all ranks, without gradients [N, ...]."""
        return rows if self.rows is None else world().sum(self.spread(rows.detach()))

    def counted(self, sums: Tensor) -> Tensor:
        """What its rows add to sums over the ranks."""
        return sums if self.counts else torch.zeros_like(sums)

    def loss(self, task: Losing, outputs: Tensor, targets: Tensor) -> Tensor:
        """What its rows add to the mean loss of the batch: a scalar.

        Args:
            task: by which it is taken.
            outputs: of its rows.
            targets: of the whole batch.
        """
        if self.rows is not None:
            return task.loss(outputs, self.of(targets), "sum") / self.count
        loss = task.loss(outputs, targets)
        return loss if self.counts else 0 * loss

    def gates(self, gates: Tensor) -> Tensor:
        """The gates of its rows; [G] for all examples, or [N, G].

        Where they ask for a gradient, it is that of the whole batch's loss.
        """
        if world().size == 1:
            return gates
        shared: Tensor = _Shared.apply(gates) if gates.requires_grad else gates
        return self.of(shared) if gates.dim() == 2 and len(gates) == self.count else shared


class _Shared(torch.autograd.Function):
    """What all ranks have alike; its gradient is the sum of theirs."""

    @staticmethod
    def forward(_ctx: Any, z: Tensor) -> Tensor:
        """z: [...]."""
        return z.view_as(z)

    @staticmethod
    def backward(_ctx: Any, *gradients: Tensor) -> Tensor:
        """The same."""
        [g] = gradients
        return world().sum(g.clone())


@define
class World:
    """All ranks, and which of them this is."""

    rank: int = 0
    size: int = 1

    @property
    def writes(self) -> bool:
        """Whether this one writes files and is heard."""
        return self.rank == 0

    def share(self, count: int) -> Share:
        """What this rank takes of so many examples: as many as others, or one more."""
        if self.size == 1:
            return Share(count)
        if count < self.size:
            return Share(count, counts=self.rank == 0)
        edges = [count * rank // self.size for rank in (self.rank, self.rank + 1)]
        return Share(count, slice(*edges))

    # -------------------------------------------------------------------------------------- sums

    def sum(self, tensor: Tensor) -> Tensor:
        """The sum over all ranks, bit for bit the same on each; ``tensor`` may become it."""
        if self.size == 1:
            return tensor
        total = tensor.contiguous()
        _touch(lambda: dist.all_reduce(total))
        return total

    def sum_gradients(self, parameters: Iterable[nn.Parameter]) -> None:
        """Gradients become the sums of those of all ranks; all ranks have some of the same."""
        if self.size == 1:
            return
        kinds: dict[torch.dtype, list[Tensor]] = {}
        for parameter in parameters:
            if parameter.grad is not None:
                kinds.setdefault(parameter.grad.dtype, []).append(parameter.grad)
        for gradients in kinds.values():
            total = self.sum(torch.cat([g.flatten() for g in gradients]))
            parts = torch.split(total, [g.numel() for g in gradients])
            for gradient, part in zip(gradients, parts, strict=True):
                gradient.copy_(part.view(gradient.shape))

    def backward(self, loss: Tensor, penalty: Tensor | None, module: nn.Module) -> None:
        """Gradients of a loss in the weights of a network, and of a penalty in all that has some.

        Args:
            loss: the share of this rank, `Share.loss`.
            penalty: what all ranks have alike.
            module: whose weights get the gradients of all ranks' losses.
        """
        if self.size == 1:
            loss = loss if penalty is None else loss + penalty
        for part in (loss, None if self.size == 1 else penalty):
            # Without operations on the way to the output nothing can learn.
            if part is not None and part.requires_grad:
                part.backward()  # type: ignore[no-untyped-call]
            if part is loss:
                self.sum_gradients(module.parameters())

    # ------------------------------------------------------------------------------- one decision

    def any(self, flag: bool) -> bool:
        """Whether it is so on some rank."""
        if self.size == 1:
            return flag
        return bool(self.sum(torch.tensor([int(flag)])))

    def wait(self) -> None:
        """Until all ranks have come here."""
        self.any(False)

    def told(self, message: bytes) -> bytes:
        """What the first rank says."""
        if self.size == 1:
            return message
        said = [message]
        _touch(lambda: dist.broadcast_object_list(said, src=0, device=torch.device("cpu")))
        return said[0]

    def check_same(self, entries: Mapping[str, Any]) -> None:
        """Refuse ranks that were started with different work.

        Raises:
            DiagnosticError: D445, naming the entries that differ.
        """
        if self.size == 1:
            return
        check_alike(self._each(dict(entries)))

    def check_together(self, module: nn.Module, place: str, *decided: str) -> None:
        """Refuse ranks that have come to other weights, random numbers or decisions.

        Raises:
            DiagnosticError: D616 (status 1).
        """
        if self.size == 1:
            return
        own = {
            "weights": [_checksum(z) for z in module.state_dict().values()],
            "random numbers": torch.get_rng_state().numpy().tobytes(),
            "decisions": sorted(decided),
        }
        first, *others = self._each(own)
        for name in own:
            if any(other[name] != first[name] for other in others):
                raise apart(name, place)

    def _each(self, entries: Result) -> list[Result]:
        """What every rank has here."""
        each: list[Any] = [None] * self.size
        _touch(lambda: dist.all_gather_object(each, entries))
        return each


def _checksum(numbers: Tensor) -> int:
    """The same for the same bits."""
    if numbers.element_size() in _WHOLE:
        numbers = numbers.contiguous().view(_WHOLE[numbers.element_size()])
    return int(numbers.sum(dtype=torch.int64))


def apart(what: str, place: str) -> DiagnosticError:
    """D616 (status 1): ranks no longer do the same; ``place`` is when that was seen."""
    return DiagnosticError(
        Diagnostic(
            "D616",
            f"the processes of this run have come to other {what} by {place}",
            notes=("operations of a plugin that draw random numbers by themselves do that",),
            help="go on from the last checkpoint with one process: `--resume` without `torchrun`",
        ),
        status=1,
    )


def check_alike(each: list[Mapping[str, Any]]) -> None:
    """Refuse entries by rank that are not the same.

    Raises:
        DiagnosticError: D445.
    """
    for rank, other in enumerate(each):
        if differ := [name for name in each[0] if each[0][name] != other.get(name)]:
            notes = (_difference(each[0][name], other.get(name), name, rank) for name in differ)
            raise DiagnosticError(
                Diagnostic(
                    "D445",
                    f"process {rank} of {len(each)} was started with another {differ[0]}",
                    notes=tuple(note for note in notes if note),
                    help="start all of them with one command on the same files, data and versions",
                )
            )


def _difference(first: object, other: object, name: str, rank: int) -> str:
    """What differs in an entry, as far as it can be read."""
    if isinstance(first, Mapping) and isinstance(other, Mapping):
        parts = (_difference(v, other.get(k), k, rank) for k, v in first.items())
        return "; ".join(part for part in parts if part)
    if first == other:
        return ""
    short = all(len(str(one)) <= 32 for one in (first, other))
    return f"`{name}`: {first} in process 0, {other} in process {rank}" if short else ""


def _touch(work: Callable[[], Result]) -> Result:
    """Work that needs all ranks.

    Raises:
        DiagnosticError: D615 (status 1): one of them is gone.
    """
    try:
        return work()
    except RuntimeError as error:
        raise lost(error) from None


def lost(error: Exception) -> DiagnosticError:
    """D615 (status 1): what is said where another process has gone."""
    reason = re.sub(r"^\[\S*\] ", "", str(error)).partition(". ")[0]  # where in Gloo it was seen
    return DiagnosticError(
        Diagnostic(
            "D615",
            "another process of this run is gone",
            notes=tuple(reason.splitlines()[:1]),
            help="see what it or the system says of its end; `--resume` goes on from the last "
            "checkpoint",
        ),
        status=1,
    )


# ----------------------------------------------------------------------------------------- joining

_world = World()
_joined = False


def own_rows(count: int) -> slice:
    """Of a batch of so many examples, those of this rank."""
    share = world().share(count)
    return slice(count) if share.rows is None else share.rows


def world() -> World:
    """The ranks that work together now; this process alone where it was started so."""
    return _world


@contextmanager
def joined(device: torch.device) -> Iterator[World]:
    """The work in here is that of all processes that were started together, if several were.

    Args:
        device: of this one; `torchrun` processes on GPUs speak by NCCL, others by Gloo.

    Raises:
        DiagnosticError: D615 (status 1): one of them is gone.
    """
    global _world
    started = launch()
    if started.size == 1 or _world.size > 1:
        yield _world
        return
    _touch(lambda: _join(device))
    _world = World(started.rank, started.size)
    try:
        yield _world
        _world.wait()  # until the first has written all
    except BaseException:
        atexit.unregister(dist.destroy_process_group)  # it would wait for those that are gone
        raise
    finally:
        _world = World()


def _join(device: torch.device) -> None:
    """Meet the other processes: once, since they may go on with other work later."""
    global _joined
    if not _joined:
        if device.type == "cuda":
            torch.cuda.set_device(device)
        dist.init_process_group("cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo")
        atexit.register(dist.destroy_process_group)
        _joined = True


def first_to_fail() -> bool:
    """Whether no other process has failed before this one: the first says why, for all.

    The others mostly fail because it is gone.
    """
    started = launch()
    if started.size == 1:
        return True
    about = [os.environ.get(f"TORCHELASTIC_{n}", "") for n in ("RUN_ID", "RESTART_COUNT")]
    try:
        host, port = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
        store: Any = getattr(dist, "TCPStore")(  # noqa: B009 - it has no types
            host, port, is_master=False, timeout=PATIENCE, wait_for_workers=False
        )
        return bool(store.add("/".join(["bayesnas", *about, "failed"]), 1) == 1)
    except (RuntimeError, ValueError, KeyError):  # nobody keeps count
        return True

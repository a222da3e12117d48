"""What the processes that train one job say to each other. Alone, each of these does nothing but answer."""

import os
from datetime import timedelta
from typing import Any

import torch
from torch import distributed

from worker.trainer.ranks import Rank

#: Longest time that processes wait for each other: while the first one reads a dataset, or stores a checkpoint.
PATIENCE = timedelta(hours=6)


def join(rank: Rank) -> None:
    """Find the other processes, where there are any. Blocks until all are there."""
    if rank.size == 1 or distributed.is_initialized():
        return
    if torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    distributed.init_process_group("cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo", timeout=PATIENCE)


def leave() -> None:
    """Part from the other processes, where there are any."""
    if distributed.is_initialized():
        distributed.destroy_process_group()


def rank() -> int:
    """Return the number of this process, from 0."""
    return distributed.get_rank() if distributed.is_initialized() else 0


def size() -> int:
    """Return how many processes there are."""
    return distributed.get_world_size() if distributed.is_initialized() else 1


def summed(values: torch.Tensor, device: torch.device) -> torch.Tensor:
    """Return the sum of every process' values, on the CPU. All must call it."""
    if size() == 1:
        return values
    total = values.to(device)
    distributed.all_reduce(total)
    return total.cpu()


def meet() -> None:
    """Wait until all processes are here."""
    summed(torch.zeros(1), torch.device("cpu"))


def of_machine(value: Any, own: Rank) -> Any:
    """Return what the first process of this machine has, any small object. All must call it, and wait for all."""
    if size() == 1:
        return value
    held: list[Any] = [None] * size()
    distributed.all_gather_object(held, (own.machine, value) if own.first_here else None)
    return next(said for machine, said in filter(None, held) if machine == own.machine)


def to_first(value: Any) -> list[Any]:
    """Return to the first process what each has, any small Python object, by their numbers; to the others nothing."""
    if size() == 1:
        return [value]
    held: list[Any] | None = [None] * size() if rank() == 0 else None
    distributed.gather_object(value, held, dst=0)
    return held or []


def gathered(own: torch.Tensor) -> tuple[torch.Tensor, int]:
    """Return every process' rows, one process after the other, and where this one's begin. All must call it.

    The gradients that all of them have for a row go back to the process it is from.
    """
    if size() == 1:
        return own, 0
    sizes = [torch.zeros(1, dtype=torch.long, device=own.device) for _ in range(size())]
    distributed.all_gather(sizes, torch.tensor([len(own)], device=own.device))
    counts = [int(count) for count in sizes]
    first = sum(counts[: rank()])
    rows: torch.Tensor = _Gather.apply(own, counts, first)
    return rows, first


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, own: torch.Tensor, counts: list[int], first: int) -> torch.Tensor:
        ctx.place = slice(first, first + len(own))
        # They must be equally long.
        filled = own.new_zeros((max(counts), *own.shape[1:]))
        filled[: len(own)] = own
        parts = [torch.empty_like(filled) for _ in counts]
        distributed.all_gather(parts, filled)
        return torch.cat([part[:count] for part, count in zip(parts, counts, strict=True)])

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor, None, None]:
        total = gradient.contiguous().clone()
        distributed.all_reduce(total)
        return total[ctx.place], None, None

"""What the processes that train one job say to each other. Alone, each of these does nothing but answer."""

from typing import Any

import torch
from torch import distributed


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


def from_first(value: Any) -> Any:
    """Return the first process' value, any small Python object. Waits until the first is here; all must call it."""
    if size() == 1:
        return value
    held = [value]
    distributed.broadcast_object_list(held, src=0)
    return held[0]

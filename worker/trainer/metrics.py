"""How fast a run is, and what it takes: tokens a second, utilisation of the device, memory, time left."""

import resource
import time
from dataclasses import dataclass
from typing import Any, NamedTuple, TypedDict

import torch
from torch import nn

#: Dense bfloat16 FLOP/s a device can do, by what its name contains; the first that fits holds. From data sheets.
_PEAKS = (
    ("B200", 2250e12),
    ("H200", 989e12),
    ("H100 NVL", 835e12),
    ("H100 PCIe", 756e12),
    ("H100", 989e12),
    ("H800", 989e12),
    ("H20", 148e12),
    ("A100", 312e12),
    ("A800", 312e12),
    ("L40S", 362e12),
    ("L40", 181e12),
    ("L20", 119e12),
    ("L4", 121e12),
    ("A40", 150e12),
    ("A30", 165e12),
    ("A10", 125e12),
    ("RTX 4090", 165e12),
)


class Speed(TypedDict):
    """The figures of :class:`contracts.task.Progress` that are measured here."""

    trained_tokens: int
    tokens_per_second: float
    mfu: float | None
    memory_bytes: int
    eta_seconds: float | None


@dataclass
class Work:
    """What all processes have been given so far: tokens, and the sum of the squares of their sequences' lengths."""

    tokens: int = 0
    squares: int = 0


class Cost(NamedTuple):
    """FLOP of training: for each token, and for each pair of tokens that see each other."""

    a_token: float
    a_square: float

    def of(self, work: Work) -> float:
        """Return the FLOP of this work."""
        return self.a_token * work.tokens + self.a_square * work.squares


def cost_of(model: Any, *, causal: bool) -> Cost:
    """Return what training a model costs, as a model's utilisation is usually reckoned.

    A multiplication by a weight is 2 FLOP forward, 2 for the gradient that goes back through it, and 2 for its own
    where it is trained. Attention is twice a product of length x length x width, forward, and twice that back; half of
    it where a token sees only those before it. Not counted: what is computed a second time to save memory, the passes
    of a reference, and everything that is no product of matrices.
    """
    every = trained = 0
    for module in model.modules():
        if isinstance(module, nn.Embedding):
            continue  # looked up, not multiplied by
        for weight in module.parameters(recurse=False):
            if weight.ndim >= 2:
                every += weight.numel()
                trained += weight.numel() * weight.requires_grad
    config = model.config
    heads = getattr(config, "num_attention_heads", 0)
    width = heads * (getattr(config, "head_dim", None) or config.hidden_size // max(heads, 1))
    attention = 12 * getattr(config, "num_hidden_layers", 0) * width
    return Cost(4 * every + 2 * trained, attention / 2 if causal else attention)


def peak_of(device_name: str) -> float | None:
    """Return the FLOP/s a device can do, or None where that is not known."""
    return next((peak for name, peak in _PEAKS if name in device_name), None)


class Meter:
    """Measures one run from its first step on.

    ``processes``: how many share the work, a device each. ``before``: the tokens that were trained up to the checkpoint
    which the run goes on from.
    """

    def __init__(self, work: Work, cost: Cost, device: torch.device, processes: int, before: int = 0) -> None:
        self._work, self._cost, self._device, self._before = work, cost, device, before
        known = peak_of(torch.cuda.get_device_name(device)) if device.type == "cuda" else None
        self._peak = known * processes if known else None
        self._began, self._first_step = time.monotonic(), 0

    @property
    def trained_tokens(self) -> int:
        """Return all tokens the model has seen, from the task's beginning."""
        return self._before + self._work.tokens

    def begin(self, step: int) -> None:
        """Start the clock."""
        self._began, self._first_step = time.monotonic(), step

    def read(self, step: int, total_steps: int) -> Speed:
        """Return the figures as means since the beginning. ``memory_bytes`` is the first process' peak."""
        seconds = max(time.monotonic() - self._began, 1e-6)
        done = step - self._first_step
        return Speed(
            trained_tokens=self.trained_tokens,
            tokens_per_second=self._work.tokens / seconds,
            mfu=self._cost.of(self._work) / seconds / self._peak if self._peak else None,
            memory_bytes=_peak_memory(self._device),
            eta_seconds=(total_steps - step) * seconds / done if done else None,
        )


def _peak_memory(device: torch.device) -> int:
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024

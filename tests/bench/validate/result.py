"""What every contender answers. That all give the same answer is the proof that they check the same."""

from typing import Literal, NamedTuple

Format = Literal["sft", "pretrain"]


class Result(NamedTuple):
    """``samples`` are lines that are not blank, ``valid_samples`` those without a fault.

    ``warned_samples`` are valid but for a warning; ``roles`` counts the messages of valid samples by role.
    """

    samples: int
    valid_samples: int
    warned_samples: int
    roles: dict[str, int]

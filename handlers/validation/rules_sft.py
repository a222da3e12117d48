"""The rules of the format ``sft``, as a pure function of one decoded object: every fault, not the first.

How lines and bytes become objects is in scan.py. contracts/datasets/sft.py says the shape that these rules accept.
"""

from collections.abc import Iterator
from typing import Any

from handlers.validation.problems import Problem, is_number
from handlers.validation.rules_messages import Conversation, check_frame, check_message, check_order, conversation
from handlers.validation.statistics import Counted


def check_sft(sample: dict[str, Any]) -> Iterator[Problem]:
    """Yield every problem of one sample. Never raises on what JSON can hold."""
    yield from check_frame(sample)
    talk = conversation(sample)
    if talk is None:
        return
    for index in range(len(talk.messages)):
        yield from check_message(talk, index)
    yield from check_order(talk)
    yield from _check_weights(talk)


def count_sft(sample: dict[str, Any]) -> Iterator[Counted]:
    """Yield the role of each message of a valid sample."""
    for message in sample["messages"]:
        yield "roles", message["role"]


def _check_weights(talk: Conversation) -> Iterator[Problem]:
    answers = [message for message, role in zip(talk.messages, talk.roles, strict=True) if role == "assistant"]
    weights = [answer.get("loss_weight") for answer in answers]
    if weights and all(is_number(weight) and weight == 0 for weight in weights):
        message = "every assistant message has loss_weight 0"
        yield Problem(("messages",), "nothing-to-train", message, "give one assistant message a weight above 0")

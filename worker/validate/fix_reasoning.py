"""A conversation with reasoning in several answers, as several samples: only a sample's last answer may have some."""

from typing import Any

from worker.validate.places import Place, children


def split_reasoning(sample: dict[str, Any], text: str) -> list[str] | None:
    """Return the samples to write instead of one, or None where reasoning is where it may be, or splitting is no help.

    Each answer with reasoning ends a sample, and so does the last message. Before it stands what was said before,
    without reasoning; an answer that is trained in an earlier sample has the loss weight 0 in later ones. So every
    answer is trained once, as it was given, after what it was given after.
    """
    messages = sample.get("messages")
    if not isinstance(messages, list) or not all(map(_can_be_said, messages)):
        return None
    answers = [index for index, message in enumerate(messages) if message["role"] == "assistant"]
    reasoned = [index for index in answers if isinstance(messages[index].get("reasoning_content"), str)]
    if not answers or not reasoned or reasoned == [answers[-1]]:
        return None
    ends = sorted({*reasoned, len(messages) - 1})
    firsts = [0, *(end + 1 for end in ends[:-1])]
    root = text.index("{")
    return [
        _sample(text, root, _messages_until(text, root, messages, first, end))
        for first, end in zip(firsts, ends, strict=True)
        if any(
            message.get("loss_weight") != 0 for message in messages[first : end + 1] if message["role"] == "assistant"
        )
    ]


def _can_be_said(message: Any) -> bool:
    """Return whether a message is one of ``sft``, and has reasoning only where it answers."""
    if not isinstance(message, dict) or not isinstance(message.get("content"), str):
        return False
    return message.get("role") == "assistant" or (
        isinstance(message.get("role"), str) and message.get("reasoning_content") is None
    )


def _messages_until(text: str, root: int, messages: list[dict[str, Any]], first: int, end: int) -> str:
    """Return the messages up to ``end`` as JSON; answers before ``first`` are trained elsewhere."""
    written = []
    for (_, place), index in zip(children(text, _member(text, root, "messages").start), range(end + 1), strict=False):
        fields = {str(name): text[field.name : field.end] for name, field in children(text, place.start)}
        if index != end:
            fields.pop("reasoning_content", None)
        if index < first and messages[index]["role"] == "assistant":
            fields["loss_weight"] = '"loss_weight": 0.0'
        written.append("{" + ", ".join(fields.values()) + "}")
    return "[" + ", ".join(written) + "]"


def _sample(text: str, root: int, messages: str) -> str:
    return (
        "{"
        + ", ".join(
            f'"messages": {messages}' if name == "messages" else text[field.name : field.end]
            for name, field in children(text, root)
        )
        + "}"
    )


def _member(text: str, root: int, name: str) -> Place:
    return next(place for each, place in children(text, root) if each == name)

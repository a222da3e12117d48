"""Lines that are wrong, each in another way: a sample in, the bytes of a bad line (or of one to warn about) out.

No line repeats a name: hardly a JSON library can see that, so it would not be a check all contenders have.
"""

import json
from collections.abc import Callable
from typing import Any

Sample = dict[str, Any]

_TOKENS = ("<|im_end|>", "<｜end▁of▁sentence｜>", "[INST]", "[/INST]", "</s>", "<end_of_turn>", "<eos>")


def _line(sample: Any) -> bytes:
    return json.dumps(sample, ensure_ascii=False).encode()


def _first(**fields: Any) -> Callable[[Sample], bytes]:
    """Change fields of the first message; ... takes one away."""

    def change(sample: Sample) -> bytes:
        first = {**sample["messages"][0], **fields}
        kept = {name: value for name, value in first.items() if value is not ...}
        return _line({**sample, "messages": [kept, *sample["messages"][1:]]})

    return change


def _last(**fields: Any) -> Callable[[Sample], bytes]:
    def change(sample: Sample) -> bytes:
        return _line({**sample, "messages": [*sample["messages"][:-1], {**sample["messages"][-1], **fields}]})

    return change


def _messages(change: Callable[[list[Sample]], Any]) -> Callable[[Sample], bytes]:
    return lambda sample: _line({**sample, "messages": change(sample["messages"])})


def _bytes(change: Callable[[bytes], bytes]) -> Callable[[Sample], bytes]:
    return lambda sample: change(_line(sample))


def _unweighted(messages: list[Sample]) -> list[Sample]:
    return [{**each, "loss_weight": 0.0} if each["role"] == "assistant" else each for each in messages]


FAULTS: tuple[Callable[[Sample], bytes], ...] = (
    _bytes(lambda line: line[: len(line) // 2]),
    _bytes(lambda line: line[:-1] + b",}"),
    _bytes(lambda line: line.replace(b'"', b"'")),
    _bytes(lambda line: line + b" " + line),
    _bytes(lambda line: b"[" + line + b"]"),
    _bytes(lambda line: line[:60] + b"\xff" + line[60:]),
    _bytes(lambda line: line[:-4] + b'\\ud800"}]}' if line.endswith(b'"}]}') else b"{"),
    _bytes(lambda line: line[:-4] + b'", "loss_weight": NaN}]}' if line.endswith(b'"}]}') else b"null"),
    _bytes(lambda line: line.replace(b'"messages"', b'"Messages"')),
    _messages(lambda _: []),
    _messages(lambda messages: messages[0]),
    _messages(lambda _: None),
    _messages(lambda messages: [*messages, "thanks"]),
    _messages(lambda messages: messages[:-1]),
    _messages(lambda messages: [*messages, messages[-1]]),
    _messages(lambda messages: [*messages, {"role": "system", "content": "be brief"}, messages[-1]]),
    _messages(lambda messages: [*messages, {"role": "tool", "content": "42"}]),
    _messages(_unweighted),
    _first(content=...),
    _first(content=None),
    _first(content=""),
    _first(content=7),
    _first(content=["a", "b"]),
    _first(role=...),
    _first(role="human"),
    _first(role=["user"]),
    _first(loss_weight=1.0),
    _first(loss_weight="0.0"),
    _last(loss_weight=1.5),
    _last(loss_weight=-0.1),
    _last(loss_weight=True),
    _last(reasoning_content=3),
    _first(reasoning_content="who asks?"),
    _messages(lambda messages: [*messages[:-1], {**messages[-1], "reasoning_content": "hm"}, *messages[-2:]]),
)

#: What is only warned about: these lines are valid.
WARNINGS: tuple[Callable[[Sample], bytes], ...] = (
    _first(weight=1.0),
    lambda sample: _line({**sample, "id": 17}),
    lambda sample: _line({**sample, "source": {"name": "web", "page": 3}}),
    _messages(lambda messages: [messages[-1], *messages[1:]] if messages[0]["role"] == "system" else messages[1:]),
    _messages(lambda messages: [{"role": "user", "content": "hello"}, *messages, *messages[-2:]]),
    *(_last(content=f"as they write it: {token}") for token in _TOKENS),
)

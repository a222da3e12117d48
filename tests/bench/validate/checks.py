"""The checks by hand that peers share, written for speed as one would who has only this to do.

All files of this benchmark are without function calling: a sample that has it is refused as unsupported, not judged.
A name given twice in an object is seen in names.py.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from itertools import pairwise
from typing import Any

from tests.bench.validate.result import Format, Result

#: What line readers read at a time; twice as fast as the default.
READ_BYTES = 1 << 18

#: Verdicts on one sample.
FINE, WARNED, FAULT = range(3)

#: What looks like a control token of a model. Each begins with one of two marks; looking for those first is 10x faster.
SPECIAL_TOKEN = re.compile(
    r"<\|\w{1,40}\|>|<｜[^<>]{1,40}｜>|\[/?INST\]|</s>|<(?:start|end)_of_turn>|<(?:bos|eos|pad)>"
)
_ROLES = frozenset({"system", "user", "assistant", "tool"})
_MESSAGE = frozenset({"role", "content", "loss_weight", "reasoning_content", "name"})
_CALLING = frozenset({"tools", "tool_calls", "parallel_tool_calls", "tool_call_id"})

Patterns = Counter[tuple[str, ...]]


class Score:
    """Counts verdicts, and patterns of roles of valid samples instead of every role."""

    def __init__(self) -> None:
        self.samples = self.faults = self.warned = 0
        self.patterns: Patterns = Counter()

    def add(self, verdict: int) -> None:
        """Count one sample that is not as most are."""
        self.faults += verdict == FAULT
        self.warned += verdict == WARNED

    def fault_after_all(self, roles: Iterable[str]) -> int:
        """Take back that these roles were counted."""
        self.patterns[tuple(roles)] -= 1
        return FAULT

    def result(self) -> Result:
        roles: Counter[str] = Counter()
        for pattern, times in (+self.patterns).items():
            for role in pattern:
                roles[role] += times
        return Result(self.samples, self.samples - self.faults, self.warned, dict(sorted(roles.items())))


def has_special_token(text: str) -> bool:
    return ("<" in text or "[" in text) and SPECIAL_TOKEN.search(text) is not None


def judge(format: Format) -> Callable[[Any, Patterns], int]:
    """Return what gives the verdict on a decoded line, whatever it is, and counts the roles of a valid conversation."""
    return judge_sft if format == "sft" else judge_pretrain


def judge_pretrain(sample: Any, _: Patterns) -> int:
    if type(sample) is not dict:
        return FAULT
    text = sample.get("text")
    if type(text) is not str or not text:
        return FAULT
    return WARNED if len(sample) > 1 or has_special_token(text) else FINE


def judge_sft(sample: Any, patterns: Patterns) -> int:
    if type(sample) is not dict:
        return FAULT
    messages = sample.get("messages")
    if type(messages) is not list or not messages:
        return FAULT
    verdict = FINE if len(sample) == 1 else _judge_frame(sample)
    roles, more = [], False
    for message in messages:
        try:
            role, content = message["role"], message["content"]
        except (KeyError, TypeError):
            return FAULT
        if type(role) is not str or type(content) is not str or not content:
            return FAULT
        if ("<" in content or "[" in content) and SPECIAL_TOKEN.search(content):
            verdict = max(verdict, WARNED)
        if len(message) > 2:
            more = True
        roles.append(role)
    pattern = tuple(roles)
    verdict = max(verdict, judge_order(pattern))
    if more:
        verdict = max(verdict, _judge_more(messages))
    if verdict != FAULT:
        patterns[pattern] += 1
    return verdict


@lru_cache(maxsize=4096)
def judge_order(roles: tuple[str, ...]) -> int:
    """Return the verdict on who speaks when. A tool cannot answer, for nothing is called here."""
    if not _ROLES.issuperset(roles) or "tool" in roles or "system" in roles[1:] or roles[-1] != "assistant":
        return FAULT
    turns = [role for role in roles if role != "system"]
    repeated = [role for role, following in pairwise(turns) if role == following]
    if "assistant" in repeated:
        return FAULT
    return WARNED if repeated or turns[0] == "assistant" else FINE


def judge_extras(extras: Iterable[tuple[str, float | None, str | None]]) -> int:
    """Return the verdict on (role, loss weight, reasoning) of all messages, given their types are right."""
    verdict, reasoned, trained, answers = FINE, False, False, 0
    for role, weight, reasoning in extras:
        if weight is not None and not (0 <= weight <= 1 if role == "assistant" else weight == 0):
            return FAULT
        if role == "assistant":
            if reasoned:
                return FAULT  # There was reasoning, and this is a later message of the assistant.
            answers += 1
            trained = trained or weight is None or weight > 0
        if reasoning is not None:
            if role != "assistant":
                return FAULT
            reasoned = True
            if has_special_token(reasoning):
                verdict = WARNED
    return FAULT if answers and not trained else verdict


def _judge_frame(sample: Mapping[str, Any]) -> int:
    _refuse_calling(sample)
    if not isinstance(sample.get("thinking"), str | bool | dict | None):
        return FAULT
    return FINE if sample.keys() <= {"messages", "thinking"} else WARNED


def _judge_more(messages: list[dict[str, Any]]) -> int:
    verdict = FINE
    for message in messages:
        if not message.keys() <= _MESSAGE:
            _refuse_calling(message)
            verdict = WARNED
        if type(message.get("loss_weight")) not in {int, float, type(None)}:
            return FAULT
        if not isinstance(message.get("name"), str | None) or not isinstance(
            message.get("reasoning_content"), str | None
        ):
            return FAULT
    return max(
        verdict,
        judge_extras([(each["role"], each.get("loss_weight"), each.get("reasoning_content")) for each in messages]),
    )


def _refuse_calling(fields: Mapping[str, Any]) -> None:
    if not _CALLING.isdisjoint(fields):
        raise NotImplementedError("function calling is not part of this benchmark")

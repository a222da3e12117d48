"""The rules of conversations, as ``sft`` and ``preference`` share them."""

from collections.abc import Iterator
from typing import Any, NamedTuple

from contracts.datasets.sft import ROLES
from contracts.spelling import clip, nearest
from contracts.strict_json import Path
from handlers.validation.problems import Problem, is_number, missing, optional_strings, unknown_fields, wrong_type
from handlers.validation.rules_tools import check_calls, check_tools, tool_names
from handlers.validation.rules_turns import check_turns
from handlers.validation.texts import check_text

_SAMPLE = ("messages", "tools", "parallel_tool_calls", "thinking")

#: What a message of any role may have.
COMMON_FIELDS = ("role", "content", "loss_weight", "reasoning_content", "name")
_FIELDS = {
    "system": COMMON_FIELDS,
    "user": COMMON_FIELDS,
    "assistant": (*COMMON_FIELDS, "tool_calls"),
    "tool": (*COMMON_FIELDS, "tool_call_id"),
}
_ANY_FIELD = (*COMMON_FIELDS, "tool_calls", "tool_call_id")


class Conversation(NamedTuple):
    """The messages of a sample, and what each is judged by besides itself.

    ``roles`` has None where a role cannot be read; ``calls`` is how many tools each message calls; ``last_assistant``
    is an index, -1 where there is none; ``known_tools`` is None where the tools cannot be read.
    """

    messages: list[Any]
    roles: list[str | None]
    calls: list[int]
    last_assistant: int
    has_tools: bool
    known_tools: frozenset[str] | None
    parallel: bool


def check_frame(sample: dict[str, Any]) -> Iterator[Problem]:
    """Yield every problem of a sample outside its messages. Never raises on what JSON can hold."""
    yield from unknown_fields((), sample, _SAMPLE)
    parallel = sample.get("parallel_tool_calls")
    if not isinstance(parallel, bool | None):
        yield wrong_type(("parallel_tool_calls",), parallel, "a boolean")
    if not isinstance(sample.get("thinking"), str | bool | dict | None):
        yield wrong_type(("thinking",), sample["thinking"], "a string, a boolean or an object")
    yield from check_tools(sample.get("tools"))
    messages = sample.get("messages")
    if "messages" not in sample:
        yield missing(("messages",), 'a sample is {"messages": [...]}')
    elif not isinstance(messages, list):
        yield wrong_type(("messages",), messages, "a list")
    elif not messages:
        yield Problem(("messages",), "empty-messages", "messages is empty", "write a user and an assistant message")


def conversation(sample: dict[str, Any]) -> Conversation | None:
    """Return the conversation of a sample, or None where it has no messages to judge."""
    messages = sample.get("messages")
    if not isinstance(messages, list) or not messages:
        return None
    roles = [_role(message) for message in messages]
    last_assistant = max((index for index, role in enumerate(roles) if role == "assistant"), default=-1)
    tools = sample.get("tools")
    return Conversation(
        messages=messages,
        roles=roles,
        calls=[_calls(message) if role == "assistant" else 0 for message, role in zip(messages, roles, strict=True)],
        last_assistant=last_assistant,
        has_tools=tools is not None and tools != [],
        known_tools=tool_names(tools),
        parallel=sample.get("parallel_tool_calls") is not False,
    )


def check_message(talk: Conversation, index: int) -> Iterator[Problem]:
    """Yield every problem of one message whose content is a text."""
    message, role = talk.messages[index], talk.roles[index]
    path: Path = ("messages", index)
    if not isinstance(message, dict):
        yield wrong_type(path, message, "an object")
        return
    yield from check_attributes(talk, index, _FIELDS[role] if role else _ANY_FIELD)
    yield from _check_content((*path, "content"), message, may_be_empty=talk.calls[index] > 0)
    if role == "assistant":
        yield from _check_tool_calls((*path, "tool_calls"), message.get("tool_calls"), talk)


def check_attributes(talk: Conversation, index: int, known: tuple[str, ...]) -> Iterator[Problem]:
    """Yield every problem of a message but for what it says. ``known`` are the fields it may have."""
    message, role = talk.messages[index], talk.roles[index]
    path: Path = ("messages", index)
    yield from unknown_fields(path, message, known)
    yield from optional_strings(path, message, ("name", "tool_call_id") if role == "tool" else ("name",))
    if role is None:
        yield _bad_role((*path, "role"), message)
    yield from _check_weight((*path, "loss_weight"), message.get("loss_weight"), role)
    is_last = index == talk.last_assistant
    yield from _check_reasoning((*path, "reasoning_content"), message.get("reasoning_content"), is_last=is_last)


def check_order(talk: Conversation) -> Iterator[Problem]:
    """Yield every problem of who speaks when and of who calls what."""
    if any(talk.calls) and not talk.has_tools:
        yield Problem(("tools",), "tools-missing", "a message calls a tool, but there are no tools", "list the tools")
    yield from check_turns(talk.roles, talk.calls)


def _role(message: Any) -> str | None:
    role = message.get("role") if isinstance(message, dict) else None
    return role if isinstance(role, str) and role in ROLES else None


def _calls(message: dict[str, Any]) -> int:
    calls = message.get("tool_calls")
    return len(calls) if isinstance(calls, list) else 0


def _bad_role(path: Path, message: dict[str, Any]) -> Problem:
    role = message.get("role")
    if "role" not in message:
        return missing(path, f"one of {', '.join(ROLES)}")
    if not isinstance(role, str):
        return wrong_type(path, role, "a string")
    close = nearest(role, ROLES)
    hint = f"did you mean {close!r}?" if close else f"one of {', '.join(ROLES)}"
    return Problem(path, "unknown-role", f"{clip(role)!r} is not a role", hint)


def _check_content(path: Path, message: dict[str, Any], *, may_be_empty: bool) -> Iterator[Problem]:
    content = message.get("content")
    if "content" not in message:
        yield missing(
            path, 'beside tool_calls add "content": "", as worker validate --fix does' if may_be_empty else ""
        )
    elif not isinstance(content, str):
        yield wrong_type(path, content, "a string", _text_hint(content, may_be_empty=may_be_empty))
    elif not content and not may_be_empty:
        yield Problem(path, "empty-content", "content is empty", "only a message with tool_calls may have no text")
    else:
        yield from check_text(path, content)


def _text_hint(content: Any, *, may_be_empty: bool) -> str:
    if may_be_empty and content is None:
        return 'beside tool_calls write "" instead of null, as worker validate --fix does'
    if isinstance(content, list):
        return "write one text: content in parts is not read"
    return 'beside tool_calls it may be ""' if may_be_empty else ""


def _check_weight(path: Path, weight: Any, role: str | None) -> Iterator[Problem]:
    if weight is None:
        return
    if not is_number(weight):
        yield wrong_type(path, weight, "a number")
    elif role == "assistant" and not 0 <= weight <= 1:
        yield Problem(path, "loss-weight-out-of-range", f"loss_weight is {clip(str(weight), 20)}", "0.0 to 1.0")
    elif role in {"system", "user", "tool"} and weight != 0:
        message = f"a {role} message is never trained on: its loss_weight is 0.0 and cannot be changed"
        yield Problem(path, "loss-weight-not-allowed", message, "remove loss_weight")


def _check_reasoning(path: Path, reasoning: Any, *, is_last: bool) -> Iterator[Problem]:
    if reasoning is None:
        return
    if not isinstance(reasoning, str):
        yield wrong_type(path, reasoning, "a string")
        return
    if not is_last:
        message = "only the last assistant message may have reasoning_content"
        hint = "remove it here, or end a sample with each such answer: worker validate --fix does"
        yield Problem(path, "reasoning-not-on-last-assistant", message, hint)
    yield from check_text(path, reasoning)


def _check_tool_calls(path: Path, calls: Any, talk: Conversation) -> Iterator[Problem]:
    if calls is None:
        return
    if not isinstance(calls, list):
        yield wrong_type(path, calls, "a list")
        return
    if len(calls) > 1 and not talk.parallel:
        message = f"{len(calls)} calls in one message, but parallel_tool_calls is false"
        yield Problem(path, "parallel-tool-calls-not-allowed", message, "one call a message, or allow parallel calls")
    yield from check_calls(path, calls, talk.known_tools)

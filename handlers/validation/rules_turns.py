"""The rules of who speaks when, and of the answers that calls get."""

from collections.abc import Iterator, Sequence

from handlers.validation.problems import Problem, counted

Role = str | None


def check_turns(roles: Sequence[Role], calls: Sequence[int]) -> Iterator[Problem]:
    """Yield every problem of the order of messages.

    ``roles`` has None where a role cannot be read: such a message is at fault itself, and nothing is said about the
    order around it. ``calls`` is how many tools each message calls.
    """
    yield from _first_and_last(roles)
    yield from _answers(roles, calls)
    yield from _alternation(roles, calls)


def _first_and_last(roles: Sequence[Role]) -> Iterator[Problem]:
    for index, role in enumerate(roles):
        if role == "system" and index > 0:
            hint = "move it to the front; there can be one"
            yield Problem(("messages", index), "system-not-first", "the system message is not the first", hint)
    if None not in roles and "assistant" not in roles:
        hint = "end with an assistant message: it is what is trained"
        yield Problem(("messages",), "no-assistant-message", "no message is from the assistant", hint)
    elif roles[-1] not in {None, "assistant"} and "assistant" in roles:
        message = f"the last message is from the {roles[-1]}"
        hint = "end with an assistant message: it is what is trained"
        yield Problem(("messages", len(roles) - 1), "last-message-not-assistant", message, hint)


def _answers(roles: Sequence[Role], calls: Sequence[int]) -> Iterator[Problem]:
    """As many tool messages follow a message as it calls tools, unless the sample ends with it."""
    index = 0
    while index < len(roles):
        following = index + 1
        while following < len(roles) and roles[following] == "tool":
            following += 1
        answers = following - index - 1
        if roles[index] == "tool":
            hint = "put it behind the assistant message that calls the tool"
            message = "a tool message answers no call"
            yield Problem(("messages", index), "tool-call-count-mismatch", message, hint)
        elif _unbalanced(roles, index, calls[index], answers):
            message = f"{counted(calls[index], 'call')}, answered by {counted(answers, 'tool message')}"
            hint = "let one tool message follow for each call, in the same order"
            path = ("messages", index, "tool_calls") if calls[index] else ("messages", index + 1)
            yield Problem(path, "tool-call-count-mismatch", message, hint)
        index = following


def _unbalanced(roles: Sequence[Role], index: int, calls: int, answers: int) -> bool:
    if roles[index] is None or (
        calls > answers and index + answers + 1 < len(roles) and roles[index + answers + 1] is None
    ):
        return False  # A message that cannot be read may be what is missing.
    ends_here = index == len(roles) - 1
    return calls != answers and not ends_here


def _alternation(roles: Sequence[Role], calls: Sequence[int]) -> Iterator[Problem]:
    """User and assistant take turns; what tools answer belongs to the assistant's turn."""
    before: str | None = "start"
    for index, role in enumerate(roles):
        if role in {"system", "tool"}:
            before = "answered" if role == "tool" else before
            continue
        path = ("messages", index)
        if role == "assistant" and before == "assistant":
            hint = "join the two; an assistant speaks on only after it has called a tool"
            message = "two assistant messages in a row"
            yield Problem(path, "consecutive-assistant-messages", message, hint)
        elif role == "assistant" and before == "start":
            yield Problem(path, "roles-not-alternating", "the assistant speaks first", "begin with a user message")
        elif role == "user" and before in {"user", "answered"}:
            message = "two user messages in a row" if before == "user" else "the assistant does not say what came of it"
            yield Problem(path, "roles-not-alternating", message, "let user and assistant take turns")
        before = "calling" if role == "assistant" and calls[index] else role

"""The format ``sft``: one conversation a line, for FinetuneSft and FinetuneLoRA.

    {"messages": [{"role": "user", "content": "..."}, {"role": "assistant", "content": "..."}]}

These Structs say the shape of a sample; a sample that is valid decodes into :class:`Sample`. What spans several fields
(who speaks when, calls and their answers) is in handlers/validation.
"""

from typing import Annotated, Any, Literal

from msgspec import Meta, Struct

Text = Annotated[str, Meta(min_length=1)]

#: System, user and tool messages are never trained on: 0 may be said, and nothing else.
NoWeight = Annotated[float, Meta(ge=0, le=0)]
Weight = Annotated[float, Meta(ge=0, le=1)]

ROLES = ("system", "user", "assistant", "tool")

#: The types a tool's parameters may have.
SCHEMA_TYPES = ("string", "number", "boolean", "integer", "object", "array")


class SystemMessage(Struct, frozen=True, kw_only=True, tag_field="role", tag="system"):
    """What the assistant is told about its part. Only ever the first message."""

    content: Text
    loss_weight: NoWeight | None = None


class UserMessage(Struct, frozen=True, kw_only=True, tag_field="role", tag="user"):
    """What the user says."""

    content: Text
    loss_weight: NoWeight | None = None


class ToolMessage(Struct, frozen=True, kw_only=True, tag_field="role", tag="tool"):
    """What a called tool answered. ``tool_call_id`` and ``name`` may be there; the order is what counts."""

    content: Text
    loss_weight: NoWeight | None = None
    tool_call_id: str | None = None
    name: str | None = None


class CalledFunction(Struct, frozen=True, kw_only=True):
    """Which tool is called, and its arguments: a string that holds JSON."""

    name: str
    arguments: str


class ToolCall(Struct, frozen=True, kw_only=True):
    """One call. ``id`` and ``type`` may be there."""

    function: CalledFunction
    id: str | None = None
    type: str | None = None


class AssistantMessage(Struct, frozen=True, kw_only=True, tag_field="role", tag="assistant"):
    """What the assistant says or calls. ``content`` may be empty beside ``tool_calls``, nowhere else.

    ``loss_weight`` is 1.0 where it is not given. ``reasoning_content`` only on the last message from the assistant.
    """

    content: str
    loss_weight: Weight | None = None
    reasoning_content: str | None = None
    tool_calls: list[ToolCall] | None = None


class Function(Struct, frozen=True, kw_only=True):
    """A tool's name, what it does, and its parameters as a JSON Schema of the types in ``SCHEMA_TYPES``."""

    name: Text
    description: str | None = None
    parameters: dict[str, Any] | None = None


class Tool(Struct, frozen=True, kw_only=True):
    """A tool the assistant may call."""

    type: Literal["function"]
    function: Function


Message = SystemMessage | UserMessage | AssistantMessage | ToolMessage


class Sample(Struct, frozen=True, kw_only=True):
    """One line. ``thinking`` is for models that support it; ``parallel_tool_calls`` is true where it is not given."""

    messages: Annotated[list[Message], Meta(min_length=1)]
    tools: list[Tool] | None = None
    parallel_tool_calls: bool | None = None
    thinking: str | bool | dict[str, Any] | None = None

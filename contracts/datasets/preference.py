"""The format ``preference``: a conversation a line whose last message has candidates, for DPO and DPOLoRA.

    {"messages": [{"role": "user", "content": "..."},
                  {"role": "assistant", "content": [{"text": "...", "score": 1.0}, {"text": "...", "score": 0.0}]}]}

Each two candidates with different scores are a pair. These Structs say the shape of a sample; a sample that is valid
decodes into :class:`Sample`. What spans several fields (candidates are on the last message, one scores higher than
another) is in handlers/validation.
"""

from typing import Annotated, Any

from msgspec import Meta, Struct

from contracts.datasets.sft import SystemMessage, Text, Tool, ToolCall, ToolMessage, UserMessage, Weight

FEWEST_CANDIDATES = 2
MOST_CANDIDATES = 5

#: Higher is better.
Score = Annotated[float, Meta(ge=0, le=1)]


class Candidate(Struct, frozen=True, kw_only=True):
    """One of the answers. ``lm_loss_mask`` is 0 or 1, in any spelling of these numbers."""

    text: Text
    score: Score
    lm_loss_mask: Annotated[float, Meta(ge=0, le=1)] | None = None


Candidates = Annotated[list[Candidate], Meta(min_length=FEWEST_CANDIDATES, max_length=MOST_CANDIDATES)]


class AssistantMessage(Struct, frozen=True, kw_only=True, tag_field="role", tag="assistant"):
    """What the assistant says or calls; on the last message, what it could say.

    The last message has a list of candidates as its ``content``, or ``chosen`` and ``rejected``, which are read as
    candidates with the scores 1.0 and 0.0. Every other message is as in ``sft``.
    """

    content: str | Candidates | None = None
    chosen: Text | None = None
    rejected: Text | None = None
    loss_weight: Weight | None = None
    reasoning_content: str | None = None
    tool_calls: list[ToolCall] | None = None


Message = SystemMessage | UserMessage | AssistantMessage | ToolMessage


class Sample(Struct, frozen=True, kw_only=True):
    """One line. All but the last message is as in ``sft``."""

    messages: Annotated[list[Message], Meta(min_length=1)]
    tools: list[Tool] | None = None
    parallel_tool_calls: bool | None = None
    thinking: str | bool | dict[str, Any] | None = None

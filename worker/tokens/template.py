"""Chat templates, rendered as transformers renders them, without transformers.

A template is code of whoever made the model: it runs in jinja's immutable sandbox and sees plain data only.
"""

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, NoReturn

import jinja2
from jinja2 import ext, nodes
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment

from worker.tokens.message_loop import MARK, mark_messages

Message = Mapping[str, Any]

#: What ``strftime_now`` answers with. A fixed day: the same bytes must give the same tokens tomorrow, in another
#: attempt and on another machine. It is the day that Llama's own templates fall back to.
TEMPLATE_DAY = datetime(2024, 7, 26, tzinfo=UTC)


class ChatTemplateError(ValueError):
    """A sample that this model's chat template cannot render, or not in a way that can be trained on."""


class ChatTemplate:
    """A compiled chat template with the special tokens it may name. Safe to use from several threads.

    Raises ChatTemplateError where the template is not valid jinja.
    """

    def __init__(self, source: str, special_tokens: Mapping[str, str]) -> None:
        try:
            environment = _environment()
            self._template = environment.from_string(source)
            tree = environment.parse(source)
            self._marked = environment.from_string(tree) if mark_messages(tree) else None
        except jinja2.TemplateSyntaxError as error:
            raise ChatTemplateError(f"the chat template is broken in line {error.lineno}: {error}") from error
        self._special_tokens = dict(special_tokens)

    def render(
        self,
        messages: Sequence[Message],
        *,
        tools: Sequence[Any] | None = None,
        generation_prompt: bool = False,
        variables: Mapping[str, Any] | None = None,
    ) -> str:
        """Return the text of a conversation. Deterministic.

        Raises:
            ChatTemplateError: the template refuses the conversation, or fails on it.
        """
        return self._render(self._template, messages, tools, generation_prompt, variables)

    def parts(
        self,
        messages: Sequence[Message],
        *,
        tools: Sequence[Any] | None = None,
        generation_prompt: bool = False,
        variables: Mapping[str, Any] | None = None,
    ) -> list[str] | None:
        """Return the text of a conversation in parts: what is before the messages, each message, and the tail.

        A beginning of the conversation is then rendered as its parts and a tail, the same for every beginning. None
        where the template does not promise that. Raises as ``render``.
        """
        if self._marked is None:
            return None
        parts = self._render(self._marked, messages, tools, generation_prompt, variables).split(MARK)
        return parts if len(parts) == len(messages) + 2 else None

    def _render(
        self,
        template: jinja2.Template,
        messages: Sequence[Message],
        tools: Sequence[Any] | None,
        generation_prompt: bool,
        variables: Mapping[str, Any] | None,
    ) -> str:
        known: dict[str, Any] = {**self._special_tokens, **(variables or {})}
        try:
            return template.render(
                messages=messages,
                tools=tools,
                documents=None,
                add_generation_prompt=generation_prompt,
                **known,
            )
        except (jinja2.TemplateError, TypeError, ValueError, LookupError, ArithmeticError) as error:
            raise ChatTemplateError(f"the chat template cannot render the messages: {error}") from error


def for_template(message: Message) -> dict[str, Any]:
    """Return a message as templates expect it: no nulls, no loss weight, tool arguments as an object, not as text."""
    plain = {name: value for name, value in message.items() if value is not None and name != "loss_weight"}
    if reasoning := plain.get("reasoning_content"):
        plain["thinking"] = reasoning
    if calls := plain.get("tool_calls"):
        plain["tool_calls"] = [_with_parsed_arguments(call) for call in calls]
    return plain


def _with_parsed_arguments(call: dict[str, Any]) -> dict[str, Any]:
    # Templates write ``arguments | tojson``: text would be quoted twice. The servers (vLLM, for one) parse it too.
    function = call.get("function")
    if not isinstance(function, dict) or not isinstance(function.get("arguments"), str):
        return call
    try:
        return {**call, "function": {**function, "arguments": json.loads(function["arguments"])}}
    except ValueError:
        return call


def _environment() -> ImmutableSandboxedEnvironment:
    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[_GenerationTag, ext.loopcontrols]
    )
    # Jinja's own ``tojson`` escapes HTML, which no model has been trained on.
    environment.filters["tojson"] = _to_json
    environment.globals["raise_exception"] = _raise_exception
    environment.globals["strftime_now"] = TEMPLATE_DAY.strftime
    return environment


def _to_json(
    value: Any,
    ensure_ascii: bool = False,
    indent: int | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


def _raise_exception(message: str) -> NoReturn:
    raise jinja2.TemplateError(message)


class _GenerationTag(ext.Extension):
    """``{% generation %}`` marks what a model writes. We find that by rendering, so the tag only has to be passed."""

    tags = {"generation"}  # noqa: RUF012 - jinja reads it from the class; its type is the base class's

    def parse(self, parser: Parser) -> list[nodes.Node]:
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)

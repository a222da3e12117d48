"""Conversations to text: what a chat template writes, and which characters of it the model is trained to write.

A conversation is rendered once, as a whole, exactly as it would be for the model. Where an assistant's turn is in it is
found by rendering the conversation's beginnings: where a template renders a beginning differently than the whole (it
drops earlier reasoning, say), turns cannot be found, and the sample is refused. So is one of which the template leaves
something out: a call of a tool that is not in the text would be trained as an answer without words.

That takes time with the square of the number of turns, so it is not done before the text is known to fit the model: the
context bounds how many turns there are. Where the template is one loop over the messages (message_loop.py), a single
rendering says how long every beginning is.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import accumulate
from typing import Any, NamedTuple

from contracts.spelling import clip
from worker.tokens.candidates import candidates
from worker.tokens.template import ChatTemplate, ChatTemplateError, for_template

#: So few turns are found by rendering so few beginnings.
_FEW_TURNS = 2


class Span(NamedTuple):
    """Characters [start, end) that are trained on with this weight."""

    start: int
    end: int
    weight: float


class Rendered:
    """A conversation as text. Where its trained turns are in it is looked for when it is asked."""

    def __init__(self, beginnings: "_Beginnings", turns: Sequence[tuple[int, float]], added: tuple[str, ...]) -> None:
        self._beginnings, self._turns, self._added = beginnings, turns, added
        self.text = beginnings.text

    def spans(self) -> tuple[Span, ...]:
        """Return the spans of the text that are trained on, in order. Renders it again and again: for what fits.

        Raises ChatTemplateError: the template leaves something of the sample out, or is not prefix-stable on it.
        """
        self._beginnings.check_complete()
        if len(self._turns) > _FEW_TURNS:
            self._beginnings.measure()
        return tuple(self._span(index, weight) for index, weight in self._turns)

    def _span(self, index: int, weight: float) -> Span:
        start, end = self._beginnings.turn(index)
        turn = self.text[start:end].rstrip()
        return Span(start, start + len(turn) if turn.endswith(self._added) else end, weight)


class Conversations:
    """A model's chat template. ``added`` are its tokenizer's added tokens; ``config`` is its tokenizer's configuration.

    Raises ChatTemplateError where there is no usable template.
    """

    def __init__(self, template: bytes | None, config: Mapping[str, Any], added: Iterable[str]) -> None:
        source = template.decode() if template is not None else _template_in(config)
        self._template = ChatTemplate(source, _special_tokens(config))
        self._added = tuple(token for token in added if token.strip())

    def sft(self, sample: Mapping[str, Any]) -> Rendered:
        """Return a valid sft sample as text.

        Weights: an assistant's ``loss_weight`` (default 1.0) from after the generation prompt up to and with the
        end-of-turn token; white space the template puts behind that token is not trained on, because no model ever
        writes it. Nor is what system, user and tool say.

        Raises ChatTemplateError: the template refuses the sample.
        """
        turns = []
        for index, message in enumerate(sample["messages"]):
            stated = message.get("loss_weight")
            weight = 1.0 if stated is None else float(stated)
            if message["role"] == "assistant" and weight > 0:
                turns.append((index, weight))
        return self._rendered(sample, sample["messages"], turns)

    def preference(self, sample: Mapping[str, Any]) -> list[Rendered]:
        """Return a valid preference sample as a text a candidate, in their order (``chosen`` before ``rejected``).

        Each is the conversation with this candidate as its last turn. Only that turn is trained on, with the weight
        1.0, whatever ``loss_weight`` says of it or of earlier turns: a preference is about what answers the prompt.

        Raises as above.
        """
        *prompt, last = sample["messages"]
        answer = {name: last[name] for name in ("role", "reasoning_content") if name in last}
        texts = [{**answer, "content": candidate.text} for candidate in candidates(last)]
        return [self._rendered(sample, [*prompt, text], [(len(prompt), 1.0)]) for text in texts]

    def _rendered(
        self, sample: Mapping[str, Any], messages: Sequence[Mapping[str, Any]], turns: Sequence[tuple[int, float]]
    ) -> Rendered:
        variables = {"enable_thinking": sample["thinking"]} if "thinking" in sample else {}
        plain = [for_template(each) for each in messages]
        return Rendered(_Beginnings(self._template, plain, sample.get("tools"), variables), turns, self._added)


class _Measured(NamedTuple):
    """Where the text of so many messages ends; and what is behind it, by whether another turn is asked for."""

    ends: list[int]
    tails: dict[bool, str]


class _Beginnings:
    """A conversation's text and where its turns are in it."""

    def __init__(
        self,
        template: ChatTemplate,
        messages: list[dict[str, Any]],
        tools: Sequence[Any] | None,
        variables: Mapping[str, Any],
    ) -> None:
        self._template, self._messages, self._tools, self._variables = template, messages, tools, variables
        self.text = self._of(len(messages))
        self._measured: _Measured | None = None

    def check_complete(self) -> None:
        """Raise ChatTemplateError where the template leaves out what must not be trained without."""
        for kind, words in _shown(self._messages, self._tools or ()):
            if words not in self.text:
                raise ChatTemplateError(
                    f"the chat template leaves {kind} out ({clip(words)}): this model cannot be trained on such samples"
                )

    def measure(self) -> None:
        """Learn how long all beginnings are at once, where the template allows it. Raises ChatTemplateError."""
        parts = self._parts(self._messages)
        asking = self._parts(self._messages[:1], generation_prompt=True)
        if parts and asking and "".join(parts) == self.text:
            *parts, tail = parts
            self._measured = _Measured(list(accumulate(map(len, parts))), {False: tail, True: asking[-1]})

    def turn(self, index: int) -> tuple[int, int]:
        """Return the characters [start, end) that the model writes as message ``index``."""
        end = self._length(index + 1, index) if index + 1 < len(self._messages) else len(self.text)
        if index > 0:
            return self._length(index, index, generation_prompt=True), end
        # Nothing comes before it, and templates need not be able to render nothing: the prompt is what
        # asking for another turn adds.
        prompt = self._of(1, generation_prompt=True)[len(self._of(1)) :]
        found = self.text.find(prompt, 0, end)
        if found < 0:
            raise _unstable(index)
        return found + len(prompt), end

    def _length(self, count: int, index: int, *, generation_prompt: bool = False) -> int:
        """Return how many characters the text begins with are the first messages. For the turn of message ``index``."""
        if self._measured is not None:
            end, tail = self._measured.ends[count], self._measured.tails[generation_prompt]
        else:
            end, tail = 0, self._of(count, generation_prompt=generation_prompt)
        if not self.text.startswith(tail, end):
            raise _unstable(index)
        return end + len(tail)

    def _of(self, count: int, *, generation_prompt: bool = False) -> str:
        return self._template.render(
            self._messages[:count],
            tools=self._tools,
            generation_prompt=generation_prompt,
            variables=self._variables,
        )

    def _parts(self, messages: list[dict[str, Any]], *, generation_prompt: bool = False) -> list[str] | None:
        return self._template.parts(
            messages, tools=self._tools, generation_prompt=generation_prompt, variables=self._variables
        )


def _shown(messages: Iterable[Mapping[str, Any]], tools: Iterable[Mapping[str, Any]]) -> Iterator[tuple[str, str]]:
    """Yield what must be in the text, whatever template it is: what it is of, and its words."""
    for tool in tools:
        yield "the tools", tool["function"]["name"]
    for message in messages:
        for call in message.get("tool_calls") or ():
            yield "calls of tools", call["function"]["name"]
        if reasoning := (message.get("reasoning_content") or "").strip():
            yield "the reasoning", reasoning.splitlines()[0]


def _unstable(index: int) -> ChatTemplateError:
    return ChatTemplateError(
        f"the chat template is not prefix-stable: up to message {index} it renders the conversation differently "
        "than within the whole, so that the tokens to train on cannot be told from the others"
    )


def _template_in(config: Mapping[str, Any]) -> str:
    stated = config.get("chat_template")
    if isinstance(stated, list):  # several by name
        stated = {entry["name"]: entry["template"] for entry in stated}.get("default")
    if not isinstance(stated, str):
        raise ChatTemplateError("the model has no chat template")
    return stated


def _special_tokens(config: Mapping[str, Any]) -> dict[str, str]:
    found: dict[str, str] = {}
    for name, value in config.items():
        text = value.get("content") if isinstance(value, dict) else value
        if name.endswith("_token") and isinstance(text, str):
            found[name] = text
    return found

"""Templates of one loop over the messages: turns are found by one rendering, exactly where all beginnings say."""

from functools import cache
from typing import Any

import jinja2
import pytest
from hypothesis import given
from hypothesis import strategies as st
from jinja2 import ext

from worker.tokens import chat
from worker.tokens.chat import Conversations, Span
from worker.tokens.message_loop import mark_messages
from worker.tokens.template import ChatTemplate, ChatTemplateError
from worker.trainer.tiny_tokenizer import CHAT_TEMPLATE

ASK = "{% if add_generation_prompt %}assistant: {% endif %}"
TURN = "{{ message.role + ': ' + message.content + '\n' }}"
LOOPS = [
    CHAT_TEMPLATE,
    "{% for message in messages %}" + TURN + "{% endfor %}" + ASK,
    "{{ bos_token }}{% if messages[0].role == 'system' %}[{{ messages[0].content }}]{% endif %}"
    "{% for message in messages %}{% if message.role == 'system' %}{% continue %}{% endif %}" + TURN
    + "{% endfor %}" + ASK,
    "{% set ns = namespace(n=0) %}{% for message in messages %}{% set ns.n = ns.n + 1 %}{{ ns.n }} " + TURN
    + "{% endfor %}" + ASK,
    "{% for message in messages %}{{ loop.index }}: {% generation %}" + TURN + "{% endgeneration %}{% endfor %}" + ASK,
]  # fmt: skip
#: What each of these knows too much of, or does too much for this.
OTHERS = [
    "{% for message in messages %}" + TURN + "{% if not loop.last %}{{ '\n' }}{% endif %}{% endfor %}" + ASK,
    "{% for message in messages %}" + TURN + "{{ loop['length'] }}{% endfor %}" + ASK,
    "{% for message in messages %}{{ messages[-1].role }}" + TURN + "{% endfor %}" + ASK,
    "{% for message in messages %}{{ messages[loop.index0].role }}" + TURN + "{% endfor %}" + ASK,
    "{% for message in messages %}{{ messages | length }}" + TURN + "{% endfor %}" + ASK,
    "{% set all = messages %}{% for message in messages %}{{ all | length }}" + TURN + "{% endfor %}" + ASK,
    "{% for message in messages[1:] %}" + TURN + "{% endfor %}" + ASK,
    "{% for message in messages if message.role != 'system' %}" + TURN + "{% endfor %}" + ASK,
    "{% for message in messages %}" + TURN + "{% if loop.index > 3 %}{% break %}{% endif %}{% endfor %}" + ASK,
    "{% for message in messages %}" + TURN + "{% else %}none{% endfor %}" + ASK,
    "{% for message in messages %}" + TURN + ASK + "{% endfor %}",
    "{% for message in messages %}" + TURN + "{% endfor %}{{ messages | length }}" + ASK,
    "{% set ns = namespace(n=0) %}{% for message in messages %}{% set ns.n = ns.n + 1 %}" + TURN
    + "{% endfor %}{% if add_generation_prompt %}{{ ns.n }}{% endif %}",
    "{% macro turn(message) %}{{ messages | length }}{% endmacro %}{% for message in messages %}{{ turn(message) }}"
    + TURN + "{% endfor %}" + ASK,
    "{% set loop_messages = messages %}{% for message in loop_messages %}" + TURN + "{% endfor %}" + ASK,
    "{% for message in messages %}" + TURN + "{% endfor %}{% for message in messages %}{% endfor %}" + ASK,
    "{% set messages = messages[1:] %}{% for message in messages %}" + TURN + "{% endfor %}" + ASK,
]  # fmt: skip


@cache
def conversations(template: str) -> Conversations:
    return Conversations(template.encode(), {"bos_token": "<s>"}, ["<|im_end|>"])


CONTENTS = st.text(st.sampled_from("ab \n:\x00mark<|im_end|>assistant"), max_size=12)
SAMPLES = st.lists(
    st.tuples(st.sampled_from(["user", "assistant", "system"]), CONTENTS, st.sampled_from([0.0, 1.0, None])),
    min_size=1,
    max_size=9,
)


def spans(template: str, turns: list[tuple[str, str, float | None]], few_turns: int) -> tuple[Span, ...] | str:
    """Return the spans, or the error. With many ``few_turns`` every beginning is rendered."""
    names = ("role", "content", "loss_weight")
    sample: dict[str, Any] = {"messages": [dict(zip(names, turn, strict=True)) for turn in turns]}
    before, chat._FEW_TURNS = chat._FEW_TURNS, few_turns
    try:
        return conversations(template).sft(sample).spans()
    except ChatTemplateError as error:
        return str(error)
    finally:
        chat._FEW_TURNS = before


@pytest.mark.parametrize("template", LOOPS + OTHERS)
@given(turns=SAMPLES)
def test_turns_are_where_the_beginnings_say(template: str, turns: list[tuple[str, str, float | None]]) -> None:
    assert spans(template, turns, few_turns=0) == spans(template, turns, few_turns=99)


def is_loop(template: str) -> bool:
    return ChatTemplate(template, {}).parts([{"role": "user", "content": "a"}]) is not None


def test_loops_are_told_from_others() -> None:
    assert [is_loop(template) for template in LOOPS] == [True] * len(LOOPS)
    assert [is_loop(template) for template in OTHERS] == [False] * len(OTHERS)


def test_a_text_that_has_the_mark_itself_is_not_taken_apart() -> None:
    assert ChatTemplate(LOOPS[1], {}).parts([{"role": "user", "content": "\x00mark\x00"}]) is None


def test_so_many_turns_take_so_few_renderings(monkeypatch: pytest.MonkeyPatch) -> None:
    rendered: list[int] = []
    render = ChatTemplate._render

    def counted(self: ChatTemplate, template: jinja2.Template, messages: Any, *more: Any) -> str:
        rendered.append(len(messages))
        return render(self, template, messages, *more)

    monkeypatch.setattr(ChatTemplate, "_render", counted)
    turns = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}] * 100
    found = conversations(CHAT_TEMPLATE).sft({"messages": turns}).spans()
    assert len(found) == 100
    assert rendered == [200, 200, 1]


def test_a_marked_template_says_what_it_said() -> None:
    environment = jinja2.Environment(extensions=[ext.loopcontrols])  # noqa: S701 - text, not HTML
    tree = environment.parse(LOOPS[1])
    assert mark_messages(tree)
    messages = [{"role": "user", "content": "a"}, {"role": "user", "content": "b"}]
    parts = environment.from_string(tree).render(messages=messages, add_generation_prompt=True).split("\x00mark\x00")
    assert parts == ["", "user: a\n", "user: b\n", "assistant: "]

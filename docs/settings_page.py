"""Makes SETTINGS.md from the settings' own source: ``python -m docs.settings_page`` (``make settings-docs``).

A setting's text is the ``#:`` comment above it; settings without one share that of the one before them. The page says
nothing of the machine that made it.
"""

import inspect
import re
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple, get_args, get_type_hints

from msgspec import Struct
from msgspec.structs import fields

from worker.console.settings import PREFIX as CONSOLE
from worker.console.settings import ConsoleSettings
from worker.settings import Settings
from worker.variables import PREFIX as WORKER
from worker.variables import expected

PAGE = Path(__file__).with_name("SETTINGS.md")
WIDTH = 120

#: Defaults that follow from the machine, in words.
FOLLOWS = {
    "storage_url": "the folder `.worker/bucket` where it is started",
    "slurm_python": "the worker's own interpreter",
    "cpu_workers": "the machine's cores less one, at least 1",
}

HEAD = """\
# Settings

Environment variables; each has a default that works on one machine. Made from
[`worker/settings.py`](../worker/settings.py) and [`worker/console/settings.py`](../worker/console/settings.py) by
`make settings-docs`: change the text there. Each text is about the variables below it. *unset*: there is no value
unless one is given. The few to begin with are in the [README](../README.md#settings).
"""


TAIL = """
## OpenTelemetry

Spans are made where `OTEL_EXPORTER_OTLP_ENDPOINT` is set, by workers and by trainers whose environment has it; they
need the extra `traces`. The variables are OpenTelemetry's own, as its SDK reads them; these matter here
([Traces](OPERATIONS.md#traces)).

- `OTEL_EXPORTER_OTLP_ENDPOINT`: a URL of OTLP over HTTP, `http://collector:4318`; *unset*
- `OTEL_EXPORTER_OTLP_TRACES_ENDPOINT`: the same for traces alone, with its path: `http://collector:4318/v1/traces`;
  *unset*
- `OTEL_EXPORTER_OTLP_HEADERS`: `name=value` with commas, such as a token; *unset*
- `OTEL_EXPORTER_OTLP_PROTOCOL`: `http/protobuf`, which is all that is spoken; *unset*
- `OTEL_EXPORTER_OTLP_TIMEOUT`: seconds that a batch of spans is tried to be sent; default: `10`
- `OTEL_TRACES_SAMPLER`, `OTEL_TRACES_SAMPLER_ARG`: which traces are kept that begin here; default:
  `parentbased_always_on`. One that has begun elsewhere is kept where its `traceparent` says so
- `OTEL_BSP_MAX_QUEUE_SIZE`: spans that wait to be sent, of which the oldest give way; default: `2048`
- `OTEL_SERVICE_NAME`, `OTEL_RESOURCE_ATTRIBUTES`: who makes the spans; default: `finetune-worker`,
  `finetune-trainer`
- `OTEL_SDK_DISABLED`: `true` to make none all the same; *unset*
"""


class Group(NamedTuple):
    """Settings that share a text."""

    text: str
    names: list[str]


def groups(settings: type[Struct]) -> list[Group]:
    """Return the settings of a class with their texts, in the order of its source."""
    found: list[Group] = []
    text: list[str] = []
    for line in inspect.getsource(settings).splitlines():
        if comment := re.fullmatch(r"    #: (.*)", line):
            text.append(comment[1])
        elif (field := re.match(r"    ([a-z_0-9]+): ", line)) and field[1] in settings.__struct_fields__:
            if text or not found:
                found.append(Group(" ".join(text), []))
                text = []
            found[-1].names.append(field[1])
    return found


def page() -> str:
    """Return the page. Raises ValueError where a setting has no text."""
    return "\n".join(
        [
            HEAD,
            "## The worker, and every command",
            *_section(Settings, WORKER),
            "\n## The console",
            "\nBeside these the console reads the worker's settings for Kafka, the bucket and the catalogue.",
            *_section(ConsoleSettings, CONSOLE),
            TAIL,
        ]
    )


def _section(settings: type[Struct], prefix: str) -> Iterator[str]:
    kinds, defaults = get_type_hints(settings, include_extras=True), {each.name: each for each in fields(settings)}
    for group in groups(settings):
        if not group.text:
            raise ValueError(f"{group.names[0]} has no text: write a #: comment above it")
        yield "\n" + textwrap.fill(_in_markdown(group.text, settings, prefix), WIDTH, break_on_hyphens=False) + "\n"
        for name in group.names:
            yield f"- `{prefix}{name.upper()}`: {_kind(kinds[name])}; {_default(name, defaults[name].default)}"


def _in_markdown(text: str, settings: type[Struct], prefix: str) -> str:
    def code(found: re.Match[str]) -> str:
        word = found[1]
        return f"`{prefix}{word.upper()}`" if word in settings.__struct_fields__ else f"`{word}`"

    return re.sub(r"``([^`]+)``", code, text)


def _kind(kind: Any) -> str:
    return "a path" if Path in (kind, *get_args(kind)) else expected(kind)


def _default(name: str, value: Any) -> str:
    if name in FOLLOWS:
        return f"default: {FOLLOWS[name]}"
    if value is None:
        return "*unset*"
    if value == "":
        return "default: empty"
    # A whole number of seconds without its ".0", and never as 6e+05.
    shown = int(value) if isinstance(value, float) and value.is_integer() else value
    return f"default: `{shown}`"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")

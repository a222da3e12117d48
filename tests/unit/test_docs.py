"""README and docs/: links lead somewhere, commands are there with their options, what is made is current."""

import importlib.util
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import typer
from msgspec import Struct
from typer.core import TyperGroup

from contracts.topics import TOPICS
from docs import settings_page
from worker.cli import app
from worker.console.settings import ConsoleSettings
from worker.settings import Settings

ROOT = Path(__file__).parents[2]
PAGES = ["README.md", "CHANGELOG.md", *(str(each.relative_to(ROOT)) for each in sorted((ROOT / "docs").glob("*.md")))]
#: Where a reader types from; CHANGELOG.md tells what once was.
HOW_TO = [page for page in PAGES if page != "CHANGELOG.md"]
every_page = pytest.mark.parametrize("page", PAGES)
_FENCE = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
_BASH = re.compile(r"^```bash\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def _anchors(text: str) -> set[str]:
    """Return the anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.*)$", _FENCE.sub("", text), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def _links(text: str) -> list[str]:
    """Return the targets of a page's links that are not addresses of other hosts."""
    targets = re.findall(r"\]\(([^)\s]+)\)", _FENCE.sub("", text))
    return [target for target in targets if not re.match(r"[a-z]+:", target)]


def _dead(page: str, text: str) -> list[str]:
    """Return the relative links of a page that lead nowhere."""
    dead = []
    for target in _links(text):
        path, _, anchor = target.partition("#")
        there = (ROOT / page).parent / path if path else ROOT / page
        if not there.exists() or (anchor and anchor not in _anchors(there.read_text(encoding="utf-8"))):
            dead.append(target)
    return dead


@every_page
def test_every_relative_link_leads_somewhere(page: str) -> None:
    assert _dead(page, (ROOT / page).read_text(encoding="utf-8")) == []


def test_a_dead_link_is_found() -> None:
    text = "[a](docs/NONE.md) [b](README.md#no-heading) [c](#gone) [d](docs/DESIGN.md#rooms) [e](https://example.org)"
    assert _dead("README.md", text) == ["docs/NONE.md", "README.md#no-heading", "#gone"]


def test_readme_lines_are_short_but_for_rows_of_tables() -> None:
    lines = (ROOT / "README.md").read_text(encoding="utf-8").splitlines()
    assert [line for line in lines if len(line) > 120 and not line.startswith("|")] == []


# --- commands --------------------------------------------------------------------------------------------------------


def _typed(text: str) -> Iterator[str]:
    """Yield the lines and spans of a page that are typed at a shell: code of bash, and what is in backticks."""
    for block in _BASH.findall(text):
        yield from block.replace("\\\n", " ").splitlines()
    yield from re.findall(r"`([^`\n]+)`", _FENCE.sub("", text))


def _uses(text: str, program: str) -> list[list[str]]:
    """Return the words behind each use of a program."""
    uses = []
    for line in _typed(text):
        for part in re.split(r"\|\||&&|[|;]", re.sub(r"(^|\s)#.*", "", line)):
            found = re.search(rf"(?:^|[\s/])({program})(\s.*|$)", part)
            if found and re.fullmatch(r"\s*([A-Z_]+=\S+\s+|docker compose exec -T worker )*\S*", part[: found.end(1)]):
                uses.append(re.split(r"\s[<>]", found[2])[0].split())
    return uses


def _wrong_with(words: list[str]) -> str | None:
    """Return what of a use of ``worker`` does not exist, or None."""
    command: Any = typer.main.get_command(app)
    words = list(words)
    while isinstance(command, TyperGroup) and words and not words[0].startswith("-"):
        if words[0] not in command.commands:
            return f"no command {words[0]}"
        command = command.commands[words.pop(0)]
    known = {option for parameter in command.params for option in parameter.opts} | {"--help", "-h"}
    return next((word for word in words if word.startswith("--") and word.split("=")[0] not in known), None)


@pytest.mark.parametrize("page", HOW_TO)
def test_every_command_of_ours_is_there_with_its_options(page: str) -> None:
    uses = _uses((ROOT / page).read_text(encoding="utf-8"), "worker")
    assert {" ".join(words): wrong for words in uses if (wrong := _wrong_with(words))} == {}


@pytest.mark.parametrize("page", HOW_TO)
def test_every_module_and_target_is_there(page: str) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    modules = [words[1] for words in _uses(text, "python") if words[:1] == ["-m"]]
    assert [name for name in modules if importlib.util.find_spec(name) is None] == []
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    made = {word for words in _uses(text, "make") for word in words[:1] if re.fullmatch(r"[a-z-]+", word)}
    assert made - targets == set()


def test_a_command_that_is_not_there_is_found() -> None:
    block = "A=1 worker tasks frob --x\n.venv/bin/worker tasks list --nope | jq .  # --no\n"
    uses = _uses(f"```bash\n{block}```\n`worker bucket create`", "worker")
    assert [_wrong_with(words) for words in uses] == ["no command frob", "--nope", None]


# --- diffs -----------------------------------------------------------------------------------------------------------

_DIFFS = re.findall(r"^```diff\n(.*?)^```$", (ROOT / "docs/ADDING.md").read_text("utf-8"), re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("number", range(4))
def test_a_diff_of_adding_is_one_of_this_tree(number: int, tmp_path: Path) -> None:
    (file := tmp_path / "shown.diff").write_text(_DIFFS[number], "utf-8")
    applied = subprocess.run(["git", "apply", "--check", file], cwd=ROOT, capture_output=True, text=True, check=False)
    assert applied.returncode == 0, applied.stderr


# --- what is made ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("topic", ["dataset.imported", "task.created", "task.command"])
def test_the_page_for_publishers_has_every_field_once_and_says_which_are_required(topic: str) -> None:
    page = (ROOT / "docs/PUBLISHING.md").read_text("utf-8")
    table = page.split(f"| `{topic}` | what it says |\n|---|---|\n")[1].split("\n\n")[0]
    rows = [row.strip("| ").split(" | ", 1) for row in table.splitlines()]
    said = {name: text for names, text in rows for name in re.findall(r"`(\w+)`", names)}
    fields = msgspec.structs.fields(TOPICS[topic].contract)
    assert sorted(said) == sorted(field.encode_name for field in fields)
    for field in fields:
        assert said[field.encode_name].startswith("required:") == field.required


@pytest.mark.parametrize("page", HOW_TO)
def test_no_order_that_a_reader_may_type_has_an_id_that_is_spent_by_the_first_of_them(page: str) -> None:
    assert re.findall(r'"command_id": "[\w-]+"', (ROOT / page).read_text("utf-8")) == []


def test_the_walk_puts_its_file_where_the_console_looks_for_files() -> None:
    typed = "\n".join(_typed((ROOT / "README.md").read_text("utf-8")))
    assert set(re.findall(r"uploads/[\w/]+", typed)) == {"uploads/default", "uploads/default/poems"}


def test_the_page_of_settings_is_the_one_that_its_source_makes() -> None:
    assert settings_page.PAGE.read_text(encoding="utf-8") == settings_page.page(), "make settings-docs"


@pytest.mark.parametrize("settings", [Settings, ConsoleSettings])
def test_the_page_has_every_setting_once(settings: type[Struct]) -> None:
    names = [name for group in settings_page.groups(settings) for name in group.names]
    assert names == list(settings.__struct_fields__)


def test_the_page_says_nothing_of_the_machine_that_made_it() -> None:
    assert str(ROOT) not in settings_page.page()

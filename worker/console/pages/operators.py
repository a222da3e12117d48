"""What operators do: dead letters, and replays, by the code of the commands."""

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from contracts.topics import TOPICS
from handlers.table import STAGES
from worker.console.form import text
from worker.console.languages import language_of, translator
from worker.console.pages.found import nothing
from worker.console.parts import ReplayFailed
from worker.console.rendering import console_of, page, person_of
from worker.letters import Filter, Letter, NotRetryable, totals

_TOPICS = [name for name in TOPICS if any(name in stage.topics for stage in STAGES)]


async def letters(request: Request) -> Response:
    """List dead letters."""
    _only_operators(request)
    everything = request.query_params.get("all") == "yes"
    found = await console_of(request).operations.letters(Filter(open_only=not everything))
    return page(request, "letters.html", letters=found, totals=totals(found), everything=everything)


async def letter(request: Request) -> Response:
    """Show one letter whole."""
    _only_operators(request)
    return page(request, "letter.html", letter=await _the_letter(request), readable=_readable)


async def settle(request: Request) -> Response:
    """Put a letter back, or drop it."""
    _only_operators(request)
    console, found = console_of(request), await _the_letter(request)
    t, by = translator(language_of(request)), person_of(request).name
    async with request.form(max_files=0) as fields:
        action = text(fields, "action")
    if action == "retry":
        try:
            await console.operations.put_back(found, by)
        except NotRetryable as error:
            return page(request, "notice.html", status=422, notice=str(error))
        return page(request, "settled.html", notice=t("retried", id=found.id))
    if action == "drop":
        await console.operations.drop(found, by)
        return page(request, "settled.html", notice=t("dropped", id=found.id))
    raise HTTPException(400, "no such action")


async def replay(request: Request) -> Response:
    """Show what can be replayed."""
    _only_operators(request)
    return page(request, "replay.html", topics=_TOPICS, stages=[stage.name for stage in STAGES])


async def run_replay(request: Request) -> Response:
    """Replay, or only say what a replay would say: that is the default."""
    _only_operators(request)
    async with request.form(max_files=0) as fields:
        topic = text(fields, "topic")
        given = {name: text(fields, name) for name in ("since", "until", "key", "stage")}
        dry_run = text(fields, "action") != "replay"
    if topic not in _TOPICS:
        raise HTTPException(400, "no such topic")
    # As --name=value, so that no value can be an option.
    arguments = [topic, *(f"--{name}={value}" for name, value in given.items() if value)]
    try:
        result = await console_of(request).operations.replay([*arguments, *(["--dry-run"] if dry_run else [])])
    except ReplayFailed as error:
        return page(request, "notice.html", status=422, notice=str(error))
    return page(request, "replay_result.html", result=result)


async def _the_letter(request: Request) -> Letter:
    wanted = Filter(ids=frozenset({request.path_params["letter_id"]}), open_only=False)
    found = await console_of(request).operations.letters(wanted)
    return found[0] if found else nothing()


def _only_operators(request: Request) -> None:
    if not person_of(request).operator:
        raise HTTPException(403)


def _readable(raw: bytes | None) -> str:
    return "" if raw is None else raw.decode(errors="backslashreplace")

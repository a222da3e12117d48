"""A dataset: how it was judged, its findings, and the lines they are about."""

import re
from typing import NamedTuple

import msgspec
from rich.cells import cell_len
from starlette.requests import Request
from starlette.responses import Response

from contracts.datasets.findings import Finding
from handlers import layout
from handlers.errors import OutsideBucket, PreconditionFailed
from handlers.ports.store import ObjectStore
from handlers.validation.lines import LineSplitter
from handlers.validation.report import Report
from worker.console.languages import language_of, translator
from worker.console.pages.found import nothing, the_dataset
from worker.console.rendering import console_of, page
from worker.console.view import DatasetView
from worker.validate.excerpt import excerpt

#: Of a report's findings a page lists so many; the report has at most twenty of each code.
_MOST_LISTED = 60
#: A line further into its file than this is not looked for: every look reads all that is before it.
_MOST_BYTES = 64 << 20
_CHUNK = 4 << 20
_WIDTH = 220
_MARKED = re.compile(r'"(?:[^"\\]|\\.)*"?|[^\s,\]}]+|.', re.DOTALL)


class Shown(NamedTuple):
    """A finding, and which of the dataset's files it is in."""

    finding: Finding
    file: str


class Excerpt(NamedTuple):
    """A piece of a line: what is before the place, the place, what is behind it."""

    before: str
    marked: str
    after: str


async def dataset(request: Request) -> Response:
    """Show a dataset."""
    return await _answer(request, "dataset.html")


async def row(request: Request) -> Response:
    """Answer with how a dataset of a form is judged now, to be swapped in."""
    return await _answer(request, "verdict.html")


async def line(request: Request) -> Response:
    """Answer with the line that a finding is about, and its place in it."""
    found, given = the_dataset(request), request.query_params
    number, file = _whole(given.get("line")), _whole(given.get("file"))
    files = found.verdict.files if found.verdict else ()
    if number < 1 or not 0 <= file < len(files):
        nothing()
    code, pointer, message = (given.get(name, "")[:2000] for name in ("code", "pointer", "message"))
    t = translator(language_of(request))
    cut, why = None, ""
    try:
        body = await _line(console_of(request).store, files[file].uri, files[file].etag, number)
        cut = _cut(body, code, pointer, message) if body is not None else None
        why = "" if cut else t("too-far", line=number)
    except (OutsideBucket, PreconditionFailed):
        why = t("file-changed")
    return page(request, "line.html", cut=cut, why=why, line=number, pointer=pointer, uri=files[file].uri)


async def _answer(request: Request, template: str) -> Response:
    found = the_dataset(request)
    return page(request, template, dataset=found, findings=await _findings(console_of(request).store, found))


async def _findings(store: ObjectStore, found: DatasetView) -> list[Shown]:
    """Return the findings of the report in the bucket, errors first."""
    if found.verdict is None or not found.verdict.totals:
        return []
    stored = await store.get(layout.dataset_report(found.dataset_id, found.verdict.digest))
    if stored is None:
        return []
    report = msgspec.json.decode(stored.body, type=Report)
    order = {"error": 0, "warning": 1, "note": 2}
    findings = sorted(report.findings, key=lambda each: (order[each.severity], each.file, each.line))
    uris = [file.uri for file in report.files] or list(found.uris)
    return [Shown(each, uris[each.file] if each.file < len(uris) else "") for each in findings[:_MOST_LISTED]]


async def _line(store: ObjectStore, uri: str, etag: str, number: int) -> bytes | None:
    """Return a line of a file, None where it is too far into it or too long."""
    key, splitter, at = store.key(uri), LineSplitter(), 0
    while at < _MOST_BYTES:
        stored = await store.get(key, byte_range=(at, at + _CHUNK), if_match=etag)
        chunk = stored.body if stored else b""
        for each in splitter.feed(chunk) if chunk else splitter.finish():
            if each.number == number:
                return each.body
        if not chunk:
            return None
        at += len(chunk)
    return None


def _cut(body: bytes, code: str, pointer: str, message: str) -> Excerpt:
    text, caret = excerpt(body, code, pointer, message, _WIDTH)
    at = columns = 0
    while columns < caret and at < len(text):
        columns += cell_len(text[at])
        at += 1
    match = _MARKED.match(text, at)
    end = match.end() if match else at
    return Excerpt(text[:at], text[at:end], text[end:])


def _whole(value: str | None) -> int:
    return int(value) if value and value.isascii() and value.isdecimal() and len(value) < 16 else -1

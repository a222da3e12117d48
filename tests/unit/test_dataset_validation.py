"""Validation: one verdict an import, whatever comes again, and a bad file is a verdict and never an error."""

from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import pytest
from msgspec.structs import replace

from contracts.envelope import Event
from handlers import datasets, layout
from handlers.errors import Unavailable
from tests.fakes.events import event
from tests.fakes.faults import faulty_world, survives
from tests.fakes.steps import interleave
from tests.fakes.world import World, bodies, form, ids, received

LINES = b"{}\n"
T1, T2 = "2026-01-01T00:00:01Z", "2026-01-01T00:00:02Z"


async def _validate(world: World, imported: Event[Any]) -> list[Event[Any]]:
    return list((await world.deliver("dataset-validation", imported)).events)


async def _verdict(world: World, imported: Event[Any]) -> Any:
    (said,) = await _validate(world, imported)
    return received(said).data


async def test_a_good_dataset_is_validated_and_remembered() -> None:
    world = World()
    imported = await world.import_dataset("d-1", LINES)
    (said,) = await _validate(world, imported)
    verdict = received(said).data
    assert (said.topic, said.key) == ("dataset.validated", "d-1")
    assert (verdict.samples, verdict.valid_samples, verdict.format) == (3, 3, "sft")
    assert world.store.key(verdict.report_uri) in world.store.objects
    assert world.store.key(verdict.findings_uri) in world.store.objects
    known = await datasets.load(world.store, "d-1")
    assert known is not None
    assert (known.digest, known.valid_samples, known.imported_at) == (verdict.digest, 3, imported.time)


async def test_invalid_samples_reject_it_with_counts_and_codes() -> None:
    world = World()
    world.scanner.invalid = 2
    (said,) = await _validate(world, await world.import_dataset("d-1", LINES))
    verdict = received(said).data
    assert said.topic == "dataset.rejected"
    assert (verdict.reason, verdict.message) == ("invalid-samples", "2 of 3 samples are invalid: invalid-json x2")


async def test_notes_and_warnings_are_no_reasons_of_a_rejection() -> None:
    world = World()
    world.scanner.invalid = 2
    world.scanner.totals = {"blank-line": 3, "crlf-line-endings": 1, "invalid-json": 2, "unknown-field": 4}
    (said,) = await _validate(world, await world.import_dataset("d-1", LINES))
    verdict = received(said).data
    assert verdict.message == "2 of 3 samples are invalid: invalid-json x2"
    assert verdict.totals == world.scanner.totals, "the report has them all"


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ([{"uri": "memory://bucket/uploads/missing.jsonl"}], "no such file"),
        ([{"uri": "memory://bucket/uploads/d-1.jsonl", "etag": "another"}], "changed since it was imported"),
        ([{"uri": "s3://somebody-else/d-1.jsonl"}], "not in this platform's bucket"),
        ([{"uri": "memory://bucket/../secrets"}], "not in this platform's bucket"),
        ([{"uri": "file:///etc/passwd"}], "not in this platform's bucket"),
    ],
)
async def test_a_file_that_cannot_be_read_is_a_verdict(files: list[dict[str, str]], message: str) -> None:
    world = World()
    await world.import_dataset("d-1", LINES)
    (said,) = await _validate(world, event("dataset.imported", {"dataset_id": "d-1", "files": files}))
    verdict = received(said).data
    assert said.topic == "dataset.rejected"
    assert verdict.reason == "unreadable"
    assert message in verdict.message
    assert (verdict.report_uri, world.scanner.scans) == (None, 0)


async def test_every_unreadable_file_is_named() -> None:
    world = World()
    files = [{"uri": world.store.uri(f"uploads/{name}.jsonl")} for name in ("one", "two")]
    verdict = await _verdict(world, event("dataset.imported", {"dataset_id": "d-1", "files": files}))
    assert "one.jsonl" in verdict.message
    assert "two.jsonl" in verdict.message


async def test_the_bucket_s_silence_is_no_verdict() -> None:
    world = World()
    imported = await world.import_dataset("d-1", LINES)
    world.store.available = False
    with pytest.raises(Unavailable):
        await _validate(world, imported)
    world.store.available = True
    assert [said.topic for said in await _validate(world, imported)] == ["dataset.validated"]


# --- again ---------------------------------------------------------------------------------------------------


async def test_a_duplicate_scans_nothing_and_says_the_same() -> None:
    world = World()
    imported = await world.import_dataset("d-1", LINES)
    first = await _validate(world, imported)
    for _ in range(3):
        again = await _validate(world, imported)
        assert (ids(again), bodies(again)) == (ids(first), bodies(first))
    assert world.scanner.scans == 1


async def test_the_same_import_published_again_later_is_the_same_import() -> None:
    world = World()
    imported = await world.import_dataset("d-1", LINES, draft=form())
    first = await _validate(world, imported)
    later = replace(imported, id="another-id", time=imported.time + timedelta(hours=1))
    again = await _validate(world, later)
    assert bodies(again) == bodies(first)
    # The fee is asked for by the first verdict: it must not count as superseded by an import that has none.
    await world.clock.advance(5)
    outcome = await world.deliver("cost-estimation", received(again[0]))
    assert [said.topic for said in outcome.events] == ["cost.estimated"]


@pytest.mark.parametrize("now", [None, b"other bytes"], ids=["gone", "changed"])
@pytest.mark.parametrize("pinned", [False, True])
@pytest.mark.parametrize("stated", [None, T1])
async def test_a_replay_is_about_the_bytes_of_then(now: bytes | None, stated: str | None, *, pinned: bool) -> None:
    world = World()
    imported = await world.import_dataset("d-1", LINES)
    file = {"uri": imported.data.files[0].uri}
    if pinned:
        info = await world.store.head(world.store.key(file["uri"]))
        assert info
        file["etag"] = info.etag
    body = {"dataset_id": "d-1", "files": [file]} | ({"imported_at": stated} if stated else {})
    imported = event("dataset.imported", body)
    first = await _validate(world, imported)
    known = await datasets.load(world.store, "d-1")
    if now is None:
        del world.store.objects["uploads/d-1.jsonl"]
    else:
        world.store.objects["uploads/d-1.jsonl"] = now
    replayed = await _validate(world, imported)
    assert bodies(replayed) == bodies(first)
    assert await datasets.load(world.store, "d-1") == known


async def test_other_bytes_under_the_same_name_are_another_import() -> None:
    world = World()
    first = await _verdict(world, await world.import_dataset("d-1", LINES))
    imported = await world.import_dataset("d-1", LINES * 2)
    second = await _verdict(world, replace(imported, id="an-import-of-its-own"))
    assert second.digest != first.digest
    assert world.scanner.scans == 2


async def test_another_draft_is_another_verdict_on_the_same_report() -> None:
    world = World()
    first = await _verdict(world, await world.import_dataset("d-1", LINES, draft=form()))
    second = await _verdict(world, await world.import_dataset("d-1", LINES, draft=form(output_count=2)))
    assert (first.digest, first.draft["task_id"]) == (second.digest, "t-1")
    assert second.draft["output_count"] == 2
    assert world.scanner.scans == 1


@pytest.mark.parametrize("order", [(T1, T2), (T2, T1)])
async def test_the_newest_import_is_remembered_whichever_comes_last(order: tuple[str, str]) -> None:
    world = World()
    digests = {}
    for stated in order:
        lines = LINES * (1 if stated == T1 else 2)
        digests[stated] = (await _verdict(world, await world.import_dataset("d-1", lines, imported_at=stated))).digest
    known = await datasets.load(world.store, "d-1")
    assert known is not None
    assert known.digest == digests[T2]


async def test_two_workers_at_once_say_one_verdict() -> None:
    world = World()
    imported = await world.import_dataset("d-1", LINES, draft=form())
    late = replace(imported, time=imported.time + timedelta(seconds=30))
    for shift in range(12):
        fresh = World()
        fresh.store.objects = dict(world.store.objects)
        said = interleave(_validate(fresh, imported), _validate(fresh, late), order=[0] * shift + [1] * 100)
        assert bodies(said[0]) == bodies(said[1])
        (verdict,) = said[0]
        mark = fresh.store.objects[layout.task("t-1", "draft")]
        assert received(verdict).data.imported_at.isoformat().removesuffix("+00:00").encode() in mark


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
async def test_killed_at_any_call_the_redelivered_import_says_the_same_verdict(*, after: bool) -> None:
    async def begin() -> tuple[World, Any, Event[Any]]:
        world, faults = faulty_world()
        return world, faults, await world.import_dataset("d-1", LINES, draft=form())

    world, faults, imported = await begin()
    already = len(faults.calls)
    baseline = await _validate(world, imported)
    for at in range(len(faults.calls) - already):
        world, faults, imported = await begin()
        outcome = await survives(
            faults, at, after=after, deliver=partial(world.deliver, "dataset-validation", imported)
        )
        assert ids(outcome.events) == ids(baseline)
        assert bodies(outcome.events) == bodies(baseline)
        assert world.scanner.scans <= 2
        known = await datasets.load(world.store, "d-1")
        assert known is not None
        assert known.imported_at == datetime(2026, 1, 1, tzinfo=UTC)

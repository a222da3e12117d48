"""The quote, the plan and the trainer are about the same samples: what is invalid or too long is in none of them."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest

from contracts.dataset import CheckedFile, DatasetFile, Format
from contracts.datasets.findings import Finding
from contracts.task import Phase
from handlers import layout
from handlers.planning.plan import Plan
from handlers.ports import ModelEntry, TokenCounts
from handlers.validation.report import Report
from tests.fakes.store import MemoryStore
from tests.fakes.world import TINY, World, form, form_event, received, statuses
from tests.trainer.bench import built, trained_on
from worker.scan_conclusion import FileScan, concluded
from worker.scan_parts import Part
from worker.scan_process import ScanJob, scan_part
from worker.tokens.counter import CountJob, count_file
from worker.tokens.encoder import SampleEncoder
from worker.tokens.tally import merged
from worker.trainer.dataset import Datasets
from worker.trainer.tiny_tokenizer import tiny_tokenizer

pytestmark = pytest.mark.trainer


class RealScanner:
    """The scan of the worker, in this process."""

    def __init__(self, store: MemoryStore, folder: Path) -> None:
        self._store, self._folder = store, folder

    async def scan(self, files: Sequence[DatasetFile], format: Any, findings_key: str) -> Report:
        scans = []
        for index, file in enumerate(files):
            part = Part(
                file=index,
                format=format,
                findings_path=str(self._folder / f"{index}.ndjson"),
                digests_path=str(self._folder / f"{index}.digests"),
            )
            scanned = await scan_part(self._store, ScanJob(file=file, part=part))
            checked = CheckedFile(uri=file.uri, etag=scanned.etag, size_bytes=scanned.size_bytes, sha256=scanned.sha256)
            scans.append(FileScan(checked=checked, parts=(scanned.part,)))
        found = concluded("digest", format, scans, self._folder)
        await self._store.put(findings_key, b"".join(found.findings()))
        return found.conclusion.report


class RealCounter:
    """The counter of the worker, in this process."""

    def __init__(self, store: MemoryStore) -> None:
        self._store = store

    async def count(
        self, files: Sequence[CheckedFile], format: Format, model: ModelEntry, findings_key: str | None = None
    ) -> TokenCounts:
        jobs = [
            CountJob(
                files=tuple(files), index=index, format=format, prefix=model.prefix,
                context_length=model.context_length, findings_key=findings_key,
            )
            for index in range(len(files))
        ]  # fmt: skip
        return merged([await count_file(self._store, job) for job in jobs])


def world(folder: Path) -> World:
    world = World()
    for name, body in zip(
        ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja"), tiny_tokenizer(), strict=True
    ):
        world.store.objects[TINY.prefix + name] = body or b""
    world.ports |= {"scanner": RealScanner(world.store, folder), "tokens": RealCounter(world.store)}
    return world


def sample(answer: str) -> bytes:
    messages = [{"role": "user", "content": "问题?"}, {"role": "assistant", "content": answer}]
    return json.dumps({"messages": messages}, ensure_ascii=False).encode() + b"\n"


LONG = sample("long " * 600)
FIRST = b"\xef\xbb\xbf" + sample("one") + b"\r\n" + b"{broken\n" + LONG + sample("二") + sample("x" * 40)
SECOND = LONG + sample("four") + LONG + b'{"messages": []}\n' + sample("five")[:-1]


async def imported(world: World, dataset_id: str, *bodies: bytes, **changes: Any) -> list[Any]:
    """Put files into the bucket, and import them as one dataset; return what the service says to that."""
    uris = []
    for number, body in enumerate(bodies):
        world.store.objects[f"uploads/{dataset_id}/{number}.jsonl"] = body
        uris.append({"uri": world.store.uri(f"uploads/{dataset_id}/{number}.jsonl")})
    said = await world.run(await world.import_dataset(dataset_id, None, files=uris, **changes))
    return [received(event).data for event in said]


async def trained(world: World, folder: Path) -> tuple[Plan, Datasets]:
    plan = msgspec.json.decode(world.store.objects[layout.task("t-1", "plan")], type=Plan)
    encoder = SampleEncoder(tiny_tokenizer())
    return plan, await built(world.store, plan, encoder, folder)


def lengths(data: Datasets) -> list[int]:
    return [len(row.sequences[0].ids) for row in trained_on(data)]


async def test_quote_plan_and_trainer_leave_out_the_same_lines(tmp_path: Path) -> None:
    service = world(tmp_path)
    submitted: dict[str, Any] = {"tolerance": {"max_invalid_records": 2}}
    (rejected,) = await imported(service, "d-1", FIRST, SECOND, format="sft")
    assert (rejected.samples, rejected.valid_samples) == (10, 8)
    # The draft of another import prices this one: a rejected dataset has no estimate of its own.
    *_, estimated = await imported(service, "d-2", sample("x") * 20, draft=form(**submitted))
    await service.run(form_event(**submitted))
    plan, data = await trained(service, tmp_path)

    (item,), (planned,) = estimated.quote.items, plan.training
    assert estimated.quote.complete
    assert len(data.training) == item.samples == planned.samples == 5
    assert sum(lengths(data)) == item.tokens
    assert planned.too_long == sum(each.samples for each in item.too_long) == 3
    # Every one of them is listed, with its line.
    listed = {
        each.file.rsplit("/", 1)[1]: [
            msgspec.json.decode(line, type=Finding).line
            for line in service.store.objects[service.store.key(each.findings_uri)].splitlines()
        ]
        for each in item.too_long
    }
    assert listed == {"0.jsonl": [4], "1.jsonl": [1, 3]}


async def test_a_multiplier_repeats_what_is_kept_in_the_quote_and_in_training(tmp_path: Path) -> None:
    service = world(tmp_path)
    training_set = [{"dataset_id": "d-1", "multiplier": 3}]
    body = sample("a") + LONG + sample("bb")
    *_, estimated = await imported(service, "d-1", body, draft=form(training_set=training_set))
    await service.run(form_event(training_set=training_set))
    plan, data = await trained(service, tmp_path)

    (item,) = estimated.quote.items
    assert (item.samples, len(data.training), plan.training[0].samples) == (6, 6, 2)
    assert item.tokens == sum(lengths(data))


async def test_a_task_whose_every_sample_is_too_long_is_not_dispatched(tmp_path: Path) -> None:
    service = world(tmp_path)
    await imported(service, "d-1", LONG * 2)
    said = statuses(await service.run(form_event()))

    assert service.executor.submits == []
    assert (said[-1].phase, said[-1].reason, said[-1].party) == (Phase.FAILED, "nothing-to-train", "user")
    assert "all 2 valid samples are longer than the context of tiny, 512 tokens" in said[-1].message


async def test_where_counts_cannot_be_had_a_task_is_dispatched_as_before(tmp_path: Path) -> None:
    service = world(tmp_path)
    await imported(service, "d-1", sample("a") + LONG)
    del service.store.objects[TINY.prefix + "tokenizer.json"]
    await service.run(form_event())

    (planned,) = msgspec.json.decode(service.store.objects[layout.task("t-1", "plan")], type=Plan).training
    assert (planned.samples, planned.too_long) == (2, None)

"""The trainer obeys the plan's table, to the line; without one it draws what the plan would have drawn."""

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from msgspec.structs import replace

from contracts.task import PresetMix
from handlers.planning.build import selection_of
from handlers.planning.fates import Fates
from handlers.planning.marking import Mark
from handlers.planning.plan import Plan, PlannedDataset
from handlers.planning.selection import Draws
from tests.fakes.few_samples import SAMPLES
from tests.trainer.bench import Bench, built
from worker.planning.fate_table import read_fates, write_fates
from worker.planning.planner import StorePlanner
from worker.tokens.counter import count_file
from worker.tokens.encoder import SampleEncoder
from worker.tokens.jobs import CountJob
from worker.trainer.dataset import Datasets
from worker.trainer.failures import JobError
from worker.trainer.tiny_tokenizer import tiny_tokenizer
from worker.trainer.token_file import Samples

pytestmark = pytest.mark.trainer

TABLE = "tasks/task-1/fates.parquet"


@pytest.fixture
def bench(bucket_root: Path) -> Bench:
    return Bench(bucket_root)


def build(bench: Bench, plan: Plan, folder: Path) -> Datasets:
    folder.mkdir()
    return asyncio.run(built(bench.store, plan, SampleEncoder(tiny_tokenizer()), folder))


def numbers(count: int, first: int = 0) -> list[dict[str, Any]]:
    return [
        {"messages": [{"role": "user", "content": f"{n}?"}, {"role": "assistant", "content": f"{n}, " * (n % 5 + 1)}]}
        for n in range(first, first + count)
    ]


async def with_table(bench: Bench, plan: Plan) -> tuple[Plan, Draws]:
    """Return a plan as the worker makes it: counted, drawn, and with its table in the bucket."""

    async def counted(dataset: PlannedDataset) -> PlannedDataset:
        job = CountJob(
            files=dataset.files, index=0, format=plan.format, prefix=plan.base_prefix,
            context_length=plan.context_length, findings_key=dataset.findings_key,
        )  # fmt: skip
        return replace(dataset, tables=(await count_file(bench.store, job)).tables)

    kinds = {
        kind: tuple([await counted(dataset) for dataset in getattr(plan, kind)])
        for kind in ("training", "validation", "presets")
    }
    plan = replace(plan, **kinds)
    draws = await StorePlanner(bench.store).draw(selection_of(plan, plan.hyperparameters), plan.task_id)
    return replace(plan, draws=draws, fates_key=f"tasks/task-1/fates-{draws.fates_digest[:32]}.parquet"), draws


PLANS: dict[str, Callable[[Bench], Plan]] = {
    "a fraction, split": lambda bench: bench.plan(
        training=(bench.dataset(samples=numbers(40), multiplier=1.5), bench.dataset("b", numbers(9), sample_count=4)),
        validation_percent=25,
    ),
    "a validation set that is trained on, too": lambda bench: bench.plan(
        training=(bench.dataset(samples=numbers(40)),), validation=(bench.dataset("held", numbers(10, 35)),)
    ),
    "presets, repeated": lambda bench: bench.plan(
        training=(bench.dataset(samples=numbers(20)),),
        presets=(bench.dataset("p", numbers(6, 15)), bench.dataset("q", numbers(3, 50))),
        preset_mix=PresetMix(50, "repeat"),
        validation_percent=20,
    ),
}


@pytest.mark.parametrize("make", PLANS.values(), ids=PLANS.keys())
def test_a_plan_with_a_table_and_one_without_train_on_the_same(
    bench: Bench, tmp_path: Path, make: Callable[[Bench], Plan]
) -> None:
    plan, draws = asyncio.run(with_table(bench, make(bench)))
    planned = build(bench, plan, tmp_path / "planned")
    drawn_here = build(bench, replace(plan, fates_key=None), tmp_path / "here")

    assert np.array_equal(planned.training, drawn_here.training)
    assert np.array_equal(planned.validation, drawn_here.validation)
    assert texts(planned) == texts(drawn_here)
    # It is what the plan says, and what is billed.
    assert len(planned.training) == draws.of("user") + draws.of("preset")
    assert len(planned.validation) == draws.of("validation") > 0
    assert sum(map(len, texts(planned))) == sum(each.tokens for each in draws.drawn if each.kind != "validation")


def texts(data: Datasets, validation: bool = False) -> list[tuple[int, ...]]:
    order = data.validation if validation else data.training
    return [tuple(row.sequences[0].ids.tolist()) for row in Samples(data.reader, order)]


def rewritten(bench: Bench, plan: Plan, change: Callable[[Fates], Fates], folder: Path) -> Plan:
    """Return the plan with a table that somebody changed."""
    sources = selection_of(plan, {}).sources
    assert plan.fates_key is not None

    def changed() -> Iterator[Fates]:
        for fates in read_fates(bench.root / str(plan.fates_key), sources):
            yield change(fates)

    write_fates(folder / "changed", sources, changed())
    bench.put(TABLE, (folder / "changed").read_bytes())
    return replace(plan, fates_key=TABLE)


def test_exactly_the_lines_of_the_table_are_trained_on(bench: Bench, tmp_path: Path) -> None:
    plan, _ = asyncio.run(with_table(bench, bench.plan()))

    def other(fates: Fates) -> Fates:
        times = np.array([0, 2, 0, 1, 1, 0])
        marks = np.array([Mark.LEAK, Mark.TRAINED, Mark.NOT_DRAWN, Mark.VALIDATION, Mark.TRAINED, Mark.INVALID])
        return fates._replace(times=times, marks=marks.astype(np.uint8))

    data = build(bench, rewritten(bench, plan, other, tmp_path), tmp_path / "built")

    sequences = [tuple(each.ids) for each in SampleEncoder(tiny_tokenizer()).encode_sft(SAMPLES)]
    assert texts(data) == [sequences[1], sequences[4], sequences[1]]
    assert texts(data, validation=True) == [sequences[3]]


def failed(bench: Bench, plan: Plan, folder: Path) -> tuple[str, bool, str]:
    with pytest.raises(JobError) as caught:
        build(bench, plan, folder)
    return caught.value.failure.reason, caught.value.failure.retryable, caught.value.failure.message


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda fates: fates._replace(tokens=fates.tokens + 1), "a: file 0, line 1: "),
        (
            lambda fates: fates._replace(lines=np.append(fates.lines[:-1], np.uint32(99))),
            "a.jsonl, line 99: the plan trains on it, and it is no sample",
        ),
    ],
)
def test_a_sample_that_is_not_what_was_planned_ends_the_job(
    bench: Bench, tmp_path: Path, change: Callable[[Fates], Fates], message: str
) -> None:
    plan, _ = asyncio.run(with_table(bench, bench.plan()))

    reason, retryable, said = failed(bench, rewritten(bench, plan, change, tmp_path), tmp_path / "built")

    assert (reason, retryable) == ("plan-differs", False)
    assert message in said


def test_a_table_that_is_gone_or_no_table_is_the_platforms_fault(bench: Bench, tmp_path: Path) -> None:
    plan, _ = asyncio.run(with_table(bench, bench.plan()))

    assert failed(bench, replace(plan, fates_key="gone"), tmp_path / "1")[:2] == ("plan-missing", True)
    bench.put(TABLE, b"PAR1 and no more")
    assert failed(bench, replace(plan, fates_key=TABLE), tmp_path / "2")[:2] == ("plan-unusable", False)
    other = replace(plan, training=(bench.dataset("another"),))
    assert failed(bench, other, tmp_path / "3")[:2] == ("plan-unusable", False)


def test_too_few_presets_end_a_job_that_draws_itself(bench: Bench, tmp_path: Path) -> None:
    plan = bench.plan(presets=(bench.dataset("p", numbers(2)),), preset_mix=PresetMix(50))

    assert failed(bench, plan, tmp_path / "1")[0] == "preset-too-small"

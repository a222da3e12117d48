"""What a task costs the bucket, pinned: a request more a task is paid for ten million times a day."""

from tests.bench.events.requests import IN_POOL, reads, requests, requests_again, stored, writes
from tests.bench.scaling.hot_keys import AGAIN

PINNED = {
    "dataset-validation": {"put": 6, "get": 5, "head": 1},
    "dataset-validation" + IN_POOL: {"put": 1, "get": 1, "head": 1},
    "cost-estimation": {"put": 3, "get": 5},
    "cost-estimation" + IN_POOL: {"put": 2, "get": 6, "head": 1},
    "training-dispatch": {"put": 9, "list": 1, "get": 10, "delete": 1},
    "training-dispatch" + IN_POOL: {"put": 1, "get": 3, "head": 5},
    "training-progress": {"put": 1, "get": 1},
    "model-export": {"put": 4, "copy": 2, "get": 6, "head": 2},
}


def test_each_stage_asks_as_often_as_docs_scaling_says() -> None:
    assert requests() == PINNED


def test_progress_costs_one_read_and_one_write_a_fold_and_its_status_nothing() -> None:
    few, many = requests(), requests(10)
    more = {stage: {method: n - few[stage].get(method, 0) for method, n in many[stage].items()} for stage in many}
    assert more["training-progress"] == {"put": 10, "get": 10}
    assert all(not any(each.values()) for stage, each in more.items() if stage != "training-progress")


def test_a_task_costs_so_many_writes_and_reads() -> None:
    counted = requests().values()
    assert (sum(map(writes, counted)), sum(map(reads, counted))) == (30, 47)


def test_the_same_import_once_more_scans_nothing() -> None:
    assert requests_again() == {"put": 2, "get": 4, "head": 1}
    assert sum(requests_again().values()) == AGAIN


def test_a_task_leaves_so_many_objects_for_good() -> None:
    assert {folder: objects for folder, (objects, _) in stored().items()} == {
        "datasets": 5,
        "quotes": 1,
        "receipts": 4,
        "tasks": 7,
        "tokens": 2,
    }

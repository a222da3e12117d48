"""Slots of the local executor and the GPUs they have."""

import pytest

from worker.executors.local import slots_of
from worker.executors.local_gpus import VISIBLE, chosen, gpus_of, visible_gpus
from worker.settings import Settings


@pytest.mark.parametrize(
    ("given", "devices"),
    [
        ("0,1", ("0", "1")),
        ("3", ("3",)),
        (" 2 , 0 ", ("2", "0")),
        ("GPU-8932f937,GPU-1", ("GPU-8932f937", "GPU-1")),
        ("", ()),
        ("-1", ()),
        ("1,-1,2", ("1",)),
    ],
)
def test_jobs_get_of_the_gpus_that_this_process_was_given(given: str, devices: tuple[str, ...]) -> None:
    assert visible_gpus({VISIBLE: given}) == devices


def test_without_a_driver_there_are_none_and_one_slot_all_the_same() -> None:
    assert slots_of(Settings(), ()) == 1
    assert slots_of(Settings(), ("0", "1", "2")) == 3
    assert slots_of(Settings(local_slots=2), ("0", "1", "2")) == 2
    assert gpus_of((0,), ()) == ()


def test_more_slots_than_gpus_share_them_and_no_job_gets_one_twice() -> None:
    gpus = ("a", "b")
    assert [gpus_of((slot,), gpus) for slot in range(4)] == [("a",), ("b",), ("a",), ("b",)]
    assert chosen(range(4), 2, gpus) == (0, 1)
    assert chosen((1, 2, 3), 2, gpus) == (1, 2)
    assert gpus_of((1, 2), gpus) == ("b", "a")
    assert chosen((0, 2), 2, gpus) is None, "both are on one GPU"
    assert chosen((1, 3), 1, gpus) == (1,)


def test_slots_without_gpus_are_all_alike() -> None:
    assert chosen((1, 2, 5), 2, ()) == (1, 2)
    assert chosen((1, 2, 5), 4, ()) is None
    assert chosen((), 1, ()) is None

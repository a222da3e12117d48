"""What ``worker doctor`` makes of how the stages' groups stand."""

import pytest

from worker.doctor.groups import Standing
from worker.doctor.stages import judged

AT_WORK = Standing("export", members=2, behind=0, known=True)


@pytest.mark.parametrize(
    ("standings", "mark", "text"),
    [
        ([Standing("scan", 0, 0, known=False)], "note", "no worker runs; no record waits"),
        ([Standing("scan", 0, 1200, known=False)], "wrong", "no worker runs; records wait: scan 1,200"),
        ([Standing("scan", 0, 0, known=True)], "wrong", "no worker runs; no record waits"),
        ([Standing("scan", 0, 3, known=True), AT_WORK], "wrong", "no worker runs scan; records wait: scan 3"),
        ([Standing("scan", 1, 7, known=True), AT_WORK], "note", "scan: 1 member in its group, 7 records behind"),
        ([AT_WORK], "ok", "all 1 have workers, and no record waits"),
    ],
)
def test_what_is_said_of_them(standings: list[Standing], mark: str, text: str) -> None:
    (found,) = judged(standings)
    assert (found.mark, found.text) == (mark, text)
    if "no worker runs" in text:
        assert found.remedy == "worker run"
    elif mark == "note":
        assert "/ready" in (found.remedy or "")


def test_who_lags_and_who_is_alone_are_both_named() -> None:
    found = judged([Standing("scan", 1, 7, known=True), Standing("price", 0, 1, known=True), AT_WORK])
    assert [(each.mark, each.text.split(";")[0]) for each in found] == [
        ("wrong", "no worker runs price"),
        ("note", "scan: 1 member in its group, 7 records behind"),
    ]

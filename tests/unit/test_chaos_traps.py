"""The traps of chaos: every boundary has its turn, and whoever takes the last token dies, once."""

import os
import signal
from pathlib import Path

import pytest

from tests.e2e.chaos import boundaries
from tests.e2e.chaos.boundaries import BOUNDARIES, Boundary


def test_any_three_rounds_in_a_row_have_a_trap_at_every_boundary() -> None:
    for seed in range(1, 40):
        rounds = [boundaries.of_round(seed + n) for n in range(3)]
        assert {boundary for each in rounds for boundary in each} == set(BOUNDARIES)
        assert all(len(set(each)) == boundaries.A_ROUND for each in rounds)


class _Bucket:
    def __init__(self) -> None:
        self.done: list[str] = []

    async def put(self, key: str) -> str:
        self.done.append(key)
        return "etag"


@pytest.mark.parametrize(("when", "done"), [("before", ["a", "b"]), ("after", ["a", "b", "c"])])
async def test_the_last_token_kills_before_or_after_the_call(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, when: str, done: list[str]
) -> None:
    class Dead(BaseException):
        pass

    killed: list[tuple[int, int]] = []

    def kill(pid: int, number: int) -> None:
        killed.append((pid, number))
        raise Dead

    boundary = Boundary(_Bucket, "put", when, lambda call: call[1] != "other")  # type: ignore[arg-type]  # either of them
    monkeypatch.setattr(_Bucket, "put", _Bucket.put)
    monkeypatch.setattr(os, "kill", kill)
    boundaries.arm(tmp_path, "here", passages=3)
    boundaries.walk_into(tmp_path, {"here": boundary})
    bucket = _Bucket()

    assert await bucket.put("a") == "etag"
    await bucket.put("other")
    await bucket.put("b")
    assert boundaries.sprung(tmp_path) == []
    with pytest.raises(Dead):
        await bucket.put("c")

    assert killed == [(os.getpid(), signal.SIGKILL)]
    assert [key for key in bucket.done if key != "other"] == done
    assert boundaries.sprung(tmp_path) == ["here"]
    await bucket.put("d")
    assert len(killed) == 1, "a trap kills once"


async def test_a_call_that_failed_is_no_passage(tmp_path: Path) -> None:
    class Failing:
        async def put(self, key: str) -> None:
            raise ConnectionError(key)

    boundary = Boundary(Failing, "put", "after", lambda _: True)
    boundaries.arm(tmp_path, "here", passages=1)
    boundaries.walk_into(tmp_path, {"here": boundary})
    with pytest.raises(ConnectionError):
        await Failing().put("a")
    assert boundaries.sprung(tmp_path) == []

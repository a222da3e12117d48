"""Who shares a job: judged by nobody's clock but one's own, and nobody decides for the others."""

import asyncio

import pytest

from handlers import layout
from handlers.errors import Unavailable
from tests.fakes.clock import ManualClock
from tests.fakes.store import MemoryStore
from worker.sweeps.members import Members

SECONDS = 12.0
SHARDS = 16


class Team:
    def __init__(self, size: int) -> None:
        self.store, self.clock = MemoryStore(), ManualClock()
        self.members = [self.member() for _ in range(size)]

    def member(self, clock: ManualClock | None = None) -> Members:
        return Members(self.store, clock or self.clock, "sweep", SECONDS, SHARDS)

    async def beat(self, *members: Members) -> list[set[int]]:
        """Let members say that they are there, twice: at the second time each has seen all others."""
        for _ in range(2):
            await self.clock.advance(SECONDS / 4)
            shares = [set(await member.share()) for member in members or self.members]
        return shares


@pytest.mark.parametrize("size", [1, 2, 3, 7, 16, 20])
async def test_every_shard_has_one_member_and_all_have_as_many(size: int) -> None:
    shares = await Team(size).beat()
    assert sorted(shard for share in shares for shard in share) == list(range(SHARDS))
    assert max(map(len, shares)) - min(map(len, shares)) <= 1


async def test_who_falls_silent_is_replaced_after_so_many_seconds_and_forgotten() -> None:
    team = Team(3)
    silent, *others = team.members
    before = (await team.beat())[0]
    for _ in range(3):
        await team.clock.advance(SECONDS / 4)
        assert all(before.isdisjoint(share) for share in [await member.share() for member in others])
    shares = await team.beat(*others)
    assert sorted(shard for share in shares for shard in share) == list(range(SHARDS))
    assert len([key for key in team.store.objects if key.startswith(layout.member("sweep"))]) == 2
    assert len((await team.beat())[0]) in (5, 6), "one that was only slow has a share again"
    assert silent is team.members[0]


async def test_who_leaves_is_replaced_at_the_next_beat() -> None:
    team = Team(2)
    await team.beat()
    await team.members[0].leave()
    await team.members[0].leave()
    await team.clock.advance(SECONDS / 4)
    assert await team.members[1].share() == set(range(SHARDS))


async def test_a_stranger_s_clock_does_not_matter() -> None:
    team = Team(1)
    ahead = ManualClock()
    await ahead.advance(1_000_000)
    stranger = team.member(ahead)
    await team.members[0].share()
    assert len(await stranger.share()) == SHARDS // 2, "whoever is seen for the first time may be there"


async def test_between_two_beats_the_bucket_is_left_alone() -> None:
    team = Team(1)
    await team.members[0].share()
    puts = len(team.store.puts)
    await team.clock.advance(SECONDS / 4 - 0.1)
    await asyncio.gather(*(team.members[0].share() for _ in range(100)))
    assert len(team.store.puts) == puts


async def test_a_bucket_that_does_not_answer_is_said_and_asked_again() -> None:
    team = Team(1)
    team.store.available = False
    with pytest.raises(Unavailable):
        await team.members[0].share()
    team.store.available = True
    assert await team.members[0].share() == set(range(SHARDS))

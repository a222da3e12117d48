"""One short round of chaos; ``make chaos ROUNDS=50`` plays many."""

import shutil

import pytest

from tests import kafka_servers, s3_servers
from tests.e2e.chaos.round import play

#: Rounds break processes of their own, so they need servers of their own.
CAN_PLAY = kafka_servers.process_possible() and s3_servers.process_possible()


@pytest.mark.skipif(not CAN_PLAY, reason="a round kills its own Apache Kafka and S3 server: that needs Java, Maven, Go")
@pytest.mark.timeout(600)
async def test_nothing_is_lost_and_nothing_twice_whatever_crashes() -> None:
    outcome = await play(seed=4, tasks=6, times=4)
    assert outcome.faults == [], f"seed {outcome.seed}: {outcome.troubles}; logs: {outcome.logs}"
    assert outcome.deaths > 0
    shutil.rmtree(outcome.logs)

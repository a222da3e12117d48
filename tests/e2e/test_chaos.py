"""One short round of chaos, and a long one with the real trainer; ``make chaos ROUNDS=50`` plays many."""

import shutil

import pytest

from tests import kafka_servers, s3_servers
from tests.e2e.chaos.boundaries import A_ROUND
from tests.e2e.chaos.round import play

#: Rounds break processes of their own, so they need servers of their own.
pytestmark = pytest.mark.skipif(
    not (kafka_servers.process_possible() and s3_servers.process_possible()),
    reason="a round kills its own Apache Kafka and S3 server: that needs Java, Maven, Go",
)


@pytest.mark.timeout(600)
async def test_nothing_is_lost_and_nothing_twice_whatever_crashes() -> None:
    outcome = await play(seed=4, tasks=6, times=4)
    assert outcome.faults == [], f"seed {outcome.seed}: {outcome.troubles}; logs: {outcome.logs}"
    assert len(outcome.died_at) == A_ROUND, f"no worker died {outcome.survived}"
    shutil.rmtree(outcome.logs)


@pytest.mark.long
@pytest.mark.trainer
@pytest.mark.timeout(1200)
async def test_a_real_trainer_that_is_killed_goes_on_and_ends_with_the_same_model() -> None:
    outcome = await play(seed=10, trainer="real", times=2)
    assert outcome.faults == [], f"seed {outcome.seed}: {outcome.troubles}; logs: {outcome.logs}"
    assert outcome.trainers_killed > 0
    assert outcome.resumed != []
    shutil.rmtree(outcome.logs)

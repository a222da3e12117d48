"""Intake: one consumer group a stage. FastStream brings batches; lanes take them, so the loop polls on and a long piece
of work never costs the group its member."""

import asyncio
from itertools import groupby
from operator import attrgetter
from typing import Any

import structlog
from aiokafka import ConsumerRebalanceListener, ConsumerRecord, TopicPartition
from aiokafka.errors import CommitFailedError, IllegalStateError, KafkaError
from faststream import AckPolicy
from faststream.kafka import KafkaBroker
from faststream.kafka.annotations import KafkaMessage
from faststream.kafka.message import KafkaMessage as Batch

from contracts.codec import Poison
from handlers.ports.clock import Clock
from handlers.table import Stage
from worker.cancelling import cancel
from worker.delivery.bug_limit import BugLimit
from worker.delivery.due import DueTimes
from worker.delivery.item import Item, take_in
from worker.delivery.lanes import Lanes, Rest
from worker.delivery.offsets import PartitionProgress
from worker.delivery.pausing import Pauses
from worker.delivery.processing import Processor
from worker.delivery.standing import Load, Look
from worker.delivery.waiting import Waiting
from worker.settings import Settings

log = structlog.get_logger()

_PLACE = attrgetter("topic", "partition")
_COMMIT_SECONDS = 0.2
_COMMIT_GIVE_UP_SECONDS = 5.0
_MAX_RECORDS = 1000
#: FastStream sleeps as long again after a poll that found nothing: with its 200 ms an idle stage would answer late.
_POLL_MS = 50


class Intake(ConsumerRebalanceListener):  # type: ignore[misc]  # aiokafka publishes no types
    """Takes a stage's records in, keeps what is done of each partition, and commits that and nothing more.

    Offsets are committed explicitly, up to the lowest unfinished record. On revoke: what waits is dropped, what runs is
    waited for (bounded), what is done is committed.
    """

    def __init__(
        self,
        stage: Stage,
        broker: KafkaBroker,
        processor: Processor,
        clock: Clock,
        settings: Settings,
        limit: BugLimit | None = None,
    ) -> None:
        self.stage = stage
        self._settings = settings
        self._clock = clock
        self._limit = limit
        self._waiting = Waiting(stage, clock, settings.estimate_delay_seconds)
        #: Between a revoke and the next assignment the client still hands out what it had read ahead.
        self._assigned: set[TopicPartition] = set()
        self._progress: dict[TopicPartition, PartitionProgress] = {}
        self._pauses = Pauses(stage.name, clock, settings.spread_limit)
        self.lanes = Lanes(processor, settings.concurrency, folds=stage.folds, rest=_rest(stage, settings))
        self.due = DueTimes(clock, self.lanes.put)
        self._closing = False
        self._taken = 0
        self._committer: asyncio.Task[None] | None = None
        self._subscriber: Any = broker.subscriber(
            *stage.topics,
            *self._waiting.delays,
            batch=True,
            group_id=settings.group_of(stage.name),
            group_instance_id=settings.instance_id,
            ack_policy=AckPolicy.MANUAL,
            auto_offset_reset="earliest",
            max_records=_MAX_RECORDS,
            batch_timeout_ms=_POLL_MS,
            session_timeout_ms=int(settings.session_timeout_seconds * 1000),
            heartbeat_interval_ms=int(settings.session_timeout_seconds * 1000 / 3),
            # Where not said it is the session's: whoever finished what it had begun was thrown out of its group for it.
            rebalance_timeout_ms=int((settings.revoke_grace_seconds + settings.session_timeout_seconds) * 1000),
            listener=self,
            parser=self._parse,
            decoder=_not_decoded,
        )
        self._subscriber(self._take_batch)

    def start(self) -> None:
        """Start lanes and the committer. Call before the broker is started."""
        self.lanes.start()
        self._committer = asyncio.create_task(self._commit_regularly(), name=f"commit-{self.stage.name}")

    async def drain(self) -> None:
        """Take nothing more in, finish what runs (bounded), commit what is done. Call before the broker is stopped."""
        self._closing = True
        self.due.close()
        await self.lanes.close(self._settings.drain_seconds)
        if self._committer:
            await cancel([self._committer])
        await self._commit(self._progress)

    async def _parse(self, records: tuple[ConsumerRecord, ...]) -> Any:
        # FastStream's own parser decodes headers and skips the record where it cannot: ours looks at nothing.
        return Batch(raw_message=records, body=b"", consumer=self._subscriber.consumer)

    async def _take_batch(self, message: KafkaMessage) -> None:
        if self._closing:
            return
        for place, records in groupby(message.raw_message, key=_PLACE):
            partition = TopicPartition(*place)
            if partition not in self._assigned:
                continue  # Whoever gets the partition reads from the committed offset, and so these records too.
            progress = self._progress.setdefault(partition, PartitionProgress())
            for record in records:
                progress.begin(record.offset)
                self._take(take_in(record, progress))
        self._taken += len(message.raw_message)
        self._steer()

    async def look(self) -> Look:
        """Return how the stage stands. Asks the broker; raises aiokafka's errors, and may wait for it for long."""
        consumer = self._subscriber.consumer
        try:
            ends = await consumer.end_offsets(set(self._assigned)) if self._assigned else {}
            left = {partition: max(0, end - await self._taken_to(partition)) for partition, end in ends.items()}
        except IllegalStateError:
            left = {}  # the assignment is changing under us; the next look sees it whole
        held_back = sum(left.get(partition, 0) for partition in self._pauses)
        stopped = self._limit.stopped & self._assigned if self._limit else ()
        return Look(
            untaken=sum(left.values()) - held_back,
            taken=self._taken,
            unfinished=sum(progress.unfinished for progress in self._progress.values()),
            in_lanes=self.lanes.depth,
            stopped=tuple(f"{topic}[{partition}]" for topic, partition in sorted(stopped)),
            held_back=held_back,
            paused=tuple(self._pauses.lasting(self._progress)),
        )

    def load(self) -> Load:
        """Return what the stage has in hand now."""
        late = [self._waiting.overdue_seconds(item) for item in self.lanes.oldest()]
        if first := self.due.first_due:
            late.append((self._clock.now() - first).total_seconds())
        return Load(
            taken=self._taken,
            unfinished=sum(progress.unfinished for progress in self._progress.values()),
            in_lanes=self.lanes.depth,
            waiting=self.due.waiting,
            overdue_seconds=max(0.0, *late) if late else 0.0,
            paused=self._pauses.reasons,
        )

    async def _taken_to(self, partition: TopicPartition) -> int:
        # The client's position counts a batch as read that FastStream still holds: what we have taken in is the truth.
        progress = self._progress.get(partition)
        return progress.taken_to if progress else int(await self._subscriber.consumer.position(partition))

    def _take(self, item: Item) -> None:
        try:
            self._place(item)
        except Exception as error:
            # A bug of ours must not escape: the record, and the rest of the batch, would be lost until a restart.
            record = item.record
            log.exception("record.not_placed", topic=record.topic, partition=record.partition, offset=record.offset)
            item.event, item.poison = None, Poison("not-placed", repr(error))
            self.lanes.put(item)

    def _place(self, item: Item) -> None:
        if due := self._waiting.until(item):
            self.due.put(item, due)
        else:
            self.lanes.put(item)

    def _steer(self) -> None:
        """Pause and resume partitions. Raises IllegalStateError while the assignment changes."""
        consumer = self._subscriber.consumer
        for partition, progress in self._progress.items():
            if self._limit and partition in self._limit.stopped:
                self._pauses.stop(consumer, partition)
            else:
                waits = self.stage.due or self.stage.unhurried or partition.topic in self._waiting.delays
                self._pauses.steer(consumer, partition, progress, waits=bool(waits))
            if partition in self._pauses:
                self.lanes.wake(partition.topic, partition.partition)

    async def on_partitions_assigned(self, assigned: set[TopicPartition]) -> None:
        """Begin each partition afresh."""
        self._assigned |= assigned
        if self._limit:
            self._limit.look_again()
        log.info("partitions.assigned", stage=self.stage.name, partitions=len(assigned))

    async def on_partitions_revoked(self, revoked: set[TopicPartition]) -> None:
        """Stop, finish and commit what was ours. Bounded, because the whole group waits for it."""
        self._assigned -= revoked
        ours = {partition: self._progress[partition] for partition in revoked if partition in self._progress}
        for partition, progress in ours.items():
            progress.revoked = True
            self.due.abandon(partition.topic, partition.partition)
        # Side by side: the bound is one grace, not one a partition.
        grace = self._settings.revoke_grace_seconds
        await asyncio.gather(*(self.lanes.abandon(tp.topic, tp.partition, grace) for tp in ours))
        await self._commit(ours)
        for partition in ours:
            self._progress.pop(partition, None)
            self._pauses.forget(partition)

    async def _commit_regularly(self) -> None:
        while True:
            await asyncio.sleep(_COMMIT_SECONDS)
            if self._subscriber.consumer is None:
                continue
            if self._limit:
                await self._limit.refresh()
            try:
                self._steer()
                self._pauses.say(self._progress)
            except IllegalStateError as error:
                # The assignment is changing under us. Without this loop nothing would be committed any more.
                log.warning("steering.failed", stage=self.stage.name, error=repr(error))
            await self._commit(self._progress)

    async def _commit(self, progress: dict[TopicPartition, PartitionProgress]) -> None:
        advanced = {tp: found for tp, found in progress.items() if found.position > found.committed}
        if not advanced or self._subscriber.consumer is None:
            return
        positions = {tp: found.position for tp, found in advanced.items()}
        try:
            # While Kafka is down the client looks for the group's coordinator without end, also when we want to stop.
            async with asyncio.timeout(_COMMIT_GIVE_UP_SECONDS):
                await self._subscriber.consumer.commit(positions)
        except (CommitFailedError, IllegalStateError, KafkaError, TimeoutError) as error:
            # Nothing is lost: whoever has the partition reads these records again and finds the receipts.
            log.warning("commit.failed", stage=self.stage.name, error=repr(error))
            return
        for tp, found in advanced.items():
            found.committed = positions[tp]


def _rest(stage: Stage, settings: Settings) -> Rest | None:
    unhurried = stage.unhurried
    # Steps are signs of life: they must be written down well before their silence means that a job is lost.
    seconds = min(settings.progress_seconds, settings.lost_job_seconds / 2)
    if unhurried is None or not seconds:
        return None
    # Poison has no event; it is never folded, and nothing is gained by its waiting.
    return Rest(seconds, lambda item: item.event is None or not unhurried(item.event.data))


async def _not_decoded(message: Any) -> Any:
    return message

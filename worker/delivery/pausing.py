"""Which partitions are paused, and why: those far ahead of what is done, and those stopped for bugs."""

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any, Literal, NamedTuple, get_args

import structlog
from aiokafka import TopicPartition

from handlers.ports.clock import Clock
from worker.delivery.offsets import PartitionProgress

log = structlog.get_logger()

#: ``bugs``: the limit on bugs stopped it. ``spread``: its oldest unfinished record lies too far back. ``unfinished``:
#: too many of its records are taken in and not done.
Reason = Literal["bugs", "spread", "unfinished"]
REASONS: tuple[Reason, ...] = get_args(Reason)

#: Records of one partition taken in and not finished, above which it is paused (due times not counted).
_HIGH_MARK = 2000
#: A busy partition is paused and resumed many times a second: only a pause that lasts is worth a line in the log.
_WORTH_SAYING_SECONDS = 30.0


class _Pause(NamedTuple):
    reason: Reason
    since: float
    said: bool = False


class Pauses:
    """The paused partitions of one stage. Those of others, after a rebalance, are forgotten by :meth:`forget`."""

    def __init__(self, stage: str, clock: Clock, spread_limit: int) -> None:
        self._stage = stage
        self._clock = clock
        self._spread_limit = spread_limit
        self._paused: dict[TopicPartition, _Pause] = {}

    def __contains__(self, partition: TopicPartition) -> bool:
        return partition in self._paused

    def __iter__(self) -> Iterator[TopicPartition]:
        return iter(self._paused)

    @property
    def reasons(self) -> Mapping[str, int]:
        """Return how many partitions are paused, a reason."""
        return Counter(pause.reason for pause in self._paused.values())

    def steer(self, consumer: Any, partition: TopicPartition, progress: PartitionProgress, *, waits: bool) -> None:
        """Pause a partition that is far ahead of what is done, or take it up again at half of that.

        ``waits``: its records wait for due times or rests, so that many unfinished ones are no sign of trouble. Raises
        aiokafka's IllegalStateError while the assignment changes.
        """
        spread = progress.spread / self._spread_limit
        unfinished = 0 if waits else progress.unfinished / _HIGH_MARK
        self._set(consumer, partition, "spread" if spread > unfinished else "unfinished", max(spread, unfinished))

    def stop(self, consumer: Any, partition: TopicPartition) -> None:
        """Pause a partition that waits for somebody's word."""
        self._set(consumer, partition, "bugs", 1)

    def forget(self, partition: TopicPartition) -> None:
        """Note that a partition is another's now."""
        self._paused.pop(partition, None)

    def lasting(self, progress: Mapping[TopicPartition, PartitionProgress]) -> Iterator[str]:
        """Yield the partitions whose pause lasts, in words: why, and which record holds them up."""
        now = self._clock.monotonic()
        for partition, pause in self._paused.items():
            if now - pause.since >= _WORTH_SAYING_SECONDS:
                at = f", offset {progress[partition].position} is unfinished" if partition in progress else ""
                yield f"{partition.topic}[{partition.partition}] for {now - pause.since:.0f} s: {pause.reason}{at}"

    def say(self, progress: Mapping[TopicPartition, PartitionProgress]) -> None:
        """Log the pauses that last, each once, with the record that holds them up."""
        now = self._clock.monotonic()
        for partition, pause in self._paused.items():
            if pause.said or now - pause.since < _WORTH_SAYING_SECONDS:
                continue
            self._paused[partition] = pause._replace(said=True)
            log.warning(
                "partition.paused",
                stage=self._stage,
                topic=partition.topic,
                partition=partition.partition,
                reason=pause.reason,
                oldest_unfinished=progress[partition].position if partition in progress else None,
            )

    def _set(self, consumer: Any, partition: TopicPartition, reason: Reason, load: float) -> None:
        pause = self._paused.get(partition)
        if load >= 1:
            if pause is None:
                consumer.pause(partition)
            if pause is None or pause.reason != reason:
                self._paused[partition] = _Pause(reason, self._clock.monotonic())
        elif load <= 0.5 and pause:
            consumer.resume(partition)
            del self._paused[partition]
            if pause.said:
                log.info("partition.resumed", stage=self._stage, topic=partition.topic, partition=partition.partition)

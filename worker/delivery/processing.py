"""One piece of work from a decoded record to acknowledged follow-ons: handle, publish, and only then finish."""

import logging
import random
from collections.abc import Awaitable, Callable
from typing import Any

import structlog
from aiokafka.errors import MessageSizeTooLargeError

from contracts.spelling import clip
from handlers.errors import Transient, Unavailable
from handlers.outcome import Outcome
from handlers.ports.clock import Clock
from handlers.table import Stage
from worker.delivery.bug_limit import BugLimit
from worker.delivery.dead_letters import dead_letter, without_body
from worker.delivery.item import Item
from worker.delivery.later import postponed
from worker.delivery.log_context import now_processing
from worker.delivery.publishing import Publisher
from worker.delivery.redelivery import GiveUp, Later, TryAgain, decide, meaning_of
from worker.delivery.spans import Span, Spans
from worker.metrics.counts import StageCounts

log = structlog.get_logger()

#: Characters of an error's text in a log line; the dead letter has more of it.
_LOGGED_TEXT = 300

Handler = Callable[[Any], Awaitable[Outcome]]


class Processor:
    """Runs a stage's handler on items. A failure is retried, or becomes a dead letter; it never escapes."""

    def __init__(
        self,
        stage: Stage,
        handler: Handler,
        publisher: Publisher,
        clock: Clock,
        limit: BugLimit | None = None,
        counts: StageCounts | None = None,
        spans: Spans | None = None,
    ) -> None:
        self._stage = stage
        self._handler = handler
        self._publisher = publisher
        self._clock = clock
        self._limit = limit
        self._counts = counts or StageCounts()
        self._spans = spans
        #: Bound once: for a line a record, looking the configuration up costs more than saying nothing.
        self._log = log.bind()

    async def __call__(self, items: list[Item]) -> float | None:
        """Process items of one lane. Returns None when they are finished, or the seconds until the next try.

        An item is finished once its follow-ons or its dead letter are acknowledged: only then may it be committed.
        """
        # Of a run that was tried one by one, some may be finished already.
        items = [item for item in items if not item.finished]
        if not items or items[0].progress.revoked:
            return None  # Revoked: another worker has the partition now, and reads these records again.
        for item in items:
            item.attempts += 1
        now_processing(self._stage.name, items[0])
        span = None if self._spans is None else self._spans.begin(items)
        try:
            await self._handle(items, span)
        except Exception as error:  # noqa: BLE001 - the one place where every error gets its meaning
            return await self._failed(items, error, span)
        finally:
            if span is not None:
                span.end()
        for item in items:
            item.finish()
        return None

    async def _handle(self, items: list[Item], span: Span | None) -> None:
        if items[0].poison:
            raise items[0].poison
        events: list[Any] = [item.event for item in items]
        if span is not None:
            events = span.carried(events)
        started = self._clock.monotonic()
        outcome = await self._handler(events if self._stage.folds else events[0])
        if outcome.events:
            await self._publisher.publish(outcome.events)
        seconds = self._clock.monotonic() - started
        self._counts.handling.observe(seconds)
        self._counts.outcomes[outcome.name] += len(events)
        if span is not None:
            span.handled(outcome)
        if self._log.is_enabled_for(logging.INFO):
            self._log.info(
                "event.processed",
                outcome=outcome.name,
                events=len(events),
                said=[said.topic for said in outcome.events],
                seconds=round(seconds, 4),
            )

    async def _failed(self, items: list[Item], error: Exception, span: Span | None) -> float | None:
        if span is not None:
            span.failed(error)
        meaning = meaning_of(error)
        for item in items:
            item.failures[meaning] = item.failures.get(meaning, 0) + 1
        times = items[0].failures[meaning]
        decision = decide(error, times, self._stage.retry, random.random(), items[0].source.steps)  # noqa: S311 - spreads load, hides nothing
        if isinstance(decision, TryAgain):
            self._counts.retries[meaning.name.lower()] += 1
            log.warning("event.retried", attempt=times, delay=round(decision.delay, 3), error=repr(error))
            return decision.delay
        if len(items) > 1:
            return await self._one_by_one(items)
        if not await self._put_away(items[0], error, decision):
            return self._stage.retry.longest_delay
        if span is not None:
            span.put_away("postponed" if isinstance(decision, Later) else "dead-lettered")
        items[0].finish()
        return None

    async def _put_away(self, item: Item, error: Exception, decision: Later | GiveUp) -> bool:
        """Postpone an event, or send its dead letter; return whether that is acknowledged."""
        text = str(error) or repr(error)
        if isinstance(decision, Later):
            return await self._postpone(item, text)
        if decision.reason == "bug" and not await self._may_give_up(item):
            return False
        if not await self._bury(item, decision.reason, text):
            return False
        exc_info = None if item.poison else error
        self._counts.dead_letters[decision.reason] += 1
        log.error("event.dead_lettered", reason=decision.reason, error=clip(text, _LOGGED_TEXT), exc_info=exc_info)
        return True

    async def _postpone(self, item: Item, text: str) -> bool:
        """Let an event wait in the next delay topic, where nothing of its partition waits for it any more."""
        message = postponed(item, self._stage, text)
        try:
            await self._publisher.send([message])
        except Exception as error:
            # Whatever the reason: the event stays in its lane, where nothing is committed past it.
            log.warning("event.not_postponed", error=repr(error), exc_info=not isinstance(error, Unavailable))
            return False
        self._counts.postponed += 1
        log.warning("event.postponed", to=message[0], error=clip(text, _LOGGED_TEXT))
        return True

    async def _may_give_up(self, item: Item) -> bool:
        """Return whether the limit on bugs allows one more dead letter; where the bucket cannot say, not now."""
        try:
            return self._limit is None or await self._limit.admits(item.source)
        except Transient as error:
            log.warning("bug_limit.not_read", error=repr(error))
            return False

    async def _bury(self, item: Item, reason: str, text: str) -> bool:
        """Send the dead letter; return whether it is acknowledged."""
        letter = dead_letter(item, stage=self._stage, reason=reason, text=text, now=self._clock.now())
        try:
            try:
                await self._publisher.send([letter])
            except MessageSizeTooLargeError:
                # What was just not too large is, with our headers. Without a letter its partition would stand still.
                await self._publisher.send([without_body(letter)])
        except Exception as error:
            # Whatever the reason: the record is not finished, so nothing is committed past it.
            log.warning("dead_letter.not_acknowledged", error=repr(error), exc_info=not isinstance(error, Unavailable))
            return False
        return True

    async def _one_by_one(self, items: list[Item]) -> float | None:
        """Find the one event of a run that cannot be processed; the others of its task must not share its fate."""
        for item in items:
            if (delay := await self([item])) is not None:
                return delay
        return None

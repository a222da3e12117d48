"""What operators do, by the code of the commands: dead letters in this process, a replay as ``worker replay``."""

import asyncio
import contextlib
import sys
from collections.abc import Sequence
from typing import Any

import msgspec

from handlers.ports.store import ObjectStore
from worker import letters
from worker.console.parts import ReplayFailed
from worker.delivery.publishing import Publisher
from worker.kafka.broker import Brokers
from worker.letters import Filter, Letter

#: A replay of a large topic belongs on a terminal.
_REPLAY_SECONDS = 600.0


class CommandOperations:
    """Operations over Kafka and the bucket. One replay runs at a time: it scans and tokenises as a worker does."""

    def __init__(self, brokers: Brokers, store: ObjectStore, publisher: Publisher) -> None:
        self._brokers, self._store, self._publisher = brokers, store, publisher
        self._replaying = asyncio.Lock()

    async def letters(self, wanted: Filter) -> list[Letter]:
        """See Operations. Reads the dead-letter topics whole."""
        return await letters.find(self._brokers, self._store, wanted)

    async def put_back(self, letter: Letter, by: str) -> None:
        """See Operations."""
        await letters.put_back(letter, self._publisher, self._store, by)

    async def drop(self, letter: Letter, by: str) -> None:
        """See Operations."""
        await letters.note(self._store, letter.id, "dropped", by)

    async def replay(self, arguments: Sequence[str]) -> dict[str, Any]:
        """See Operations. In a process of its own, with this one's settings; it ends with the request."""
        async with self._replaying:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "worker", "replay", *arguments, "--json"),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
            )
            try:
                async with asyncio.timeout(_REPLAY_SECONDS):
                    out, err = await process.communicate()
            except TimeoutError as error:
                raise ReplayFailed(f"no end within {_REPLAY_SECONDS:.0f} s; use worker replay on a terminal") from error
            finally:
                if process.returncode is None:
                    with contextlib.suppress(ProcessLookupError):
                        process.kill()
                    await process.wait()
        # 1: some records failed; the result names them.
        if process.returncode not in (0, 1) or not out:
            raise ReplayFailed(err.decode(errors="replace").strip()[-1000:] or "worker replay said nothing")
        result: dict[str, Any] = msgspec.json.decode(out)
        return result

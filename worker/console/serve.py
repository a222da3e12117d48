"""Serving the console: the page, the follower and the publisher in one process."""

import asyncio
import logging
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import structlog
import uvicorn

from worker.catalog.loader import load_catalog
from worker.clock import SystemClock
from worker.console.access import Access
from worker.console.app import create_app
from worker.console.changes import Changes
from worker.console.follower import follow
from worker.console.operations import CommandOperations
from worker.console.parts import Console
from worker.console.settings import ConsoleSettings
from worker.console.signing import Signer
from worker.console.view import View
from worker.delivery.publishing import Publisher
from worker.kafka.broker import Brokers
from worker.settings import Settings, SettingsError
from worker.storage import open_store

log = structlog.get_logger()

_STOP_SECONDS = 3


class CannotServe(SettingsError):
    """The address of CONSOLE_HOST and CONSOLE_PORT cannot be had."""


class _Refusal(logging.Filter):
    """Keeps why an address could not be had, which uvicorn only logs; all else it logs goes where it went."""

    error: OSError | None = None

    def filter(self, record: logging.LogRecord) -> bool:
        if not isinstance(record.msg, OSError):
            return True
        self.error = record.msg
        return False


class _Server(uvicorn.Server):
    """Serves until it is told to end, and says where once it does."""

    def __init__(self, config: uvicorn.Config, changes: Changes, ready: Callable[[str], None]) -> None:
        super().__init__(config)
        self._changes, self._ready = changes, ready

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave them to this process, which ends in order: uvicorn would raise them once more at its end."""
        yield

    def end(self) -> None:
        """Answer what runs and end. Streams of events are told: they would never end by themselves."""
        self._changes.close()
        self.should_exit = True

    async def startup(self, *args: Any, **options: Any) -> None:
        await super().startup(*args, **options)
        if self.started and self.servers:
            host, port = self.servers[0].sockets[0].getsockname()[:2]
            self._ready(f"http://{f'[{host}]' if ':' in host else host}:{port}")


async def serve(settings: Settings, console: ConsoleSettings, access: Access, ready: Callable[[str], None]) -> None:
    """Serve until SIGTERM or Ctrl-C. ``ready`` is told the address.

    A broker that does not answer yet is waited for: the page says that it is still reading. Raises CannotServe.
    """
    brokers = Brokers.of(settings)
    catalog = await asyncio.to_thread(load_catalog, settings.models_file, settings.prices_file)
    view, publisher = View(Changes()), Publisher(brokers)
    async with open_store(settings) as store:
        parts = Console(
            settings=console,
            access=access,
            signer=Signer(access.secret),
            view=view,
            store=store,
            catalog=catalog,
            publish=publisher.publish,
            operations=CommandOperations(brokers, store, publisher),
            clock=SystemClock(),
        )
        config = uvicorn.Config(
            create_app(parts), host=console.host, port=console.port, log_config=None, access_log=False,
            # Only what trusted proxies say of a peer is believed, and the guard knows which are.
            proxy_headers=False, server_header=False, timeout_graceful_shutdown=_STOP_SECONDS, lifespan="off",
        )  # fmt: skip
        server = _Server(config, view.changes, ready)
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, server.end)
        following = asyncio.create_task(follow(brokers, view))
        following.add_done_callback(lambda _: server.end())
        refusal, logger = _Refusal(), logging.getLogger("uvicorn.error")
        logger.addFilter(refusal)
        try:
            await server.serve()
        except SystemExit:
            place = f"CONSOLE_HOST and CONSOLE_PORT: {console.host}:{console.port} cannot be served on"
            why = refusal.error.strerror if refusal.error else "see the log"
            raise CannotServe(f"{place}: {why}; set CONSOLE_PORT to one that is free") from refusal.error
        finally:
            logger.removeFilter(refusal)
            following.cancel()
            await publisher.stop()
            # It follows until it is cancelled: where it ended by itself that is a bug, and is raised.
            with suppress(asyncio.CancelledError):
                await following

"""``worker console``: the page people look at."""

import asyncio
from importlib.util import find_spec

import typer

from worker.could_not import CouldNot
from worker.settings import Settings

_NEEDED = ("starlette", "uvicorn", "python_multipart")


def console() -> None:
    """Serve the page people look at.

    Tasks, the form with its fee, curves, models; for operators dead letters and replays. It speaks only to Kafka and
    the bucket, as any platform does, and needs no worker beside it. Settings are the worker's (KAFKA_BOOTSTRAP_SERVERS,
    WORKER_STORAGE_URL, ...) and CONSOLE_ variables, see docs/OPERATIONS.md (The console) and docs/SETTINGS.md. Started
    by hand without any of these, it prints a token to sign in with.

    Exit code 0: it was told to end; 2: it could not start or go on.

    \b
    Examples:
      worker console
      CONSOLE_PORT=8090 worker console
    """
    if any(find_spec(name) is None for name in _NEEDED):
        raise CouldNot("it is not installed: pip install 'finetune-worker[console]'")
    from worker.console.access import Access  # noqa: PLC0415 - an extra: only who serves the console needs it
    from worker.console.serve import serve  # noqa: PLC0415 - the same
    from worker.console.settings import ConsoleSettings  # noqa: PLC0415 - the same
    from worker.telemetry import configure_logging  # noqa: PLC0415 - the same

    settings, own = Settings.from_environment(), ConsoleSettings.from_environment()
    configure_logging(settings.log_format, settings.log_level)
    access = Access(own)

    def ready(address: str) -> None:
        typer.echo(f"worker console: {address}", err=True)
        if access.made:
            typer.echo(f"sign in with the token {access.made}", err=True)

    asyncio.run(serve(settings, own, access, ready))

"""``worker run``: run the stages."""

import asyncio
import signal
from typing import Annotated

import typer

from handlers.errors import Transient
from handlers.table import STAGES, Stage
from worker.could_not import CouldNot
from worker.settings import Settings

# What brings the broker's client is imported where it is used: other commands should not wait for it.

_NAMES = [stage.name for stage in STAGES]


def run(
    stage: Annotated[
        list[str] | None, typer.Option(help=f"Run only this stage; may be given several times: {', '.join(_NAMES)}.")
    ] = None,
    check: Annotated[
        bool,
        typer.Option(
            "--check", help="Only check that broker, bucket, catalogue, executors and work folder can be used."
        ),
    ] = False,
) -> None:
    """Run the stages until SIGTERM or Ctrl-C.

    All of them, or some, in one process, which then finishes what runs and leaves. Settings are environment variables:
    WORKER_STORAGE_URL, KAFKA_BOOTSTRAP_SERVERS and others, see the README.

    --check is what worker doctor says about what a start needs. It creates nothing; what it writes to try the bucket it
    removes.

    Exit code 0: it was told to end, or --check found that it could start; 2: it could not start or go on.

    \b
    Examples:
      worker run
      worker run --stage dataset-validation --stage cost-estimation
      worker run --check
    """
    import structlog  # noqa: PLC0415 - the reason is above

    from worker.telemetry import configure_logging  # noqa: PLC0415 - the same

    stages = _chosen(stage)
    settings = Settings.from_environment()
    configure_logging(settings.log_format, settings.log_level)
    if check:
        raise typer.Exit(asyncio.run(check_start(settings)))
    for unknown in Settings.unknown():
        structlog.get_logger().warning("setting.unknown", variable=unknown.variable, meant=unknown.meant)
    try:
        asyncio.run(_until_signalled(settings, stages))
    except (CouldNot, Transient):
        raise
    except Exception:
        # A service's bug may never come back where somebody looks: its traceback belongs in the log.
        structlog.get_logger().critical("worker.crashed", exc_info=True)
        raise


async def check_start(settings: Settings) -> int:
    """Say what worker doctor says about what a start needs; return 2 where something cannot be used."""
    from worker.doctor.examine import STARTING, examine, exit_code  # noqa: PLC0415 - the reason is above
    from worker.doctor.show import show  # noqa: PLC0415 - the same

    findings = await examine(settings, STARTING)
    show(findings)
    return 2 if exit_code(findings) else 0


def _chosen(names: list[str] | None) -> list[Stage]:
    unknown = [name for name in names or [] if name not in _NAMES]
    if unknown:
        raise typer.BadParameter(f"no stage {', '.join(unknown)}; there are {', '.join(_NAMES)}")
    return [stage for stage in STAGES if not names or stage.name in names]


async def _until_signalled(settings: Settings, stages: list[Stage]) -> None:
    from worker.app import run_worker  # noqa: PLC0415 - the reason is above
    from worker.collector import spare_records  # noqa: PLC0415 - the same

    spare_records()
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    await run_worker(settings, stages, stopping=stopping)

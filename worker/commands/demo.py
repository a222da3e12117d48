"""``worker demo``: the whole flow on this machine, with nothing else running."""

import asyncio
import os
import signal
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import msgspec
import typer

# What brings the broker's client is imported where it is used: other commands should not wait for it.
if TYPE_CHECKING:
    from worker.demo.story import Demo


def demo(
    model: Annotated[
        str, typer.Option(envvar="DEMO_MODEL", help="Base model to fine-tune: smollm2 or tiny.")
    ] = "smollm2",
    folder: Annotated[Path, typer.Option(help="Where the demo keeps its bucket, logs and jobs.")] = Path(
        ".worker/demo"
    ),
    json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object with the facts on stdout, and the story on stderr.")
    ] = False,
) -> None:
    """Fine-tune a small model through real events.

    On an embedded broker, a bucket in a directory and the local executor. Needs the extras embedded and trainer, and no
    network, account or Docker. Safe to run again.

    Exit code 0: done; 1: it went otherwise than it should; 2: something it needs is not there; 130: stopped.

    \b
    Examples:
      worker demo
      worker demo --model tiny
      worker demo --json | jq .models
    """
    from rich.console import Console  # noqa: PLC0415 - the reason is above
    from rich.markup import escape  # noqa: PLC0415 - the same

    from worker.demo.processes import ProcessFailed  # noqa: PLC0415 - the same
    from worker.demo.story import MODELS, PROMPT, Demo, DemoFailed  # noqa: PLC0415 - the same
    from worker.demo.view import View  # noqa: PLC0415 - the same
    from worker.kafka.embedded import EmbeddedBrokerError  # noqa: PLC0415 - the same
    from worker.telemetry import configure_logging  # noqa: PLC0415 - the same

    if model not in MODELS:
        raise typer.BadParameter(f"no model {model!r}; there are {', '.join(MODELS)}", param_hint="--model")
    configure_logging("console", "warning")
    # The story is what people came for; only where programs read stdout it goes elsewhere.
    story = Demo(folder, MODELS[model], View(Console(stderr=json), datetime.now(UTC)))
    errors = Console(stderr=True)
    try:
        asyncio.run(_interruptible(story))
    except (DemoFailed, ProcessFailed, EmbeddedBrokerError) as error:
        errors.print("[red]demo:[/red]", escape(str(error)), highlight=False)
        raise typer.Exit(1 if isinstance(error, DemoFailed) else 2) from None
    except asyncio.CancelledError:
        errors.print("stopped; nothing of it runs any more")
        raise typer.Exit(130) from None
    story.view.table(story.facts, story.tokens(), story.paths())
    story.view.answers(PROMPT, story.answers.get("base"), story.answers["tuned"])
    if json:
        facts = story.facts.as_json(story.tokens(), story.paths())
        sys.stdout.write(msgspec.json.encode(facts).decode() + "\n")


async def _interruptible(story: "Demo") -> None:
    """Run the story; Ctrl-C and SIGTERM cancel it, which ends every process it started."""
    running = asyncio.current_task()
    assert running is not None
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, running.cancel)
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    with story.view:
        await story.run()

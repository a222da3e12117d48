"""``worker tasks list | watch``; its orders are in task_orders.py."""

import asyncio
from collections import Counter
from typing import TYPE_CHECKING, Annotated

import typer

from contracts.task import Phase
from worker.commands import task_orders
from worker.commands.output import AsJson, print_json
from worker.settings import Settings

# What brings the broker's client is imported where it is used: other commands should not wait for it.
if TYPE_CHECKING:
    from contracts.task import TaskStatus
    from worker.tasks.overview import Filter

app = typer.Typer(
    no_args_is_help=True,
    help="See how tasks go; stop, pause and resume them.",
    context_settings={"help_option_names": ["-h", "--help"]},
)

OfProject = Annotated[str | None, typer.Option("--project", metavar="PROJECT", help="Of this project.")]
InPhase = Annotated[
    list[str] | None,
    typer.Option(
        "--phase",
        metavar="PHASE",
        autocompletion=lambda: [phase.value for phase in Phase],
        help=f"In this phase; may be given several times: {', '.join(phase.value for phase in Phase)}.",
    ),
]


@app.command("list")
def list_tasks(
    project: OfProject = None,
    phase: InPhase = None,
    everything: Annotated[bool, typer.Option("--all", help="Also those that have ended.")] = False,
    json: AsJson = False,
) -> None:
    """List the tasks that have not ended.

    From the bucket: a listing for each thousand of them, and a read for each. With --all, or for a phase in which tasks
    have ended, from the topic task.status, which is read whole and has a record a task; the bucket is asked nothing.

    Exit code 0: listed, however many there are; 2: bucket or broker could not be reached.

    \b
    Examples:
      worker tasks list --project poems
      worker tasks list --phase Failed --json | jq -r '.tasks[] | [.task_id, .reason] | @tsv'
    """
    wanted = _filter(None, project, phase)
    ended = everything or any(each.terminal for each in wanted.phases)
    found = [status for status in asyncio.run(_listed(ended=ended)) if wanted.matches(status)]
    if json:
        print_json({"tasks": found})
        return
    _show(found)
    phases = Counter(status.phase.value for status in found)
    said = ", ".join(f"{count} {name}" for name, count in phases.items())
    typer.echo(said or f"no tasks {_place(ended=ended)}", err=True)


@app.command("watch")
def watch(
    task_ids: Annotated[
        list[str] | None, typer.Argument(metavar="[TASK]...", help="These tasks, until each has ended.")
    ] = None,
    project: OfProject = None,
    phase: InPhase = None,
    timeout: Annotated[
        float | None, typer.Option("--timeout", metavar="SECONDS", min=0.1, help="Give up after so long.")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object a change, a line each.")] = False,
) -> None:
    """Follow tasks: where each is, then every change.

    Costs what list costs, once; after that the topic task.status is followed from its end, by a reader of its own.
    Without a task it goes on until Ctrl-C.

    Exit code 0: every task named is Completed; 1: one has ended otherwise; 2: --timeout came first, or bucket or broker
    could not be reached; 130: Ctrl-C.

    \b
    Examples:
      worker tasks watch
      worker tasks watch task-7 task-8 --timeout 3600 && echo trained
      worker tasks watch --project poems --json | jq -c '[.task_id, .phase, .progress.step]'
    """
    wanted = _filter(task_ids, project, phase)
    ended = asyncio.run(_watched(wanted, timeout, as_json=json))
    raise typer.Exit(0 if all(phase is Phase.COMPLETED for phase in ended) else 1)


app.command("stop")(task_orders.stop)
app.command("pause")(task_orders.pause)
app.command("resume")(task_orders.resume)


def _filter(task_ids: list[str] | None, project: str | None, phases: list[str] | None) -> "Filter":
    from worker.tasks.overview import Filter  # noqa: PLC0415 - the reason is above

    known = {phase.value.lower(): phase for phase in Phase}
    if unknown := [name for name in phases or [] if name.lower() not in known]:
        there = ", ".join(phase.value for phase in Phase)
        raise typer.BadParameter(f"no phase {unknown[0]}; there are {there}", param_hint="--phase")
    chosen = frozenset(known[name.lower()] for name in phases or [])
    return Filter(task_ids=frozenset(task_ids or ()), project=project, phases=chosen)


def _place(*, ended: bool) -> str:
    """Return where was looked: in another folder it is another bucket, and an empty one."""
    settings = Settings.from_environment()
    return f"on {settings.kafka_bootstrap_servers}" if ended else f"in the bucket {settings.storage_url}"


async def _listed(*, ended: bool) -> "list[TaskStatus]":
    from worker.kafka.broker import Brokers  # noqa: PLC0415 - the reason is above
    from worker.storage import open_store  # noqa: PLC0415 - the same
    from worker.tasks import overview  # noqa: PLC0415 - the same

    settings = Settings.from_environment()
    if ended:
        return await overview.every(Brokers.of(settings))
    async with open_store(settings, make=False) as store:
        return await overview.unfinished(store)


async def _watched(wanted: "Filter", seconds: float | None, *, as_json: bool) -> list[Phase]:
    """Print each change; return the phases of the named tasks once all have ended."""
    from worker.could_not import CouldNot  # noqa: PLC0415 - the same
    from worker.kafka.broker import Brokers  # noqa: PLC0415 - the reason is above
    from worker.storage import open_store  # noqa: PLC0415 - the same
    from worker.tasks.watch import Watch  # noqa: PLC0415 - the same

    settings = Settings.from_environment()
    watch = Watch(Brokers.of(settings), wanted, _say_unknown)
    async with open_store(settings, make=False) as store:
        try:
            async with asyncio.timeout(seconds):
                async for status in watch.changes(store):
                    if as_json:
                        print_json(status)
                    else:
                        _show([status])
        except TimeoutError:
            unknown = watch.unknown()
            left = {"still going": watch.open_ids - unknown, "nothing is known of": unknown}
            said = [f"{what}: {', '.join(sorted(ids))}" for what, ids in left.items() if ids]
            raise CouldNot("; ".join([f"{seconds:g} s are over", *said])) from None
    return list(watch.ended.values())


def _say_unknown(task_ids: set[str]) -> None:
    if task_ids:
        typer.echo(f"nothing is known yet of {', '.join(sorted(task_ids))}; waiting", err=True)


def _show(statuses: "list[TaskStatus]") -> None:
    from worker.tasks.show import line  # noqa: PLC0415 - the reason is above

    for status in statuses:
        typer.echo(line(status))

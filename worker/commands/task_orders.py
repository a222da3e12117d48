"""``worker tasks stop | pause | resume``."""

import asyncio
from typing import TYPE_CHECKING, Annotated

import typer

from worker.commands.ids import an_id
from worker.commands.output import AsJson, print_json
from worker.settings import Settings

# What brings the broker's client is imported where it is used: other commands should not wait for it.
if TYPE_CHECKING:
    from worker.tasks.orders import Answer, Order

TaskId = Annotated[str, typer.Argument(metavar="TASK", callback=an_id, help="The task, as its form names it.")]
CommandId = Annotated[
    str | None,
    typer.Option(
        "--command-id", metavar="ID", help="The order's id: the same again acts once. By default one of its own."
    ),
]
NoWait = Annotated[bool, typer.Option("--no-wait", help="Publish the order, and do not wait for its answer.")]
AnswerSeconds = Annotated[
    float, typer.Option("--timeout", metavar="SECONDS", min=0.1, help="How long to wait for the answer.")
]


def stop(
    task_id: TaskId,
    command_id: CommandId = None,
    no_wait: NoWait = False,
    timeout: AnswerSeconds = 30.0,
    json: AsJson = False,
) -> None:
    """Stop a task, for good.

    What was trained until then is billed. The order is an event like the platform's; its answer is what a worker
    recorded about it, and is waited for.

    Exit code 0: obeyed, or nothing to do; 1: refused, or nothing is known of the task; 2: no answer in time (the order
    stands), or bucket or broker could not be reached.

    \b
    Examples:
      worker tasks stop task-7
      worker tasks stop task-7 --no-wait --json | jq -r .command_id
    """
    _give("stop", task_id, command_id, 0 if no_wait else timeout, as_json=json)


def pause(
    task_id: TaskId,
    command_id: CommandId = None,
    no_wait: NoWait = False,
    timeout: AnswerSeconds = 30.0,
    json: AsJson = False,
) -> None:
    """Pause a task: save a checkpoint, free the GPU.

    It is obeyed at once; the task is Paused when its trainer has saved and ended, which worker tasks watch shows.

    Exit code 0: obeyed, or nothing to do; 1: refused, or nothing is known of the task; 2: no answer in time (the order
    stands), or bucket or broker could not be reached.

    \b
    Examples:
      worker tasks pause task-7
      worker tasks pause task-7 --command-id night-1
    """
    _give("pause", task_id, command_id, 0 if no_wait else timeout, as_json=json)


def resume(
    task_id: TaskId,
    command_id: CommandId = None,
    no_wait: NoWait = False,
    timeout: AnswerSeconds = 30.0,
    json: AsJson = False,
) -> None:
    """Let a paused task go on from its checkpoint.

    As a new attempt, which ends with the weights that it would have had without the pause.

    Exit code 0: obeyed, or nothing to do; 1: refused, or nothing is known of the task; 2: no answer in time (the order
    stands), or bucket or broker could not be reached.

    \b
    Examples:
      worker tasks resume task-7
      worker tasks resume task-7 --json | jq -r .phase
    """
    _give("resume", task_id, command_id, 0 if no_wait else timeout, as_json=json)


def _give(order: "Order", task_id: str, command_id: str | None, seconds: float, *, as_json: bool) -> None:
    from worker.storage import open_store  # noqa: PLC0415 - the reason is above
    from worker.tasks.orders import give  # noqa: PLC0415 - the same

    settings = Settings.from_environment()

    async def given() -> "Answer":
        async with open_store(settings, make=False) as store:
            return await give(settings, store, order, task_id, command_id=command_id, seconds=seconds)

    answer = asyncio.run(given())
    if as_json:
        print_json(answer)
    else:
        why = f": {answer.message}" if answer.message else ""
        typer.echo(f"{task_id}: {order} {answer.outcome}; {answer.phase}, {answer.reason}{why}")
    raise typer.Exit(1 if answer.outcome == "refused" else 0)

"""What a person sees of a demo: a live timeline of events, a progress bar, and at the end a table."""

from datetime import datetime
from decimal import Decimal
from typing import Any, Self

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TaskID, TextColumn
from rich.table import Table

from contracts.dataset import DatasetImported, DatasetRejected, DatasetValidated
from contracts.envelope import Event
from contracts.model import ModelExported
from contracts.quote import CostEstimated
from contracts.task import TaskStatus
from contracts.training import TrainingDispatched, TrainingProgress
from worker.demo.facts import Facts


class View:
    """Prints as things happen; works on a terminal and in a log file. Use as ``with``."""

    def __init__(self, console: Console, started: datetime) -> None:
        self._console = console
        self._started = started
        self._bar = Progress(
            TextColumn("  training"),
            BarColumn(bar_width=32),
            TextColumn("{task.completed:.0f}/{task.total:.0f} steps  {task.fields[detail]}"),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )
        self._training: TaskID | None = None
        self._phase = ""

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def note(self, text: str) -> None:
        """Print a line about the demo itself."""
        self._console.print(f"[dim]        {text}[/dim]", highlight=False, soft_wrap=True)

    def event(self, event: Event[Any], now: datetime) -> None:
        """Print an event, or move the bar."""
        text = self._describe(event)
        if text is None:
            return
        seconds = (now - self._started).total_seconds()
        line = f"[dim]{seconds:6.1f}s[/dim] [bold]{event.topic:<20}[/bold] {text}"
        self._console.print(line, highlight=False, soft_wrap=True)

    def _describe(self, event: Event[Any]) -> str | None:
        data = event.data
        if isinstance(data, TrainingProgress):
            return self._progress(data)
        if isinstance(data, TaskStatus):
            return self._status(data)
        if isinstance(data, DatasetImported):
            return f"{len(data.files)} file, to be priced for {(data.draft or {}).get('task_id', 'nobody')}"
        if isinstance(data, DatasetRejected):
            return f"[red]{data.message}[/red]"
        if isinstance(data, DatasetValidated):
            return f"{data.valid_samples} of {data.samples} samples valid ({data.format})"
        if isinstance(data, CostEstimated):
            return _fee(data)
        if isinstance(data, TrainingDispatched):
            return f"attempt {data.attempt} on executor {data.executor}"
        if isinstance(data, ModelExported):
            return f"{data.model_id} ({data.kind}, {data.size_bytes / 1e6:.1f} MB)"
        return "submitted"

    def _progress(self, said: TrainingProgress) -> str | None:
        progress = said.progress
        if progress is not None:
            if self._training is None:
                self._training = self._bar.add_task("training", total=progress.total_steps, detail="")
            eta = f"  ETA {progress.eta_seconds:.0f} s" if progress.eta_seconds is not None else ""
            loss = f"loss {progress.loss:.3f}" if progress.loss is not None else ""
            self._bar.update(self._training, completed=progress.step, total=progress.total_steps, detail=f"{loss}{eta}")
        if said.state in ("succeeded", "failed", "stopped") and self._training is not None:
            self._bar.update(self._training, visible=False)
        if said.checkpoint:
            return f"checkpoint at step {said.checkpoint.step}"
        if said.state == "running" and progress and not self._console.is_terminal:
            return f"step {progress.step}/{progress.total_steps}  loss {_number(progress.loss)}"
        return said.state if said.state != "running" else None

    def _status(self, said: TaskStatus) -> str | None:
        if said.phase.value == self._phase:
            return None
        self._phase = said.phase.value
        colour = {"Completed": "green", "Failed": "red", "Terminated": "yellow"}.get(self._phase, "cyan")
        return f"[{colour}]{self._phase}[/{colour}] {said.message}"

    def table(self, facts: Facts, tokens: int | None, paths: dict[str, str]) -> None:
        """Print what was made, and where it is: paths stand alone, so that they can be copied."""
        table = Table(title="what was made", show_header=False, title_justify="left")
        table.add_column(no_wrap=True)
        table.add_column(overflow="fold")
        for name, value in summary(facts, tokens, paths):
            table.add_row(name, value)
        self._console.print(table)
        for model in facts.as_json(tokens, paths)["models"]:
            self._console.print(
                f"model ({model['size_bytes'] / 1e6:.1f} MB): {model['path']}",
                highlight=False, markup=False, soft_wrap=True,
            )  # fmt: skip

    def answers(self, prompt: str, base: str | None, tuned: str) -> None:
        """Print what the base model and the exported one answer to the same prompt. ``base`` None: it cannot speak."""
        table = Table(title="a prompt of the dataset", show_header=False, title_justify="left")
        table.add_row("prompt", prompt)
        table.add_row("base model", "[dim]not asked: its weights are random[/dim]" if base is None else escape(base))
        table.add_row("fine-tuned", f"[green]{escape(tuned)}[/green]")
        self._console.print(table)


def summary(facts: Facts, tokens: int | None, paths: dict[str, str]) -> list[tuple[str, str]]:
    """Return the rows of the final table."""
    found = facts.as_json(tokens, paths)
    dataset, estimate, training = found["dataset"], found["estimate"], found["training"]
    return [
        ("verdict", "valid" if dataset["valid"] else "rejected"),
        ("samples", str(dataset["samples"])),
        ("tokens", str(dataset["tokens"])),
        ("fee", f"{_fee(facts.estimate.data) if facts.estimate else 'none'}"),
        ("fee known", f"{estimate['seconds_after_import']} s after the import"),
        ("training", f"{training['steps']} steps, attempt {training['attempt']}, executor {training['executor']}"),
        ("loss", f"{_number(training['first_loss'])} -> {_number(training['last_loss'])}"),
    ]


def _fee(data: CostEstimated) -> str:
    quote = data.quote
    if quote.amount is None:
        return f"not known yet: {'; '.join(quote.missing)}"
    billed = [item for item in quote.items if Decimal(item.factor)]
    sums = " + ".join(f"{item.tokens:,} x {item.epochs} epochs" for item in billed)
    return f"{quote.amount} {quote.currency} for {quote.billed_tokens:,} tokens ({sums})"


def _number(value: float | None) -> str:
    return "?" if value is None else f"{value:.3f}"

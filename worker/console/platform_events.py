"""The events a platform says, as this one says them."""

from datetime import datetime
from typing import Any
from uuid import uuid4

from contracts.codec import encode_body
from contracts.dataset import DatasetFile, DatasetImported, Format
from contracts.envelope import Event, derived_id
from contracts.form import form_digest
from contracts.task import TaskCommand

SOURCE = "worker-console"


def imported(
    dataset_id: str,
    project: str,
    uris: tuple[str, ...],
    format: Format | None,
    draft: dict[str, Any] | None,
    now: datetime,
) -> Event[Any]:
    """Return that a dataset was imported. Every call is another import; with a draft, it is priced anew."""
    body = DatasetImported(
        dataset_id=dataset_id,
        files=tuple(DatasetFile(uri=uri) for uri in uris),
        format=format or "auto",
        project=project,
        imported_at=now,
        draft=draft,
    )
    return _event("dataset.imported", dataset_id, str(uuid4()), body, now)


def submitted(form: dict[str, Any], now: datetime) -> Event[Any]:
    """Return that a form was submitted. A second click on the same form is the same event."""
    task_id = str(form["task_id"])
    return _event("task.created", task_id, derived_id("console", task_id, form_digest(encode_body(form))), form, now)


def ordered(task_id: str, project: str, command: str, now: datetime) -> Event[Any]:
    """Return a user's order about a task. Every call is another order."""
    said = TaskCommand(command_id=str(uuid4()), task_id=task_id, command=command, project=project)  # type: ignore[arg-type]
    return _event("task.command", task_id, said.command_id, said, now)


def _event(topic: str, key: str, id_: str, data: Any, now: datetime) -> Event[Any]:
    return Event(topic=topic, key=key, id=id_, type=topic, source=SOURCE, time=now, data=data, subject=key)

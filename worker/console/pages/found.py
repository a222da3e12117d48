"""Finding what a request names, for whoever asks. What is not there and what is another project's are one answer."""

from typing import NoReturn

from starlette.datastructures import FormData
from starlette.exceptions import HTTPException
from starlette.requests import Request

from contracts.model import ModelExported
from worker.console.access import EVERY, Person
from worker.console.form import text
from worker.console.parts import Console
from worker.console.rendering import console_of, person_of
from worker.console.view import DatasetView, TaskView


def nothing() -> NoReturn:
    """Answer that there is no such thing."""
    raise HTTPException(404)


def the_task(request: Request) -> TaskView:
    """Return the task of the path. One of ours that was only just submitted is there before its event came back."""
    console, person = console_of(request), person_of(request)
    task_id = request.path_params["task_id"]
    task = console.view.task(task_id)
    if task is None:
        for project in projects_of(console, person):
            if console.signer.is_ours("task", project, task_id):
                return TaskView(task_id=task_id, project=project)
    if task is None or not person.may_see(task.project):
        nothing()
    return task


def the_dataset(request: Request) -> DatasetView:
    """Return the dataset of the path."""
    console, project = console_of(request), request.path_params["project"]
    dataset = console.view.dataset(project, request.path_params["dataset_id"])
    if dataset is None or not person_of(request).may_see(project):
        nothing()
    return dataset


def the_model(request: Request) -> ModelExported:
    """Return the model of the path."""
    model = console_of(request).view.model(request.path_params["model_id"])
    if model is None or not person_of(request).may_see(model.project):
        nothing()
    return model


def own_task(request: Request, fields: FormData) -> tuple[str, str]:
    """Return task and project of a form that this console gave out for a project the person may see."""
    task_id, project = text(fields, "task_id"), text(fields, "project")
    if not person_of(request).may_see(project) or not console_of(request).signer.is_ours("task", project, task_id):
        nothing()
    return task_id, project


def projects_of(console: Console, person: Person) -> list[str]:
    """Return the projects a person can choose from."""
    if EVERY not in person.projects:
        return sorted(person.projects)
    named = {project for project in person.projects if project != EVERY}
    return sorted(named | {"default"} | set(console.view.projects()))

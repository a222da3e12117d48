"""The form: its choices, its fee, its submission."""

from typing import Any, get_args

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from contracts.codec import encode_body
from contracts.model import ModelExported
from contracts.task import BaseModel, Fault, TrainingType
from handlers import bases
from handlers.planning.build import FORMATS
from handlers.ports.catalog import ModelEntry
from handlers.submissions import judged
from worker.console import platform_events
from worker.console.form import EXPORTED, base_of, field_of, form_of, ids
from worker.console.languages import language_of, translator
from worker.console.missing import missing_in
from worker.console.pages import imports
from worker.console.pages.found import nothing, own_task, projects_of
from worker.console.parts import Console
from worker.console.rendering import console_of, page, person_of

_TYPES: tuple[str, ...] = get_args(TrainingType)


async def new_task(request: Request) -> Response:
    """Show an empty form, of a task that has an id but is nowhere yet."""
    console, person = console_of(request), person_of(request)
    projects = projects_of(console, person)
    asked = request.query_params.get("project")
    project = asked if asked in projects else next(iter(projects), None)
    if project is None or not person.may_see(project):
        nothing()
    return page(
        request,
        "new_task.html",
        task_id=console.signer.new_id("task", project),
        project=project,
        projects=projects,
        types=[name for name in _TYPES if _models(console, name)],
        objects=await imports.importable(console, project),
        prefix=imports.prefix_of(project),
        currency=console.catalog.currency(),
        **await _choices(console, project, "", ""),
    )


async def choices(request: Request) -> Response:
    """Answer with the models of a training type, and the parameters of one of them."""
    given = request.query_params
    project = given.get("project", "")
    if not person_of(request).may_see(project):
        nothing()
    training_type, base_model = given.get("training_type", ""), given.get("base_model", "")
    chosen = await _choices(console_of(request), project, training_type, base_model)
    return page(request, "choices_now.html", **chosen)


async def draft(request: Request) -> Response:
    """Have the form priced again as it is now. The fee comes as an event, about five seconds later."""
    console = console_of(request)
    async with request.form(max_files=20) as fields:
        task_id, project = own_task(request, fields)
        form = form_of(fields, task_id, project)
        wanted = [console.view.dataset(project, dataset_id) for dataset_id in ids(fields, "training_set")]
    known = [dataset for dataset in wanted if dataset and dataset.uris]
    if not known:
        return page(request, "fee.html", state="nothing", fee=None)
    last = known[-1]
    format_ = FORMATS.get(form["training_type"])
    said = platform_events.imported(last.dataset_id, project, last.uris, format_, form, console.clock.now())
    await console.publish([said])
    return page(request, "fee.html", state="counting", fee=None)


async def fee(request: Request) -> Response:
    """Answer with the newest fee of a form."""
    console, task_id = console_of(request), request.path_params["task_id"]
    project = request.query_params.get("project", "")
    if not person_of(request).may_see(project) or not console.signer.is_ours("task", project, task_id):
        nothing()
    found = console.view.fee(project, task_id)
    missing = missing_in(found, console.view)
    return page(request, "fee.html", state="known" if found else "nothing", fee=found, missing=missing)


async def submit(request: Request) -> Response:
    """Publish the form, or answer with everything that is wrong with it."""
    console = console_of(request)
    async with request.form(max_files=20) as fields:
        task_id, project = own_task(request, fields)
        form = form_of(fields, task_id, project)
    if found := await _faults(request, form, project):
        return page(request, "faults.html", status=422, faults=found)
    await console.publish([platform_events.submitted(form, console.clock.now())])
    return Response(status_code=204, headers={"HX-Redirect": f"/tasks/{task_id}"})


async def faults(request: Request) -> Response:
    """Answer with what is wrong with the form as it is now. Publishes nothing."""
    async with request.form(max_files=20) as fields:
        task_id, project = own_task(request, fields)
        form = form_of(fields, task_id, project)
    return page(request, "faults.html", faults=await _faults(request, form, project))


async def _faults(request: Request, form: dict[str, Any], project: str) -> list[tuple[str, Fault]]:
    """Return all that is wrong with a form, each with the field of the page that it is about."""
    console = console_of(request)
    judgement = await judged(encode_body(form), console.catalog, console.store)
    return [(field_of(fault), fault) for fault in (*judgement.faults, *_strangers(request, form, project))]


def _strangers(request: Request, form: dict[str, Any], project: str) -> list[Fault]:
    """Return a fault for each dataset that is not this project's: nobody trains on what they may not read.

    One that was only just brought in here is the project's before its event came back.
    """
    view, signer, t = console_of(request).view, console_of(request).signer, translator(language_of(request))
    named = [(f"training_set[{index}]", each["dataset_id"]) for index, each in enumerate(form["training_set"])]
    named += [("validation", dataset_id) for dataset_id in form.get("validation", {}).get("dataset_ids", ())]
    message = t("other-project")
    return [
        Fault(field, "unknown-dataset", f"{dataset_id[:128]}: {message}")
        for field, dataset_id in named
        if view.dataset(project, dataset_id) is None and not signer.is_ours("dataset", project, dataset_id)
    ]


def _models(console: Console, training_type: str) -> list[ModelEntry]:
    if not console.catalog.published(training_type):
        return []
    return [model for model in console.catalog.models() if training_type in model.training_types]


def _foundation(console: Console, model: ModelExported) -> str:
    """Return which foundation a model was made of in the end, as ``name@version``."""
    seen: set[str] = set()
    while (
        (base := console.view.model(model.base_model)) and base.project == model.project and base.model_id not in seen
    ):
        seen.add(base.model_id)
        model = base
    return model.base_model


async def _choices(console: Console, project: str, training_type: str, base_model: str) -> dict[str, Any]:
    """Return what can be chosen; what was asked for and is not there gives way to the first that is."""
    if not _models(console, training_type):
        training_type = next(name for name in ("FinetuneLoRA", *_TYPES) if _models(console, name))
    models = {f"{each.name}@{each.version}": each for each in _models(console, training_type)}
    exported = [each.model_id for each in console.view.models(project) if _foundation(console, each) in models]
    chosen, model = next(iter(models.items()))
    if base_model in models:
        chosen, model = base_model, models[base_model]
    elif base_model.startswith(EXPORTED) and base_model.removeprefix(EXPORTED) in exported:
        wanted = msgspec.convert(base_of(base_model), BaseModel)
        found = (await bases.find(wanted, project, console.store, console.catalog)).model
        if found and training_type in found.training_types:
            chosen, model = base_model, found
    return {
        "training_type": training_type,
        "models": list(models),
        "exported": [(EXPORTED + model_id, model_id) for model_id in exported],
        "chosen": chosen,
        "rules": model.training_types[training_type],
        "presets": bool(console.catalog.presets(training_type)),
    }

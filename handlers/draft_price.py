"""The fee of a draft: a form as far as it is filled in, over what is known of its data now."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from msgspec.structs import replace

from contracts.form import Draft
from contracts.hyperparameters import resolve
from contracts.quote import Quote
from contracts.task import Tolerance, TrainingDataset
from handlers import layout
from handlers.bases import Base
from handlers.counting import Counts
from handlers.datasets import KnownDataset, objection
from handlers.interval import with_interval
from handlers.planning.build import FORMATS, packed_to
from handlers.ports.catalog import Catalog, Price
from handlers.ports.planner import Planner
from handlers.ports.tokens import TokenCounter, TokenSampler
from handlers.pricing import FEE_HYPERPARAMETERS, make_quote
from handlers.task_data import TaskData, WantedData


def wanted_by(draft: Draft, training_set: tuple[TrainingDataset, ...], catalog: Catalog) -> WantedData:
    """Return the data that a draft is about, with the preset datasets it mixes in. Pure."""
    mixed_into = draft.training_type if draft.preset_mix else None
    return WantedData(
        training_set=training_set,
        validation=draft.validation,
        preset_mix=draft.preset_mix,
        presets=tuple(catalog.presets(mixed_into)) if mixed_into else (),
        shuffle=draft.shuffle,
    )


class Terms(NamedTuple):
    """What a draft asks for that decides about its fee, beside its data: resolved, and what of it is open."""

    hyperparameters: Mapping[str, Any]
    open_questions: tuple[str, ...]


def terms_of(draft: Draft, wanted: WantedData, known: Mapping[str, KnownDataset | None], base: Base) -> Terms:
    """Return the terms of a draft. Pure."""
    model = base.model
    # Without a model and a training type nothing can be said of a hyperparameter, and both are missing anyway.
    rules = model.training_types.get(draft.training_type) if model and draft.training_type else None
    hyperparameters, faults = resolve(draft.hyperparameters or {}, rules) if rules is not None else ({}, ())
    faults = (*draft.faults, *faults, *([base.fault] if base.fault else ()))
    # By name: the order of a form's names makes no other quote.
    open_questions = sorted(f"{fault.field}: {fault.message}" for fault in faults)
    if model and draft.training_type and rules is None:
        open_questions.append(f"training_type: {draft.training_type} is not available for {model.name}")
    open_questions += _unacceptable(draft, wanted, known)
    open_questions += _of_other_formats(draft, known)
    open_questions += _unsettled(draft, wanted)
    return Terms(hyperparameters, tuple(open_questions))


def rests_on(
    draft: Draft, wanted: WantedData, known: Mapping[str, KnownDataset | None], base: Base, price: Price | None
) -> str:
    """Return a digest of what a draft's fee depends on: equal ones are one estimate, whatever else changes. Pure."""
    terms, model = terms_of(draft, wanted, known, base), base.model
    return layout.digest(
        replace(draft, hyperparameters=None),
        {name: found.digest if found else None for name, found in known.items()},
        (model.name, model.version, model.prefix, model.context_length) if model else None,
        {name: terms.hyperparameters.get(name) for name in FEE_HYPERPARAMETERS},
        terms.open_questions,
        # Samples are drawn from them in this order.
        [preset.dataset_id for preset in wanted.presets],
        price,
    )


async def price_draft(
    draft: Draft,
    wanted: WantedData,
    known: dict[str, KnownDataset | None],
    base: Base,
    *,
    subject: str,
    catalog: Catalog,
    tokens: TokenCounter,
    planner: Planner,
    sampler: TokenSampler | None = None,
    forbidden: Sequence[str] = (),
) -> Quote:
    """Return the fee of a form as far as it is filled in, for the task or dataset that is the subject.

    ``base`` is what the form names as its base model. With a ``sampler`` large datasets are sampled, not counted: see
    interval.py. ``forbidden`` is what its project may not read of the data: it is missing, and nothing is counted.

    Raises Unavailable where the bucket does not answer.
    """
    terms, model = terms_of(draft, wanted, known, base), base.model
    there = {name: found for name, found in known.items() if found is not None}
    counts = Counts(model, tokens, sampler) if model else None
    rows = packed_to(draft.training_type, model) if draft.training_type and model else None

    async def made(by: Counts | None) -> Quote:
        data = TaskData(wanted, there, by, planner, terms.hyperparameters, rows) if by else None
        return await make_quote(
            subject=subject,
            known=known,
            model=model,
            training_type=draft.training_type,
            hyperparameters=terms.hyperparameters,
            open_questions=[*forbidden, *terms.open_questions],
            catalog=catalog,
            draw=data.figures if data else None,
        )

    quote = await made(counts)
    return await with_interval(quote, draft, counts, made) if counts else quote


def _unacceptable(draft: Draft, wanted: WantedData, known: Mapping[str, KnownDataset | None]) -> Iterator[str]:
    """Yield what a dispatch would refuse of the data, by what the draft tolerates of its user's own."""
    own = wanted.own_ids()
    for name, found in known.items():
        tolerance = draft.tolerance if name in own else None
        if found and (why := objection(found, tolerance or Tolerance())):
            yield f"dataset {name}: {why}"


def _of_other_formats(draft: Draft, known: Mapping[str, KnownDataset | None]) -> list[str]:
    wanted = FORMATS[draft.training_type] if draft.training_type else None
    return [
        f"dataset {name}: is in format {found.format}, but {draft.training_type} trains on {wanted}"
        for name, found in known.items()
        if wanted and found and found.format not in {None, wanted}
    ]


def _unsettled(draft: Draft, wanted: WantedData) -> list[str]:
    """Return what a draft asks for that there is nothing to draw from."""
    if draft.preset_mix is None or draft.training_type is None or wanted.presets:
        return []
    return [f"preset_mix: no preset dataset is configured for {draft.training_type}"]

"""The data of one form or draft: pinned to bytes, counted for its model, and drawn. Each once, when first asked for."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from msgspec.structs import replace

from contracts.task import PresetMix, TaskForm, TrainingDataset, Validation
from contracts.training import Failure
from handlers.counting import Counts
from handlers.datasets import KnownDataset
from handlers.planning.build import seed_of, selection_of
from handlers.planning.figures import Figures, Undrawn
from handlers.planning.plain import plain_sums
from handlers.planning.plan import PlannedData, PlannedDataset
from handlers.planning.selection import Mix, Selection
from handlers.planning.steps import limit_of
from handlers.ports.catalog import Catalog, PresetDataset
from handlers.ports.planner import Planner
from handlers.ports.tokens import TokenCounts


class WantedData(NamedTuple):
    """What a form says of its data, and the preset datasets of its training type; none without a preset mix."""

    training_set: tuple[TrainingDataset, ...]
    validation: Validation | None = None
    preset_mix: PresetMix | None = None
    presets: tuple[PresetDataset, ...] = ()
    shuffle: str | int | None = None

    def dataset_ids(self) -> list[str]:
        """Return the ids of every dataset a verdict is needed on, each once."""
        named = [wanted.dataset_id for wanted in self.training_set]
        named += self.validation.dataset_ids if self.validation else ()
        return list(dict.fromkeys(named + [preset.dataset_id for preset in self.presets]))

    def own_ids(self) -> list[str]:
        """Return the ids of the datasets that the form itself names: preset datasets are the platform's."""
        return self._replace(presets=()).dataset_ids()


def wanted_data(form: TaskForm, catalog: Catalog) -> WantedData:
    """Return the data that a form is about. Pure."""
    presets = tuple(catalog.presets(form.training_type)) if form.preset_mix else ()
    return WantedData(form.training_set, form.validation, form.preset_mix, presets, form.shuffle)


class TaskData:
    """The data of one task. ``known`` has every dataset that is wanted; ``packed_to`` see ``packed_to`` in build.py."""

    def __init__(
        self,
        wanted: WantedData,
        known: Mapping[str, KnownDataset],
        counts: Counts,
        planner: Planner,
        hyperparameters: Mapping[str, Any],
        packed_to: int | None,
    ) -> None:
        self._wanted, self._known, self._counts, self._planner = wanted, known, counts, planner
        self._hyperparameters, self._packed_to = hyperparameters, packed_to

    async def counted(self) -> tuple[dict[str, TokenCounts], tuple[str, ...]]:
        """Return the counts of every dataset that could be counted, and why others could not. Raises Unavailable."""
        found = {name: await self._counts.of(self._known[name]) for name in self._wanted.dataset_ids()}
        counts = {name: each for name, each in found.items() if isinstance(each, TokenCounts)}
        return counts, tuple(f"dataset {name}: {why}" for name, why in found.items() if isinstance(why, str))

    async def planned(self) -> PlannedData:
        """Return the data, pinned to their bytes. Raises Unavailable."""
        counts, _ = await self.counted()
        wanted = self._wanted
        validation = wanted.validation or Validation()
        training = tuple(self._pinned(counts, each.dataset_id, each) for each in wanted.training_set)
        return PlannedData(
            training=training,
            validation=tuple(self._pinned(counts, name) for name in validation.dataset_ids),
            presets=tuple(self._pinned(counts, each.dataset_id, version=each.version) for each in wanted.presets),
            validation_percent=validation.percent,
            preset_mix=wanted.preset_mix,
            shuffle="none" if wanted.shuffle == "none" else "random",
            seed=seed_of(training, wanted.shuffle),
            split_seed=wanted.shuffle if isinstance(wanted.shuffle, int) else 0,
        )

    async def figures(self, task_id: str | None = None) -> Figures | Undrawn:
        """Return what is trained on, sample by sample, or what is missing to say so.

        With a task's id every line's fate is stored first, for the task's plan. Raises Unavailable and Transient.
        """
        counts, missing = await self.counted()
        if missing:
            return Undrawn(missing)
        selection = await self._selection()
        untold = [name for name, each in counts.items() if not each.tables]
        if (task_id is None or untold) and (sums := plain_sums(selection, counts)):
            return Figures(sums, counts)
        if untold:
            return Undrawn(tuple(f"dataset {name}: its samples are not counted one by one" for name in untold))
        try:
            draws = await self._planner.draw(selection, task_id)
        except FileNotFoundError as error:
            return Undrawn((f"the draw of samples: their rows are gone ({error})",))
        if draws.mix and draws.mix.short:
            return _short(draws.mix)
        return Figures(draws, counts)

    async def _selection(self) -> Selection:
        in_order = self._wanted.shuffle == "none"
        limit = limit_of(self._hyperparameters, packed_to=self._packed_to, in_order=in_order)
        return replace(selection_of(await self.planned(), self._hyperparameters), limit=limit)

    def _pinned(
        self,
        counts: Mapping[str, TokenCounts],
        dataset_id: str,
        wanted: TrainingDataset | None = None,
        version: str | None = None,
    ) -> PlannedDataset:
        known, counted = self._known[dataset_id], counts.get(dataset_id)
        return PlannedDataset(
            dataset_id=dataset_id,
            digest=known.digest,
            files=known.files,
            samples=counted.samples if counted else known.valid_samples,
            too_long=counted.too_long if counted else None,
            findings_key=known.findings_key,
            multiplier=(wanted.multiplier if wanted else None) or 1.0,
            sample_count=wanted.sample_count if wanted else None,
            tables=counted.tables if counted else (),
            version=version,
        )


def _short(mix: Mix) -> Undrawn:
    remedy = "choose a lower percent, or have when_short repeat them"
    if not mix.available:
        remedy = "every one is invalid, too long for the model, or the same as a sample of the validation set"
    message = f"preset_mix: {mix.wanted} preset samples are wanted, and there are {mix.available}; {remedy}"
    return Undrawn((message,), Failure("preset-too-small", "user", message, retryable=False))

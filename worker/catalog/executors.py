"""Reads which executor serves which task, and refuses what could never run."""

from pathlib import Path
from typing import Annotated

from msgspec import Meta, Struct

from contracts.spelling import nearest
from contracts.task import TrainingType
from handlers.ports.executors import Choice
from handlers.ports.jobs import Resources
from worker.catalog.loader import SHIPPED, CatalogError, read_toml
from worker.executors.registry import MODULES, refusal
from worker.settings import Settings

EXECUTORS_FILE = SHIPPED / "executors.toml"

Text = Annotated[str, Meta(min_length=1, max_length=200)]


class Rule(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One rule: the tasks it is about (None: any), and where they run with what."""

    executor: Text
    project: Text | None = None
    model: Text | None = None
    training_type: TrainingType | None = None
    gpus: Annotated[int, Meta(ge=0, le=1024)] = 0
    nodes: Annotated[int, Meta(ge=1, le=1024)] = 1
    time_limit_seconds: Annotated[int, Meta(ge=1)] | None = None

    @property
    def _about(self) -> tuple[str | None, str | None, str | None]:
        return (self.project, self.model, self.training_type)

    def fits(self, project: str | None, model_name: str | None, training_type: str | None) -> bool:
        """Return whether the rule is about such tasks; None stands for any: whether it is about all of them."""
        asked = (project, model_name, training_type)
        return all(mine in (None, theirs) for mine, theirs in zip(self._about, asked, strict=True))

    def covers(self, other: "Rule") -> bool:
        """Return whether the rule is about every task that another one is about."""
        return self.fits(*other._about)  # noqa: SLF001 - of its own kind

    @property
    def choice(self) -> Choice:
        """Return where the rule's tasks run."""
        resources = Resources(gpus=self.gpus, nodes=self.nodes, time_limit_seconds=self.time_limit_seconds)
        return Choice(self.executor, resources)


class Placement(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The file: rules in order, and executors beside theirs that attempts of former rules still run on."""

    rules: Annotated[tuple[Rule, ...], Meta(min_length=1)]
    executors: tuple[Text, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """Return every executor that is needed, each once."""
        return tuple(dict.fromkeys([rule.executor for rule in self.rules] + list(self.executors)))

    def choose(self, project: str, model_name: str, training_type: str) -> Choice:
        """Return where a task runs: by the first rule that fits."""
        return next(rule.choice for rule in self.rules if rule.fits(project, model_name, training_type))


def load_placement(settings: Settings) -> Placement:
    """Read the rules; the shipped file where none is set. Blocks.

    Raises:
        CatalogError: the file is missing, is not TOML, names an executor there is not, does not serve every task, or
            asks an executor for what it could never give.
    """
    path = settings.executors_file or EXECUTORS_FILE
    placement = read_toml(path, Placement)
    for name in placement.names:
        if name not in MODULES:
            meant = nearest(name, MODULES)
            hint = f"did you mean {meant}?" if meant else f"there are {', '.join(MODULES)}"
            raise CatalogError(f"{path}: no executor {name!r}; {hint}")
    _check_order(path, placement)
    for index, rule in enumerate(placement.rules):
        if why := refusal(rule.executor, settings, rule.choice.resources):
            raise CatalogError(f"{path}: rules[{index}]: {why}")
    return placement


def _check_order(path: Path, placement: Placement) -> None:
    last = len(placement.rules) - 1
    if not placement.rules[last].fits(None, None, None):
        raise CatalogError(
            f"{path}: rules[{last}]: the last rule must fit every task: add one without project, model and "
            "training_type"
        )
    for index, rule in enumerate(placement.rules):
        before = next((n for n, other in enumerate(placement.rules[:index]) if other.covers(rule)), None)
        if before is not None:
            raise CatalogError(f"{path}: rules[{index}] never holds: rules[{before}] fits every task that it fits")

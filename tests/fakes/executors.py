"""The executors a test has, and a choice that it may change."""

from collections.abc import Sequence

from handlers.errors import Unavailable
from handlers.ports.executors import Choice, Executor
from handlers.ports.jobs import Resources


class FakeExecutors:
    """Executors over given ones; ``choice`` is where everything runs, the first of them with nothing asked for.

    ``by_project`` says where what is of a project runs instead.
    """

    def __init__(self, *executors: Executor) -> None:
        self.choice = Choice(executors[0].name, Resources())
        self.by_project: dict[str, Choice] = {}
        self.chosen_for: list[tuple[str, str, str]] = []
        self._executors = {executor.name: executor for executor in executors}

    def choose(self, project: str, model_name: str, training_type: str) -> Choice:
        self.chosen_for.append((project, model_name, training_type))
        return self.by_project.get(project, self.choice)

    def of(self, name: str) -> Executor:
        if name not in self._executors:
            raise Unavailable(f"executor {name!r} is not configured")
        return self._executors[name]

    def every(self) -> Sequence[Executor]:
        return tuple(self._executors.values())

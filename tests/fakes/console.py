"""A console over a bucket in memory and events that a test says, and browsers that look at it."""

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any

from starlette.testclient import TestClient

from contracts.envelope import Event
from handlers.errors import Unavailable
from tests.fakes.clock import ManualClock
from tests.fakes.events import event
from tests.fakes.store import MemoryStore
from worker.catalog.loader import load_catalog
from worker.console.access import Access, Person, digest_of
from worker.console.app import create_app
from worker.console.changes import Changes
from worker.console.guard import COOKIE
from worker.console.parts import Console, ReplayFailed
from worker.console.settings import ConsoleSettings
from worker.console.signing import Signer
from worker.console.view import View
from worker.letters import Filter, Letter, NotRetryable

TOKEN = "a-token-of-an-operator"
HOST = "console.test"


class FakeOperations:
    """Operations on letters that a test puts there; what was done is noted."""

    def __init__(self) -> None:
        self.found: list[Letter] = []
        self.done: list[tuple[str, str, str]] = []
        self.replayed: list[list[str]] = []
        self.result: dict[str, Any] | ReplayFailed = {}

    async def letters(self, wanted: Filter) -> list[Letter]:
        return [letter for letter in self.found if wanted.matches(letter)]

    async def put_back(self, letter: Letter, by: str) -> None:
        if letter.left_out:
            raise NotRetryable(f"letter {letter.id} has no body")
        self.done.append(("retried", letter.id, by))

    async def drop(self, letter: Letter, by: str) -> None:
        self.done.append(("dropped", letter.id, by))

    async def replay(self, arguments: Sequence[str]) -> dict[str, Any]:
        self.replayed.append(list(arguments))
        if isinstance(self.result, ReplayFailed):
            raise self.result
        return self.result


class ConsoleUnderTest:
    """The application over fakes. ``said`` is what it published; set ``available`` to False to have no broker."""

    def __init__(self, settings: ConsoleSettings | None = None) -> None:
        self.store = MemoryStore()
        self.view = View(Changes())
        self.view.caught_up = True
        self.operations = FakeOperations()
        self.said: list[Event[Any]] = []
        self.available = True
        self.clock = ManualClock()
        settings = settings or ConsoleSettings(token=TOKEN)
        self.access = Access(settings)
        self.signer = Signer(self.access.secret)
        self.app = create_app(
            Console(
                settings=settings,
                access=self.access,
                signer=self.signer,
                view=self.view,
                store=self.store,
                catalog=load_catalog(),
                publish=self._publish,
                operations=self.operations,
                clock=self.clock,
            )
        )

    async def _publish(self, events: Sequence[Event[Any]]) -> None:
        if not self.available:
            raise Unavailable("Kafka did not acknowledge")
        self.said += events

    def hear(self, topic: str, body: Any) -> None:
        """Let an event arrive as the follower would."""
        self.view.take(event(topic, body))

    def hear_own(self) -> None:
        """Let what the console published come back to it."""
        for each in self.said:
            self.hear(each.topic, each.data)

    def browser(
        self, person: Person | None = None, headers: Mapping[str, str] = MappingProxyType({}), peer: str = "192.0.2.1"
    ) -> TestClient:
        """Return a browser, signed in as somebody who has a token from now on, whose pages are of this site."""
        client = TestClient(
            self.app,
            base_url=f"http://{HOST}",
            follow_redirects=False,
            client=(peer, 50_000),
            headers={"Origin": f"http://{HOST}", "Accept": "text/html"} | dict(headers),
        )
        if person:
            self.access._people.setdefault(digest_of(person.name), person)
            client.cookies.set(COOKIE, self.signer.session(person.name, 4_000_000_000))
        return client

    def operator(self) -> TestClient:
        """Return a browser of somebody who may do all."""
        return self.browser(Person(name="operator", projects=("*",), operator=True))


def person(name: str, *projects: str) -> Person:
    """Return somebody of some projects."""
    return Person(name=name, projects=projects)


def status(task_id: str, phase: str = "Running", revision: int = 1, **more: Any) -> dict[str, Any]:
    """Return the body of a task.status."""
    return {
        "task_id": task_id, "project": "default", "revision": revision, "phase": phase,
        "terminal": phase in ("Completed", "Terminated", "Failed"), "reason": "running", "party": None, "message": "",
        "attempt": 1, "retry_count": 0, "retry_limit": 3, "resumable": False,
        "changed_at": datetime(2026, 1, 1, 12, tzinfo=UTC),
    } | more  # fmt: skip


def verdict(dataset_id: str, project: str = "default", **more: Any) -> dict[str, Any]:
    """Return the body of a verdict on a dataset."""
    return {
        "dataset_id": dataset_id, "project": project, "digest": "d" * 64, "format": "sft",
        "files": [{"uri": f"{MemoryStore.ROOT}uploads/{project}/{dataset_id}/01-a.jsonl", "etag": "e", "size_bytes": 1,
                   "sha256": "0" * 64}],
        "samples": 3, "valid_samples": 3, "totals": {}, "findings": [],
        "imported_at": datetime(2026, 1, 1, tzinfo=UTC),
    } | more  # fmt: skip


def form(task_id: str, name: str = "poems", project: str = "default") -> dict[str, Any]:
    """Return a form as a platform publishes it."""
    return {
        "task_id": task_id, "name": name, "project": project, "training_type": "FinetuneLoRA",
        "base_model": {"foundation": {"name": "tiny", "version": "1"}}, "training_set": [{"dataset_id": "d-1"}],
    }  # fmt: skip


def quote(**more: Any) -> dict[str, Any]:
    """Return a complete quote."""
    return {
        "quote_id": "q-1", "amount": "1.25", "currency": "CNY", "complete": True, "missing": [],
        "items": [{"kind": "user", "dataset_id": "d-1", "samples": 3, "tokens": 500, "epochs": 6, "factor": "1",
                   "price_per_1k_tokens": "0.5", "amount": "1.25"}],
        "billed_tokens": 3000, "model": "tiny", "method": "LoRA", "price_version": "v1", "price_per_1k_tokens": "0.5",
    } | more  # fmt: skip


def progress(task_id: str, step: int, loss: float, seq: int | None = None, attempt: int = 1) -> dict[str, Any]:
    """Return the body of a training.progress."""
    said = {"step": step, "total_steps": 10, "loss": loss, "learning_rate": 0.002, "tokens_per_second": 900.0}
    body = {"task_id": task_id, "attempt": attempt, "seq": step if seq is None else seq, "state": "running"}
    return body | {"progress": said}


def hidden(page: str, name: str) -> str:
    """Return the value of a hidden field of a page."""
    found = re.search(rf'name="{re.escape(name)}" value="([^"]*)"', page)
    assert found, f"no hidden {name}"
    return found[1]


def filled(page: str, **more: str) -> dict[str, str]:
    """Return the fields of an empty form's page, filled in but for the data."""
    return {
        "task_id": hidden(page, "task_id"), "project": hidden(page, "project"), "name": "poems",
        "training_type": "FinetuneLoRA", "base_model": "tiny@1", "hp.epochs": "6", "output_count": "1",
    } | more  # fmt: skip

"""A worker at work, scraped as Prometheus does it: what happened is what the figures say."""

from collections.abc import Mapping

import aiohttp
import msgspec
import pytest
from prometheus_client.parser import text_string_to_metric_families

from deploy.local.server_process import free_ports
from handlers.table import STAGES
from tests.integration.conftest import World
from tests.platform import form
from tests.wait import wait_until
from worker import health as health_module

#: What Prometheus 3 sends.
ACCEPT = "application/openmetrics-text;version=1.0.0;q=0.6,text/plain;version=0.0.4;q=0.5,*/*;q=0.1"


class Scraped:
    """What a worker answers to Prometheus."""

    def __init__(self, session: aiohttp.ClientSession, port: int) -> None:
        self._session, self._url = session, f"http://127.0.0.1:{port}/metrics"
        self.names: set[str] = set()
        self._values: dict[tuple[str, frozenset[tuple[str, str]]], float] = {}

    async def again(self) -> None:
        async with self._session.get(self._url, headers={"Accept": "text/plain"}) as response:
            assert response.status == 200
            families = list(text_string_to_metric_families(await response.text()))
        self.names = {sample.name for family in families for sample in family.samples}
        self._values = {
            (sample.name, frozenset(sample.labels.items())): sample.value
            for family in families
            for sample in family.samples
        }

    def value(self, name: str, labels: Mapping[str, str]) -> float:
        """Return a figure; 0 where there is no such series yet."""
        return self._values.get((f"finetune_worker_{name}", frozenset(labels.items())), 0.0)

    async def until(self, name: str, value: float, **labels: str) -> None:
        async def there() -> bool:
            await self.again()
            return self.value(name, labels) == value

        await wait_until(there, 60, f"{name} {labels} to be {value}")


@pytest.fixture(autouse=True)
def quick_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health_module, "_LOOK_EVERY_SECONDS", 0.1)


async def test_what_happened_is_what_a_scrape_says(world: World) -> None:
    (port,) = free_ports(1)
    world = world._replace(settings=msgspec.structs.replace(world.settings, health_port=port))
    async with world.worker(), aiohttp.ClientSession() as session:
        scraped = Scraped(session, port)
        await scraped.until("ready", 1)
        data = await world.import_dataset("d1")
        await world.platform.wait_for("dataset.validated", "d1")
        await world.platform.publish("dataset.imported", "d1", data)  # a duplicate
        await world.platform.send("task.command", b"t1", b"not JSON")

        validation = {"stage": "dataset-validation"}
        await scraped.until("receipts_total", 1, **validation, result="made")
        await scraped.until("receipts_total", 1, **validation, result="found")
        await scraped.until("records_taken_in_total", 2, **validation)
        await scraped.until("events_total", 2, **validation, outcome="validated")
        await scraped.until("handling_seconds_count", 2, **validation)
        await scraped.until("dead_letters_total", 1, stage="task-command", reason="invalid-json")
        await scraped.until("published_total", 2, topic="dataset.validated")
        for stage in STAGES:
            await scraped.until("stage_state", 1, stage=stage.name, state="idle")
            await scraped.until("records_behind", 0, stage=stage.name)
            await scraped.until("records_unfinished", 0, stage=stage.name)
        assert scraped.value("live", {}) == 1
        # Nothing was retried, postponed or submitted, so those have no series yet.
        assert {"finetune_worker_retries_total", "finetune_worker_submits_total"}.isdisjoint(scraped.names)
        async with session.get(f"http://127.0.0.1:{port}/metrics", headers={"Accept": ACCEPT}) as response:
            assert response.headers["Content-Type"].startswith("application/openmetrics-text")
            assert (await response.text()).endswith("# EOF\n")


async def test_a_submitted_job_is_counted_with_its_executor(world: World) -> None:
    (port,) = free_ports(1)
    world = world._replace(settings=msgspec.structs.replace(world.settings, health_port=port))
    async with world.worker(), aiohttp.ClientSession() as session:
        scraped = Scraped(session, port)
        await world.import_dataset("d1")
        await world.platform.publish("task.created", "t1", form("t1", "d1"))
        await world.platform.wait_for("training.dispatched", "t1")
        accepted = {"executor": world.executor.name, "result": "accepted"}

        async def counted() -> bool:
            await scraped.again()
            # A stage and the reconciler may both find it due: engines take the same job twice for one.
            return scraped.value("submits_total", accepted) >= 1

        await wait_until(counted, 60, "the submit to be counted")

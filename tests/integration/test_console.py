"""The console beside a real worker: what it says is understood, what is said it shows, a restart forgets nothing."""

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx2
import pytest
from aiokafka.admin import AIOKafkaAdminClient

from handlers import layout
from tests.integration.conftest import World
from tests.integration.test_flow import _finish
from tests.platform import sample
from tests.wait import wait_until
from worker.catalog.loader import load_catalog
from worker.clock import SystemClock
from worker.console.access import Access
from worker.console.app import create_app
from worker.console.changes import Changes
from worker.console.follower import follow
from worker.console.operations import CommandOperations
from worker.console.parts import Console
from worker.console.settings import ConsoleSettings
from worker.console.signing import Signer
from worker.console.view import View
from worker.kafka.broker import Brokers, connected

TOKEN = "a-token-for-this-test"


class Visit:
    """Somebody's browser at a console of its own."""

    def __init__(self, browser: httpx2.AsyncClient, view: View) -> None:
        self.browser, self.view = browser, view

    async def get(self, path: str) -> str:
        answer = await self.browser.get(path)
        assert answer.status_code == 200, answer.text
        return str(answer.text)

    async def shows(self, path: str, text: str) -> None:
        async def there() -> bool:
            # A page of what the console has published and not yet heard of itself is not there.
            answer = await self.browser.get(path)
            return answer.status_code == 200 and text in answer.text

        await wait_until(there, 60, f"{text} on {path}")


@asynccontextmanager
async def console(world: World) -> AsyncIterator[Visit]:
    """Run a console as ``worker console`` does, but for the socket."""
    brokers, view, access = Brokers.of(world.settings), View(Changes()), Access(ConsoleSettings(token=TOKEN))
    publisher = world.platform.publisher
    parts = Console(
        settings=ConsoleSettings(token=TOKEN),
        access=access,
        signer=Signer(access.secret),
        view=view,
        store=world.store,
        catalog=load_catalog(),
        publish=publisher.publish,
        operations=CommandOperations(brokers, world.store, publisher),
        clock=SystemClock(),
    )
    following = asyncio.create_task(follow(brokers, view))
    here = "http://console.test"
    transport = httpx2.ASGITransport(app=create_app(parts))
    async with httpx2.AsyncClient(transport=transport, base_url=here, headers={"Origin": here}) as browser:
        await browser.post("/sign-in", data={"token": TOKEN})
        await wait_until(lambda: view.caught_up, 60, "the topics' ends")
        yield Visit(browser, view)
    following.cancel()
    await asyncio.gather(following, return_exceptions=True)


async def _submitted(visit: Visit) -> str:
    """Fill in the form, wait for its fee, submit it; return the task's page."""
    page = await visit.get("/tasks/new")
    fields = dict(re.findall(r'name="(task_id|project)" value="([^"]*)"', page)) | {
        "name": "诗", "training_type": "FinetuneLoRA", "base_model": "tiny@1", "output_count": "1",
    }  # fmt: skip
    answer = await visit.browser.post(
        "/tasks/new/uploads",
        data=fields | {"role": "training_set"},
        files={"training_set.files": ("a.jsonl", sample() * 3)},
    )
    (dataset_id,) = re.findall(r'name="training_set" value="([^"]+)"', answer.text)
    await visit.shows(f"/datasets/default/{dataset_id}/row", "3 of 3 samples valid")
    fee = f"/tasks/new/{fields['task_id']}/fee?project=default"
    await visit.shows(fee, 'name="quote_id"')
    (quote_id,) = re.findall(r'name="quote_id" value="([^"]+)"', await visit.get(fee))
    answer = await visit.browser.post("/tasks", data=fields | {"training_set": dataset_id, "quote_id": quote_id})
    assert answer.status_code == 204, answer.text
    return str(answer.headers["HX-Redirect"])


async def _exported_again_and_deleted(world: World, visit: Visit, task: str) -> None:
    """What somebody lost of a model comes back; what attempts left goes, and with it the buttons."""
    (model_id,) = re.findall(r'href="/models/([^"]+)"', await visit.get(task))
    weights = f"{layout.model(model_id)}model.safetensors"
    await world.store.delete(weights)
    await visit.browser.post(task + "/commands", data={"command": "export"})
    await wait_until(lambda: _is_there(world, weights), 60, "the model again")
    await visit.browser.post(task + "/commands", data={"command": "delete"})
    await visit.shows(task, "checkpoints and outputs are gone")
    assert 'name="command"' not in await visit.get(task)
    assert await _is_there(world, weights)


async def _is_there(world: World, key: str) -> bool:
    return await world.store.head(key) is not None


async def test_a_task_goes_its_way_from_the_form_to_its_model_and_a_new_console_knows_it_all(world: World) -> None:
    async with console(world) as visit, world.worker():
        task = await _submitted(visit)
        await wait_until(lambda: len(world.executor.submits) >= 1, 60, "the job")
        await _finish(world, task.rpartition("/")[2])
        await visit.shows(task, "phase-Completed")
        await visit.shows(task, "Files and download")
        assert "training-dispatch" in await visit.get(task + "/story")
        await _exported_again_and_deleted(world, visit, task)
        before = await visit.get(task + "/now")
    async with console(world) as again:
        assert await again.get(task + "/now") == before
    async with connected(AIOKafkaAdminClient, Brokers.of(world.settings)) as admin:
        groups = {group for group, *_ in await admin.list_consumer_groups()}
    assert all(group.startswith(world.settings.group_prefix) for group in groups if group), groups


async def test_operators_put_a_letter_back_and_see_what_a_replay_would_say(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in world.settings.to_environment().items():
        monkeypatch.setenv(name, value)
    async with console(world) as visit:
        async with world.worker():
            await world.import_dataset("d1")
            await world.platform.send("task.created", b"t1", b"not JSON")
            await wait_until(lambda: len(world.platform.letters) == 1, 60, "the letter")
            await world.platform.wait_for("dataset.validated", "d1")
        shown = await visit.get("/operators/letters")
        (letter,) = re.findall(r'href="(/operators/letters/[^"?]+)"', shown)
        assert "not JSON" in await visit.get(letter)
        assert "put back" in (await visit.browser.post(letter, data={"action": "retry"})).text
        assert letter not in await visit.get("/operators/letters")
        said = len(world.platform.said("dataset.validated"))
        answer = await visit.browser.post("/operators/replay", data={"topic": "dataset.imported", "action": "dry-run"})
        assert answer.status_code == 200, answer.text
        assert "Would be said: dataset.validated 1" in answer.text
        assert len(world.platform.said("dataset.validated")) == said

"""``worker explain`` over a world."""

import asyncio
from pathlib import Path

from typer.testing import CliRunner

from tests.fakes.world import World
from worker.cli import app
from worker.storage.directory import DirectoryStore


async def explained(world: World, folder: Path, *words: str) -> str:
    """Return what the command says of a world's bucket, which is copied into a folder."""
    store = DirectoryStore(folder)
    for key, body in world.store.objects.items():
        await store.put(key, body)
    environment = {"WORKER_STORAGE_URL": folder.as_uri()}
    result = await asyncio.to_thread(CliRunner().invoke, app, ["explain", *words], env=environment)
    assert result.exit_code == 0, result.output
    return str(result.stdout)

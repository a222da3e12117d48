"""How long a worker has looked after its tasks, as the bucket shows it."""

from handlers import layout
from handlers.ports.store import ObjectStore
from tests.wait import wait_until


async def outlasted(store: ObjectStore, beats: int = 6, seconds: float = 60) -> None:
    """Wait until a worker's reconciler has swept for a while from now on: for so many quarters of ``lease_seconds``."""
    began = await _beats(store)

    async def swept() -> bool:
        return any(count >= began.get(key, 0) + beats for key, count in (await _beats(store)).items())

    await wait_until(swept, seconds, "the reconciler's sweeps")


async def _beats(store: ObjectStore) -> dict[str, int]:
    """Return how often each worker has said that it sweeps."""
    found = {info.key: await store.get(info.key) async for info in store.list(layout.member("reconciler"))}
    return {key: int(stored.body) for key, stored in found.items() if stored}

"""A draw whose rows are in the bucket, and whose fates go there."""

from pathlib import Path
from tempfile import TemporaryDirectory

from handlers import layout
from handlers.planning.fates import Drawing
from handlers.planning.marking import Tables
from handlers.planning.selection import Draws, Selection
from handlers.ports.store import ObjectStore
from worker.planning.fate_table import write_fates


async def draw_from_bucket(store: ObjectStore, selection: Selection, task_id: str | None = None) -> Draws:
    """Return what comes of a selection; with a task's id, store its fate table first. Idempotent. Blocks in between.

    Raises FileNotFoundError where rows are gone, Unavailable where the bucket does not answer.
    """
    with TemporaryDirectory(prefix="draw-") as name:
        folder = Path(name)
        paths = [
            [await _fetched(store, key, folder / f"{number}.{index}.rows") for index, key in enumerate(source.tables)]
            for number, source in enumerate(selection.sources)
        ]
        drawing = Drawing(selection, Tables(selection.sources, paths), folder)
        draws = drawing.draws()
        if task_id is not None:
            write_fates(folder / "fates.parquet", selection.sources, drawing.fates())
            await store.upload(layout.fates(task_id, draws.fates_digest), folder / "fates.parquet")
        return draws


async def _fetched(store: ObjectStore, key: str, path: Path) -> Path:
    await store.download(key, path)
    return path

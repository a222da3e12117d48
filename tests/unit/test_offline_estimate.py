"""``worker estimate`` says the quote that the service says once the same files are imported: byte for byte."""

import asyncio
import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from contracts.quote import Quote
from handlers.planning.build import FORMATS
from tests.fakes.service import LINES, imported, model_for, ndjson, world_of_all
from tests.fakes.world import form
from worker.catalog import load_catalog
from worker.catalog.loader import MODELS_FILE
from worker.estimate.estimating import estimated

_BROKEN = b"{broken\n"


def bodies_of(training_type: str) -> dict[str, list[bytes]]:
    """Return the files of datasets that say partly the same; some lines are too long, some are no samples."""
    lines = LINES[FORMATS[training_type]]
    other = LINES["ranking" if FORMATS[training_type] != "ranking" else "sft"]
    return {
        "d-1": [ndjson(lines * 3) + _BROKEN, b"\xef\xbb\xbf" + ndjson(lines[2:])],
        "d-2": [ndjson(lines[:3] * 2)[:-1]],
        "held": [ndjson(lines[1:2])],
        "preset": [ndjson(lines[3:])],
        "foreign": [ndjson(other)],
        "empty": [b""],
    }


#: What is asked of a form with every way of training.
EVERYWHERE: list[dict[str, Any]] = [
    {},
    {"hyperparameters": {"epochs": 3}, "tolerance": {"max_invalid_records": 1}},
    {"training_set": [{"dataset_id": "d-1", "multiplier": 1.5}, {"dataset_id": "d-2", "sample_count": 30}]},
    {"validation": {"percent": 40}, "shuffle": 5},
    {"validation": {"dataset_ids": ["held"]}, "training_set": [{"dataset_id": "d-2", "multiplier": 2}]},
    {
        "preset_mix": {"percent": 50, "when_short": "repeat"},
        "validation": {"percent": 30},
        "hyperparameters": {"max_steps": 7, "batch_size": 2, "gradient_accumulation": 2},
    },
    {"hyperparameters": {"max_steps": 5, "batch_size": 3}, "shuffle": "none"},
]

#: What is the same for all of them.
ONCE: list[dict[str, Any]] = [
    {"hyperparameters": {"max_steps": 600, "batch_size": 5, "epochs": 2}},
    {"preset_mix": {"percent": 90}},
    {"training_set": [{"dataset_id": "foreign"}]},
    {"training_set": [{"dataset_id": "empty"}, {"dataset_id": "d-2"}]},
    {"base_model": None},
    {"training_type": None},
    {"base_model": {"foundation": {"name": "unheard-of", "version": "1"}}},
    {"training_type": "Embedding"},
    {"hyperparameters": {"epochs": 0, "epoch": 1}},
    {"name": "not allowed!", "visibility": 7},
    {"task_id": None, "training_set": [{"dataset_id": "d-2"}]},
]

TABLE = [
    *((way, changes) for way in ("FinetuneLoRA", "Pretrain", "DPO", "Embedding") for changes in EVERYWHERE),
    *(("FinetuneSft", changes) for changes in ONCE),
    ("DPOLoRA", {"hyperparameters": {"pairs": "all", "max_steps": 1}}),
]


@pytest.mark.parametrize(
    ("training_type", "changes"), TABLE, ids=[f"{way} {number}" for number, (way, _) in enumerate(TABLE)]
)
def test_an_estimate_offline_is_the_quote_of_the_import(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, training_type: str, changes: dict[str, Any]
) -> None:
    monkeypatch.setenv("WORKER_STORAGE_URL", (tmp_path / "no-bucket").as_uri())
    models = tmp_path / "models.toml"
    models.write_text(
        MODELS_FILE.read_text() + f'\n[[presets.{training_type}]]\ndataset_id = "preset"\nversion = "1"\n'
    )
    base = {"foundation": {"name": model_for(training_type).name, "version": "1"}}
    said = form("t-1", "d-1", training_type=training_type, base_model=base) | changes
    asked = {name: value for name, value in said.items() if value is not None}
    datasets = bodies_of(training_type)

    online = asyncio.run(said_by_the_service(tmp_path, models, datasets, asked))
    offline = estimated(json.dumps(asked).encode(), laid_out(tmp_path, datasets), load_catalog(models)).quote

    # Nothing is stored offline: neither lists of what is too long, nor until when the quote holds.
    items = tuple(replace(item, too_long=()) for item in online.items)
    assert msgspec.json.encode(offline) == msgspec.json.encode(replace(online, items=items, valid_until=None))


async def said_by_the_service(
    folder: Path, models: Path, datasets: dict[str, list[bytes]], asked: dict[str, Any]
) -> Quote:
    service = world_of_all(folder)
    service.ports["catalog"] = load_catalog(models)
    for name, bodies in datasets.items():
        await imported(service, name, *bodies)
    # One with a bad line has no estimate of its own: the draft of another, later import prices the form.
    later = "2030-01-01T00:00:00Z"
    *_, said = await imported(service, "d-2", *datasets["d-2"], draft=asked, imported_at=later)
    found = said.quote
    assert isinstance(found, Quote)
    return found


def laid_out(folder: Path, datasets: dict[str, list[bytes]]) -> dict[str, list[str]]:
    paths: dict[str, list[str]] = {}
    for name, bodies in datasets.items():
        paths[name] = [str(folder / f"{name}-{number}.jsonl") for number in range(len(bodies))]
        for path, body in zip(paths[name], bodies, strict=True):
            Path(path).write_bytes(body)
    return paths

"""The same task has the same plan wherever it is planned: counted and drawn anew, from the same bytes elsewhere."""

from pathlib import Path
from typing import Any

import msgspec
import pytest

from handlers import layout
from handlers.planning.build import FORMATS
from handlers.planning.plan import Plan
from tests.fakes.service import LINES, imported, model_for, ndjson, world_of_all
from tests.fakes.world import form_event


async def planned(folder: Path, root: str, task_id: str, training_type: str, lines: list[dict[str, Any]]) -> Plan:
    service = world_of_all(folder)
    service.store.ROOT = root
    half = len(lines) // 2
    await imported(service, "d-1", ndjson(lines[:half]), ndjson(lines[half:]), format=FORMATS[training_type])
    changes: dict[str, Any] = {
        "training_type": training_type,
        "base_model": {"foundation": {"name": model_for(training_type).name, "version": "1"}},
        "training_set": [{"dataset_id": "d-1", "multiplier": 1.5}],
        "validation": {"percent": 30},
        "hyperparameters": {"max_steps": 3, "batch_size": 2},
    }
    await service.run(form_event(task_id, **changes))
    return msgspec.json.decode(service.store.objects[layout.task(task_id, "plan")], type=Plan)


@pytest.mark.parametrize("training_type", ["FinetuneSft", "FinetuneLoRA", "Pretrain", "DPO", "DPOLoRA", "Embedding"])
async def test_two_buckets_have_one_plan(tmp_path: Path, training_type: str) -> None:
    lines = LINES[FORMATS[training_type]] * 2
    folders = [tmp_path / name for name in ("here", "there", "other")]
    for folder in folders:
        folder.mkdir()
    here = await planned(folders[0], "memory://here/", "t-1", training_type, lines)
    there = await planned(folders[1], "memory://there/elsewhere/", "t-2", training_type, lines)
    other = await planned(folders[2], "memory://here/", "t-1", training_type, lines[::-1])

    assert here.draws is not None
    assert here.draws.stop is not None
    assert here.plan_hash == there.plan_hash
    assert here.training[0].files != there.training[0].files
    assert here.plan_hash != other.plan_hash

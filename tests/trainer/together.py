"""``python -m tests.trainer.together ROOT OUT``: one of several processes that run jobs together, one after another.

Each case has a bucket of its own in ROOT. The first process writes into OUT, for each case, what the job said.
"""

import json
import sys
import threading
from pathlib import Path
from typing import Any

from handlers import layout
from handlers.planning.build import FORMATS
from tests.fakes.few_samples import BY_FORMAT
from tests.trainer.bench import Bench, RecordingSink, losses
from tests.trainer.formats import plan_for
from worker.trainer import collective, environment
from worker.trainer.job import run_job
from worker.trainer.ranks import Rank

#: Training type and what is set, by name. There is no dropout, and two processes can share every batch evenly.
CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "sft": ("FinetuneSft", {}),
    "sft-in-more-batches": ("FinetuneSft", {"hyperparameters": {"batch_size": 1, "gradient_accumulation": 2}}),
    "pretrain": ("Pretrain", {"context_length": 48, "hyperparameters": {"batch_size": 2}}),
    "preference": ("DPO", {}),
    "preference-by-adapter": ("DPOLoRA", {"hyperparameters": {"lora_dropout": 0.0}}),
    "ranking": ("Embedding", {"hyperparameters": {"batch_size": 6, "epochs": 4}}),
    "ranking-without-others": ("Embedding", {"hyperparameters": {"in_batch_negatives": False}}),
}


def prepare(bench: Bench, case: str) -> None:
    """Put the plan of a case into its bucket; it validates on samples much like those it trains on."""
    training_type, fields = CASES[case]
    held_out = bench.dataset("held-out", [_altered(sample) for sample in BY_FORMAT[FORMATS[training_type]]])
    plan_for(bench, training_type, **json.loads(json.dumps(fields)), validation=(held_out,))
    bench.state()


def _altered(value: Any, name: str = "") -> Any:
    """Return a sample that says something else: one that says the same would not be trained on."""
    if isinstance(value, dict):
        return {key: _altered(each, key) for key, each in value.items()}
    if isinstance(value, list):
        return [_altered(each, name) for each in value]
    return f"{value} again" if name in {"content", "text", "query"} and value else value


def run(bench: Bench, rank: Rank) -> dict[str, Any]:
    """Run the job in a bucket, and return what it said, as JSON has it."""
    sink, spec = RecordingSink(), bench.spec()
    if rank.first:
        # It is the first process of its attempt, whoever ran before.
        (bench.root / layout.runner(spec.task_id, spec.attempt)).unlink(missing_ok=True)
    run_job(spec, bench.settings, sink, threading.Event(), rank)
    return {
        "last": [sink.last.state, sink.last.failure and sink.last.failure.message],
        "losses": losses(sink),
        "validated": [each.progress.validation_loss for each in sink.said if each.checkpoint and each.progress],
    }


def main(root: Path, out: Path) -> None:
    """Run every case in this process and its like."""
    environment.prepare()
    rank = Rank.of_environment()
    # A process trains one job and ends; torchrun's processes cannot find each other twice.
    collective.leave = lambda: None
    found = {case: run(Bench(root / case), rank) for case in CASES}
    if rank.first:
        out.write_text(json.dumps(found))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))

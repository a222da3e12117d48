"""How a job ends badly: what is said, whose matter it is, and whether another attempt could end differently."""

import errno
from pathlib import Path
from typing import Any

import msgspec
import pytest
import torch
from safetensors import SafetensorError

from contracts.training import Failure
from handlers import layout
from handlers.errors import PreconditionFailed, Unavailable
from tests.fakes.few_samples import SAMPLES
from tests.trainer.bench import TASK, Bench
from worker.tokens.template import ChatTemplateError
from worker.trainer.failures import failure_of
from worker.trainer.job import Ending

pytestmark = pytest.mark.trainer


@pytest.fixture
def bench(bucket_root: Path) -> Bench:
    bench = Bench(bucket_root)
    bench.state()
    return bench


def failure(bench: Bench, **spec: Any) -> Failure:
    """Run a job that must fail, and return what it said last."""
    ending, sink = bench.run(bench.spec(**spec))
    assert ending is Ending.FAILED
    assert sink.last.state == "failed"
    assert sink.essential[-1]
    assert sink.last.failure is not None
    return sink.last.failure


def test_a_missing_plan_is_the_platforms_matter(bench: Bench) -> None:
    said = failure(bench)

    assert (said.reason, said.party, said.retryable) == ("plan-missing", "platform", True)


def test_a_plan_that_cannot_be_read_is_not_tried_again(bench: Bench) -> None:
    bench.put(layout.task(TASK, "plan"), b"{}")
    assert failure(bench).reason == "plan-unusable"
    bench.plan(hyperparameters={"precision": "int4"})
    said = failure(bench)

    assert (said.reason, said.retryable) == ("plan-unusable", False)
    assert "precision" in said.message


def test_a_missing_base_model_says_how_to_get_it(bench: Bench) -> None:
    bench.plan(base_prefix="base-models/other/1/")

    said = failure(bench)

    assert said.reason == "base-model-missing"
    assert "worker.trainer.base_models" in said.message


def test_nothing_to_train_is_the_users_matter(bench: Bench) -> None:
    bench.plan(context_length=3)

    said = failure(bench)

    assert (said.reason, said.party, said.retryable) == ("nothing-to-train", "user", False)
    assert "6 are longer than the context of 3 tokens" in said.message


def test_a_dataset_that_changed_or_went_is_the_users_matter(bench: Bench) -> None:
    plan = bench.plan()
    bench.put("uploads/a.jsonl", b"{}\n")
    assert failure(bench).reason == "dataset-changed"
    bench.path(plan.training[0].files[0].uri).unlink()
    assert failure(bench).reason == "dataset-gone"


def test_a_template_that_refuses_a_sample_names_it(bench: Bench) -> None:
    bench.plan()
    template = b"{{ raise_exception('no') if messages|length > 3 }}{% for m in messages %}{{ m.content }}{% endfor %}"
    bench.put("base-models/tiny/1/chat_template.jinja", template)

    said = failure(bench)

    assert (said.reason, said.party) == ("template-refuses-sample", "user")
    assert "file 0, line 4" in said.message


def test_a_loss_that_is_no_number_ends_the_job(bench: Bench) -> None:
    bench.plan(hyperparameters={"learning_rate": 1e30, "max_steps": 50})

    said = failure(bench)

    assert (said.reason, said.party, said.retryable) == ("loss-diverged", "user", False)


@pytest.mark.parametrize("name", ["model.safetensors", "optimizer.json", "random_state-0.safetensors"])
def test_a_damaged_checkpoint_is_never_loaded(bench: Bench, name: str) -> None:
    bench.plan()
    _, sink = bench.run_until(2)
    assert sink.last.checkpoint is not None
    folder = bench.path(sink.last.checkpoint.uri)
    (folder / name).write_bytes((folder / name).read_bytes()[:-1] + b"!")
    bench.state(attempt=2)

    said = failure(bench, attempt=2, resume_from=bench.store.key(sink.last.checkpoint.uri))

    assert (said.reason, said.party) == ("checkpoint-broken", "platform")
    assert name in said.message


def test_a_pickle_named_by_a_checkpoint_is_never_fetched(bench: Bench) -> None:
    bench.plan()
    _, sink = bench.run_until(2)
    assert sink.last.checkpoint is not None
    prefix = bench.store.key(sink.last.checkpoint.uri)
    marker = bench.path(sink.last.checkpoint.uri) / "complete.json"
    planted = msgspec.json.decode(marker.read_bytes())
    planted["files"].append({"path": "optimizer.pt", "size_bytes": 1, "sha256": "0"})
    bench.put(prefix + "complete.json", planted)
    bench.put(prefix + "optimizer.pt", b"x")
    bench.state(attempt=2)

    assert "has no place in a checkpoint" in failure(bench, attempt=2, resume_from=prefix).message


def test_a_checkpoint_without_its_marker_is_incomplete(bench: Bench) -> None:
    bench.plan()

    assert failure(bench, resume_from="tasks/task-1/attempts/1/checkpoints/step-9/").reason == "checkpoint-missing"


@pytest.mark.parametrize(
    ("error", "reason", "party", "retryable"),
    [
        (torch.OutOfMemoryError("CUDA out of memory"), "out-of-memory", "user", True),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to"), "out-of-memory", "user", True),
        (MemoryError(), "out-of-memory", "user", True),
        (RuntimeError("CUDA error: uncorrectable ECC error encountered"), "gpu-fault", "platform", True),
        (RuntimeError("NCCL error: uncorrectable NVLink error"), "gpu-fault", "platform", True),
        (torch.distributed.DistBackendError("NCCL error: unhandled system"), "communication-failed", "platform", True),
        (RuntimeError("[gloo/pair.cc] Connection closed by peer [10.0.0.1]"), "communication-failed", "platform", True),
        (OSError(errno.ENOSPC, "No space left on device"), "disk-full", "platform", True),
        (OSError(errno.EDQUOT, "Disk quota exceeded"), "disk-full", "platform", True),
        (SafetensorError("I/O error: No space left on device (os error 28)"), "disk-full", "platform", True),
        (RuntimeError("CUDA error: device-side assert triggered"), "trainer-error", "platform", True),
        # The words of a library in another's error prove nothing.
        (KeyError("nccl"), "trainer-error", "platform", True),
        (ChatTemplateError("no"), "template-refuses-sample", "user", False),
        (PreconditionFailed("other ETag"), "dataset-changed", "user", False),
        (Unavailable("timeout"), "bucket-unavailable", "platform", True),
        (RuntimeError("shapes differ"), "trainer-error", "platform", True),
        (KeyError("x"), "trainer-error", "platform", True),
    ],
)
def test_every_exception_has_a_meaning(error: Exception, reason: str, party: str, retryable: bool) -> None:
    said = failure_of(error)

    assert (said.reason, said.party, said.retryable) == (reason, party, retryable)
    assert said.message


def test_the_samples_are_not_in_the_message(bench: Bench) -> None:
    bench.plan(training=(bench.dataset(samples=[{"messages": 5}, *SAMPLES]),))

    said = failure(bench)

    assert said.reason == "trainer-error"
    assert len(said.message) < 500

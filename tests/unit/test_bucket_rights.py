"""Who may do what in the bucket: what the stages do is allowed, and what nobody does is not."""

import ast
import re
from collections.abc import AsyncIterator
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import msgspec
import pytest
from typer.testing import CliRunner

from contracts.envelope import Event
from handlers import layout, model_refs
from handlers.ports.store import ObjectInfo, Stored
from tests.deployment import ROOT
from tests.examples import EVENTS
from tests.fakes.retained import DAYS, Retained
from tests.fakes.store import MemoryStore
from tests.fakes.world import World
from tests.laws.scenarios import every_case, inbound, world_for
from worker.bucket_rights import ACTIONS, LIST, ROLES, policy
from worker.cli import app
from worker.settings import SettingsError

#: Of S3's requests, what each needs (AWS: Actions, resources, and condition keys for Amazon S3).
NEEDED = {
    "head_bucket": {LIST},
    "list_objects_v2": {LIST},
    "head_object": {"s3:GetObject"},
    "get_object": {"s3:GetObject"},
    "put_object": {"s3:PutObject"},
    "copy_object": {"s3:GetObject", "s3:PutObject"},
    "delete_object": {"s3:DeleteObject"},
    "create_multipart_upload": {"s3:PutObject"},
    "upload_part": {"s3:PutObject"},
    "upload_part_copy": {"s3:GetObject", "s3:PutObject"},
    "complete_multipart_upload": {"s3:PutObject"},
    "abort_multipart_upload": {"s3:AbortMultipartUpload"},
    # `worker bucket create`, an administrator's.
    "create_bucket": set(),
}
#: Beside those of the layout: where files are imported from, and what a check and a dry run put for a moment.
MORE = {"uploads", "checks", "dry-runs"}


def allowed(role: str, action: str, key: str) -> bool:
    """Return whether a role's policy allows an action on a key, as IAM reads it."""
    arn = f"arn:aws:s3:::bucket/{key}"
    return any(
        action in statement["Action"] and any(fnmatchcase(arn, resource) for resource in statement["Resource"])
        for statement in policy(role, "s3://bucket")["Statement"]
    )


class Forbidden(Exception):
    """A role did what its policy does not allow."""


class GuardedStore(MemoryStore):
    """A bucket that refuses, once ``role`` is set, what the role's policy does not allow."""

    def __init__(self) -> None:
        super().__init__()
        self.role: str | None = None

    def _check(self, right: str, key: str) -> None:
        if self.role is None:
            return
        for action in ACTIONS[right]:
            if not allowed(self.role, action, key):
                raise Forbidden(f"{self.role} {action} {key}")

    async def head(self, key: str) -> ObjectInfo | None:
        self._check("read", key)
        return await super().head(key)

    async def get(
        self, key: str, *, byte_range: tuple[int, int] | None = None, if_match: str | None = None
    ) -> Stored | None:
        self._check("read", key)
        return await super().get(key, byte_range=byte_range, if_match=if_match)

    async def put(self, key: str, body: bytes, *, if_none_match: bool = False, if_match: str | None = None) -> str:
        self._check("write", key)
        return await super().put(key, body, if_none_match=if_none_match, if_match=if_match)

    async def copy(self, source: str, target: str) -> None:
        self._check("read", source)
        self._check("write", target)
        await super().copy(source, target)

    async def delete(self, key: str) -> None:
        self._check("delete", key)
        await super().delete(key)

    async def upload(self, key: str, path: Path) -> str:
        self._check("write", key)
        return await super().upload(key, path)

    async def list(self, prefix: str) -> AsyncIterator[ObjectInfo]:
        async for found in super().list(prefix):
            yield found


@every_case
async def test_a_worker_may_do_what_its_stages_do(stage: str, topic: str, body: bytes) -> None:
    await done_as("worker", stage, inbound(topic, body))


async def test_a_trainer_may_not_do_what_a_stage_does() -> None:
    form = (EVENTS / "task.created/minimal.json").read_bytes()
    with pytest.raises(Forbidden, match="trainer s3:PutObject tasks/"):
        await done_as("trainer", "training-dispatch", inbound("task.created", form))


async def done_as(role: str, stage: str, event: Event[Any]) -> None:
    """Deliver an event to a stage whose bucket allows what the role may do, and nothing else."""
    store = GuardedStore()
    store.objects = (await world_for(event)).store.objects
    store.role = role
    await World(store).deliver(stage, event)


async def test_an_operator_may_name_models_and_a_worker_may_let_them_expire() -> None:
    store = GuardedStore()
    retained = Retained(World(store))
    model_id = await retained.exported()
    store.role = "operator"
    await model_refs.tag(store, "production", model_id)
    await model_refs.untag(store, layout.ref("default", "production"))
    store.role = "worker"
    await retained.sweep(times=2, after_days=DAYS)
    assert retained.files(model_id) == ["manifest.json"]


def test_what_somebody_may_write_is_what_the_layout_has() -> None:
    named = set(re.findall(r"^    ([a-z-]+)/", layout.__doc__ or "", re.MULTILINE))
    assert {"tasks", "outbox", "base-models"} <= named
    written = {prefix.partition("/")[0] for rights in ROLES.values() for prefix in rights.write}
    assert written == named | MORE


@pytest.mark.parametrize(
    ("role", "action", "key", "expected"),
    [
        ("worker", "s3:PutObject", layout.task("t", "state"), True),
        ("worker", "s3:DeleteObject", layout.attempt("t", 3) + "out/model.safetensors", True),
        ("worker", "s3:DeleteObject", layout.outbox_batch("t", 1, 1, 2), True),
        # What a replay rests on is never deleted, by nobody, nor what a user brought; a model where it expired.
        ("worker", "s3:DeleteObject", layout.task("t", "form"), False),
        ("worker", "s3:DeleteObject", layout.receipt("model-export", "-", "t"), False),
        ("worker", "s3:DeleteObject", layout.model("t-1") + "model.safetensors", True),
        ("console", "s3:DeleteObject", layout.model("t-1") + "model.safetensors", False),
        ("worker", "s3:PutObject", "uploads/a/1.jsonl", False),
        ("worker", "s3:PutObject", layout.base_model("tiny", "1") + "config.json", False),
        ("trainer", "s3:GetObject", layout.base_model("tiny", "1") + "config.json", True),
        ("trainer", "s3:PutObject", layout.runner("t", 1), True),
        ("trainer", "s3:PutObject", layout.outbox_batch("t", 1, 1, 2), True),
        ("trainer", "s3:PutObject", layout.task("t", "state"), False),
        ("trainer", "s3:PutObject", layout.receipt("training-dispatch", "-", "t"), False),
        ("trainer", "s3:PutObject", layout.model("t-1") + "model.safetensors", False),
        ("trainer", "s3:DeleteObject", layout.attempt("t", 1) + "spec.json", False),
        ("platform", "s3:PutObject", "uploads/a/1.jsonl", True),
        ("platform", "s3:GetObject", layout.model("t-1") + "model.safetensors", True),
        ("platform", "s3:GetObject", layout.task("t", "state"), False),
        ("console", "s3:PutObject", layout.letter_note("l"), True),
        ("console", "s3:PutObject", layout.receipt("model-export", "-", "t"), False),
        ("operator", "s3:PutObject", layout.base_model("tiny", "1") + "config.json", True),
        ("operator", "s3:PutObject", layout.ref("poems", "production"), True),
        ("worker", "s3:PutObject", layout.ref("poems", "production"), False),
    ],
)
def test_a_role_may_do_its_own_work_and_not_another_s(role: str, action: str, key: str, expected: bool) -> None:
    assert allowed(role, action, key) is expected


def test_every_request_to_s3_is_known_and_each_right_is_needed() -> None:
    asked = {
        node.func.attr
        for path in sorted((ROOT / "worker/storage").glob("s3*.py"))
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)
        # self._client.put_object(...) in one file, self.client.upload_part(...) in the other.
        and isinstance(node.func.value, ast.Attribute) and node.func.value.attr in {"client", "_client"}
    }  # fmt: skip
    assert asked == set(NEEDED)
    given = {LIST, *(action for actions in ACTIONS.values() for action in actions)}
    assert given == set().union(*NEEDED.values())


@pytest.mark.parametrize("role", ROLES)
def test_a_policy_is_about_one_bucket_and_its_folder(role: str) -> None:
    made = policy(role, "s3://bucket/team/a/")
    resources = [resource for statement in made["Statement"] for resource in statement["Resource"]]
    assert all(resource.startswith("arn:aws:s3:::bucket/team/a/") for resource in resources[1:])
    assert resources[0] == "arn:aws:s3:::bucket"
    assert made["Statement"][0]["Condition"] == {"StringLikeIfExists": {"s3:prefix": ["team/a/*"]}}
    assert not any("*" in action for statement in made["Statement"] for action in statement["Action"])


def test_a_folder_of_a_machine_has_no_policy() -> None:
    with pytest.raises(SettingsError, match="only a bucket in S3"):
        policy("worker", "file:///bucket")


def test_the_command_prints_the_policy_of_the_bucket_that_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORKER_STORAGE_URL", "s3://bucket")
    said = CliRunner().invoke(app, ["bucket", "policy", "trainer"])
    assert said.exit_code == 0
    assert msgspec.json.decode(said.stdout) == policy("trainer", "s3://bucket")
    as_json = CliRunner().invoke(app, ["bucket", "policy", "trainer", "--json"])
    assert as_json.stdout.count("\n") == 1
    assert msgspec.json.decode(as_json.stdout) == policy("trainer", "s3://bucket")


def test_the_command_knows_no_other_roles() -> None:
    said = CliRunner().invoke(app, ["bucket", "policy", "everybody"])
    assert said.exit_code == 2

"""Which files a project may read: what the file of projects says, hostile names, and that nothing else is looked at."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from contracts.task import Phase
from handlers.ports.catalog import PresetDataset
from handlers.ports.store import ObjectInfo, ObjectStore
from handlers.tenancy.projects import ProjectRules, Projects
from tests.fakes.estimation import raises
from tests.fakes.events import event
from tests.fakes.faults import faulty_world
from tests.fakes.samples import Line
from tests.fakes.store import MemoryStore
from tests.fakes.tokens import RowCounter
from tests.fakes.world import World, form, form_event, received, statuses
from worker.app import default_ports
from worker.catalog.projects import load_projects
from worker.settings import Settings, SettingsError
from worker.storage.directory import DirectoryStore
from worker.storage.s3 import S3Store

TEAM_A = Projects(named={"a": ProjectRules(read=("team-a/",)), "b": ProjectRules(read=("team-b/",))})
S3 = S3Store(None, "bucket")


def _settings(tmp_path: Path, text: str, **fields: Any) -> Settings:
    file = tmp_path / "projects.toml"
    file.write_text(text)
    return Settings(projects_file=file, **fields)


@pytest.mark.parametrize(
    ("project", "key", "allowed"),
    [
        ("a", "uploads/a/x.jsonl", True),
        ("a", "shared/x.jsonl", True),
        ("a", "uploads/b/x.jsonl", False),
        ("a", "uploads/ab/x.jsonl", False),
        ("a", "uploads/a", False),
        ("lab", "lab/x.jsonl", True),
        ("lab", "uploads/lab/x.jsonl", False),
        ("nothing", "shared/x.jsonl", False),
        ("..", "uploads/../x.jsonl", False),
        (".", "uploads/./x.jsonl", False),
    ],
)
def test_a_project_s_own_list_holds_and_else_that_of_every_project(
    tmp_path: Path, project: str, key: str, *, allowed: bool
) -> None:
    text = """
    [every_project]
    read = ["s3://bucket/uploads/{project}/", "s3://bucket/shared/"]
    [projects.lab]
    read = ["s3://bucket/lab/"]
    [projects.nothing]
    read = []
    """
    projects = load_projects(_settings(tmp_path, text), S3)
    assert projects.may_read(project, key) is allowed


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "[projects.A]\nrunning_task = 2",
            "projects.A: unknown key 'running_task'; did you mean 'running_tasks'? there are running_tasks, gpu_hours",
        ),
        ("[project.A]", "unknown key 'project'; did you mean 'projects'? there are every_project, projects, platform"),
        ("[projects.A]\n[projects.B]\nrunning_tasks = 'two'", "projects.B.running_tasks: Expected `int | null`"),
        ("[projects.'a b']", "projects.a b: Expected `str` matching"),
    ],
)
def test_a_fault_of_the_file_is_said_with_its_table_and_the_known_keys(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(SettingsError) as error:
        load_projects(_settings(tmp_path, text), S3)
    assert str(error.value).startswith(f"{tmp_path / 'projects.toml'}: {said}")


def test_whom_a_list_does_not_name_may_read_nothing_and_without_any_list_all_is_read(tmp_path: Path) -> None:
    projects = load_projects(_settings(tmp_path, "[projects.a]\nread = ['s3://bucket/']"), S3)
    assert projects.may_read("a", "anything")
    assert not projects.may_read("b", "anything")
    for unrestricted in (load_projects(Settings(), S3), load_projects(_settings(tmp_path, "[projects.a]"), S3)):
        assert unrestricted.may_read("b", "anything")


def test_the_prefix_of_the_bucket_s_own_url_is_part_of_what_is_allowed(tmp_path: Path) -> None:
    store = S3Store(None, "bucket", "ours/")
    assert load_projects(_settings(tmp_path, "[projects.a]\nread = ['s3://bucket/ours/a/']"), store).may_read(
        "a", "a/x"
    )
    with pytest.raises(SettingsError, match="its own bucket alone"):
        load_projects(_settings(tmp_path, "[projects.a]\nread = ['s3://bucket/a/']"), store)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[projects.a]\nread = ['s3://bucket/team-a']", "would allow 's3://bucket/team-ab/' too"),
        ("[projects.a]\nread = ['s3://bucket-2/team-a/']", "its own bucket alone"),
        ("[projects.a]\nread = ['s3://bucket/team-a/../']", "its own bucket alone"),
        ("[projects.a]\nread = ['team-a/']", "its own bucket alone"),
        ("[projects.a]\nread = ['s3://bucket/{name}/']", "only {project} is replaced"),
        ("[projects.a]\nreads = []", "reads"),
        ("[projects.'a/b']", "projects"),
        ("[every_projects]", "every_projects"),
        ("[every_project]\nmodel_retention_days = 0", "model_retention_days"),
        ("[platform]\nmodel_retention_days = 1", "model_retention_days"),
        ("[", "is not TOML"),
    ],
)
def test_a_file_that_cannot_be_used_is_refused_with_the_place(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(SettingsError) as caught:
        load_projects(_settings(tmp_path, text), S3)
    assert words in str(caught.value)
    assert "projects.toml" in str(caught.value)


def test_a_project_s_models_are_kept_as_long_as_the_file_says(tmp_path: Path) -> None:
    text = "[every_project]\nmodel_retention_days = 90\n[projects.lab]\nmodel_retention_days = 0.5\n[projects.a]"
    projects = load_projects(_settings(tmp_path, text), S3)
    assert [projects.model_retention(name) for name in ("lab", "a", "other")] == [
        timedelta(hours=12),
        timedelta(days=90),
        timedelta(days=90),
    ]
    assert Projects().model_retention("a") is None


async def test_the_setting_names_the_file(tmp_path: Path) -> None:
    url = (tmp_path / "bucket").as_uri()
    settings = _settings(tmp_path, f"[projects.a]\nread = ['{url}/team-a/']", storage_url=url)
    async with default_ports(settings, []) as ports:
        assert ports["projects"].may_read("a", "team-a/x")
        assert not ports["projects"].may_read("b", "team-a/x")


#: What some turn into two dots.
DOTS = "\uff0e\uff0e"
#: What may be written where a URI belongs. Each is built on the bucket's own address.
HOSTILE = [
    "{bucket}/team-b/secret.jsonl",
    "{bucket}/team-ab/secret.jsonl",
    "{bucket}/team-a",
    "{bucket}/team-a/",
    "{bucket}/team-a/../team-b/secret.jsonl",
    "{bucket}/team-a/%2e%2e/team-b/secret.jsonl",
    "{bucket}/team-a/%2E%2E%2Fteam-b%2Fsecret.jsonl",
    "{bucket}/team-a/%252e%252e/team-b/secret.jsonl",
    "{bucket}/team-a/..;/team-b/secret.jsonl",
    "{bucket}/team-a/..\\team-b\\secret.jsonl",
    "{bucket}/team-a\\..\\team-b\\secret.jsonl",
    "{bucket}/team-a//team-b/secret.jsonl",
    "{bucket}//team-a/secret.jsonl",
    "{bucket}/./team-a/secret.jsonl",
    "{bucket}/team-a/./secret.jsonl",
    "{bucket}/team-a/secret.jsonl\0.jsonl",
    "{bucket}/team-a/\0/../../team-b/secret.jsonl",
    "{bucket}/team-a/%00/secret.jsonl",
    "{bucket}/team\u2010a/secret.jsonl",
    "{bucket}/\uff54eam-a/secret.jsonl",
    "{bucket}/team-a/" + DOTS + "/team-b/secret.jsonl",
    "{bucket}/TEAM-A/secret.jsonl",
    "{bucket}-2/team-a/secret.jsonl",
    "{bucket}.evil.example/team-a/secret.jsonl",
    "{bucket}@evil.example/team-a/secret.jsonl",
    "{bucket}/team-b/secret.jsonl?/team-a/",
    "{bucket}/team-b/secret.jsonl#/team-a/",
    "file:///etc/passwd",
    "file://localhost/etc/passwd",
    "file:/etc/passwd",
    "file:etc/passwd",
    "FILE:///etc/passwd",
    "/etc/passwd",
    "../../etc/passwd",
    "team-a/secret.jsonl",
    "//bucket/team-a/secret.jsonl",
    "https://169.254.169.254/latest/meta-data/",
    "s3://",
    "s3:///team-a/secret.jsonl",
    "s3://bucket",
    " ",
    "a" * 2048,
]


class _Everywhere(MemoryStore):
    """A bucket that takes URIs as a real one does, has an object under every key, and notes which are looked for."""

    def __init__(self, real: ObjectStore) -> None:
        super().__init__()
        self.uri, self.key = real.uri, real.key  # type: ignore[method-assign]
        self.looked: list[str] = []

    async def head(self, key: str) -> ObjectInfo | None:
        self.looked.append(key)
        return ObjectInfo(key, "etag", 1)


def _stores(tmp_path: Path) -> list[tuple[str, ObjectStore]]:
    return [("s3://bucket", S3), (f"file://{tmp_path}/bucket", DirectoryStore(tmp_path / "bucket"))]


@pytest.mark.parametrize("template", HOSTILE)
async def test_no_name_leads_to_anything_but_what_is_below_the_project_s_prefix(tmp_path: Path, template: str) -> None:
    for bucket, real in _stores(tmp_path):
        store = _Everywhere(real)
        files = [{"uri": template.replace("{bucket}", bucket)}]
        imported = event("dataset.imported", {"dataset_id": "d-1", "project": "a", "files": files})
        (said,) = (await _tenants(store).deliver("dataset-validation", imported)).events
        for key in store.looked:
            assert key.startswith("team-a/")
            assert key.split("/")[1] != "" or key == "team-a/"
            assert ".." not in key.split("/")
        assert (said.topic == "dataset.validated") == bool(store.looked)


async def test_of_hostile_names_only_those_that_are_literal_names_below_the_prefix_are_looked_for(
    tmp_path: Path,
) -> None:
    found = {}
    for bucket, real in _stores(tmp_path):
        store = _Everywhere(real)
        for number, template in enumerate(HOSTILE):
            files = [{"uri": template.replace("{bucket}", bucket)}]
            body = {"dataset_id": f"d-{number}", "project": "a", "files": files}
            await _tenants(store).deliver("dataset-validation", event("dataset.imported", body))
        found[bucket.partition(":")[0]] = sorted(set(store.looked))
    literal = [
        "team-a/..;/team-b/secret.jsonl",
        "team-a/..\\team-b\\secret.jsonl",
        f"team-a/{DOTS}/team-b/secret.jsonl",
    ]
    encoded = ["team-a/%252e%252e/team-b/secret.jsonl", "team-a/%2E%2E%2Fteam-b%2Fsecret.jsonl"]
    encoded += ["team-a/%2e%2e/team-b/secret.jsonl", "team-a/%00/secret.jsonl"]
    assert found["s3"] == sorted([*literal, *encoded, "team-a/"])
    assert found["file"] == sorted([*literal, "team-a/%2e%2e/team-b/secret.jsonl", "team-a/"])


async def test_a_link_from_one_project_s_files_to_another_s_is_not_followed(tmp_path: Path) -> None:
    bucket = tmp_path / "bucket"
    for team in ("team-a", "team-b"):
        (bucket / team).mkdir(parents=True)
    (bucket / "team-b" / "secret.jsonl").write_text("{}\n")
    (bucket / "team-a" / "link.jsonl").symlink_to(bucket / "team-b" / "secret.jsonl")
    (bucket / "team-a" / "folder").symlink_to(bucket / "team-b")
    store = _Everywhere(DirectoryStore(bucket))
    for name in ("link.jsonl", "folder/secret.jsonl"):
        files = [{"uri": f"file://{bucket}/team-a/{name}"}]
        imported = event("dataset.imported", {"dataset_id": "d-1", "project": "a", "files": files})
        (said,) = (await _tenants(store).deliver("dataset-validation", imported)).events
        assert "not in this platform's bucket" in received(said).data.message
    assert store.looked == []


def _tenants(store: MemoryStore | None = None) -> World:
    world = World(store)
    world.ports["projects"] = TEAM_A
    return world


async def _imported(world: World, dataset_id: str, project: str, key: str, **more: Any) -> Any:
    await world.store.put(key, b"{}\n")
    body = {"dataset_id": dataset_id, "project": project, "files": [{"uri": world.store.uri(key)}]} | more
    return event("dataset.imported", body)


async def test_what_is_below_it_is_read_and_what_is_not_is_named_with_the_remedy_and_nothing_of_it_is_read() -> None:
    world, faults = faulty_world()
    world.ports["projects"] = TEAM_A
    good = await _imported(world, "d-1", "a", "team-a/x.jsonl")
    assert [said.topic for said in (await world.deliver("dataset-validation", good)).events] == ["dataset.validated"]
    bad = await _imported(world, "d-2", "a", "team-b/x.jsonl")
    before = len(faults.calls)
    (said,) = (await world.deliver("dataset-validation", bad)).events
    verdict = received(said).data
    assert (said.topic, verdict.reason, verdict.project) == ("dataset.rejected", "unreadable", "a")
    assert f"{world.store.uri('team-b/x.jsonl')}: project a may not read this file" in verdict.message
    assert f"copy the file below {world.store.uri('team-a/')} first" in verdict.message
    assert not [call for call in faults.calls[before:] if "team-b" in call]
    assert world.scanner.scans == 1


async def test_a_task_may_not_train_on_what_another_project_imported() -> None:
    world = _tenants()
    await world.run(await _imported(world, "d-1", "b", "team-b/x.jsonl"))
    said = await world.run(form_event("t-1", "d-1", project="a"))
    status = statuses(said)[-1]
    assert (status.phase, status.reason, status.party) == (Phase.FAILED, "dataset-not-allowed", "user")
    assert "dataset d-1: memory://bucket/team-b/x.jsonl: project a may not read this file" in status.message
    said = await world.run(form_event("t-2", "d-1", project="b"))
    assert statuses(said)[-1].phase is Phase.QUEUED


async def test_nor_is_its_fee_said_of_a_draft_that_names_it() -> None:
    world = _tenants()
    await world.run(await _imported(world, "d-1", "b", "team-b/x.jsonl"))
    world.ports["tokens"] = raises(AssertionError("counted"))
    draft = form("t-1", "d-1", "d-2")
    said = await world.run(await _imported(world, "d-2", "a", "team-a/x.jsonl", draft=draft))
    (quote,) = [received(each).data.quote for each in said if each.topic == "cost.estimated"]
    assert (quote.amount, quote.items) == (None, ())
    assert any("dataset d-1: memory://bucket/team-b/x.jsonl: project a may not read" in each for each in quote.missing)


async def test_preset_datasets_are_the_platform_s_and_read_for_everybody() -> None:
    world = _tenants()
    world.ports["projects"] = Projects(
        named={"a": ProjectRules(read=("team-a/",)), "platform": ProjectRules(read=("",))}
    )
    world.ports["tokens"] = RowCounter(world.store, {"x": [Line(1)], "preset": [Line(2)]})
    world.catalog.preset_datasets = [PresetDataset(dataset_id="preset", version="1")]
    await world.run(await _imported(world, "preset", "platform", "platform/preset.jsonl"))
    await world.run(await _imported(world, "d-1", "a", "team-a/x.jsonl"))
    said = await world.run(form_event("t-1", "d-1", project="a", preset_mix={"percent": 50}))
    assert statuses(said)[-1].phase is Phase.QUEUED
    said = await world.run(form_event("t-2", "preset", project="a"))
    assert statuses(said)[-1].reason == "dataset-not-allowed"

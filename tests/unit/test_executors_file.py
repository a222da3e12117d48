"""Which executor serves which task: what the file says, what is refused, and how tasks and attempts hold to it."""

import re
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import msgspec
import pytest

from contracts.task import Phase
from contracts.training import TrainingDispatched
from handlers import layout
from handlers.errors import Unavailable
from handlers.exported_files import model_id
from handlers.planning.plan import Plan
from handlers.ports.executors import Choice, Executors
from handlers.ports.jobs import Resources
from handlers.table import STAGES
from handlers.task_state import TaskState
from tests.conformance.engines import ELSEWHERE, POSSIBLE
from tests.fakes.executor import FakeExecutor
from tests.fakes.executors import FakeExecutors
from tests.fakes.swept import PATIENCE, Swept
from tests.fakes.world import World, command_event, form_event, received
from worker.app import default_ports
from worker.catalog.executors import load_placement
from worker.doctor.engines import REMEDIES, check_engines
from worker.executors import local_gpus
from worker.executors.configured import ConfiguredExecutors, open_executors
from worker.executors.local import LocalExecutor
from worker.executors.registry import MODULES, refusal
from worker.settings import Settings, SettingsError

ROOT = Path(__file__).parents[2]
RULES = """
[[rules]]
project = "research"
model = "tiny"
executor = "local"
time_limit_seconds = 3600

[[rules]]
training_type = "DPO"
executor = "local"
time_limit_seconds = 7200

[[rules]]
executor = "local"
"""


@pytest.fixture(autouse=True)
def _two_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(local_gpus.VISIBLE, "0,1")


def _settings(tmp_path: Path, text: str, **fields: Any) -> Settings:
    file = tmp_path / "executors.toml"
    file.write_text(text)
    return Settings(executors_file=file, work_dir=tmp_path, **fields)


@pytest.mark.parametrize(
    ("project", "model", "training_type", "limit"),
    [
        ("research", "tiny", "DPO", 3600),
        ("research", "other", "DPO", 7200),
        ("default", "tiny", "DPO", 7200),
        ("research", "other", "FinetuneSft", None),
    ],
)
def test_the_first_rule_that_fits_holds(
    tmp_path: Path, project: str, model: str, training_type: str, limit: int | None
) -> None:
    placement = load_placement(_settings(tmp_path, RULES))
    assert placement.choose(project, model, training_type) == Choice("local", Resources(time_limit_seconds=limit))


def test_where_nothing_is_set_everything_runs_locally() -> None:
    placement = load_placement(Settings())
    assert placement.names == ("local",)
    assert placement.choose("any", "any", "Pretrain") == Choice("local", Resources())


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("rules = []", ": rules: Expected `array` of length >= 1"),
        (
            "[[rules]]\nexecutor = 'local'\ngpu = 1",
            r"rules\[0\]: unknown key 'gpu'; did you mean 'gpus'\? there are executor, project",
        ),
        ("[[rules]]\nexecutor = 'local'\ngpus = -1", "gpus"),
        (
            "[[rules]]\nexecutor = 'local'\ntraining_type = 'Dpo'",
            r"rules\[0\]\.training_type: 'Dpo' is not known; did you mean 'DPO'\?",
        ),
        ("[[rules]]\nexecutor = 'locl'", "no executor 'locl'; did you mean local?"),
        (
            "executors = ['mainframe']\n[[rules]]\nexecutor = 'local'",
            "no executor 'mainframe'; there are kubernetes, local",
        ),
        ("[[rules]]\nexecutor = 'local'\nproject = 'a'", r"rules\[0\]: the last rule must fit every task"),
        (RULES + "[[rules]]\nexecutor = 'local'", r"rules\[3\] never holds: rules\[2\] fits"),
        (
            "[[rules]]\nexecutor = 'local'\nmodel = 'm'\n" * 2 + "[[rules]]\nexecutor = 'local'",
            r"rules\[1\] never holds: rules\[0\] fits",
        ),
        ("[[rules]]\nexecutor = 'local'\nnodes = 2", r"rules\[0\]: local is one machine, and cannot give 2 nodes"),
        ("[[rules]]\nexecutor = 'local'\ngpus = 3", r"cannot give 3 GPUs, it has 2"),
        ("[[rules]]\nexecutor = 'ray'\nnodes = 2", r"rules\[0\]: 2 nodes: a Ray job's entrypoint runs on one"),
        ("executor = 'local'", "executor"),
        ("[[rules", "is not TOML"),
    ],
)
def test_what_could_only_go_wrong_later_is_refused_with_its_place(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(SettingsError, match=words) as error:
        load_placement(_settings(tmp_path, text))
    assert "executors.toml" in str(error.value)


def test_gpus_take_slots_and_those_that_are_set_must_do(tmp_path: Path) -> None:
    text = "[[rules]]\nexecutor = 'local'\ngpus = 2"
    assert load_placement(_settings(tmp_path, text)).rules[0].gpus == 2
    with pytest.raises(SettingsError, match="WORKER_LOCAL_SLOTS is 1; raise it to 2"):
        load_placement(_settings(tmp_path, text, local_slots=1))


@pytest.mark.parametrize("name", MODULES)
def test_every_executor_of_the_registry_has_what_it_must_have(name: str) -> None:
    assert callable(getattr(import_module(MODULES[name]), f"{name}_executor"))
    assert refusal(name, Settings(), Resources()) is None


def test_every_executor_of_the_registry_is_put_through_the_suite_or_is_a_named_exception() -> None:
    assert sorted([*POSSIBLE, *ELSEWHERE]) == sorted(MODULES)
    assert [file for file in ELSEWHERE.values() if not (ROOT / file).is_file()] == []


def test_every_executor_of_the_registry_has_a_remedy_for_its_silence_and_a_row_for_operators() -> None:
    assert sorted(REMEDIES) == sorted(MODULES)
    page = (ROOT / "docs/OPERATIONS.md").read_text("utf-8").split("## Where tasks run")[1].split("\n## ")[0]
    assert sorted(re.findall(r"^\| `(\w+)` \|", page, re.MULTILINE)) == sorted(MODULES)


# --- those that are configured ---------------------------------------------------------------------------------


def test_an_executor_whose_client_is_not_installed_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(sys.modules, MODULES["kubernetes"], raising=False)
    for name in ["lightkube", *(name for name in sys.modules if name.startswith("lightkube."))]:
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(SettingsError, match=r"needs lightkube.*: install this package with the extra 'kubernetes'"):
        load_placement(_settings(tmp_path, "[[rules]]\nexecutor = 'kubernetes'"))


async def test_an_executor_that_is_not_configured_is_waited_for_and_says_how_to_get_it(tmp_path: Path) -> None:
    async with open_executors(_settings(tmp_path, RULES)) as executors:
        port: Executors = executors
        assert isinstance(port.of("local"), LocalExecutor)
        assert [executor.name for executor in port.every()] == ["local"]
        with pytest.raises(Unavailable, match=r"'slurm' is not configured here .*WORKER_EXECUTORS_FILE"):
            port.of("slurm")


async def test_a_worker_that_dispatches_nothing_needs_no_executor(tmp_path: Path) -> None:
    settings = _settings(tmp_path, "not TOML", storage_url=(tmp_path / "bucket").as_uri(), cpu_workers=1)
    validating = [stage for stage in STAGES if stage.name == "dataset-validation"]
    async with default_ports(settings, validating) as ports:
        assert "executors" not in ports
    with pytest.raises(SettingsError, match="is not TOML"):
        async with default_ports(settings):
            pass


# --- what a task holds to ----------------------------------------------------------------------------------------

PLACED = Choice("slurm", Resources(gpus=4, nodes=2, time_limit_seconds=60))


def _world() -> tuple[World, FakeExecutors, FakeExecutor, FakeExecutor]:
    world, slurm, ray = World(), FakeExecutor("slurm"), FakeExecutor("ray")
    executors = FakeExecutors(world.executor, slurm, ray)
    executors.choice = PLACED
    world.ports["executors"] = executors
    return world, executors, slurm, ray


async def test_a_dispatched_task_says_where_it_runs_everywhere() -> None:
    world, executors, slurm, _ = _world()
    said = await world.run(await world.import_dataset("d-1", b"{}\n"), form_event(project="research"))
    assert executors.chosen_for == [("research", "tiny", "FinetuneLoRA")]
    (spec,) = slurm.submits
    assert (spec.project, spec.resources) == ("research", PLACED.resources)
    assert world.executor.submits == []
    state = await world.state("t-1")
    assert (state.executor, state.resources) == PLACED
    plan = msgspec.json.decode(world.store.objects[layout.task("t-1", "plan")], type=Plan)
    assert (plan.executor, plan.resources) == PLACED
    (dispatched,) = [received(each).data for each in said if each.topic == "training.dispatched"]
    assert isinstance(dispatched, TrainingDispatched)
    assert dispatched.executor == "slurm"


async def test_an_attempt_stays_where_it_is_and_the_next_one_goes_where_the_rules_say_then() -> None:
    world, executors, slurm, ray = _world()
    swept = Swept(world)
    await world.dispatched()
    await world.progress("running", 1)
    executors.choice = Choice("ray", Resources(gpus=1))
    slurm.exit_on_cancel = None
    await swept.sweep()
    await world.run(command_event("pause"))
    assert slurm.cancels
    slurm.lose("t-1", 1)
    await swept.sweep()
    await swept.sweep(after=PATIENCE)
    await world.run(command_event("resume"))
    await swept.sweep()
    assert [(spec.attempt, spec.resources) for spec in ray.submits] == [(2, Resources(gpus=1))]
    assert [said.executor for said in swept.dispatched()] == ["ray"]
    await world.progress("succeeded", 2, attempt=2, outputs=[await world.leave_output(attempt=2)])
    (completing,) = (await world.progress("running", 0, attempt=2)).events
    await world.run(received(completing))
    assert (await world.state("t-1")).phase is Phase.COMPLETED
    manifest = world.store.objects[layout.model(model_id("t-1", 2, 10)) + "manifest.json"]
    assert msgspec.json.decode(manifest)["lineage"]["executor"] == "ray"


async def test_a_redelivered_dispatch_holds_to_the_plan_whatever_the_rules_say_now() -> None:
    world, executors, slurm, ray = _world()
    await world.deliver("dataset-validation", await world.import_dataset("d-1", b"{}\n"))
    slurm.available = False
    await world.deliver("training-dispatch", form_event())
    (receipt,) = world.keys("receipts/training-dispatch/")
    del world.store.objects[receipt]  # the crash: decided, but not recorded
    executors.choice = Choice("ray", Resources())
    slurm.available = True
    (said, _) = (await world.deliver("training-dispatch", form_event())).events
    assert received(said).data.executor == "slurm"
    assert (len(slurm.submits), len(ray.submits)) == (1, 0)


async def test_a_dispatch_redelivered_during_a_later_attempt_says_the_first_one_again() -> None:
    world, executors, slurm, _ = _world()
    swept = Swept(world)
    await world.deliver("dataset-validation", await world.import_dataset("d-1", b"{}\n"))
    first = await world.deliver("training-dispatch", form_event())
    (receipt,) = world.keys("receipts/training-dispatch/")
    del world.store.objects[receipt]  # the crash: submitted, but not recorded
    slurm.lose("t-1", 1)
    executors.choice = Choice("ray", Resources())
    await swept.sweep()
    await swept.sweep(after=PATIENCE)
    assert (await world.state("t-1")).attempt == 2
    again = await world.deliver("training-dispatch", form_event())
    assert again.events[0].id == first.events[0].id
    assert (received(again.events[0]).data.attempt, received(again.events[0]).data.executor) == (1, "slurm")


async def test_tasks_of_an_executor_that_is_gone_from_the_configuration_wait_and_the_others_do_not() -> None:
    world, *_ = _world()
    swept = Swept(world)
    await world.dispatched("t-1", "d-1")
    world.ports["executors"] = FakeExecutors(world.executor)
    await world.dispatched("t-2", "d-2")
    swept.reconciler = swept.another()
    world.executor.lose("t-2", 1)
    await swept.sweep()
    await swept.sweep(after=PATIENCE)
    assert (await world.state("t-1")).attempt == 1
    assert (await world.state("t-2")).attempt == 2
    with pytest.raises(Unavailable):
        await world.deliver("task-command", command_event("stop", "t-1"))
    assert (await world.state("t-1")).desired == "stop"


def test_a_state_and_a_spec_of_before_are_local_and_ask_for_nothing() -> None:
    state = msgspec.json.decode(b'{"task_id": "t-1", "phase": "Running", "attempt": 1}', type=TaskState)
    assert (state.executor, state.resources) == ("local", Resources())


async def test_an_executor_whose_own_settings_are_missing_is_refused_by_the_check_too(tmp_path: Path) -> None:
    settings = _settings(tmp_path, "[[rules]]\nexecutor = 'slurm'", storage_url=(tmp_path / "bucket").as_uri())
    with pytest.raises(SettingsError, match="WORKER_SLURM_JOBS_DIR is not set"):
        async with open_executors(settings):
            pass
    (finding,) = await check_engines(settings)
    assert finding.mark == "wrong"
    assert finding.text.startswith("WORKER_SLURM_JOBS_DIR is not set")


def test_configured_executors_are_the_port(tmp_path: Path) -> None:
    placement = load_placement(_settings(tmp_path, RULES))
    port: Executors = ConfiguredExecutors(placement, {"local": FakeExecutor()})
    assert port.of("local").name == "local"

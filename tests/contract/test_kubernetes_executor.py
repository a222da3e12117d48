"""Contract tests of the Kubernetes adapter, against an API server that answers as documented. No real one was met."""

import asyncio
from collections.abc import AsyncIterator
from copy import deepcopy
from pathlib import Path

import pytest
import yaml
from lightkube.config.kubeconfig import KubeConfig
from lightkube.config.models import Cluster, User
from lightkube.core.async_client import AsyncClient

from handlers.errors import Unavailable
from handlers.ports.jobs import EndCause, JobListed, JobSpec, JobStatus, Resources
from tests.contract.kubernetes_api import TOKEN, KubernetesApi, serving
from worker.executors.kubernetes import KubernetesExecutor, kubernetes_executor
from worker.executors.kubernetes_manifest import PodSettings
from worker.executors.namespace import namespace_of
from worker.executors.remote import SPEC_VARIABLE, engine_name
from worker.settings import Settings, SettingsError

pytestmark = pytest.mark.contract

UNKNOWN, QUEUED, RUNNING = (JobStatus(state=state) for state in ("unknown", "queued", "running"))


def ended(exit_code: int | None) -> JobStatus:
    return JobStatus(state="ended", exit_code=exit_code)


def spec(job_id: str = "a", attempt: int = 1, plan: str = "p", **resources: int) -> JobSpec:
    return JobSpec(
        job_id=job_id,
        task_id="t",
        attempt=attempt,
        plan_key=plan,
        attempt_prefix="a/",
        resources=Resources(**resources),
    )


def name(wanted: JobSpec) -> str:
    return engine_name("mine", wanted.job_id, wanted.attempt)


@pytest.fixture
def api() -> KubernetesApi:
    return KubernetesApi()


@pytest.fixture
async def url(api: KubernetesApi) -> AsyncIterator[str]:
    async with serving(api) as url:
        yield url


def executor_on(url: str, owner: str = "mine", token: str = TOKEN) -> KubernetesExecutor:
    config = KubeConfig.from_one(cluster=Cluster(server=url), user=User(token=token), namespace="training")
    pods = PodSettings(image="i", grace_seconds=30)
    return KubernetesExecutor(AsyncClient(config), lambda wanted: {"JOB": wanted.job_id}, owner=owner, pods=pods)


@pytest.fixture
async def executor(url: str) -> AsyncIterator[KubernetesExecutor]:
    made = executor_on(url)
    yield made
    await made.close()
    await made.close()


#: A job on one node is a Job, one on two a TrainJob.
BOTH = pytest.mark.parametrize("wanted", [spec(gpus=1), spec(nodes=2)], ids=["job", "train-job"])


@BOTH
async def test_a_job_waits_runs_and_ends_well(
    api: KubernetesApi, executor: KubernetesExecutor, wanted: JobSpec
) -> None:
    await executor.submit(wanted)
    assert await executor.status("a", 1) == QUEUED
    pod = api.start_pod(name(wanted), "Pending")
    assert await executor.status("a", 1) == QUEUED
    api.start_pod(name(wanted))
    assert await executor.status("a", 1) == RUNNING
    api.end_pod(pod, 0)
    # Its controller has not counted the pod yet: no reason to say that it waits again.
    assert await executor.status("a", 1) == RUNNING
    api.conclude(name(wanted), "Complete")
    assert await executor.status("a", 1) == ended(0)


@BOTH
@pytest.mark.parametrize(("container_says", "code"), [(3, 3), (137, -9), (143, -15), (128, 128)])
async def test_a_failure_is_told_by_exit_code_or_signal(
    api: KubernetesApi, executor: KubernetesExecutor, wanted: JobSpec, container_says: int, code: int
) -> None:
    await executor.submit(wanted)
    api.end_pod(api.start_pod(name(wanted)), 0)
    api.end_pod(api.start_pod(name(wanted), number=1), container_says)
    api.conclude(name(wanted), "Failed")
    assert await executor.status("a", 1) == ended(code)


async def test_a_job_whose_pod_was_evicted_has_no_exit_code(api: KubernetesApi, executor: KubernetesExecutor) -> None:
    await executor.submit(spec())
    api.start_pod(name(spec()), "Failed")
    api.conclude(name(spec()), "Failed")
    assert await executor.status("a", 1) == ended(None)


@BOTH
async def test_who_is_over_the_time_limit_is_told_so_unless_cancelled(
    api: KubernetesApi, executor: KubernetesExecutor, wanted: JobSpec
) -> None:
    await executor.submit(wanted)
    api.conclude(name(wanted), "Failed", "DeadlineExceeded")
    assert await executor.status("a", 1) == JobStatus(state="ended", cause="time-limit")
    api.objects["jobs"].clear()
    api.objects["trainjobs"].clear()
    await executor.submit(wanted)
    await executor.cancel("a", 1, 30)
    api.conclude(name(wanted), "Failed", "DeadlineExceeded")
    assert await executor.status("a", 1) == ended(None)


@pytest.mark.parametrize(
    ("reason", "cause"),
    [
        ("PreemptionByScheduler", "preempted"),
        ("EvictionByEvictionAPI", "preempted"),
        ("DeletionByTaintManager", "node-failed"),
        ("SomethingNew", None),
    ],
)
async def test_a_pod_that_was_taken_away_says_why(
    api: KubernetesApi, executor: KubernetesExecutor, reason: str, cause: EndCause | None
) -> None:
    await executor.submit(spec())
    api.disrupt(api.start_pod(name(spec())), reason)
    api.conclude(name(spec()), "Failed", "BackoffLimitExceeded")
    assert await executor.status("a", 1) == JobStatus(state="ended", cause=cause)


async def test_a_container_without_memory_is_told_from_one_that_was_killed(
    api: KubernetesApi, executor: KubernetesExecutor
) -> None:
    await executor.submit(spec())
    api.end_pod(api.start_pod(name(spec())), 137, "OOMKilled")
    api.conclude(name(spec()), "Failed", "BackoffLimitExceeded")
    assert await executor.status("a", 1) == JobStatus(state="ended", exit_code=-9, cause="out-of-memory")


@BOTH
async def test_the_same_submit_again_is_the_same_job(
    api: KubernetesApi, executor: KubernetesExecutor, wanted: JobSpec
) -> None:
    await asyncio.gather(*(executor.submit(wanted) for _ in range(8)))
    assert len(api.objects["jobs"]) + len(api.objects["trainjobs"]) == 1
    before = str(api.objects)
    await executor.submit(wanted)
    assert str(api.objects) == before


@BOTH
async def test_another_spec_under_the_same_handle_is_refused(executor: KubernetesExecutor, wanted: JobSpec) -> None:
    await executor.submit(wanted)
    with pytest.raises(ValueError, match="another spec"):
        await executor.submit(spec(plan="other", nodes=wanted.resources.nodes))


async def test_an_unknown_job_is_a_state_and_no_error(executor: KubernetesExecutor) -> None:
    assert await executor.status("never", 1) == UNKNOWN
    await executor.cancel("never", 1, 5)
    assert await executor.logs("never", 1) == ("", 0)
    await executor.forget("never", 1)
    assert await executor.jobs() == []


@BOTH
async def test_a_job_cancelled_while_it_waits_never_runs_and_stays_known(
    api: KubernetesApi, executor: KubernetesExecutor, wanted: JobSpec
) -> None:
    await executor.submit(wanted)
    api.start_pod(name(wanted), "Pending")
    await executor.cancel("a", 1, 30)
    await executor.cancel("a", 1, 30)
    assert api.objects["pods"] == {}
    assert await executor.status("a", 1) == ended(None)
    # A submit that was still on its way does not bring it back.
    await executor.submit(wanted)
    assert await executor.status("a", 1) == ended(None)


@BOTH
async def test_a_cancelled_job_has_its_grace_and_runs_until_its_pod_is_gone(
    api: KubernetesApi, executor: KubernetesExecutor, wanted: JobSpec
) -> None:
    await executor.submit(wanted)
    pod = api.start_pod(name(wanted))
    await executor.cancel("a", 1, 20)
    assert api.graces[pod] == 20
    assert await executor.status("a", 1) == RUNNING
    await executor.cancel("a", 1, 0.2)
    assert api.graces[pod] == 1
    api.end_pod(pod, 137)
    assert await executor.status("a", 1) == ended(-9)


async def test_an_ended_job_is_not_cancelled(api: KubernetesApi, executor: KubernetesExecutor) -> None:
    await executor.submit(spec())
    api.conclude(name(spec()), "Complete")
    await executor.cancel("a", 1, 30)
    assert await executor.status("a", 1) == ended(0)
    assert not any(request.startswith("PATCH") for request in api.requests)


async def test_the_log_is_read_on_from_a_cursor_by_whole_lines(
    api: KubernetesApi, executor: KubernetesExecutor
) -> None:
    await executor.submit(spec())
    pod = api.start_pod(name(spec()))
    assert await executor.logs("a", 1) == ("", 0)
    api.printed[pod] = "开始\nstep 1 of"
    text, cursor = await executor.logs("a", 1)
    assert text == "开始\n"
    assert await executor.logs("a", 1, cursor) == ("", cursor)
    api.printed[pod] += " 10\nstep 2"
    api.end_pod(pod, 0)
    api.conclude(name(spec()), "Complete")
    text, end = await executor.logs("a", 1, cursor)
    assert text == "step 1 of 10\nstep 2\n"
    assert await executor.logs("a", 1, end + 100) == ("", end + 100)


@BOTH
async def test_an_ended_job_is_forgotten_with_its_pods_and_a_running_one_is_not(
    api: KubernetesApi, executor: KubernetesExecutor, wanted: JobSpec
) -> None:
    await executor.submit(wanted)
    pod = api.start_pod(name(wanted))
    await executor.forget("a", 1)
    assert await executor.status("a", 1) == RUNNING
    api.end_pod(pod, 0)
    api.conclude(name(wanted), "Complete")
    await executor.forget("a", 1)
    await executor.forget("a", 1)
    assert api.objects == {"jobs": {}, "trainjobs": {}, "pods": {}}


async def test_every_job_of_this_service_is_listed_and_no_other(
    api: KubernetesApi, url: str, executor: KubernetesExecutor
) -> None:
    for number in range(5):  # more than a page
        await executor.submit(spec(f"任务-{number}"))
    await executor.submit(spec("big", attempt=3, nodes=2))
    api.start_pod(name(spec("任务-0")))
    # Label values cannot have every character: these two owners have one label.
    other = executor_on(url, owner="mine-")
    await other.submit(spec("任务-0"))
    assert sorted(await executor.jobs()) == sorted(
        [
            JobListed("任务-0", 1, "running"),
            *(JobListed(f"任务-{number}", 1, "queued") for number in range(1, 5)),
            JobListed("big", 3, "queued"),
        ]
    )
    assert await other.jobs() == [JobListed("任务-0", 1, "queued")]
    await other.close()


async def test_an_object_that_somebody_copied_is_nobodys(api: KubernetesApi, executor: KubernetesExecutor) -> None:
    await executor.submit(spec())
    (job,) = api.objects["jobs"].values()
    for name_, changes in (
        ("copy-1", {"finetune-worker/attempt": "1-copy"}),
        ("copy-2", {"finetune-worker/job-id": ""}),
    ):
        copy = deepcopy(job)
        copy["metadata"]["name"] = name_
        copy["metadata"]["annotations"] |= changes
        api.objects["jobs"][name_] = copy
    assert await executor.jobs() == [JobListed("a", 1, "queued")]


async def test_without_kubeflow_jobs_of_one_node_do_as_ever(api: KubernetesApi, executor: KubernetesExecutor) -> None:
    api.kubeflow = False
    await executor.submit(spec())
    assert await executor.jobs() == [JobListed("a", 1, "queued")]
    assert await executor.status("never", 1) == UNKNOWN
    with pytest.raises(Unavailable, match="404"):
        await executor.submit(spec("big", nodes=2))


async def test_an_api_server_that_does_not_answer_is_unavailable(
    api: KubernetesApi, url: str, executor: KubernetesExecutor
) -> None:
    api.down = True
    for call in (
        executor.submit(spec()),
        executor.status("a", 1),
        executor.cancel("a", 1, 1),
        executor.logs("a", 1),
        executor.jobs(),
        executor.forget("a", 1),
    ):
        with pytest.raises(Unavailable, match="503"):
            await call
    api.down = False
    stranger, nobody = executor_on(url, token="wrong"), executor_on("http://127.0.0.1:9")
    with pytest.raises(Unavailable, match="401"):
        await stranger.status("a", 1)
    with pytest.raises(Unavailable, match="does not answer"):
        await nobody.status("a", 1)
    await stranger.close()
    await nobody.close()


@pytest.fixture
def kubeconfig(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What kubectl would be led by."""
    context = {"cluster": "c", "user": "u", "namespace": "training"}
    config = {
        "current-context": "x",
        "clusters": [{"name": "c", "cluster": {"server": url}}],
        "users": [{"name": "u", "user": {"token": TOKEN}}],
        "contexts": [{"name": "x", "context": context}],
    }
    file = tmp_path / "kubeconfig"
    file.write_text(yaml.safe_dump(config))
    monkeypatch.setenv("KUBECONFIG", str(file))


@pytest.mark.usefixtures("kubeconfig")
async def test_settings_describe_an_executor(api: KubernetesApi, tmp_path: Path) -> None:
    more = tmp_path / "pod.yaml"
    more.write_text("tolerations: [{key: nvidia.com/gpu, operator: Exists}]")
    settings = Settings(kubernetes_image="registry/trainer:1", kubernetes_pod_file=more, kubernetes_secret="keys")
    executor = kubernetes_executor(settings)
    await executor.submit(spec(gpus=1))
    [sent] = api.objects["jobs"].values()
    pod = sent["spec"]["template"]["spec"]
    assert pod["tolerations"] == [{"key": "nvidia.com/gpu", "operator": "Exists"}]
    [container] = pod["containers"]
    assert container["image"] == "registry/trainer:1"
    assert SPEC_VARIABLE in {variable["name"] for variable in container["env"]}
    assert sent["metadata"]["annotations"]["finetune-worker/owner"] == namespace_of(settings)
    await executor.close()


@pytest.mark.parametrize(
    ("more", "said"), [(None, "KUBERNETES_IMAGE"), ("[]", "no pod's spec"), ("{", "cannot be used"), ("", "no pod's")]
)
@pytest.mark.usefixtures("kubeconfig")
def test_settings_that_describe_none_say_what_is_missing(more: str | None, said: str, tmp_path: Path) -> None:
    file = tmp_path / "pod.yaml"
    file.write_text(more or "")
    image = None if more is None else "i"
    with pytest.raises(SettingsError, match=said):
        kubernetes_executor(Settings(kubernetes_image=image, kubernetes_pod_file=file))


def test_where_no_cluster_is_known_it_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "none"))
    with pytest.raises(SettingsError, match="none not found"):
        kubernetes_executor(Settings(kubernetes_image="i"))

"""The Role of deploy/kubernetes is what the executor's requests need, and nothing else. No cluster has judged them."""

import re

import pytest
from lightkube.config.kubeconfig import KubeConfig
from lightkube.config.models import Cluster, User
from lightkube.core.async_client import AsyncClient

from handlers.ports.jobs import JobSpec, Resources
from tests import kustomize
from tests.contract.kubernetes_api import GROUPS, TOKEN, KubernetesApi, serving
from worker.executors.kubernetes import KubernetesExecutor
from worker.executors.kubernetes_manifest import PodSettings
from worker.executors.remote import engine_name

pytestmark = [
    pytest.mark.contract,
    pytest.mark.skipif(not kustomize.possible(), reason="Kustomize, kubectl or Go is needed to render it"),
]

OWNER = "mine"
#: A right: API group, resource, verb.
Right = tuple[str, str, str]


def right_of(request: str) -> Right:
    """Return the right that a request needs, as Kubernetes' documentation of authorization says it."""
    method, path = request.split()
    at = re.fullmatch(r"(.+)/namespaces/training/(\w+)(/[^/]+)?(/log)?", path)
    assert at
    [group] = [prefix for plural, prefix in GROUPS.items() if plural == at[2]]
    verb = {"POST": "create", "PATCH": "patch", "DELETE": "delete", "GET": "get" if at[3] else "list"}[method]
    # The core's API is /api/v1, all others' /apis/<group>/<version>.
    return ("" if group == "/api/v1" else group.split("/")[2], at[2] + (at[4] or ""), verb)


def granted() -> set[Right]:
    [role] = [each for each in kustomize.rendered("base") if each["kind"] == "Role"]
    return {
        (group, resource, verb)
        for rule in role["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }


async def needed() -> set[Right]:
    """Return the rights of everything that the executor can be asked, for a job of either kind."""
    api = KubernetesApi()
    async with serving(api) as url:
        config = KubeConfig.from_one(cluster=Cluster(server=url), user=User(token=TOKEN), namespace="training")
        pods = PodSettings(image="i", grace_seconds=30)
        executor = KubernetesExecutor(AsyncClient(config), lambda _: {}, owner=OWNER, pods=pods)
        for job_id, nodes in (("one", 1), ("several", 2)):
            spec = JobSpec(
                job_id=job_id, task_id="t", attempt=1, plan_key="p", attempt_prefix="a/",
                resources=Resources(nodes=nodes),
            )  # fmt: skip
            await executor.submit(spec)
            await executor.submit(spec)
            name = engine_name(OWNER, job_id, 1)
            pod = api.start_pod(name)
            api.printed[pod] = "step 1\n"
            await executor.logs(job_id, 1)
            await executor.cancel(job_id, 1, 30)
            api.end_pod(pod, 0)
            api.conclude(name, "Complete")
            await executor.status(job_id, 1)
            await executor.jobs()
            await executor.forget(job_id, 1)
        await executor.close()
    return set(map(right_of, api.requests))


async def test_the_role_has_the_rights_that_the_executor_needs_and_no_others() -> None:
    assert granted() == await needed()


def test_no_right_is_a_wildcard() -> None:
    assert not any("*" in part for right in granted() for part in right)

"""An API server that answers as Kubernetes documents it, and controllers and a kubelet that tests move by hand.

It is no Kubernetes: it knows Jobs, TrainJobs and Pods, and of these what their documentation says about creating,
patching, deleting and listing. Nothing in here was compared with a real cluster.
"""

import re
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import web

from tests.fakes.http_server import served

Object = dict[str, Any]

GROUPS = {"jobs": "/apis/batch/v1", "trainjobs": "/apis/trainer.kubeflow.org/v1alpha1", "pods": "/api/v1"}
KINDS = {"jobs": "Job", "trainjobs": "TrainJob", "pods": "Pod"}
TOKEN = "let me in"
#: Of each kind, what an update may not change.
FIXED = {
    "jobs": ("template", "selector", "completions"),
    "trainjobs": ("trainer", "runtimeRef", "activeDeadlineSeconds"),
}
PAGE = 2


class KubernetesApi:
    """One namespace, ``training``.

    For tests:
        objects: what there is, by plural and name.
        requests: method and path of every request, in order.
        down: answer nothing but 503.
        kubeflow: whether TrainJobs are known at all.
        printed: what a pod printed, by name.
        graces: the seconds that each pod was given to end, the shortest where asked several times.
    """

    def __init__(self) -> None:
        self.objects: dict[str, dict[str, Object]] = {plural: {} for plural in GROUPS}
        self.requests: list[str] = []
        self.down = False
        self.kubeflow = True
        self.printed: dict[str, str] = {}
        self.graces: dict[str, int] = {}

    # --- what controllers and kubelets do --------------------------------------------------------------------

    def start_pod(self, name: str, phase: str = "Running", number: int = 0) -> str:
        """Let a job's controller make a pod, and a kubelet bring it into a phase; return the pod's name."""
        plural = "jobs" if name in self.objects["jobs"] else "trainjobs"
        template = self._template(self.objects[plural][name])
        pod = f"{name}-{number}"
        self.objects["pods"][pod] = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": pod, "labels": template["metadata"]["labels"]},
            "spec": template["spec"],
            "status": {"phase": phase},
        }
        return pod

    def end_pod(self, pod: str, exit_code: int, reason: str = "Completed") -> None:
        """Let a pod's container end."""
        found = self.objects["pods"][pod]
        terminated = {"name": found["spec"]["containers"][0]["name"], "image": "i", "imageID": "i", "ready": False}
        found["status"] = {
            "phase": "Failed" if exit_code else "Succeeded",
            "containerStatuses": [
                terminated | {"restartCount": 0, "state": {"terminated": {"exitCode": exit_code, "reason": reason}}},
            ],
        }

    def disrupt(self, pod: str, reason: str) -> None:
        """Let something of the cluster take a pod away."""
        condition = {"type": "DisruptionTarget", "status": "True", "reason": reason}
        self.objects["pods"][pod]["status"] = {"phase": "Failed", "conditions": [condition]}

    def conclude(self, name: str, condition: str, reason: str = "") -> None:
        """Let a job's controller set a condition."""
        plural = "jobs" if name in self.objects["jobs"] else "trainjobs"
        self.objects[plural][name]["status"] = {"conditions": [{"type": condition, "status": "True", "reason": reason}]}

    def _template(self, job: Object) -> Object:
        if job["kind"] == "Job":
            found: Object = job["spec"]["template"]
            return found
        patch = job["spec"]["runtimePatches"][0]["trainingRuntimeSpec"]["template"]["spec"]["replicatedJobs"][0]
        template = patch["template"]["spec"]["template"]
        return {"metadata": template["metadata"], "spec": {**template["spec"], "containers": [{"name": "node"}]}}

    # --- the API -----------------------------------------------------------------------------------------------

    async def answer(self, request: web.Request) -> web.Response:
        self.requests.append(f"{request.method} {request.path}")
        if self.down:
            return web.Response(status=503, text="upstream connect error")
        if request.headers.get("Authorization") != f"Bearer {TOKEN}":
            return _status(401, "Unauthorized")
        at = re.fullmatch(r"(.+)/namespaces/training/(\w+)(?:/([^/]+))?(/log)?", request.path)
        if at is None or GROUPS.get(at[2]) != at[1] or (at[2] == "trainjobs" and not self.kubeflow):
            return web.Response(status=404, text="404 page not found")  # as for any path nobody serves
        plural, name = at[2], at[3]
        if at[4]:
            return self._log(name)
        if name is None:
            return self._list(plural, request) if request.method == "GET" else await self._create(plural, request)
        if name not in self.objects[plural]:
            return _status(404, "NotFound", f'{plural} "{name}" not found')
        if request.method == "PATCH":
            return await self._patch(plural, name, request)
        return self._delete(plural, name, request) if request.method == "DELETE" else self._get(plural, name)

    async def _create(self, plural: str, request: web.Request) -> web.Response:
        wanted = await request.json()
        name = wanted["metadata"]["name"]
        if wanted["kind"] != KINDS[plural] or not re.fullmatch(r"[a-z]([-a-z0-9]*[a-z0-9])?", name):
            return _status(422, "Invalid")
        if name in self.objects[plural]:
            return _status(409, "AlreadyExists", f'{plural} "{name}" already exists')
        stamp = {"uid": f"uid-{time.monotonic_ns()}", "namespace": "training"}
        self.objects[plural][name] = {**wanted, "metadata": {**wanted["metadata"], **stamp}}
        return web.json_response(self.objects[plural][name], status=201)

    async def _patch(self, plural: str, name: str, request: web.Request) -> web.Response:
        if request.content_type != "application/merge-patch+json":
            return _status(415, "UnsupportedMediaType")
        before = self.objects[plural][name]
        after = _merged(before, await request.json())
        if any(before["spec"].get(field) != after["spec"].get(field) for field in FIXED[plural]):
            return _status(422, "Invalid", "field is immutable")
        self.objects[plural][name] = after
        return self._get(plural, name)

    def _delete(self, plural: str, name: str, request: web.Request) -> web.Response:
        if plural != "pods":
            if request.query.get("propagationPolicy") == "Background":
                for owned in [each for each in self.objects["pods"] if each.startswith(name)]:
                    del self.objects["pods"][owned]
            return web.json_response(self.objects[plural].pop(name))
        pod = self.objects["pods"][name]
        grace = int(request.query.get("gracePeriodSeconds", pod["spec"].get("terminationGracePeriodSeconds", 30)))
        # Asked again, a grace may become shorter and never longer.
        self.graces[name] = min(grace, self.graces.get(name, grace))
        if pod["status"]["phase"] != "Running":
            return web.json_response(self.objects["pods"].pop(name))
        pod["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
        return self._get("pods", name)

    def _get(self, plural: str, name: str) -> web.Response:
        return web.json_response(self.objects[plural][name])

    def _list(self, plural: str, request: web.Request) -> web.Response:
        wanted = dict(term.split("=") for term in request.query.get("labelSelector", "").split(",") if term)
        items = [each for each in self.objects[plural].values() if wanted.items() <= each["metadata"]["labels"].items()]
        first = int(request.query.get("continue", "0"))
        more = {"continue": str(first + PAGE)} if first + PAGE < len(items) else {}
        return web.json_response(
            {"kind": f"{KINDS[plural]}List", "metadata": more, "items": items[first : first + PAGE]}
        )

    def _log(self, pod: str) -> web.Response:
        if pod not in self.printed:
            return _status(400, "BadRequest", "container is waiting to start: ContainerCreating")
        return web.Response(text=self.printed[pod])


def _merged(base: Any, patch: Any) -> Any:
    """Return a JSON merge patch applied, as RFC 7396 has it."""
    if not isinstance(patch, dict):
        return patch
    merged = dict(base) if isinstance(base, dict) else {}
    for key, value in patch.items():
        if value is None:
            merged.pop(key, None)
        else:
            merged[key] = _merged(merged.get(key), value)
    return merged


def _status(code: int, reason: str, message: str = "") -> web.Response:
    body = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": reason, "code": code}
    return web.json_response({**body, "metadata": {}, "message": message or reason}, status=code)


@asynccontextmanager
async def serving(api: KubernetesApi) -> AsyncIterator[str]:
    """Serve it on loopback; yields its URL."""
    application = web.Application()
    application.router.add_route("*", "/{path:.*}", api.answer)
    async with served(application) as url:
        yield url

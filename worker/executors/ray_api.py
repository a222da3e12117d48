"""What of Ray's REST API the adapter needs, over HTTP. The worker never imports ray."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import httpx2
import msgspec
from msgspec import Struct

from handlers.errors import Unavailable
from worker.executors.job_log import LOG_BYTES

#: Seconds for a request. The first submit after a head's start takes some; an answer that comes later was not in vain:
#: whoever asks again learns of it.
REQUEST_SECONDS = 30.0
#: Most nodes Ray lists at a time.
_MOST_NODES = 10_000

Answer = TypeVar("Answer")


class RayJob(Struct, frozen=True, kw_only=True):
    """A job as Ray shows it. Times are milliseconds by the head's clock.

    ``status`` is PENDING, RUNNING, STOPPED, SUCCEEDED or FAILED. ``driver_node_id`` is set when it begins to run, and
    stays.
    """

    status: str
    submission_id: str | None = None
    metadata: dict[str, Any] | None = None
    start_time: int | None = None
    message: str | None = None
    error_type: str | None = None
    driver_node_id: str | None = None
    driver_exit_code: int | None = None


class RayNode(Struct, frozen=True, kw_only=True):
    """A machine as Ray shows it, dead ones included. ``state`` is ALIVE or DEAD."""

    node_id: str
    state: str
    is_head_node: bool = False
    start_time_ms: int = 0


class _Listed(Struct):
    result: list[RayNode]


class _Listing(Struct):
    result: _Listed


class _Nodes(Struct):
    data: _Listing


class RayApi:
    """Requests to a head's dashboard. Each raises Unavailable where it does not answer as Ray does, within its time.

    Nothing connects before the first of them. ``token_file`` is read at each.
    """

    def __init__(self, address: str, token_file: Path | None = None, *, seconds: float = REQUEST_SECONDS) -> None:
        self._token_file = token_file
        self._client = httpx2.AsyncClient(base_url=address, timeout=seconds)

    async def submit(self, request: Mapping[str, Any]) -> str | None:
        """Hand a job over; return None where it was taken, and what Ray said where it was not.

        Of requests with one ``submission_id`` Ray takes one, however they race. To the others it answers 500.
        """
        response = await self._send("POST", "/api/jobs/", content=msgspec.json.encode(request))
        return None if response.is_success else _said(response)

    async def job(self, name: str) -> RayJob | None:
        """Return a job, or None where Ray has none of that name."""
        response = await self._send("GET", f"/api/jobs/{name}")
        return None if _is_no_job(response) else _decode(response, RayJob)

    async def jobs(self) -> list[RayJob]:
        """Return every job handed over to Ray, whoever did it."""
        return [job for job in _decode(await self._send("GET", "/api/jobs/"), list[RayJob]) if job.submission_id]

    async def stop(self, name: str) -> None:
        """Ask a running job to end. Another state of it, and no such job, change nothing."""
        response = await self._send("POST", f"/api/jobs/{name}/stop")
        if not _is_no_job(response):
            _check(response)

    async def delete(self, name: str) -> None:
        """Drop an ended job. Ray refuses where it has not ended, as Unavailable; no such job is no error."""
        response = await self._send("DELETE", f"/api/jobs/{name}")
        if not _is_no_job(response):
            _check(response)

    async def nodes(self, field: str | None = None, value: str = "") -> list[RayNode]:
        """Return the cluster's machines: those of which a field has the value, or all."""
        wanted = {"filter_keys": field, "filter_predicates": "=", "filter_values": value} if field else {}
        params = {"detail": "true", "limit": str(_MOST_NODES), **wanted}
        return _decode(await self._send("GET", "/api/v0/nodes", params=params), _Nodes).data.result.result

    async def log(self, job: RayJob, first_byte: int) -> bytes:
        """Return what is in a job's log from a byte on, LOG_BYTES at most. The job must have run."""
        url, kept, passed = "/api/v0/logs/file", bytearray(), 0
        file = f"job-driver-{job.submission_id}.log"
        params = {"node_id": job.driver_node_id or "", "filename": file, "lines": "-1"}
        try:
            async with self._client.stream("GET", url, params=params, headers=self._headers()) as response:
                if not response.is_success:
                    await response.aread()
                _check(response)
                # Ray sends a log from its beginning alone.
                async for chunk in response.aiter_bytes():
                    kept += chunk[max(0, first_byte - passed) :]
                    passed += len(chunk)
                    if len(kept) >= LOG_BYTES:
                        break
        except httpx2.HTTPError as error:
            raise _silent("GET", url, error) from error
        return bytes(kept[:LOG_BYTES])

    async def close(self) -> None:
        """Close the connections. May be called twice."""
        await self._client.aclose()

    async def _send(
        self, method: str, url: str, *, content: bytes | None = None, params: Mapping[str, str] | None = None
    ) -> httpx2.Response:
        try:
            return await self._client.request(method, url, content=content, params=params, headers=self._headers())
        except httpx2.HTTPError as error:
            raise _silent(method, url, error) from error

    def _headers(self) -> dict[str, str]:
        if self._token_file is None:
            return {}
        try:
            return {"Authorization": f"Bearer {self._token_file.read_text().strip()}"}
        except OSError as error:
            raise Unavailable(f"Ray's token cannot be read: {error}") from error


def _silent(method: str, url: str, error: httpx2.HTTPError) -> Unavailable:
    return Unavailable(f"Ray does not answer {method} {url}: {error!r}")


def _is_no_job(response: httpx2.Response) -> bool:
    # A proxy's 404 says nothing about a job.
    return response.status_code == httpx2.codes.NOT_FOUND and "does not exist" in response.text


def _check(response: httpx2.Response) -> None:
    if not response.is_success:
        request = response.request
        raise Unavailable(f"Ray answered {request.method} {request.url.path} with {_said(response)}")


def _decode(response: httpx2.Response, kind: type[Answer]) -> Answer:
    _check(response)
    try:
        return msgspec.json.decode(response.content, type=kind)
    except msgspec.MsgspecError as error:
        raise Unavailable(f"{response.request.url} does not answer as Ray does: {error}") from error


def _said(response: httpx2.Response) -> str:
    """Return status and last words: what comes before is a traceback."""
    lines: Sequence[str] = [line for line in response.text.splitlines() if line.strip(" .")]
    return f"{response.status_code}: {lines[-1] if lines else ''}"

"""The buckets that the suite runs against: one in memory, a directory, moto, and a real S3 server."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from pathlib import Path
from threading import Lock, Thread
from typing import Any
from uuid import uuid4

import botocore.session
import pytest
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, MotoRequestHandler, create_backend_app
from werkzeug.serving import make_server

from deploy.local.ray import RayHead
from handlers.ports.store import ObjectStore
from tests import s3_servers
from tests.fakes.store import MemoryStore
from tests.s3_servers import S3Access
from worker.settings import Settings
from worker.storage import open_store

WsgiApp = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]


def one_at_a_time(app: WsgiApp) -> WsgiApp:
    """Answer requests one after the other: moto looks whether an object exists and puts it, with nothing between."""
    lock = Lock()

    def locked(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        with lock:
            return app(environ, start_response)

    return locked


@pytest.fixture(scope="session")
def moto() -> Iterator[S3Access]:
    app = one_at_a_time(DomainDispatcherApplication(create_backend_app))
    server = make_server("127.0.0.1", 0, app, threaded=True, request_handler=MotoRequestHandler)
    thread = Thread(target=server.serve_forever)
    thread.start()
    yield S3Access(f"http://127.0.0.1:{server.port}", "test", "test")
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture(scope="session")
def s3_server() -> Iterator[S3Access]:
    taken = s3_servers.rung()
    assert taken is not None
    with asyncio.Runner() as runner:
        server = s3_servers.real_s3(taken)
        yield runner.run(server.__aenter__())
        runner.run(server.__aexit__(None, None, None))


@pytest.fixture(scope="session")
def ray_head() -> Iterator[RayHead]:
    with asyncio.Runner() as runner:
        head = RayHead()
        yield runner.run(head.__aenter__())
        runner.run(head.__aexit__(None, None, None))


def _s3_settings(access: S3Access, monkeypatch: pytest.MonkeyPatch) -> Settings:
    for variable, value in access.variables().items():
        monkeypatch.setenv(variable, value)
    bucket = f"test-{uuid4().hex}"
    client = botocore.session.get_session().create_client("s3", endpoint_url=access.url)
    client.create_bucket(Bucket=bucket)
    client.put_object(Bucket=bucket, Key="elsewhere/secret", Body=b"not below the prefix")
    client.close()
    return Settings(storage_url=f"s3://{bucket}/some/prefix", s3_endpoint_url=access.url)


@pytest.fixture
def moto_settings(moto: S3Access, monkeypatch: pytest.MonkeyPatch) -> Settings:
    return _s3_settings(moto, monkeypatch)


@pytest.fixture
def s3_settings(s3_server: S3Access, monkeypatch: pytest.MonkeyPatch) -> Settings:
    return _s3_settings(s3_server, monkeypatch)


@pytest.fixture
def directory_settings(tmp_path: Path) -> Settings:
    return Settings(storage_url=(tmp_path / "桶 with a blank").as_uri())


#: `pytest` says in its header where there is no real S3 server.
S3 = ["moto", "s3"] if s3_servers.rung() else ["moto"]


@pytest.fixture(params=["directory", *S3])
def settings(request: pytest.FixtureRequest) -> Settings:
    """Settings of each real bucket."""
    found = request.getfixturevalue(f"{request.param}_settings")
    assert isinstance(found, Settings)
    return found


@pytest.fixture
async def real_store(settings: Settings) -> AsyncIterator[ObjectStore]:
    async with open_store(settings) as store:
        yield store


@pytest.fixture(params=["memory", "directory", *S3])
def bucket(request: pytest.FixtureRequest) -> Settings | MemoryStore:
    if request.param == "memory":
        return MemoryStore()
    found = request.getfixturevalue(f"{request.param}_settings")
    assert isinstance(found, Settings)
    return found


@pytest.fixture
async def store(bucket: Settings | MemoryStore) -> AsyncIterator[ObjectStore]:
    """Each bucket in turn, the one of the handlers' tests too."""
    if isinstance(bucket, MemoryStore):
        yield bucket
        return
    async with open_store(bucket) as store:
        yield store

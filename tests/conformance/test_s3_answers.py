"""What each answer of S3 means, against a server that says what it is told to."""

from collections.abc import AsyncIterator, Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest
from botocore.exceptions import ClientError
from botocore.retries.standard import ExponentialBackoff

from handlers.errors import PreconditionFailed, Unavailable
from worker.settings import Settings
from worker.storage import open_store
from worker.storage.s3 import S3Store

#: Closes the connection instead of answering.
HANG_UP = (0, "")


class ScriptedServer(ThreadingHTTPServer):
    """Gives the answers of ``script``, the last one again and again; notes the requests."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Answer)
        self.script: list[tuple[int, str]] = []
        self.asked: list[str] = []

    def next_answer(self, asked: str) -> tuple[int, str]:
        self.asked.append(asked)
        return self.script.pop(0) if len(self.script) > 1 else self.script[0]


class _Answer(BaseHTTPRequestHandler):
    server: ScriptedServer

    def log_message(self, *_: object) -> None:
        pass

    def _answer(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        status, code = self.server.next_answer(f"{self.command} {self.path}")
        if status:
            body = f"<Error><Code>{code}</Code><Message>as told</Message></Error>".encode() if code else b"half"
            self.send_response(status)
            self.send_header("ETag", '"e"')
            self.send_header("Content-Length", str(len(body) if code else 100))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)
        self.close_connection = True

    def __getattr__(self, name: str) -> Callable[[], None]:
        # http.server asks for do_GET, do_PUT and so on.
        if name.startswith("do_"):
            return self._answer
        raise AttributeError(name)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[ScriptedServer]:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    # The client tries again as often as ever, and waits for nothing in between.
    monkeypatch.setattr(ExponentialBackoff, "delay_amount", lambda *_: 0)
    server = ScriptedServer()
    thread = Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
async def store(server: ScriptedServer) -> AsyncIterator[S3Store]:
    endpoint = f"http://127.0.0.1:{server.server_port}"
    async with open_store(Settings(storage_url="s3://bucket", s3_endpoint_url=endpoint)) as store:
        assert isinstance(store, S3Store)
        yield store


@pytest.mark.parametrize(
    "answer",
    [(412, "PreconditionFailed"), (409, "ConditionalRequestConflict"), (409, "Conflict"), (404, "NoSuchKey")],
)
async def test_a_conditional_put_that_lost(store: S3Store, server: ScriptedServer, answer: tuple[int, str]) -> None:
    server.script = [answer]
    with pytest.raises(PreconditionFailed):
        await store.put("a", b"", if_match="e")
    with pytest.raises(PreconditionFailed):
        await store.put("a", b"", if_none_match=True)


async def test_a_put_whose_answer_was_lost_is_reported_as_lost(store: S3Store, server: ScriptedServer) -> None:
    server.script = [HANG_UP, (412, "PreconditionFailed")]
    with pytest.raises(PreconditionFailed):
        await store.put("a", b"", if_none_match=True)
    assert len(server.asked) == 2


@pytest.mark.parametrize(
    "answer",
    [
        (503, "SlowDown"),
        (500, "InternalError"),
        (429, "TooManyRequests"),
        (400, "ExpiredToken"),
        (403, "AccessDenied"),
        (400, "TokenRefreshRequired"),
        (400, "KMS.DisabledException"),
        (404, "NoSuchBucket"),
        HANG_UP,
    ],
    ids=str,
)
async def test_what_passes_is_unavailable(store: S3Store, server: ScriptedServer, answer: tuple[int, str]) -> None:
    server.script = [answer]
    with pytest.raises(Unavailable):
        await store.put("a", b"", if_none_match=True)
    with pytest.raises(Unavailable):
        await store.get("a")
    with pytest.raises(Unavailable):
        await store.get("a", byte_range=(0, 0))
    with pytest.raises(Unavailable):
        await store.head("a")
    with pytest.raises(Unavailable):
        _ = [info async for info in store.list("")]


async def test_slowness_is_waited_out_a_few_times(store: S3Store, server: ScriptedServer) -> None:
    server.script = [(503, "SlowDown"), (404, "NoSuchKey")]
    assert await store.get("a") is None
    assert len(server.asked) == 2


async def test_a_delete_that_meets_another_write_is_no_lost_condition(store: S3Store, server: ScriptedServer) -> None:
    server.script = [(409, "OperationAborted")]
    with pytest.raises(Unavailable):
        await store.delete("a")


async def test_half_a_body_is_no_object(store: S3Store, server: ScriptedServer) -> None:
    server.script = [(200, "")]
    with pytest.raises(Unavailable):
        await store.get("a")


async def test_what_we_ask_wrongly_is_a_bug_of_ours(store: S3Store, server: ScriptedServer) -> None:
    server.script = [(400, "InvalidArgument")]
    with pytest.raises(ClientError, match="InvalidArgument"):
        await store.put("a", b"")


async def test_nobody_there_is_unavailable(store: S3Store, server: ScriptedServer) -> None:
    server.server_close()
    with pytest.raises(Unavailable):
        await store.head("a")


async def test_no_credentials_are_unavailable(store: S3Store, server: ScriptedServer) -> None:
    server.script = [(403, "InvalidAccessKeyId")]
    with pytest.raises(Unavailable, match="InvalidAccessKeyId"):
        await store.get("a")

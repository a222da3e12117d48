"""TLS and SASL on Apache Kafka: a worker is let in each way, and says in one line why where it is not."""

import asyncio
import json
from base64 import urlsafe_b64encode
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import pytest
import pytest_asyncio
import trustme
from aiokafka.admin import AIOKafkaAdminClient
from cryptography.hazmat.primitives import serialization

from deploy.local.kafka import ApacheKafka
from handlers.ports.jobs import JobSpec
from handlers.table import STAGES
from tests import kafka_servers
from tests.fakes.executor import FakeExecutor
from tests.fakes.executors import FakeExecutors
from tests.fakes.tokens import FakeTokenCounter
from tests.platform import form, platform
from tests.running import running_worker
from worker.clock import SystemClock
from worker.kafka.broker import Brokers, BrokerUnavailable, connected
from worker.kafka.topics import ensure_topics
from worker.publish import publish_event
from worker.settings import Settings
from worker.trainer.event_sink import EventSink
from worker.trainer.kafka_sender import KafkaSender
from worker.trainer.progress import Reporter

pytestmark = [
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.skipif(not kafka_servers.process_possible(), reason="Java and Maven run Apache Kafka"),
]

_USER, _PASSWORD = "worker", "correct horse"
_JAAS = {
    "plain": f'org.apache.kafka.common.security.plain.PlainLoginModule required user_{_USER}="{_PASSWORD}";',
    "scram-sha-256": "org.apache.kafka.common.security.scram.ScramLoginModule required;",
    "scram-sha-512": "org.apache.kafka.common.security.scram.ScramLoginModule required;",
    "oauthbearer": "org.apache.kafka.common.security.oauthbearer.OAuthBearerLoginModule required;",
}


class Secured(NamedTuple):
    """A broker with three ways in beside the plain one, and what opens them."""

    kafka: ApacheKafka
    folder: Path

    def settings(self, listener: str, **more: Any) -> Settings:
        """Return a worker's settings for a listener, that trust its certificate."""
        given: dict[str, Any] = {
            "kafka_bootstrap_servers": self.kafka.address(listener),
            "storage_url": (self.folder / "bucket").as_uri(),
            "work_dir": self.folder,
            "session_timeout_seconds": 3.0,
        }
        if more.get("kafka_security_protocol") in {"ssl", "sasl_ssl"}:
            given["kafka_ca_file"] = self.folder / "ca.pem"
        return Settings(**(given | more))

    def password(self, mechanism: str, **more: Any) -> dict[str, Any]:
        """Return settings of a user that has one."""
        return {"kafka_sasl_mechanism": mechanism, "kafka_username": _USER, "kafka_password": _PASSWORD} | more

    def token(self, user: str = _USER, *, expires_at: int = 4_000_000_000) -> dict[str, Any]:
        """Return settings of a user with a token, of the unsigned kind that a broker takes unless told otherwise."""
        (self.folder / "token").write_text(_jws({"alg": "none"}, {"sub": user, "iat": 1, "exp": expires_at}) + "\n")
        return {"kafka_sasl_mechanism": "oauthbearer", "kafka_token_file": self.folder / "token"}

    def certificate(self) -> dict[str, Any]:
        """Return settings of a client that shows a certificate."""
        return {"kafka_cert_file": self.folder / "client.pem", "kafka_key_file": self.folder / "client.key"}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def secured(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Secured]:
    folder = tmp_path_factory.mktemp("secured")
    authority = trustme.CA()
    authority.cert_pem.write_to_path(folder / "ca.pem")
    server = authority.issue_cert("127.0.0.1")
    (folder / "server.pem").write_bytes(_pkcs8(server) + server.cert_chain_pems[0].bytes())
    client = authority.issue_cert("worker.example")
    client.private_key_pem.write_to_path(folder / "client.key")
    client.cert_chain_pems[0].write_to_path(folder / "client.pem")
    trustme.CA().cert_pem.write_to_path(folder / "stranger.pem")
    mechanisms = ",".join(name.upper() for name in _JAAS)
    properties = {
        "ssl.keystore.type": "PEM",
        "ssl.keystore.location": str(folder / "server.pem"),
        "ssl.truststore.type": "PEM",
        "ssl.truststore.location": str(folder / "ca.pem"),
        "listener.name.tls.ssl.client.auth": "required",
        "sasl.enabled.mechanisms": mechanisms,
    }
    for listener in ("sasl", "open"):
        for mechanism, module in _JAAS.items():
            properties[f"listener.name.{listener}.{mechanism}.sasl.jaas.config"] = module
        properties[f"listener.name.{listener}.oauthbearer.sasl.server.callback.handler.class"] = (
            "org.apache.kafka.common.security.oauthbearer.internals.unsecured.OAuthBearerUnsecuredValidatorCallbackHandler"
        )
    kafka = ApacheKafka(
        listeners={"TLS": "SSL", "SASL": "SASL_SSL", "OPEN": "SASL_PLAINTEXT"},
        properties=properties,
        users={_USER: _PASSWORD},
    )
    async with kafka:
        yield Secured(kafka, folder)


def _pkcs8(issued: trustme.LeafCert) -> bytes:
    """Return a certificate's key in the one encoding that Kafka reads."""
    key = serialization.load_pem_private_key(issued.private_key_pem.bytes(), password=None)
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _jws(header: dict[str, Any], claims: dict[str, Any]) -> str:
    parts = (urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in (header, claims))
    return ".".join(parts) + "."


def _ways(secured: Secured) -> dict[str, Settings]:
    return {
        "ssl": secured.settings("TLS", kafka_security_protocol="ssl", **secured.certificate()),
        "sasl_ssl plain": secured.settings("SASL", kafka_security_protocol="sasl_ssl", **secured.password("plain")),
        "sasl_ssl scram-sha-256": secured.settings(
            "SASL", kafka_security_protocol="sasl_ssl", **secured.password("scram-sha-256")
        ),
        "sasl_ssl scram-sha-512": secured.settings(
            "SASL", kafka_security_protocol="sasl_ssl", **secured.password("scram-sha-512")
        ),
        "sasl_ssl oauthbearer": secured.settings("SASL", kafka_security_protocol="sasl_ssl", **secured.token()),
        "sasl_plaintext scram-sha-512": secured.settings(
            "OPEN", kafka_security_protocol="sasl_plaintext", **secured.password("scram-sha-512")
        ),
    }


WAYS = [
    "ssl", "sasl_ssl plain", "sasl_ssl scram-sha-256", "sasl_ssl scram-sha-512", "sasl_ssl oauthbearer",
    "sasl_plaintext scram-sha-512",
]  # fmt: skip


@pytest.mark.parametrize("way", WAYS)
async def test_a_worker_takes_a_task_in_and_answers(secured: Secured, way: str) -> None:
    settings = _ways(secured)[way]
    task_id = way.replace(" ", "-")
    ports = {"executors": FakeExecutors(FakeExecutor()), "tokens": FakeTokenCounter()}
    stages = [stage for stage in STAGES if "task.created" in stage.topics]
    async with running_worker(settings, stages, ports=ports):
        await publish_event(settings, "task.created", msgspec.json.encode(form(task_id, "a-dataset")))
        async with platform(secured.kafka.address()) as seen:
            status = await seen.wait_for("task.status", task_id)
        assert status.data.task_id == task_id


async def test_a_trainer_reports_its_progress_with_a_token(secured: Secured) -> None:
    brokers = Brokers.of(_ways(secured)["sasl_ssl oauthbearer"])
    await ensure_topics(brokers)
    spec = JobSpec(job_id="job", task_id="task", attempt=1, plan_key="p", attempt_prefix="a/", first_seq=1)
    with EventSink(KafkaSender(brokers)) as sink:
        Reporter(spec, sink, SystemClock().now, lambda: None).deploying()
        assert await asyncio.to_thread(sink.close, 20)


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        (lambda s: s.settings("SASL", kafka_security_protocol="sasl_ssl",
            **s.password("scram-sha-512", kafka_password="guessed")), "[Aa]uth"),
        (lambda s: s.settings("SASL", kafka_security_protocol="sasl_ssl",
            **s.password("plain", kafka_username="nobody")), "[Aa]uth"),
        (lambda s: s.settings("SASL", kafka_security_protocol="sasl_ssl", **s.token(expires_at=2)), "was refused"),
        (lambda s: s.settings("SASL", kafka_security_protocol="sasl_ssl", kafka_ca_file=s.folder / "stranger.pem",
            **s.password("plain")), "CERTIFICATE_VERIFY_FAILED"),
        (lambda s: s.settings("TLS", kafka_security_protocol="ssl"), "closed"),
    ],
    ids=["password", "user", "expired token", "strange authority", "no certificate"],
)  # fmt: skip
async def test_who_is_not_let_in_is_told_why(secured: Secured, wrong: Any, why: str) -> None:
    brokers = Brokers.of(wrong(secured))

    with pytest.raises(BrokerUnavailable, match=f"does not let us in: .*{why}.*; check WORKER_KAFKA_CA_FILE") as caught:
        async with connected(AIOKafkaAdminClient, brokers):
            pass
    assert "\n" not in str(caught.value)
    assert _PASSWORD not in str(caught.value)
    assert "guessed" not in str(caught.value)


@pytest.mark.parametrize(
    "wrong",
    [
        lambda s: s.settings("TLS"),
        lambda s: s.settings("OPEN", kafka_security_protocol="sasl_ssl", **s.password("plain")),
    ],
    ids=["plainly where TLS is spoken", "TLS where none is spoken"],
)
async def test_who_speaks_in_another_way_is_pointed_to_the_setting(secured: Secured, wrong: Any) -> None:
    brokers = Brokers.of(wrong(secured))

    with pytest.raises(BrokerUnavailable, match=r"no Kafka broker answers at .* WORKER_KAFKA_SECURITY_PROTOCOL"):
        async with connected(AIOKafkaAdminClient, brokers):
            pass

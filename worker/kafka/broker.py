"""Reaching the Kafka brokers: where they are, how to be let in, and one line where they cannot be reached."""

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple, Protocol, TypeVar

import structlog
from aiokafka import AIOKafkaProducer
from aiokafka.abc import AbstractTokenProvider
from aiokafka.conn import collect_hosts, create_conn
from aiokafka.errors import (
    KafkaConnectionError,
    KafkaError,
    NodeNotReadyError,
    RequestTimedOutError,
    SaslAuthenticationFailed,
)

from worker.could_not import CouldNot
from worker.settings import Settings, SettingsError

log = structlog.get_logger()

#: Seconds a client may take to find the cluster. A name that resolves but does not answer would take 40.
CONNECT_SECONDS = 10.0
_REFUSAL_MS = 3000
_STOP_SECONDS = 3.0
#: What an answer that does not come is raised as; of several nodes one that is down is asked now and then.
_LOST = (KafkaConnectionError, NodeNotReadyError, RequestTimedOutError)


async def thrown_away(producer: AIOKafkaProducer) -> None:
    """Stop a producer in whatever state it is, in some seconds. Never raises; what it had not sent is lost.

    A stop that takes too long, since what waits cannot be sent, is cut short: then aiokafka has closed neither its
    sender nor its connections, and a second stop would do nothing.
    """
    try:
        async with asyncio.timeout(_STOP_SECONDS):
            await producer.stop()
            return
    except Exception as error:  # noqa: BLE001 - whatever state it was in
        log.debug("producer.stop_failed", error=repr(error))
    with contextlib.suppress(Exception, asyncio.CancelledError):
        await producer._sender.close()  # noqa: SLF001 - aiokafka has no way to end it without waiting for what it holds
    with contextlib.suppress(Exception):
        await producer.client.close()


class Brokers(NamedTuple):
    """The brokers' addresses, and what every client of aiokafka is given to be let in.

    ``options`` hold passwords: they are never logged, and no text of ours shows them.
    """

    servers: str
    options: Mapping[str, Any] = {}

    @classmethod
    def of(cls, settings: Settings) -> "Brokers":
        """Return what the settings say. Reads the files of certificates.

        Raises:
            SettingsError: the settings do not belong together, or a file cannot be used; the text names the variables.
        """
        options: dict[str, Any] = {}
        protocol = settings.kafka_security_protocol
        if protocol in {"ssl", "sasl_ssl"}:
            options["ssl_context"] = _trust(settings)
        else:
            _refuse_idle(settings, "kafka_ca_file", "kafka_cert_file", "kafka_key_file")
        if protocol in {"sasl_plaintext", "sasl_ssl"}:
            options |= _credentials(settings)
        else:
            _refuse_idle(settings, "kafka_username", "kafka_password", "kafka_password_file", "kafka_token_file")
        if options:
            options["security_protocol"] = protocol.upper()
        return cls(settings.kafka_bootstrap_servers, options)

    def client(self, kind: Callable[..., "ClientT"], *topics: str, **options: Any) -> "ClientT":
        """Return a client (admin, producer, consumer) of aiokafka that is not started yet."""
        return kind(*topics, bootstrap_servers=self.servers, **self.options, **options)

    def __repr__(self) -> str:
        return f"Brokers({self.servers})"


class TokenFile(AbstractTokenProvider):  # type: ignore[misc]  # aiokafka publishes no types
    """OAUTHBEARER tokens from a file that something else keeps fresh, as Kubernetes does with service accounts'.

    Read anew at every login. The broker's own limit (``connections.max.reauth.ms``) decides how long one holds.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    async def token(self) -> str:
        """Return the token. Raises OSError where the file cannot be read."""
        return (await asyncio.to_thread(self._path.read_text)).strip()


class BrokerUnavailable(CouldNot, ConnectionError):
    """No Kafka broker answers, or none lets us in. The text is one line and names the addresses and the settings."""

    def __init__(self, brokers: Brokers, refusal: Exception | None = None) -> None:
        if refusal is not None:
            super().__init__(
                f"Kafka at {brokers.servers} does not let us in: {refusal}; check WORKER_KAFKA_CA_FILE and "
                "WORKER_KAFKA_CERT_FILE, or the user, password or token for WORKER_KAFKA_SASL_MECHANISM"
            )
            return
        remedy = "start one, or set KAFKA_BOOTSTRAP_SERVERS, and WORKER_KAFKA_SECURITY_PROTOCOL if it wants TLS or SASL"
        super().__init__(f"no Kafka broker answers at {brokers.servers}; {remedy}")


class _Client(Protocol):
    async def start(self) -> Any: ...


ClientT = TypeVar("ClientT", bound=_Client)


@asynccontextmanager
async def connected(
    kind: Callable[..., ClientT], brokers: Brokers, *topics: str, **options: Any
) -> AsyncIterator[ClientT]:
    """Start an aiokafka client (admin, producer, consumer); stop it at the end, also where the start failed.

    Raises:
        BrokerUnavailable: no broker answered within CONNECT_SECONDS, it did not let us in, or the connection was lost
            for good in the block.
    """
    client = brokers.client(kind, *topics, **options)
    # The admin client says close, the others say stop.
    stop = getattr(client, "stop", None) or getattr(client, "close")  # noqa: B009 - the protocol has neither
    try:
        await started(client, brokers)
        yield client
    except _LOST as error:
        raise BrokerUnavailable(brokers) from error
    finally:
        await stop()


async def started(client: _Client, brokers: Brokers) -> None:
    """Start a client within CONNECT_SECONDS. Raises BrokerUnavailable; the client has to be stopped then, too."""
    try:
        async with asyncio.timeout(CONNECT_SECONDS):
            await client.start()
    except (TimeoutError, KafkaConnectionError) as error:
        raise BrokerUnavailable(brokers, await _refusal(brokers)) from error
    # aiokafka does not notice that an OAUTHBEARER token was refused, and goes on with a cluster that has no brokers.
    connection: Any = getattr(client, "_client", None) or getattr(client, "client")  # noqa: B009 - of the producer
    if not connection.cluster.brokers():
        raise BrokerUnavailable(brokers, SaslAuthenticationFailed("the token was refused"))


async def _refusal(brokers: Brokers) -> Exception | None:
    """Return why a broker does not let us in, which clients only write to their log; None where none answers."""
    if not brokers.options:
        return None
    host, port, _ = next(iter(collect_hosts(brokers.servers)))
    try:
        connection = await create_conn(host, port, request_timeout_ms=_REFUSAL_MS, **brokers.options)
    except (ssl.SSLError, KafkaError) as error:
        return error
    except (OSError, TimeoutError):
        return None
    connection.close()
    return None


def _trust(settings: Settings) -> ssl.SSLContext:
    files = {
        "WORKER_KAFKA_CA_FILE": settings.kafka_ca_file,
        "WORKER_KAFKA_CERT_FILE": settings.kafka_cert_file,
        "WORKER_KAFKA_KEY_FILE": settings.kafka_key_file,
    }
    if settings.kafka_key_file and not settings.kafka_cert_file:
        raise SettingsError("WORKER_KAFKA_CERT_FILE must be set, for WORKER_KAFKA_KEY_FILE is its key")
    for variable, path in files.items():
        if path and not path.is_file():
            raise SettingsError(f"{variable}: there is no file {path}")
    variable = "WORKER_KAFKA_CA_FILE"
    try:
        context = ssl.create_default_context(cafile=settings.kafka_ca_file)
        variable = "WORKER_KAFKA_CERT_FILE"
        if settings.kafka_cert_file:
            context.load_cert_chain(settings.kafka_cert_file, settings.kafka_key_file)
    except (ssl.SSLError, OSError) as error:
        raise SettingsError(f"{variable} cannot be used: {error}") from error
    return context


def _credentials(settings: Settings) -> dict[str, Any]:
    mechanism = settings.kafka_sasl_mechanism.upper()
    if mechanism == "OAUTHBEARER":
        _need(settings, "kafka_token_file")
        assert settings.kafka_token_file is not None
        return {"sasl_mechanism": mechanism, "sasl_oauth_token_provider": TokenFile(settings.kafka_token_file)}
    needed = ("kafka_username",) if settings.kafka_password_file else ("kafka_username", "kafka_password")
    _need(settings, *needed)
    return {
        "sasl_mechanism": mechanism,
        "sasl_plain_username": settings.kafka_username,
        "sasl_plain_password": _password(settings),
    }


def _password(settings: Settings) -> str | None:
    path = settings.kafka_password_file
    if path is None:
        return settings.kafka_password
    if settings.kafka_password is not None:
        raise SettingsError("WORKER_KAFKA_PASSWORD and WORKER_KAFKA_PASSWORD_FILE are both set; set one of them")
    try:
        # The end of the line is no part of it; anything else may be.
        password = path.read_text(encoding="utf-8").rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        # Not from the error: that of a decoder holds what it read.
        raise SettingsError(f"WORKER_KAFKA_PASSWORD_FILE: {path} cannot be read: {why}") from None
    if not password:
        raise SettingsError(f"WORKER_KAFKA_PASSWORD_FILE: {path} is empty")
    return password


def _refuse_idle(settings: Settings, *fields: str) -> None:
    """Refuse what the protocol has no use for: who sets a password means it to be asked for."""
    if idle := [_variable(field) for field in fields if getattr(settings, field) is not None]:
        protocol = settings.kafka_security_protocol
        raise SettingsError(f"{' and '.join(idle)} changes nothing: WORKER_KAFKA_SECURITY_PROTOCOL is {protocol}")


def _need(settings: Settings, *fields: str) -> None:
    if missing := [_variable(field) for field in fields if getattr(settings, field) is None]:
        raise SettingsError(
            f"{' and '.join(missing)} must be set: WORKER_KAFKA_SECURITY_PROTOCOL is "
            f"{settings.kafka_security_protocol}, WORKER_KAFKA_SASL_MECHANISM {settings.kafka_sasl_mechanism}"
        )


def _variable(field: str) -> str:
    return f"WORKER_{field.upper()}"

"""Reaching the Kafka brokers, and saying it in one line when they cannot be reached."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Protocol, TypeVar

from aiokafka.errors import KafkaConnectionError

#: Seconds a client may take to find the cluster. A name that resolves but does not answer would take 40.
CONNECT_SECONDS = 10.0


class BrokerUnavailable(ConnectionError):
    """No Kafka broker answers. The text is one line and names the addresses and the setting."""

    def __init__(self, bootstrap_servers: str) -> None:
        super().__init__(
            f"no Kafka broker answers at {bootstrap_servers}; start one, or set KAFKA_BOOTSTRAP_SERVERS to its address"
        )


class _Client(Protocol):
    async def start(self) -> Any: ...


ClientT = TypeVar("ClientT", bound=_Client)


@asynccontextmanager
async def connected(client: ClientT, bootstrap_servers: str) -> AsyncIterator[ClientT]:
    """Start an aiokafka client (admin, producer, consumer); stop it at the end, also where the start failed.

    Raises:
        BrokerUnavailable: no broker answered within CONNECT_SECONDS, or the connection was lost for good in the block.
    """
    # The admin client says close, the others say stop.
    stop = getattr(client, "stop", None) or getattr(client, "close")  # noqa: B009 - the protocol has neither
    try:
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                await client.start()
        except TimeoutError as error:
            raise BrokerUnavailable(bootstrap_servers) from error
        yield client
    except KafkaConnectionError as error:
        raise BrokerUnavailable(bootstrap_servers) from error
    finally:
        await stop()

"""What the broker's client logs of its own accord, and nobody needs to read."""

import logging


def quiet_client() -> None:
    """Keep the client from telling of each refused connection: what matters of it we say ourselves. Idempotent."""
    logging.getLogger("aiokafka").addFilter(_no_refusal)


def _no_refusal(record: logging.LogRecord) -> bool:
    return not record.getMessage().startswith("Unable connect")

"""FastStream's broker object, let in where the settings say how, and quiet."""

import logging

from faststream.kafka import KafkaBroker
from faststream.security import BaseSecurity, SASLOAuthBearer, SASLPlaintext, SASLScram256, SASLScram512

from worker.kafka.broker import Brokers

_WITH_PASSWORD = {"PLAIN": SASLPlaintext, "SCRAM-SHA-256": SASLScram256, "SCRAM-SHA-512": SASLScram512}


def faststream_broker(brokers: Brokers) -> KafkaBroker:
    """Return a broker object that is not started yet."""
    return KafkaBroker(
        # aiokafka takes several addresses with commas; FastStream would take them for one host.
        brokers.servers.split(","),
        security=_security(brokers),
        sasl_oauth_token_provider=brokers.options.get("sasl_oauth_token_provider"),
        # What FastStream narrates of every record is said better by the processor: its own lines are for debugging.
        logger=logging.getLogger("worker.faststream"),
        log_level=logging.DEBUG,
    )


def _security(brokers: Brokers) -> BaseSecurity | None:
    """Return what aiokafka's clients are given, in FastStream's words."""
    given = brokers.options
    if not given:
        return None
    tls, mechanism = given.get("ssl_context"), given.get("sasl_mechanism")
    if mechanism is None:
        return BaseSecurity(tls)
    if mechanism == "OAUTHBEARER":
        return SASLOAuthBearer(tls)
    return _WITH_PASSWORD[mechanism](given["sasl_plain_username"], given["sasl_plain_password"], tls)

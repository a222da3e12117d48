"""The brokers: whether they answer and let us in, and whether the topics on them keep what they are told."""

from aiokafka.admin import AIOKafkaAdminClient

from worker.doctor.finding import Finding, note, ok, unchecked, wrong
from worker.kafka.broker import Brokers, BrokerUnavailable, connected
from worker.kafka.topic_check import MISSING, wrong_topics
from worker.settings import Settings, SettingsError

_SAY_WHERE = "start one, or set KAFKA_BOOTSTRAP_SERVERS"


async def check_broker(settings: Settings) -> list[Finding]:
    """Return whether a broker answers and lets us in, and how it is spoken to."""
    about = "broker"
    try:
        async with connected(AIOKafkaAdminClient, Brokers.of(settings)) as admin:
            count = len((await admin.describe_cluster())["brokers"])
    except SettingsError as error:
        return [wrong(about, str(error), "set or unset the variables that it names")]
    except BrokerUnavailable as error:
        text, _, remedy = str(error).partition("; ")
        return [wrong(about, text, remedy or _SAY_WHERE)]
    text = f"{settings.kafka_bootstrap_servers}, {count} in the cluster, {_security(settings)}"
    if settings.kafka_security_protocol == "sasl_plaintext" and settings.kafka_sasl_mechanism != "scram-sha-512":
        remedy = "WORKER_KAFKA_SECURITY_PROTOCOL=sasl_ssl, on a listener that speaks TLS"
        return [note(about, f"{text}: what lets us in can be read on the way", remedy)]
    return [ok(about, text)]


async def check_topics(settings: Settings) -> list[Finding]:
    """Return what is wrong about the topics, one by one; those that are missing, in one."""
    about = "topics"
    try:
        brokers = Brokers.of(settings)
        found = await wrong_topics(brokers)
    except (SettingsError, BrokerUnavailable):
        return [unchecked(about, "no broker answers, see broker")]
    missing = [each.topic for each in found if each.setting == MISSING]
    findings = [
        wrong(about, f"{each.topic}: {each.setting} is {each.found}, should be {each.wanted}", each.remedy)
        for each in found
        if each.setting != MISSING
    ]
    if missing:
        text = f"{len(missing)} are missing, such as {missing[0]}"
        findings.append(note(about, text, "worker topics create; or worker run, which creates them too"))
    return findings or [ok(about, "all are there, and keep what they must")]


def _security(settings: Settings) -> str:
    protocol = settings.kafka_security_protocol
    who = settings.kafka_username or "a token's owner"
    parts: list[str] = [protocol]
    if protocol.startswith("sasl"):
        parts.append(f"as {who} by {settings.kafka_sasl_mechanism}")
    if protocol.endswith("ssl"):
        parts.append(f"certificates of {settings.kafka_ca_file or 'the system'}")
    return ", ".join(parts)

"""What the settings of TLS and SASL must be to be used; being let in is tests/integration/test_security.py's."""

from pathlib import Path
from typing import Any

import pytest
import trustme

from worker.delivery.faststream_broker import faststream_broker
from worker.kafka.broker import Brokers, TokenFile
from worker.settings import Settings, SettingsError


def test_without_a_protocol_clients_are_given_an_address_alone() -> None:
    assert Brokers.of(Settings(kafka_bootstrap_servers="k:1")) == ("k:1", {})


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ({"kafka_security_protocol": "sasl_ssl"}, "WORKER_KAFKA_USERNAME and WORKER_KAFKA_PASSWORD must be set"),
        ({"kafka_security_protocol": "sasl_ssl", "kafka_username": "u"}, "^WORKER_KAFKA_PASSWORD must be set"),
        (
            {"kafka_security_protocol": "sasl_plaintext", "kafka_sasl_mechanism": "oauthbearer"},
            "WORKER_KAFKA_TOKEN_FILE must be set: WORKER_KAFKA_SECURITY_PROTOCOL is sasl_plaintext",
        ),
        (
            {"kafka_security_protocol": "ssl", "kafka_ca_file": Path("nothing.pem")},
            "CA_FILE: there is no file nothing.pem",
        ),
        ({"kafka_security_protocol": "ssl", "kafka_ca_file": Path(__file__)}, "^WORKER_KAFKA_CA_FILE cannot be used"),
        (
            {"kafka_security_protocol": "ssl", "kafka_cert_file": Path(__file__)},
            "^WORKER_KAFKA_CERT_FILE cannot",
        ),
        ({"kafka_security_protocol": "ssl", "kafka_key_file": Path(__file__)}, "^WORKER_KAFKA_CERT_FILE must be set"),
        (
            {"kafka_ca_file": Path(__file__)},
            "WORKER_KAFKA_CA_FILE changes nothing: .*PROTOCOL is plaintext",
        ),
        ({"kafka_username": "u", "kafka_security_protocol": "ssl"}, "WORKER_KAFKA_USERNAME changes nothing"),
    ],
)
def test_settings_that_do_not_belong_together_are_refused_with_the_variable(given: dict[str, Any], text: str) -> None:
    with pytest.raises(SettingsError, match=text):
        Brokers.of(Settings(**given))


def test_faststream_is_given_each_address_of_its_own() -> None:
    made = faststream_broker(Brokers("one:9092,two:9092"))

    assert made.specification.url == ["one:9092", "two:9092"]


def test_a_password_is_in_no_text(tmp_path: Path) -> None:
    trustme.CA().cert_pem.write_to_path(tmp_path / "ca.pem")
    settings = Settings(
        kafka_security_protocol="sasl_ssl",
        kafka_ca_file=tmp_path / "ca.pem",
        kafka_username="u",
        kafka_password="hidden",
    )
    assert "hidden" not in repr(Brokers.of(settings))
    assert "hidden" not in repr(settings)


async def test_a_token_is_read_anew_at_each_login(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("first\n")
    tokens = TokenFile(tmp_path / "token")
    assert await tokens.token() == "first"
    (tmp_path / "token").write_text("second\n")
    assert await tokens.token() == "second"

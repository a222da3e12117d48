"""Settings from the environment: what cannot be used is named with its remedy, what is none is only warned of."""

import pytest

from worker.settings import Settings, SettingsError


@pytest.mark.parametrize(
    ("variable", "value", "words"),
    [
        ("WORKER_CONCURRENCY", "abc", "must be a whole number, at least 1 and at most 10000"),
        ("WORKER_ESTIMATE_DELAY_SECONDS", "1e12", "must be a number, at least 0 and at most 86400"),
        ("WORKER_ESTIMATE_DELAY_SECONDS", "inf", "must be a number, at least 0 and at most 86400"),
        ("WORKER_LEASE_SECONDS", "nan", "must be a number, above 0 and at most 86400"),
        ("WORKER_SESSION_TIMEOUT_SECONDS", "1000000", "must be a number, at least 1 and at most 1800"),
        ("WORKER_LOG_LEVEL", "trace", "must be one of critical, debug, error, info, warning"),
        ("KAFKA_BOOTSTRAP_SERVERS", "PLAINTEXT://a:1", "must be host:port, or several with commas"),
        ("KAFKA_BOOTSTRAP_SERVERS", "a:1, b:2", "must be host:port, or several with commas"),
        ("KAFKA_BOOTSTRAP_SERVERS", "", "must be host:port, or several with commas"),
        (
            "WORKER_S3_ENDPOINT_URL",
            "minio:9000",
            "must be a URL that begins with http:// or https:// and names no user",
        ),
        ("WORKER_LOG_FORMAT", "xml", "must be one of console, json"),
    ],
)
def test_what_cannot_be_used_names_its_variable_and_what_can(variable: str, value: str, words: str) -> None:
    with pytest.raises(SettingsError) as error:
        Settings.from_environment({variable: value})
    assert str(error.value) == f"{variable} {words}"


def test_all_that_cannot_be_used_is_said_at_once_and_no_value_is_shown() -> None:
    with pytest.raises(SettingsError) as error:
        Settings.from_environment({"WORKER_LOCAL_SLOTS": "s3cret", "WORKER_RETRY_LIMIT": "-1"})
    assert "WORKER_LOCAL_SLOTS must" in str(error.value)
    assert "WORKER_RETRY_LIMIT must be a whole number, at least 0" in str(error.value)
    assert "s3cret" not in str(error.value)


def test_every_delay_has_an_end() -> None:
    names = [name for name in Settings.__struct_fields__ if name.endswith("_seconds")]
    assert len(names) > 5
    for name in names:
        with pytest.raises(SettingsError, match="at most"):
            Settings.from_environment({f"WORKER_{name.upper()}": "1e12"})


def test_words_may_be_in_capitals_and_brokers_under_either_name() -> None:
    assert Settings.from_environment({"WORKER_LOG_LEVEL": "INFO"}).log_level == "info"
    assert Settings.from_environment({"KAFKA_BOOTSTRAP_SERVERS": "a:1"}).kafka_bootstrap_servers == "a:1"
    several = "a:1,b-1.example.org:9092,[::1]:9092,localhost"
    assert Settings.from_environment({"KAFKA_BOOTSTRAP_SERVERS": several}).kafka_bootstrap_servers == several
    both = {"KAFKA_BOOTSTRAP_SERVERS": "a:1", "WORKER_KAFKA_BOOTSTRAP_SERVERS": "b:1"}
    assert Settings.from_environment(both).kafka_bootstrap_servers == "b:1"


def test_a_child_sees_the_same_settings() -> None:
    given = Settings.from_environment({"WORKER_MODELS_FILE": "/m.toml", "WORKER_LOG_FORMAT": "console"})
    assert Settings.from_environment(given.to_environment()) == given


def test_what_is_no_setting_is_warned_of_with_the_nearest_one() -> None:
    given = {"WORKER_STORAGE_ULR": "file:///x", "WORKER_ZZZZ": "1", "OTHER": "2", "WORKER_LOCAL_SLOTS": "2"}
    assert Settings.from_environment(given).local_slots == 2
    assert [(found.variable, found.meant) for found in Settings.unknown(given)] == [
        ("WORKER_STORAGE_ULR", "WORKER_STORAGE_URL"),
        ("WORKER_ZZZZ", None),
    ]
    assert "did you mean WORKER_STORAGE_URL?" in str(Settings.unknown(given)[0])


def test_what_kubernetes_injects_for_a_service_of_this_name_is_not_even_warned_of() -> None:
    address = "tcp://10.0.0.1:80"
    given = dict.fromkeys(
        ["WORKER_PORT", "WORKER_PORT_80_TCP", "WORKER_SERVICE_PORT_HTTP", "WORKER_API_PORT_8080_TCP_ADDR"], address
    ) | {"WORKER_SERVICE_HOST": "10.0.0.1", "WORKER_SERVICE_PORT": "80", "WORKER_PORT_80_TCP_PROTO": "tcp"}
    assert Settings.from_environment(given) == Settings()
    assert Settings.unknown(given) == []

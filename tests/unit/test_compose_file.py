"""docker-compose.yml: legal, what it names is there, and what it tells the worker are settings."""

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests import kafka_servers, s3_servers
from tests.deployment import ROOT, environment_of, services, tool, yaml_of
from worker.console.settings import ConsoleSettings
from worker.settings import Settings
from worker.traces import switch
from worker.trainer.base_models import KNOWN

TRACES = "deploy/docker-compose.traces.yml"
LASTING = [name for name in services() if name != "setup"]
#: Read by every AWS client, not by the worker.
AWS = {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_DEFAULT_REGION"}


def _schema_says(path: Path) -> subprocess.CompletedProcess[str]:
    return tool("check-jsonschema", "--builtin-schema", "vendor.compose-spec", str(path))


def test_it_is_what_the_schema_of_compose_files_allows() -> None:
    said = _schema_says(ROOT / "docker-compose.yml")
    assert said.returncode == 0, said.stdout


def test_traces_go_to_a_pinned_collector_beside_the_same_worker() -> None:
    said = _schema_says(ROOT / TRACES)
    assert said.returncode == 0, said.stdout
    added = yaml_of(TRACES)["services"]
    (collector,) = added.keys() - services().keys()
    assert re.fullmatch(r"\S+:\d+\.\d+\.\d+", added[collector]["image"])
    assert all(port.startswith("127.0.0.1:") for port in added[collector]["ports"])
    told = added["worker"]["environment"]
    assert switch.wanted(told)
    switch.check(told)
    assert set(told.values()) == {f"http://{collector}:4318"}


def test_the_schema_sees_a_slip(tmp_path: Path) -> None:
    slipped = tmp_path / "docker-compose.yml"
    slipped.write_text((ROOT / "docker-compose.yml").read_text().replace("healthcheck:", "health_check:"))
    assert _schema_says(slipped).returncode == 1


def test_it_starts_everything_the_service_needs() -> None:
    assert set(services()) == {"kafka", "s3", "setup", "worker", "console", "prometheus", "grafana"}


@pytest.mark.parametrize("service", ["worker", "setup"])
def test_each_variable_the_worker_is_given_is_a_setting(service: str) -> None:
    given = environment_of(service)
    settings = Settings.from_environment(given)
    assert Settings.unknown(given) == []
    assert {name for name in given if not name.startswith(("WORKER_", "KAFKA_"))} == AWS
    assert settings.kafka_bootstrap_servers == "kafka:19092"
    assert settings.storage_url == "s3://worker"
    assert all(isinstance(value, str) for value in given.values()), "YAML made something else of a value"


def test_the_console_is_served_where_its_port_leads_and_goes_where_the_worker_does() -> None:
    given, found = environment_of("console"), services()["console"]
    console = ConsoleSettings.from_environment(given)
    assert not console.local, "a port of a container leads to an address of its own"
    assert console.token is not None
    assert found["ports"] == [f"127.0.0.1:{console.port}:{console.port}"]
    assert f"127.0.0.1:{console.port}/sign-in" in found["healthcheck"]["test"][-1]
    worker = environment_of("worker")
    assert {name: value for name, value in given.items() if not name.startswith("CONSOLE_")} == worker


def test_the_worker_s_addresses_are_those_of_the_other_services() -> None:
    settings = Settings.from_environment(environment_of("worker"))
    kafka = environment_of("kafka")
    assert f"INSIDE://{settings.kafka_bootstrap_servers}" in kafka["KAFKA_ADVERTISED_LISTENERS"].split(",")
    command = services()["s3"]["command"]
    assert settings.s3_endpoint_url == f"http://s3{command[command.index('--port') + 1]}"
    served, keys = environment_of("s3"), environment_of("worker")
    assert served["ROOT_ACCESS_KEY_ID"] == keys["AWS_ACCESS_KEY_ID"]
    assert served["ROOT_SECRET_ACCESS_KEY"] == keys["AWS_SECRET_ACCESS_KEY"]


def test_broker_and_bucket_are_the_versions_the_tests_run_on() -> None:
    assert services()["kafka"]["image"] == kafka_servers.IMAGE
    assert services()["s3"]["image"] == s3_servers.IMAGE
    assert f"<version>{kafka_servers.IMAGE.partition(':')[2]}<" in (ROOT / "deploy/local/kafka-pom.xml").read_text()
    assert f"versitygw {s3_servers.IMAGE.partition(':')[2]} " in (ROOT / "deploy/local/versitygw/go.mod").read_text()


@pytest.mark.parametrize("service", services())
def test_an_image_is_pinned_or_built_here(service: str) -> None:
    found = services()[service]
    if "build" not in found:
        tag = found["image"].rpartition("/")[2].partition(":")[2]
        assert tag[:1].isdigit() or tag[1:2].isdigit(), f"{found['image']} has no version"
        return
    build = found["build"]
    assert f"AS {build['target']}\n" in (ROOT / build["context"] / build["dockerfile"]).read_text()


@pytest.mark.parametrize("service", LASTING)
def test_a_service_is_asked_how_it_is_keeps_what_it_has_and_is_open_to_this_machine_alone(service: str) -> None:
    found = services()[service]
    assert found["healthcheck"]["test"][0] == "CMD"
    assert found["restart"] == "unless-stopped"
    assert all(port.startswith("127.0.0.1:") for port in found["ports"])
    named = {volume.partition(":")[0] for volume in found["volumes"]} & set(yaml_of("docker-compose.yml")["volumes"])
    assert len(named) == 1


def test_every_volume_is_used() -> None:
    mounted = {volume.partition(":")[0] for found in services().values() for volume in found["volumes"]}
    assert {name for name in mounted if not name.startswith(".")} == set(yaml_of("docker-compose.yml")["volumes"])


def test_each_file_it_mounts_is_there_and_cannot_be_written_to() -> None:
    mounts = [each.split(":") for found in services().values() for each in found["volumes"] if each.startswith(".")]
    assert len(mounts) == 3
    for host, _, mode in mounts:
        assert (ROOT / host).is_dir(), host
        assert mode == "ro"


def test_its_secrets_are_plainly_no_secrets() -> None:
    secret = ("KEY", "PASSWORD", "SECRET", "TOKEN")
    given = [pair for found in services().values() for pair in found.get("environment", {}).items()]
    values = [value for name, value in given if any(word in name for word in secret)]
    assert len(values) >= 5
    assert all(value.startswith("local-") for value in values)


def test_what_is_ours_has_no_rights_and_writes_only_where_it_may() -> None:
    for service in ("worker", "setup", "console"):
        found: dict[str, Any] = services()[service]
        assert found["read_only"] is True
        assert found["cap_drop"] == ["ALL"]
        assert found["security_opt"] == ["no-new-privileges:true"]
        assert found["volumes"] == [f"work:{environment_of(service)['WORKER_WORK_DIR']}"]


def test_a_task_can_be_trained() -> None:
    # The executor `local` starts trainers in the worker's own container.
    assert services()["worker"]["build"]["target"] == "trainer"
    *commands, base_model = services()["setup"]["command"][0].splitlines()
    assert commands == ["worker bucket create", "worker topics create"]
    assert base_model.split()[:3] == ["python", "-m", "worker.trainer.base_models"]
    assert base_model.split()[3] in KNOWN


def test_the_worker_has_longer_to_stop_than_it_takes_to_drain() -> None:
    seconds = float(services()["worker"]["stop_grace_period"].removesuffix("s"))
    assert seconds > Settings.from_environment(environment_of("worker")).drain_seconds


def test_prometheus_scrapes_the_worker_and_grafana_asks_prometheus() -> None:
    port = environment_of("worker")["WORKER_HEALTH_PORT"]
    (job,) = yaml_of("deploy/prometheus/prometheus.yml")["scrape_configs"]
    assert job["static_configs"] == [{"targets": [f"worker:{port}"]}]
    (source,) = yaml_of("deploy/grafana/provisioning/datasources/prometheus.yml")["datasources"]
    assert source["url"] == "http://prometheus:9090"
    assert f"127.0.0.1:{port}/ready" in services()["worker"]["healthcheck"]["test"][-1]

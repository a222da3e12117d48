"""What every test run says first: which broker, S3 server, Slurm, Ray and Kustomize it runs on.

``TEST_REQUIRE_REAL_PARTS=1`` (as CI sets it) ends the run where one of them is not the real thing.
"""

import logging
import os
from collections.abc import Iterator

import pytest
import structlog
from hypothesis import HealthCheck, settings

from tests import kafka_servers, kustomize, ray_servers, s3_servers, slurm_servers

REQUIRED = "TEST_REQUIRE_REAL_PARTS"

# How long an example takes says how busy the machine is, not whether the code is right.
settings.register_profile("untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("untimed")


def pytest_report_header() -> list[str]:
    """Say what the run stands on."""
    return [
        f"broker: {kafka_servers.description(kafka_servers.rung())}",
        f"S3 server: {s3_servers.description(s3_servers.rung())}",
        f"Slurm: {slurm_servers.description()}",
        f"Ray: {ray_servers.description()}",
        f"Kustomize: {kustomize.description()}",
    ]


def pytest_configure() -> None:
    """Build the S3 server and Kustomize where they are not there yet, outside any test's time; insist on real parts."""
    kafka, s3 = kafka_servers.rung(), s3_servers.rung()
    jobs = slurm_servers.possible() and ray_servers.possible()
    if os.environ.get(REQUIRED) and not (kafka and s3 and jobs and kustomize.possible()):
        raise pytest.UsageError("; ".join(filter(None, [f"{REQUIRED} is set", *map(str, pytest_report_header())])))
    if os.environ.get("PYTEST_XDIST_WORKER") is not None:
        return
    if s3:
        s3_servers.prepare(s3)
    if kustomize.possible():
        kustomize.command()


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with what takes minutes: begun last, one process would be at it alone while the others have ended."""
    items.sort(key=lambda item: "e2e" not in item.path.parts)


@pytest.fixture(autouse=True)
def _logs_as_before() -> Iterator[None]:
    """After each test log as before it: commands set logging up for their process, which here is that of all tests."""
    root, logs = logging.getLogger(), structlog.get_config()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.configure(**logs)

"""What every test run says first: on which brokers it runs."""

import shutil


def pytest_report_header() -> str:
    missing = [program for program in ("java", "mvn") if shutil.which(program) is None]
    if missing:
        return f"brokers: embedded only; Apache Kafka needs {' and '.join(missing)}"
    return "brokers: embedded, Apache Kafka"

"""Starting Apache Kafka by hand: what keeps it from starting is one line."""

import socket

import pytest

from deploy.local import kafka


def test_a_port_that_is_taken_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        assert kafka.main(["--port", str(port)]) == 2
    assert capsys.readouterr().err == f"port {port} is in use, by another broker perhaps; --port 0 takes a free one\n"


def test_what_is_missing_is_said(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("PATH", "")
    assert kafka.main(["--port", "0"]) == 2
    assert capsys.readouterr().err == "Java 17 or newer is needed to run Apache Kafka\n"

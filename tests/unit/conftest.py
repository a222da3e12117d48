"""What all unit tests share."""

from pathlib import Path

import pytest
import structlog


@pytest.fixture(autouse=True, scope="session")
def _plain_logs() -> None:
    """Log plainly: structlog's default draws every error as a box of its frames, a tenth of a second each."""
    structlog.configure(processors=[structlog.processors.format_exc_info, structlog.processors.KeyValueRenderer()])


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder without a bucket, and no settings of whoever runs this."""
    monkeypatch.delenv("WORKER_STORAGE_URL", raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path

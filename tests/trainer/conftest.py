"""What trainer tests share: a bucket with the tiny base model in it. Left out where the extra is not installed."""

import shutil
from importlib.util import find_spec
from pathlib import Path

import pytest

from worker.trainer import environment

collect_ignore_glob = ["test_*.py"] if find_spec("torch") is None else []

environment.prepare()


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny base model's files. Read only."""
    from worker.trainer.tiny import make_tiny  # noqa: PLC0415 - needs the extra

    folder = tmp_path_factory.mktemp("tiny")
    make_tiny(folder)
    return folder


@pytest.fixture(scope="session")
def encoder_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny embedding model's files. Read only."""
    from worker.trainer.tiny_encoder import make_tiny_encoder  # noqa: PLC0415 - needs the extra

    folder = tmp_path_factory.mktemp("tiny-encoder")
    make_tiny_encoder(folder)
    return folder


@pytest.fixture
def bucket_root(tmp_path: Path, tiny_folder: Path) -> Path:
    """A bucket that holds the tiny base model and nothing else."""
    root = tmp_path / "bucket"
    shutil.copytree(tiny_folder, root / "base-models" / "tiny" / "1")
    return root


@pytest.fixture
def both_models(bucket_root: Path, encoder_folder: Path) -> Path:
    """A bucket that holds both tiny base models: of language, and of embeddings."""
    shutil.copytree(encoder_folder, bucket_root / "base-models" / "tiny-encoder" / "1")
    return bucket_root

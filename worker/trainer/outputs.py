"""The models a run leaves: plain Hugging Face directories, copied inside the bucket from its checkpoints."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from contracts.training import FileDigest, Output
from worker.trainer import checkpoints
from worker.trainer.bucket import Bucket, digest_of
from worker.trainer.checkpoints import Kept
from worker.trainer.model_files import MODEL_FILES, TOKENIZER_FILES


def chosen(history: Sequence[Kept], count: int) -> list[Kept]:
    """Return what to keep, best first: by validation loss where there is one, else the last. Distinct steps. Pure."""
    newest = list({kept.step: kept for kept in history}.values())
    newest.sort(key=lambda kept: -kept.step)
    judged = [kept for kept in newest if kept.validation_loss is not None]
    judged.sort(key=lambda kept: kept.validation_loss or 0.0)
    others = [kept for kept in newest if kept.validation_loss is None]
    return (judged + others)[:count]


def export(
    bucket: Bucket,
    kept: Kept,
    *,
    attempt_prefix: str,
    base_prefix: str,
    base_folder: Path,
    kind: Literal["adapter", "full"],
) -> Output:
    """Copy one checkpoint's model and the base's tokenizer under the attempt's outputs. May be repeated.

    Weights are copied inside the bucket; optimizer state stays behind. Raises JobError where the checkpoint is gone.
    """
    target = f"{attempt_prefix}outputs/step-{kept.step}/"
    files: list[FileDigest] = []
    for file in checkpoints.read(bucket, kept.prefix).files:
        if MODEL_FILES.fullmatch(file.path):
            bucket.copy(kept.prefix + file.path, target + file.path)
            files.append(file)
    for path in sorted(base_folder.iterdir()):
        if TOKENIZER_FILES.fullmatch(path.name):
            bucket.copy(base_prefix + path.name, target + path.name)
            files.append(digest_of(path))
    return Output(
        step=kept.step,
        uri=bucket.uri(target),
        kind=kind,
        files=tuple(sorted(files, key=lambda file: file.path)),
        loss=kept.loss,
        validation_loss=kept.validation_loss,
    )

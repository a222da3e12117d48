"""The models a run leaves: plain Hugging Face directories, copied inside the bucket from its checkpoints."""

import platform
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Literal, NamedTuple

from contracts.gguf import Gguf, GgufType
from contracts.probe import MERGED_FOLDER
from contracts.training import FileDigest, Output
from handlers.planning.plan import Plan
from worker.trainer import checkpoints
from worker.trainer.bucket import Bucket, digest_of
from worker.trainer.checkpoints import Kept
from worker.trainer.converter import Converter
from worker.trainer.gguf import leave_gguf
from worker.trainer.model_files import MODEL_FILES, TOKENIZER_FILES
from worker.trainer.proof import prove

#: What decides which weights come of a plan.
_PACKAGES = ("finetune-worker", "torch", "transformers", "peft", "sentence-transformers", "safetensors", "tokenizers")


class Asked(NamedTuple):
    """What is left beside a model: an adapter and its base as one, a GGUF file, and what would make that."""

    merge: bool
    gguf: Literal["off"] | GgufType
    converter: Converter


def chosen(history: Sequence[Kept], count: int) -> list[Kept]:
    """Return what to keep, best first: by validation loss where there is one, else the last. Distinct steps. Pure."""
    newest = list({kept.step: kept for kept in history}.values())
    newest.sort(key=lambda kept: -kept.step)
    judged = [kept for kept in newest if kept.validation_loss is not None]
    judged.sort(key=lambda kept: kept.validation_loss or 0.0)
    others = [kept for kept in newest if kept.validation_loss is None]
    return (judged + others)[:count]


def export(bucket: Bucket, kept: Kept, *, plan: Plan, attempt_prefix: str, scratch: Path, asked: Asked) -> Output:
    """Copy one checkpoint's model and the base's tokenizer under the attempt's outputs, and prove it. May be repeated.

    Weights are copied inside the bucket; optimizer state stays behind. ``scratch`` has the base model, in ``base``.
    Raises JobError where the checkpoint is gone, or merged weights are not what base and adapter are.
    """
    base = scratch / "base"
    target = f"{attempt_prefix}outputs/step-{kept.step}/"
    files: list[FileDigest] = []
    for file in checkpoints.read(bucket, kept.prefix).files:
        if MODEL_FILES.fullmatch(file.path):
            bucket.copy(kept.prefix + file.path, target + file.path)
            files.append(file)
    for path in sorted(base.iterdir()):
        if TOKENIZER_FILES.fullmatch(path.name):
            bucket.copy(plan.base_prefix + path.name, target + path.name)
            files.append(digest_of(path))
    adapter = plan.method == "LoRA"
    folder = scratch / "proof" / f"step-{kept.step}"
    probe, proof = prove(
        bucket, target, folder, format=plan.format, base=base if adapter else None, merge=asked.merge and adapter
    )
    gguf, converted = _gguf(bucket, target, folder, asked, adapter=adapter)
    return Output(
        step=kept.step,
        uri=bucket.uri(target),
        kind="adapter" if adapter else "full",
        files=tuple(sorted(files + proof + converted, key=lambda file: file.path)),
        loss=kept.loss,
        validation_loss=kept.validation_loss,
        probe=probe,
        versions=versions(),
        gguf=gguf,
    )


def _gguf(
    bucket: Bucket, target: str, folder: Path, asked: Asked, *, adapter: bool
) -> tuple[Gguf | None, list[FileDigest]]:
    if asked.gguf == "off":
        return None, []
    merged = folder / MERGED_FOLDER if asked.merge else None
    return leave_gguf(bucket, target, merged if adapter else folder, type=asked.gguf, converter=asked.converter)


def versions() -> dict[str, str]:
    """Return the versions of the code that trains, by package."""
    return {"python": platform.python_version()} | {name: version(name) for name in _PACKAGES}

"""A model once more as one GGUF file, where a form asked for it. That there is none fails no job."""

import shutil
from pathlib import Path

import structlog

from contracts.gguf import GGUF_FILE, Gguf, GgufType
from contracts.training import FileDigest
from worker.trainer.bucket import Bucket
from worker.trainer.converter import Converter, NotMade

log = structlog.get_logger()


def leave_gguf(
    bucket: Bucket, prefix: str, whole: Path | None, *, type: GgufType, converter: Converter
) -> tuple[Gguf, list[FileDigest]]:
    """Leave the model in a folder as one file under its output's prefix; return what became of it, and the file.

    ``whole`` None: the output has no whole model, only an adapter. Blocks while the converter works. Raises Unavailable
    where the bucket does not answer; never for what the converter does.
    """
    if whole is None:
        return _none(prefix, type, NotMade("needs-merge", "an adapter alone has no GGUF file: merge must be on, too"))
    scratch = whole.with_name(f"{whole.name}-gguf")
    try:
        converter.convert(whole, scratch / GGUF_FILE, type)
        return Gguf(status="made", type=type, path=GGUF_FILE), [bucket.upload(prefix, GGUF_FILE, scratch / GGUF_FILE)]
    except NotMade as error:
        return _none(prefix, type, error)
    finally:
        # A disk that the converter filled is wanted for the next output.
        shutil.rmtree(scratch, ignore_errors=True)


def _none(prefix: str, type: GgufType, why: NotMade) -> tuple[Gguf, list[FileDigest]]:
    log.warning("gguf.not-made", prefix=prefix, reason=why.reason, message=str(why))
    return Gguf(status="not-made", type=type, reason=why.reason, message=str(why)), []

"""What an output is left with besides its model: its probe, and where asked its merged weights."""

import math
from pathlib import Path

import msgspec
import structlog

from contracts.dataset import Format
from contracts.probe import MERGED_FOLDER, PROBE_FILE, Probe
from contracts.training import FileDigest, OutputProbe
from worker.trainer.bucket import Bucket
from worker.trainer.failures import platforms_fault
from worker.trainer.merging import write_merged
from worker.trainer.model_files import is_wanted
from worker.trainer.probe import probe_of, repeated

log = structlog.get_logger()


def prove(
    bucket: Bucket, prefix: str, folder: Path, *, format: Format, base: Path | None, merge: bool
) -> tuple[OutputProbe, list[FileDigest]]:
    """Load an output from its files, as anybody will, and leave what it says beside it; return that and its files.

    ``folder`` is a new one, and has all of it then. ``base`` is the folder of what an adapter is on; ``merge`` also
    leaves both as one model, which must say the same.
    Raises JobError where it does not.
    """
    bucket.download(prefix, folder, is_wanted)
    probe = probe_of(folder, format, base)
    if not all(math.isfinite(value) for case in probe.cases for each in case.sequences for value in each.values):
        raise platforms_fault("model-unusable", f"{prefix}: the model answers with what is no number", retryable=False)
    path = folder / PROBE_FILE
    path.write_bytes(msgspec.json.encode(probe))
    files = [bucket.upload(prefix, PROBE_FILE, path)]
    difference = None
    if merge and base is not None:
        difference, merged = _merged(bucket, prefix, folder, base, probe)
        files += merged
    log.info("output.proved", prefix=prefix, merged_difference=difference)
    return OutputProbe(path=PROBE_FILE, tolerance=probe.tolerance, merged_difference=difference), files


def _merged(bucket: Bucket, prefix: str, folder: Path, base: Path, probe: Probe) -> tuple[float, list[FileDigest]]:
    target = folder / MERGED_FOLDER
    write_merged(base, folder, target)
    repetition = repeated(probe, target)
    if repetition.faults:
        raise platforms_fault(
            "merge-differs", f"{prefix}: merged, the model differs: {'; '.join(repetition.faults)}", retryable=False
        )
    names = sorted(path.name for path in target.iterdir() if is_wanted(path.name))
    return repetition.difference, [bucket.upload(prefix, f"{MERGED_FOLDER}/{name}", target / name) for name in names]

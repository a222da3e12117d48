"""``python -m worker.trainer.repeat_probe FOLDER``: load a model offline, and ask it again what its probe was asked.

A process of its own: whatever loading does, it does to nobody else. One JSON object on stdout says what became of it.
"""

import argparse
import sys
import tempfile
from pathlib import Path

import msgspec

from contracts.probe import MERGED_FOLDER, PROBE_FILE, Probe, Repetition
from worker.models.loading import Loaded
from worker.settings import Settings, SettingsError
from worker.trainer import environment
from worker.trainer.bucket import open_bucket
from worker.trainer.failures import JobError


def main(arguments: list[str]) -> int:
    """Print what became of it, and return 0: whatever it was, it could be said."""
    given = _parser().parse_args(arguments)
    environment.prepare()
    with tempfile.TemporaryDirectory(prefix="probe-") as scratch:
        loaded = _tried(given.folder, given.base, given.base_prefix, Path(scratch))
    sys.stdout.write(msgspec.json.encode(loaded).decode() + "\n")
    return 0


def _tried(folder: Path, base: Path | None, base_prefix: str | None, scratch: Path) -> Loaded:
    try:
        if base is None and base_prefix is not None:
            base = scratch / "base"
            _fetch_base(base_prefix, base)
    except (JobError, SettingsError, OSError) as error:
        return Loaded(outcome="no-base", faults=(str(error),))
    try:
        probe = msgspec.json.decode((folder / PROBE_FILE).read_bytes(), type=Probe)
        repetitions = [_repeated(probe, folder, base)]
        if base is not None and (folder / MERGED_FOLDER).is_dir():
            merged = _repeated(probe, folder / MERGED_FOLDER, None)
            faults = tuple(f"{MERGED_FOLDER}/: {fault}" for fault in merged.faults)
            repetitions.append(Repetition(difference=merged.difference, faults=faults))
    except Exception as error:  # noqa: BLE001 - libraries raise whatever they like about a model they cannot load
        return Loaded(outcome="unloadable", faults=(f"{type(error).__name__}: {error}",))
    faults = tuple(fault for repetition in repetitions for fault in repetition.faults)
    return Loaded(
        outcome="differs" if faults else "repeated",
        difference=max(repetition.difference for repetition in repetitions),
        faults=faults,
    )


def _repeated(probe: Probe, folder: Path, base: Path | None) -> Repetition:
    from worker.trainer.probe import repeated  # noqa: PLC0415 - only after the environment is set

    return repeated(probe, folder, base)


def _fetch_base(prefix: str, folder: Path) -> None:
    from worker.trainer.whole import fetch_whole  # noqa: PLC0415 - only after the environment is set

    with open_bucket(Settings.from_environment()) as bucket:
        fetch_whole(bucket, prefix, folder)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m worker.trainer.repeat_probe", description=__doc__)
    parser.add_argument("folder", type=Path, help="the model")
    parser.add_argument("--base", type=Path, help="the folder of what an adapter is on")
    parser.add_argument("--base-prefix", help="where that is in the bucket of the settings")
    return parser


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

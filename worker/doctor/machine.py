"""This machine: its variables, its folders, its disk."""

import os
import shutil
import tempfile
from pathlib import Path

from worker.doctor.finding import Finding, note, ok, wrong
from worker.doctor.folders import missing_folder, there
from worker.settings import Settings

#: A dataset's scan and a small trainer's checkpoint need about as much.
SCARCE_BYTES = 1 << 30


async def check_variables(_: Settings) -> list[Finding]:
    """Return the ``WORKER_`` variables that are no settings. What cannot be used at all never got here."""
    about = "settings"
    strangers = [note(about, each.text, each.remedy) for each in Settings.unknown()]
    return strangers or [ok(about, "every WORKER_ variable is a setting")]


async def check_work_folder(settings: Settings) -> list[Finding]:
    """Return whether jobs and scratch files can be kept."""
    about, folder = "work folder", settings.work_dir
    if not folder.exists():
        return [missing_folder(about, folder, "WORKER_WORK_DIR")]
    if folder.is_dir() and os.access(folder, os.W_OK | os.X_OK):
        return [ok(about, str(folder.absolute()))]
    return [wrong(about, f"{folder.absolute()} is no folder that can be written to", "set WORKER_WORK_DIR")]


async def check_disk(settings: Settings) -> list[Finding]:
    """Return how much is free where jobs and scans write."""
    folders = {"WORKER_WORK_DIR": there(settings.work_dir), "TMPDIR": Path(tempfile.gettempdir())}
    return [_free(variable, folder) for variable, folder in folders.items()]


def _free(variable: str, folder: Path) -> Finding:
    free = shutil.disk_usage(folder).free
    text = f"{free / 1e9:,.1f} GB free in {folder}"
    if free < SCARCE_BYTES:
        return wrong("disk", text, f"make room, or set {variable} to a folder on a larger disk")
    return ok("disk", text)

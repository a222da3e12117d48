"""Folders that may not be there yet."""

import os
from pathlib import Path

from worker.doctor.finding import Finding, note, wrong


def missing_folder(about: str, folder: Path, variable: str) -> Finding:
    """Say of a folder that is not there whether it could be made. ``variable`` sets it."""
    above = there(folder)
    if above.is_dir() and os.access(above, os.W_OK | os.X_OK):
        return note(about, f"{folder.absolute()} is not there", f"worker run makes it, if {variable} is not misspelt")
    return wrong(about, f"{folder.absolute()} is not there and cannot be made in {above}", f"set {variable}")


def there(folder: Path) -> Path:
    """Return a folder, or the nearest one above it that is there."""
    whole = folder.absolute()
    return next(each for each in (whole, *whole.parents) if each.exists())

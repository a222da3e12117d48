"""Every export of an end-to-end test proves itself."""

import asyncio
import json
import os
import sys
from pathlib import Path

from worker.settings import Settings

_SECONDS = 120


async def verifies(export: Path, settings: Settings) -> None:
    """Make sure that ``worker models verify`` can check all of an export, loads it and finds nothing wrong with it.

    What an adapter is on is in the bucket of the settings.
    """
    command = (sys.executable, "-m", "worker", "models", "verify", str(export), "--json")
    environment = os.environ | settings.to_environment()
    async with asyncio.timeout(_SECONDS):
        process = await asyncio.create_subprocess_exec(*command, env=environment, stdout=asyncio.subprocess.PIPE)
        verdict = json.loads((await process.communicate())[0])
    assert (process.returncode, verdict["problems"], verdict["unchecked"]) == (0, [], [])
    assert verdict["difference"] <= verdict["tolerance"]

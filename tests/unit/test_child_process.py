"""Processes that were started end in order, or by force."""

import asyncio
import signal
import sys

from worker import child_process

_OBEYS = "import time; print('up', flush=True); time.sleep(600)"
_IGNORES = f"import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); {_OBEYS}"


async def _started(code: str) -> asyncio.subprocess.Process:
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", code, stdout=asyncio.subprocess.PIPE)
    assert process.stdout is not None
    assert await process.stdout.readline() == b"up\n"
    return process


async def test_a_process_is_asked_to_end_and_waited_for() -> None:
    process = await _started(_OBEYS)
    await child_process.end(process, 60)
    assert process.returncode == -signal.SIGTERM


async def test_one_that_does_not_end_in_time_is_killed() -> None:
    process = await _started(_IGNORES)
    await child_process.end(process, 0.1)
    assert process.returncode == -signal.SIGKILL


async def test_one_that_has_ended_and_none_at_all_need_nothing() -> None:
    process = await _started("print('up')")
    await process.wait()
    await child_process.end(process, 60)
    assert process.returncode == 0
    await child_process.end(None, 60)

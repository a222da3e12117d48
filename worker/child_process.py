"""A process that this one has started, and its end."""

import asyncio


async def end(process: asyncio.subprocess.Process | None, within_seconds: float) -> None:
    """Ask a process to end (SIGTERM) and wait for it; one that takes longer is killed. Idempotent; None is nothing."""
    if process is None or process.returncode is not None:
        return
    process.terminate()
    try:
        async with asyncio.timeout(within_seconds):
            await process.wait()
    except TimeoutError:
        process.kill()
        await process.wait()

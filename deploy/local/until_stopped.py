"""What the commands of this folder share: a server runs until Ctrl-C or SIGTERM."""

import asyncio
import shlex
import signal
import sys
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from typing import TypeVar

from deploy.local.server_process import ServerMissing

Server = TypeVar("Server")


def run_until_stopped(
    server: AbstractAsyncContextManager[Server], variables: Callable[[Server], Awaitable[Mapping[str, str]]]
) -> int:
    """Run a server and print what leads to it, as a shell takes it; return the exit code: 0 it ran, 2 it could not."""
    try:
        asyncio.run(_run(server, variables))
    except ServerMissing as error:
        sys.stderr.write(f"{error}\n")
        return 2
    return 0


async def _run(
    server: AbstractAsyncContextManager[Server], variables: Callable[[Server], Awaitable[Mapping[str, str]]]
) -> None:
    stopping = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stopping.set)
    async with server as running:
        for name, value in (await variables(running)).items():
            print(f"export {name}={shlex.quote(value)}", flush=True)  # noqa: T201 - what the caller needs
        await stopping.wait()

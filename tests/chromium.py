"""Debian's Chromium (``make browser``) at a console: its own one over events that a test says, or any other."""

import asyncio
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import uvicorn
from playwright.async_api import Browser, Page, async_playwright

from tests.fakes.console import TOKEN, ConsoleUnderTest
from tests.wait import wait_until


@asynccontextmanager
async def browser() -> AsyncIterator[Browser]:
    """Run Chromium."""
    path = shutil.which("chromium")
    assert path, "there is no Chromium: make browser installs it"
    async with async_playwright() as playwright:
        # As root Chromium has no sandbox; it sees nothing but our pages.
        found = await playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield found
        await found.close()


async def signed_in(found: Browser, address: str, token: str, *, patience_ms: int, **options: Any) -> Page:
    """Return a page of somebody who signed in."""
    context = await found.new_context(base_url=address, **options)
    page = await context.new_page()
    page.set_default_timeout(patience_ms)
    await page.goto("/tasks")
    await page.fill("#token", token)
    await page.keyboard.press("Enter")
    await page.wait_for_selector("nav")  # only who is signed in has one
    return page


async def upload(page: Page, role: str, name: str, content: bytes) -> None:
    """Bring a file into the form, as ``training_set`` or ``validation_set``."""
    await page.set_input_files(f"#{role}-files", {"name": name, "mimeType": "text/plain", "buffer": content})
    await page.locator(f".bring:has(#{role}-files) button").first.click()


@asynccontextmanager
async def page_of(console: ConsoleUnderTest, **options: Any) -> AsyncIterator[Page]:
    """Serve a console, and sign in to it in a browser."""
    server = uvicorn.Server(uvicorn.Config(console.app, port=0, log_config=None, lifespan="off"))
    serving = asyncio.create_task(server.serve())
    await wait_until(lambda: server.started)
    port = server.servers[0].sockets[0].getsockname()[1]
    try:
        async with browser() as found:
            options = {"locale": "en-US"} | options
            yield await signed_in(found, f"http://127.0.0.1:{port}", TOKEN, patience_ms=60_000, **options)
    finally:
        console.view.changes.close()
        server.should_exit = True
        await serving

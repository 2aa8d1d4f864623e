"""Their application under a real uvicorn, and a reverse proxy that strips a path before it."""

from __future__ import annotations

import socket
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path

import aiohttp
from aiohttp import web
from tests.acceptance.processes import Http, Process, World
from tests.support.ports import free_port
from yarl import URL

ROOT = Path(__file__).parents[2]


@contextmanager
def serving(made: World, *arguments: str, port: int | None = None, prefix: str = "") -> Iterator[Process]:
    """`tests.contrib.their_app` on the world's port, until the block ends; told to stop, it has to end by itself."""
    process = Process(
        "uvicorn", "tests.contrib.their_app:app", "--app-dir", str(ROOT), "--port", str(port or made.port), *arguments,
        env={**made.settings, "THEIR_PREFIX": prefix}, cwd=made.folder,
    )  # fmt: skip
    try:
        process.wait_for(r"Application startup complete")
        wait_until_listening(port or made.port)
        yield process
    finally:
        process.stop()
    assert "Application shutdown complete" in process.output, process.output
    assert "Traceback" not in process.output, process.output


def wait_until_listening(port: int) -> None:
    """uvicorn says that the application is ready before it accepts; a supervisor says that it listens, and its workers
    do so later.
    """
    while True:  # the test's own time limit is the deadline
        with suppress(ConnectionRefusedError), socket.create_connection(("127.0.0.1", port)):
            return
        time.sleep(0.01)


def approved(browser: Http, start: str) -> str:
    """Start there and approve, as far as the address that Cloudbeds sends the browser back to."""
    answer = browser.start(start)
    while "/api/v1.3/oauth" not in answer.headers["Location"]:
        answer = browser.get(answer.headers["Location"])
    back: str = browser.get(answer.headers["Location"]).headers["Location"]
    return back


@asynccontextmanager
async def stripping_proxy(prefix: str, port: int, behind: int) -> AsyncIterator[None]:
    """Listens on `port` and passes `{prefix}/x` on as `/x`, the Host header as it came; any other path is 404."""

    async def handle(request: web.Request) -> web.Response:
        if not request.raw_path.startswith(prefix + "/"):
            return web.Response(status=404)
        target = URL(f"http://127.0.0.1:{behind}{request.raw_path.removeprefix(prefix)}", encoded=True)
        async with session.request(
            request.method, target, headers=request.headers, data=await request.read(), allow_redirects=False
        ) as answer:
            body = await answer.read()
            headers = answer.headers.copy()
            headers.popall("Transfer-Encoding", None)
            return web.Response(body=body, status=answer.status, headers=headers)

    async with aiohttp.ClientSession(auto_decompress=False, cookie_jar=aiohttp.DummyCookieJar()) as session:
        runner = web.ServerRunner(web.Server(handle), access_log=None, shutdown_timeout=0.1)  # type: ignore[arg-type]
        await runner.setup()
        try:
            await web.TCPSite(runner, "127.0.0.1", port).start()
            yield
        finally:
            await runner.cleanup()


__all__ = ["approved", "free_port", "serving", "stripping_proxy"]

"""A server as if it were far away: a relay in a process of its own, which holds back what it passes on.

`python -m tests.support.far 5432 0.002` listens on a free port of loopback, prints it, and adds two milliseconds each
way; it ends with its standard input.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit


@contextmanager
def far(url: str, seconds: float) -> Iterator[str]:
    """This URL, by way of a relay that adds `seconds` in each direction."""
    parts = urlsplit(url)
    command = [sys.executable, "-m", "tests.support.far", str(parts.port), str(seconds)]
    root = Path(__file__).parents[2]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=root) as relay:
        assert relay.stdin is not None
        assert relay.stdout is not None
        port = relay.stdout.readline().strip()
        user, at, _ = parts.netloc.rpartition("@")
        yield urlunsplit(parts._replace(netloc=f"{user}{at}127.0.0.1:{port}"))
        relay.stdin.close()


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, seconds: float) -> None:
    """One direction, to its end; what is under way does not hold back what comes after it."""
    loop = asyncio.get_running_loop()
    with suppress(ConnectionError):
        while data := await reader.read(65536):
            loop.call_later(seconds, writer.write, data)
    loop.call_later(seconds, writer.close)


async def _serve(to: int, seconds: float, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    there_reader, there_writer = await asyncio.open_connection("127.0.0.1", to)
    ways = _pump(reader, there_writer, seconds), _pump(there_reader, writer, seconds)
    await asyncio.gather(*ways)


async def _main(to: int, seconds: float) -> None:
    server = await asyncio.start_server(partial(_serve, to, seconds), "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    os._exit(0)  # whoever is connected still is cut off


if __name__ == "__main__":
    asyncio.run(_main(int(sys.argv[1]), float(sys.argv[2])))

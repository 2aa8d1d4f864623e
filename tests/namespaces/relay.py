"""Pass TCP on: `python relay.py HOST:PORT HOST:PORT` listens on the first and connects to the second."""

from __future__ import annotations

import asyncio
import sys
from contextlib import suppress
from functools import partial


async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """One direction, to its end."""
    with suppress(ConnectionError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
        writer.write_eof()


async def serve(to: tuple[str, int], reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """One connection."""
    there_reader, there_writer = await asyncio.open_connection(*to)
    try:
        await asyncio.gather(pump(reader, there_writer), pump(there_reader, writer))
    finally:
        there_writer.close()
        writer.close()


def address(text: str) -> tuple[str, int]:
    """HOST:PORT."""
    host, _, port = text.rpartition(":")
    return host, int(port)


async def main(listen: str, to: str) -> None:
    """For ever."""
    server = await asyncio.start_server(partial(serve, address(to)), *address(listen))
    print("listening", flush=True)
    await server.serve_forever()


asyncio.run(main(*sys.argv[1:]))

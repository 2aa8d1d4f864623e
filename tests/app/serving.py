"""A service in processes of its own, for tests of its life: `python -m tests.app.serving PORT BASE_URL [HOW]`.

`BASE_URL` is the vendor's, or `broken` or `stuck`: the start fails, or does not end. `HOW`: the number of workers, or
`reload`. A worker cannot start while there is a file `broken` in the working directory.
"""

from __future__ import annotations

import asyncio
import sys
from contextlib import AsyncExitStack
from pathlib import Path

from tests.app.vaults import RealVault, given

from cloudbeds_auth.app import server
from cloudbeds_auth.app.application import Parts, Service
from cloudbeds_auth.app.workers import STARTUP_FAILURE
from cloudbeds_auth.errors import ConfigurationError
from cloudbeds_auth.settings import Settings
from cloudbeds_auth.wire.upstream import AiohttpUpstream


async def opened(stack: AsyncExitStack, settings: Settings) -> Parts:
    """A vault with the one hotel, over a file of its own."""
    vault = RealVault(settings)
    stack.push_async_callback(vault.aclose)
    await vault.start()
    upstream = AiohttpUpstream(settings.base_url)
    stack.push_async_callback(upstream.aclose)
    return Parts(vault, lambda *_: (b"", "text/plain"), upstream)


def create() -> Service:
    """The service in a worker, which has the arguments of the supervisor."""
    settings = given(base_url=sys.argv[2])
    if Path("broken").exists():
        raise SystemExit(STARTUP_FAILURE)
    return Service(lambda stack: opened(stack, settings))


def main(port: int, base_url: str, how: str = "1") -> int:
    """Serve until a signal; says `drained` when the vault was closed."""
    reload = how == "reload"
    vendor = base_url if base_url.startswith("http:") else "http://127.0.0.1:1"
    settings = given(base_url=vendor, port=port, workers=1 if reload else int(how))
    ended: list[str] = []

    async def opener(stack: AsyncExitStack) -> Parts:
        if base_url == "broken":
            raise ConfigurationError("the keys do not open this database")
        stack.callback(ended.append, "drained")
        if base_url == "stuck":
            print("opening", flush=True)
            await asyncio.Event().wait()
        return await opened(stack, settings)

    server.FACTORY = "tests.app.serving:create"
    server.GRACE = 3600  # what ends before a call that hangs was ended by something else
    try:
        server.serve(settings, reload, opener=opener)
    except ConfigurationError as error:
        print(error.diagnosis(), file=sys.stderr)
        return 1
    print(*ended or ["not drained"])
    return 0


if __name__ == "__main__":
    raise SystemExit(main(int(sys.argv[1]), *sys.argv[2:]))

"""A service in a process of its own, for tests of its life: `python -m tests.app.serving PORT BASE_URL`."""

from __future__ import annotations

import sys
from contextlib import AsyncExitStack

from tests.app.vaults import RealVault, given

from cloudbeds_auth.app.application import Parts
from cloudbeds_auth.app.server import serve
from cloudbeds_auth.errors import ConfigurationError
from cloudbeds_auth.wire.upstream import AiohttpUpstream


def main(port: int, base_url: str) -> int:
    """Serve until a signal; says `drained` when the vault was closed."""
    settings = given(base_url="http://127.0.0.1:1" if base_url == "broken" else base_url, port=port)
    ended: list[str] = []

    async def opener(stack: AsyncExitStack) -> Parts:
        if base_url == "broken":
            raise ConfigurationError("the keys do not open this database")
        vault = RealVault(settings)
        stack.callback(ended.append, "drained")
        stack.push_async_callback(vault.aclose)
        await vault.start()
        upstream = AiohttpUpstream(base_url)
        stack.push_async_callback(upstream.aclose)
        return Parts(vault, lambda *_: (b"", "text/plain"), upstream)

    try:
        serve(settings, opener=opener)
    except ConfigurationError as error:
        print(error.diagnosis(), file=sys.stderr)
        return 1
    print(*ended or ["not drained"])
    return 0


if __name__ == "__main__":
    raise SystemExit(main(int(sys.argv[1]), sys.argv[2]))

"""A service in a process of its own, for tests of its life: `python -m tests.app.serving PORT BASE_URL`."""

from __future__ import annotations

import sys
from contextlib import AsyncExitStack

from tests.app.fake_vault import FakeSettings, FakeVault

from cloudbeds_auth.app.server import serve
from cloudbeds_auth.app.service import Parts
from cloudbeds_auth.errors import ConfigurationError
from cloudbeds_auth.wire.upstream import AiohttpUpstream


def main(port: int, base_url: str) -> int:
    """Serve until a signal; says `drained` when the vault was closed."""
    vault = FakeVault(FakeSettings(base_url=base_url, port=port))

    async def opener(stack: AsyncExitStack) -> Parts:
        if base_url == "broken":
            raise ConfigurationError("the keys do not open this database")
        stack.push_async_callback(vault.aclose)
        upstream = AiohttpUpstream(base_url)
        stack.push_async_callback(upstream.aclose)
        return Parts(vault, lambda *_: (b"", "text/plain"), upstream)

    try:
        serve(vault.settings, opener=opener)
    except ConfigurationError as error:
        print(error.diagnosis(), file=sys.stderr)
        return 1
    print("drained" if vault.drained else "not drained")
    return 0


if __name__ == "__main__":
    raise SystemExit(main(int(sys.argv[1]), sys.argv[2]))

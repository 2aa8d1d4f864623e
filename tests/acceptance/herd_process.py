"""One of the herd's processes: two hundred callers that were all refused with the same dead token.

Its machine's wall clock may be wrong by so many seconds (third argument).
"""

from __future__ import annotations

import asyncio
import sys

from cloudbeds_auth import TokenVault, system


async def main(connection: str, callers: int) -> None:
    """Say that we hold the token, wait for the word, then ask all at once."""
    async with TokenVault.open() as vault:
        held = await vault.access_token(connection)
        print(f"holding {held.generation}", flush=True)
        await asyncio.to_thread(sys.stdin.readline)
        tokens = await asyncio.gather(*(vault.access_token(connection, rejected=held) for _ in range(callers)))
        assert len({token.reveal() for token in tokens}) == 1
        answer = await vault.call(connection, "GET", "/api/v1.3/userinfo")
        print(f"served {len(tokens)} generation {tokens[0].generation} status {answer.status_code}", flush=True)


skew, right = float(sys.argv[3]), system.SystemClock.wall
system.SystemClock.wall = lambda self: right(self) + skew  # type: ignore[method-assign]
asyncio.run(main(sys.argv[1], int(sys.argv[2])))

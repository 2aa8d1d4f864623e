"""Webhooks in: `POST /hooks/{secret}`, where Cloudbeds says that an app's state changed at a hotel.

Two secrets, because Cloudbeds signs nothing: one in the path, one in a header. The answer comes at once; what the
payload says is a hint that the vault confirms.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
from typing import TYPE_CHECKING, cast

from fastapi import APIRouter, Request

from cloudbeds_auth.app.problems import RequestTimedOut
from cloudbeds_auth.errors import Unauthenticated
from cloudbeds_auth.rules.secret import Secret

if TYPE_CHECKING:
    from cloudbeds_auth.vault import TokenVault

HOOK = "/hooks/{secret}"
HEADER = "x-hook-secret"
WITHIN = 1.5  # seconds for the body; Cloudbeds counts an answer after two as none

router = APIRouter()


@router.post(HOOK, include_in_schema=False)
async def hook(request: Request, secret: str) -> dict[str, str]:
    """The service's."""
    return await noted(cast("TokenVault", request.app.state.vault), request, secret)


async def noted(vault: TokenVault, request: Request, secret: str) -> dict[str, str]:
    """Pass the body on as a hint. A wrong secret is answered as a missing credential is: raises Unauthenticated."""
    settings = vault.settings
    path = _same(secret, settings.hook_secret)
    header = _same(request.headers.get(HEADER, ""), settings.hook_header)
    if not path & header:
        raise Unauthenticated
    try:
        async with asyncio.timeout(WITHIN):
            body = await request.body()
    except TimeoutError:
        raise RequestTimedOut from None
    vault.engine.inbound.hint(body)
    return {"status": "noted"}


def _same(given: str, expected: Secret | None) -> bool:
    """Compared over hashes, in constant time; no value is the same as a secret that is not set."""
    digests = [hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest() for text in (given, _plain(expected))]
    return hmac.compare_digest(*digests) & (expected is not None)


def _plain(secret: Secret | None) -> str:
    return "" if secret is None else secret.reveal()

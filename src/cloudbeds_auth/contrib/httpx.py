"""`auth=` for `httpx`, the predecessor of httpx2, in programs that still use it; like `vault.auth()`. `httpx` extra.

    async with TokenVault.open() as vault:
        async with httpx.AsyncClient(base_url=vault.base_url, auth=HttpxAuth(vault, connection_id)) as http:
            await http.get("/api/v1.3/userinfo")

The driver is `wire.httpx_auth`'s, given the other module.
"""

from __future__ import annotations

from typing import ClassVar

from cloudbeds_auth.contrib import Vault, missing
from cloudbeds_auth.wire.httpx_auth import ClientAuth, Library

try:
    import httpx
except ModuleNotFoundError as _error:
    raise ModuleNotFoundError(missing(__name__, "httpx"), name=_error.name) from None

__all__ = ["HttpxAuth"]


class HttpxAuth(ClientAuth[httpx.Request, httpx.Response], httpx.Auth):
    """`auth=` for `httpx.Client` and `httpx.AsyncClient`, over either vault.

    With an asynchronous vault, use a blocking client only in threads other than the vault's own. Raises ForeignOrigin
    before anything is sent to an origin other than that of `vault.base_url`, even if the client follows a redirect
    there; BodyNotReplayable after a 401 if the body cannot be sent again, because it is a stream above the replay limit
    or of unknown length; and what `vault.access_token` raises.
    """

    library: ClassVar[Library] = Library(httpx)

    def __init__(self, vault: Vault, connection_id: str) -> None:
        lender = vault.lender(connection_id)
        super().__init__(vault.base_url, lender, replay_limit=vault.settings.replay_limit)

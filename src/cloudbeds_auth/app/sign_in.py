"""Signing in and out: by the code of a one-time link, or by the admin token, in a form that works without any script.

There is no page to set anything up (A22): the link comes from the command line on the service's machine, the token from
its settings or its file.
"""

from __future__ import annotations

import hmac
from dataclasses import replace
from typing import TYPE_CHECKING

from cloudbeds_auth.app.checks import CredentialChecks
from cloudbeds_auth.app.cookies import SessionCookie
from cloudbeds_auth.app.exchanges import Failed, PageAnswer, PageRequest, redirect
from cloudbeds_auth.app.forms import fields
from cloudbeds_auth.app.gateway import path_prefix
from cloudbeds_auth.app.http_connections import ClientGone, occupy
from cloudbeds_auth.app.limits import Tally, hash_of
from cloudbeds_auth.app.pages.operator_pages import OperatorPages
from cloudbeds_auth.app.problems import TooManyGuesses
from cloudbeds_auth.errors import StoreReadOnly, Unauthenticated
from cloudbeds_auth.rules.audit import AuditAction
from cloudbeds_auth.rules.happenings import Happening
from cloudbeds_auth.rules.secret import Secret
from cloudbeds_auth.rules.sessions import Session

if TYPE_CHECKING:
    from starlette.types import Scope

    from cloudbeds_auth.vault import TokenVault

FIELD = "credential"
AT_THE_END = "/sign-in#"  # of a link, before its code
NEEDED = "sign in to see this page"
REFUSED = "this code was used, has expired, or was never made, and it is not the admin token"


class SignIn:
    """The handlers of `/sign-in`, `/session`, `/session/end`, and of each page that is asked for without a session."""

    def __init__(self, vault: TokenVault, pages: OperatorPages, checks: CredentialChecks, tally: Tally) -> None:
        self._sessions, self._audit, self._db = vault.engine.sessions, vault.engine.audit, vault.engine.world.db
        self._admin = hash_of(vault.admin_token.reveal())
        self._cookie = SessionCookie(vault.settings.public_url)
        self._home = f"{path_prefix(vault.settings.public_url)}/"
        self._pages, self._checks, self._tally = pages, checks, tally

    async def page(self, request: PageRequest, session: Session | None) -> PageAnswer:
        """The empty form. Raises StoreReadOnly: a copy of another installation's database signs nobody in."""
        self._must_be_the_original()
        return self._pages.sign_in()

    async def first(self, request: PageRequest, session: Session | None) -> PageAnswer:
        """401, and the form: whatever the page is, and whether it exists or not. Raises StoreReadOnly."""
        self._must_be_the_original()
        return self._asked(NEEDED)

    async def begin(self, request: PageRequest, former: Session | None, scope: Scope) -> PageAnswer:
        """A new session with a new id, in the place of the one that this browser had (A26); or the form again.

        Raises InvalidRequest, TooManyGuesses, StoreReadOnly, StoreUnavailable.
        """
        self._must_be_the_original()
        given = fields(request, FIELD)[FIELD]
        given = given.partition(AT_THE_END)[2] or given  # the whole link was pasted
        try:
            session = await self._checks.check(scope, given, self._begun)
        except ClientGone:  # closed to make room for another one: no answer is read
            raise TooManyGuesses(retry_after=1) from None
        if session is None:
            return self._failed(request)
        occupy(scope)
        if former is not None:
            await self._sessions.end(former, address=request.address)
        return redirect(self._home).with_cookies(self._cookie.of(session))

    async def end(self, request: PageRequest, session: Session | None) -> PageAnswer:
        """The session is over, in every process at once; where it was over before, the browser forgets it."""
        if session is not None:
            await self._sessions.end(session, address=request.address)
        return redirect(self._home).with_cookies(self._cookie.deleted())

    def _must_be_the_original(self) -> None:
        if self._db.read_only:
            raise StoreReadOnly

    async def _begun(self, given: str, hashed: bytes, address: str) -> Session | None:
        by_token = hmac.compare_digest(hashed, self._admin)
        return await self._sessions.begin(None if by_token else Secret(given), address=address)

    def _failed(self, request: PageRequest) -> PageAnswer:
        self._tally.add(Happening.SIGN_IN_FAILED, address=request.address)
        self._audit.fail(AuditAction.SIGN_IN_FAILED)
        return self._asked(REFUSED)

    def _asked(self, why: str) -> PageAnswer:
        """401, and the form."""
        error = Unauthenticated(why)
        return replace(self._pages.sign_in(error), about=Failed(error))

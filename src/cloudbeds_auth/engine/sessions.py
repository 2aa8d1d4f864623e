"""Sign-in of operators: one-time codes, and sessions, each of which is looked up whenever its browser asks for a page.

So one that was ended is refused at once in every process, and nothing is remembered of one that is good but its id.
"""

from __future__ import annotations

import asyncio
import hmac
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from functools import partial

from cloudbeds_auth.engine.authorize import hashed
from cloudbeds_auth.engine.context import World
from cloudbeds_auth.engine.memory import Recent
from cloudbeds_auth.engine.outage import Outage
from cloudbeds_auth.errors import TryAgain
from cloudbeds_auth.rules.happenings import Happening
from cloudbeds_auth.rules.model import moment
from cloudbeds_auth.rules.secret import Secret
from cloudbeds_auth.rules.sessions import CODE_FOR, LETTERS_OF_ID, Session, read_session
from cloudbeds_auth.transactions.sessions import (
    StoredSession,
    add_sign_in_code,
    begin_session,
    end_session,
    end_sessions,
    find_session,
    is_sign_in_code,
    use_session,
)

NOTED_EVERY = 60.0  # seconds between two uses of a session that are noted


@dataclass(frozen=True, slots=True)
class SignInLink:
    """A link that signs in one browser, once: whoever opens it."""

    url: Secret
    expires_at: datetime


class Sessions:
    """Makes codes, begins and ends sessions, and says whose browser asks."""

    def __init__(self, world: World, outage: Outage) -> None:
        self._world = world
        self._outage = outage
        self._unseen = asyncio.Lock()  # any stranger can make up ids: one at a time is looked up
        self._seen: Recent[str, None] = Recent()  # ids of sessions that were good here

    async def create_link(self, *, actor: str = "operator") -> SignInLink:
        """A link to sign in with, good for ten minutes. Raises StoreUnavailable, StoreReadOnly."""
        world = self._world
        code = world.entropy.token()
        await world.db.write(add_sign_in_code(hashed(code), made_by=actor))
        return SignInLink(Secret(world.sign_in_url(code)), moment(world.clock.wall() + CODE_FOR))

    async def begin(self, code: Secret | None, *, address: str) -> Session | None:
        """A new session by this code, which is spent; None: by the admin token, which the caller has compared.

        None where the code was used, is over, or was never made: any stranger may come with one, and it costs no write
        (A79). Raises StoreUnavailable, StoreReadOnly.
        """
        world, code_hash = self._world, None if code is None else hashed(code.reveal())
        if code_hash is not None and not await world.db.read(is_sign_in_code(code_hash)):
            return None
        session = Session(world.entropy.identifier("")[-LETTERS_OF_ID:], Secret(world.entropy.token()))
        secret_hash = hashed(session.secret.reveal())
        how = await world.db.write(begin_session(session.id, secret_hash, code_hash=code_hash, address=address))
        if how is None:
            return None
        world.observer.happened(Happening.SIGNED_IN, session=session.id, how=how.value, address=address)
        return session

    async def recognize(self, text: str) -> Session | None:
        """The session whose cookie this is; None: no session's, or not any more. Raises StoreUnavailable."""
        session = read_session(text)
        if session is None:
            return None
        if session.id in self._seen:
            stored = await self._look(session.id)
        else:
            async with self._unseen:
                stored = await self._look(session.id)
        if stored is None or not hmac.compare_digest(hashed(session.secret.reveal()), stored.hash):
            return None
        self._seen[session.id] = None
        if stored.unused >= NOTED_EVERY:
            with suppress(TryAgain):  # a session that ends early is no harm
                await self._world.db.write(use_session(session.id))
        return session

    async def _look(self, session_id: str) -> StoredSession | None:
        read = partial(self._world.db.read, find_session(session_id))
        return await self._outage.read_briefly(f"find session {session_id}", read)

    async def end(self, session: Session, *, address: str) -> None:
        """End it: refused at once in every process. Raises StoreUnavailable."""
        await self._world.db.write(end_session(session.id))
        self._world.observer.happened(Happening.SIGNED_OUT, session=session.id, address=address)

    async def end_all(self, *, actor: str = "operator") -> int:
        """End all that there are, and every link that was not used; how many sessions were good."""
        ended = await self._world.db.write(end_sessions())
        self._world.observer.happened(Happening.SESSIONS_ENDED, sessions=ended, actor=actor)
        return ended

"""Sign-in of operators: one-time codes, and sessions, which are looked up on every request of their browser.

So an ended session is refused at once in every process; nothing is cached.
"""

from __future__ import annotations

import hmac
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from functools import partial

from cloudbeds_auth.engine.authorize import hashed
from cloudbeds_auth.engine.context import World
from cloudbeds_auth.engine.outage import Outage
from cloudbeds_auth.errors import TryAgain
from cloudbeds_auth.ports import ACTING
from cloudbeds_auth.rules.happenings import Happening
from cloudbeds_auth.rules.model import moment
from cloudbeds_auth.rules.secret import Secret
from cloudbeds_auth.rules.sessions import CODE_FOR, LETTERS_OF_ID, Session, read_session
from cloudbeds_auth.transactions.sessions import (
    add_sign_in_code,
    begin_session,
    end_session,
    end_sessions,
    find_session,
    is_sign_in_code,
    use_session,
)

NOTED_EVERY = 60.0  # seconds between two recorded uses of a session


@dataclass(frozen=True, slots=True)
class SignInLink:
    """A link that signs in, once, whichever browser opens it."""

    url: Secret
    expires_at: datetime


class Sessions:
    """Makes codes, begins and ends sessions, and recognizes the session of a request."""

    def __init__(self, world: World, outage: Outage) -> None:
        self._world = world
        self._outage = outage

    async def create_link(self) -> SignInLink:
        """A link to sign in with, good for ten minutes. Raises StoreUnavailable, StoreReadOnly."""
        world = self._world
        code = world.entropy.token()
        await world.db.write(add_sign_in_code(hashed(code), made_by=ACTING.get().name))
        return SignInLink(Secret(world.sign_in_url(code)), moment(world.clock.wall() + CODE_FOR))

    async def begin(self, code: Secret | None, *, address: str) -> Session | None:
        """A new session by this code, which is spent; `code` None: by the admin token, which the caller has checked.

        Returns None if the code was used, has expired, or was never made; anyone can send such a code, and it costs no
        write (A79). Raises StoreUnavailable, StoreReadOnly.
        """
        world, code_hash = self._world, None if code is None else hashed(code.reveal())
        if code_hash is not None and not await world.db.read(is_sign_in_code(code_hash)):
            return None
        session_id = world.entropy.identifier("")[-LETTERS_OF_ID:]
        session = Session.made(world.db.mac_key, session_id, world.entropy.token())
        secret_hash = hashed(session.secret.reveal())
        how = await world.db.write(begin_session(session.id, secret_hash, code_hash=code_hash, address=address))
        if how is None:
            return None
        world.observer.happened(Happening.SIGNED_IN, session=session.id, how=how.value, address=address)
        return session

    async def recognize(self, text: str, *, used: bool = True) -> Session | None:
        """The session of this cookie; None: no session, or an ended one. Raises StoreUnavailable. `used`: by a person,
        not by a page that asks on its own.

        Anyone can make up a cookie; such a cookie costs no read of the database (A79). A copy of another installation's
        database recognizes no session: one that was ended at the original since would still be alive in the copy.
        """
        if self._world.db.read_only:
            return None
        session = read_session(text)
        if session is None or not session.was_made(self._world.db.mac_key):
            return None
        read = partial(self._world.db.read, find_session(session.id))
        stored = await self._outage.read_briefly(f"find session {session.id}", read)
        if stored is None or not hmac.compare_digest(hashed(session.secret.reveal()), stored.hash):
            return None
        if used and stored.unused >= NOTED_EVERY:
            with suppress(TryAgain):  # a session that ends early does no harm
                await self._world.db.write(use_session(session.id))
        return session

    async def end(self, session: Session, *, address: str) -> None:
        """End the session: refused at once in every process. Raises StoreUnavailable."""
        await self._world.db.write(end_session(session.id))
        self._world.observer.happened(Happening.SIGNED_OUT, session=session.id, address=address)

    async def end_all(self) -> int:
        """End all sessions and every unused link; returns how many sessions were good."""
        ended = await self._world.db.write(end_sessions())
        self._world.observer.happened(Happening.SESSIONS_ENDED, sessions=ended, actor=ACTING.get().name)
        return ended

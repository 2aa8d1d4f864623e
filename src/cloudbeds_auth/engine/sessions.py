"""Sign-in of operators: one-time codes, and sessions, each of which is looked up whenever its browser asks for a page.

So one that was ended is refused at once in every process, and nothing is remembered of one that is good.
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

    async def create_link(self) -> SignInLink:
        """A link to sign in with, good for ten minutes. Raises StoreUnavailable, StoreReadOnly."""
        world = self._world
        code = world.entropy.token()
        await world.db.write(add_sign_in_code(hashed(code), made_by=ACTING.get().name))
        return SignInLink(Secret(world.sign_in_url(code)), moment(world.clock.wall() + CODE_FOR))

    async def begin(self, code: Secret | None, *, address: str) -> Session | None:
        """A new session by this code, which is spent; None: by the admin token, which the caller has compared.

        None where the code was used, is over, or was never made: any stranger may come with one, and it costs no write
        (A79). Raises StoreUnavailable, StoreReadOnly.
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
        """The session whose cookie this is; None: no session's, or not any more. Raises StoreUnavailable. `used`: by a
        person, and not by a page that asks by itself.

        Any stranger can make a cookie up: such a one costs no look into the database (A79). A copy of another
        installation's database knows nobody: what was ended at the original since would be alive in it.
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
            with suppress(TryAgain):  # a session that ends early is no harm
                await self._world.db.write(use_session(session.id))
        return session

    async def end(self, session: Session, *, address: str) -> None:
        """End it: refused at once in every process. Raises StoreUnavailable."""
        await self._world.db.write(end_session(session.id))
        self._world.observer.happened(Happening.SIGNED_OUT, session=session.id, address=address)

    async def end_all(self) -> int:
        """End all that there are, and every link that was not used; how many sessions were good."""
        ended = await self._world.db.write(end_sessions())
        self._world.observer.happened(Happening.SESSIONS_ENDED, sessions=ended, actor=ACTING.get().name)
        return ended

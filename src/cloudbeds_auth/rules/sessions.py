"""Sessions of operators in a browser: what a browser holds, how long it is good for, and the token of its forms.

    9G5FAV3KQ2.05R2g44A8n4VhY_ENAzeYqwb5gVL-zeQ4Yk2Wg0CrF0b3f1…
    public id  256 random bits, and the MAC of both

The id finds the row and is shown in histories, the rest is stored as a hash. By the MAC every process of the
installation knows what another one made: for an id that a stranger made up no row is looked for (A79). The token that
each form carries is derived from the secret (HMAC, RFC 2104) and stored nowhere: a page of another site cannot make it,
and it ends with its session.
"""

from __future__ import annotations

import hmac
import re
from dataclasses import dataclass
from enum import StrEnum

from cloudbeds_auth.rules.authentic import DIGITS, MacKey
from cloudbeds_auth.rules.secret import Secret

CODE_FOR = 600.0  # seconds that the code of a sign-in link is good for
LONGEST_SESSION = 12 * 3600.0  # seconds: a working day
IDLE_SESSION = 2 * 3600.0  # seconds without a request, after which it is over
LETTERS_OF_ID = 10  # the random end of an id that was made for it
_WRITTEN = re.compile(r"([0-9A-Z]{1,32})\.([0-9A-Za-z_-]{1,128})")
_MADE = "cookie"
_FORMS = b"cloudbeds-auth forms"


class SignedInBy(StrEnum):
    """What a session was begun with."""

    LINK = "link"
    TOKEN = "token"


@dataclass(frozen=True, slots=True)
class Session:
    """A session as its browser holds it."""

    id: str
    secret: Secret

    @classmethod
    def made(cls, key: MacKey, session_id: str, token: str) -> Session:
        """A new one; `token`: its random bits."""
        return cls(session_id, Secret(token + key.mac(_MADE, (session_id, token))))

    def was_made(self, key: MacKey) -> bool:
        """Whether this installation made it, be it good or over."""
        text = self.secret.reveal()
        return key.fits(text[-DIGITS:], _MADE, (self.id, text[:-DIGITS]))

    @property
    def text(self) -> Secret:
        """What its cookie holds."""
        return Secret(f"{self.id}.{self.secret.reveal()}")

    @property
    def actor(self) -> str:
        """Who did what is done with it, in histories."""
        return actor_of(self.id)

    @property
    def form_token(self) -> str:
        """What each form of its pages carries."""
        return hmac.new(self.secret.reveal().encode(), _FORMS, "sha256").hexdigest()

    def is_form_token(self, given: str) -> bool:
        """Whether a form of its pages carried this; compared in constant time."""
        return hmac.compare_digest(self.form_token.encode(), given.encode("utf-8", "surrogatepass"))


def actor_of(session_id: str) -> str:
    """The name of a session in histories."""
    return f"session:{session_id}"


def read_session(text: str) -> Session | None:
    """What a cookie holds; None for what is no session. Whether it is a good one, the store knows."""
    found = _WRITTEN.fullmatch(text)
    return None if found is None else Session(found[1], Secret(found[2]))

"""Sessions of operators in a browser: the cookie, how long it is valid, and the token of its forms.

    9G5FAV3KQ2.05R2g44A8n4VhY_ENAzeYqwb5gVL-zeQ4Yk2Wg0CrF0b3f1…
    public id  256 random bits, and the MAC of both

The id finds the row and is shown in histories; of the rest, a hash is stored. The MAC shows every process of the
installation that one of them made the cookie, so a made-up one costs no read of the database (A79). The token that each
form carries is derived from the secret (HMAC, RFC 2104) and not stored: a page of another site cannot compute it, and
it ends with its session.
"""

from __future__ import annotations

import hmac
import re
from dataclasses import dataclass
from enum import StrEnum

from cloudbeds_auth.rules.authentic import DIGITS, MacKey
from cloudbeds_auth.rules.secret import Secret

CODE_FOR = 600.0  # seconds that the code of a sign-in link is valid
LONGEST_SESSION = 12 * 3600.0  # seconds: a working day
IDLE_SESSION = 2 * 3600.0  # seconds without a request after which a session ends
LETTERS_OF_ID = 10  # characters: the end, which is random, of a generated id
_WRITTEN = re.compile(r"([0-9A-Z]{1,32})\.([0-9A-Za-z_-]{1,128})")
_MADE = "cookie"
_FORMS = b"cloudbeds-auth forms"


class SignedInBy(StrEnum):
    """How an operator signed in."""

    LINK = "link"
    TOKEN = "token"


@dataclass(frozen=True, slots=True)
class Session:
    """A session as its browser holds it."""

    id: str
    secret: Secret

    @classmethod
    def made(cls, key: MacKey, session_id: str, token: str) -> Session:
        """A new session; `token`: its random bits."""
        return cls(session_id, Secret(token + key.mac(_MADE, (session_id, token))))

    def was_made(self, key: MacKey) -> bool:
        """Whether this installation made it, whether or not it has ended."""
        text = self.secret.reveal()
        return key.fits(text[-DIGITS:], _MADE, (self.id, text[:-DIGITS]))

    @property
    def text(self) -> Secret:
        """The value of its cookie."""
        return Secret(f"{self.id}.{self.secret.reveal()}")

    @property
    def actor(self) -> str:
        """The actor, in histories, of what is done in this session."""
        return actor_of(self.id)

    @property
    def form_token(self) -> str:
        """The token in each form of its pages."""
        return hmac.new(self.secret.reveal().encode(), _FORMS, "sha256").hexdigest()

    def is_form_token(self, given: str) -> bool:
        """Whether this is the token of its forms; compared in constant time."""
        return hmac.compare_digest(self.form_token.encode(), given.encode("utf-8", "surrogatepass"))


def actor_of(session_id: str) -> str:
    """The session as an actor in histories."""
    return f"session:{session_id}"


def read_session(text: str) -> Session | None:
    """The session in a cookie; None if it is malformed. Only the database knows whether the session is valid."""
    found = _WRITTEN.fullmatch(text)
    return None if found is None else Session(found[1], Secret(found[2]))

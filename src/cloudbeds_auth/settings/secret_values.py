"""What secrets must look like; otherwise as `values`. A long secret has to be random: one that can be guessed is
refused; one with a pattern, which a test or a demo may use, causes a warning.
"""

from __future__ import annotations

import base64
import re
from collections import Counter
from collections.abc import Iterable
from itertools import pairwise
from typing import TYPE_CHECKING

from cloudbeds_auth.rules.secret import Secret
from cloudbeds_auth.settings.values import listed, secret

if TYPE_CHECKING:
    from pydantic import ValidationInfo

KEY_BYTES = 32
SHORTEST_TOKEN = 32  # characters
SHORTEST_SIGNING, LONGEST_SIGNING = 24, 64  # bytes; Standard Webhooks, "Signature scheme"
SIGNING_PREFIX = "whsec_"
FEWEST_KINDS = 8  # different characters of a random secret
LONGEST_PIECE = 64  # characters: a longer random piece is good enough, even if it is repeated
GUESSABLE = "can be guessed: it has few different characters"


def key_bytes(key: Secret) -> bytes:
    """The 32 bytes of a key in base64, standard or URL-safe, padded or not. Raises ValueError."""
    found = _decoded(key.reveal().strip().replace("-", "+").replace("_", "/"), "key")
    if len(found) != KEY_BYTES:
        raise ValueError(f"has a key of {len(found)} bytes instead of {KEY_BYTES}")
    return found


def encryption_keys(value: object) -> tuple[Secret, ...]:
    """One or several keys; each is checked."""
    found = _several(value)
    weak = [is_guessable(key_bytes(key).decode("latin-1")) for key in found]
    if weak and weak[0]:
        raise ValueError(f"has a first key that {GUESSABLE}")
    return found


def weak_keys(keys: Iterable[Secret]) -> bool:
    """Whether one of the keys after the first, which only open, can be guessed."""
    return any(is_guessable(key_bytes(key).decode("latin-1")) for key in tuple(keys)[1:])


def admin_token(value: object) -> Secret:
    """A token that travels in a header: visible ASCII without spaces, long enough not to be guessed."""
    token = secret(value)
    if " " in token.reveal():
        raise ValueError("contains a space")
    if len(token.reveal()) < SHORTEST_TOKEN:
        raise ValueError(f"is shorter than {SHORTEST_TOKEN} characters")
    return _unguessable(token)


def metrics_token(value: object, given: ValidationInfo) -> Secret:
    """A token with the same form as the admin token, but not equal to it: a scraper must not be able to read all."""
    token = admin_token(value)
    if token == given.data.get("admin_token"):
        raise ValueError("is the admin token")
    return token


def hook_secret(value: object) -> Secret:
    """A path segment that cannot be guessed."""
    found = secret(value)
    if not re.fullmatch(r"[A-Za-z0-9_-]{32,256}", found.reveal()):
        raise ValueError("is not a path segment of 32 to 256 letters, digits, `_` and `-`")
    return _unguessable(found)


def webhook_secrets(value: object) -> tuple[Secret, ...]:
    """One or several, separated by commas or spaces: every message is signed with each."""
    found = _several(value)
    for key in signing(found):
        if not SHORTEST_SIGNING <= len(key) <= LONGEST_SIGNING:
            raise ValueError(f"has a secret of {len(key)} bytes instead of {SHORTEST_SIGNING} to {LONGEST_SIGNING}")
        if is_guessable(key):
            raise ValueError(f"has a secret that {GUESSABLE}")
    return found


def itself(value: Secret | None) -> Iterable[str]:
    """The random part of a token: all of it."""
    return () if value is None else (value.reveal(),)


def sealing(keys: Iterable[Secret]) -> Iterable[str]:
    """The random part of the key that seals; the other keys only open."""
    return (key_bytes(key).decode("latin-1") for key in tuple(keys)[:1])


def signing(secrets: Iterable[Secret]) -> Iterable[str]:
    """The random parts of webhook secrets, which are base64 with or without a prefix. Raises ValueError."""
    return (_decoded(one.reveal().removeprefix(SIGNING_PREFIX), "secret").decode("latin-1") for one in secrets)


def is_guessable(value: str) -> bool:
    """Whether a long secret can be guessed, because it has few different characters, or mostly one. It is refused then.

    32 random hexadecimal digits have fewer than eight different ones once in thirty million times.
    """
    kinds = Counter(value)
    return len(kinds) < FEWEST_KINDS or 2 * max(kinds.values()) > len(value)


def is_patterned(value: str) -> bool:
    """Whether a long secret is certainly not random: mostly one piece repeated, or mostly the same step from each
    character to the next. This only causes a warning, because secrets of tests and demos protect no one.
    """
    steps = Counter(ord(after) - ord(before) for before, after in pairwise(value))
    pieces = range(1, min(len(value) // 2, LONGEST_PIECE) + 1)
    return 2 * max(steps.values()) > len(value) or any(_repeats(value, piece) for piece in pieces)


def _repeats(value: str, piece: int) -> bool:
    """Whether more than three quarters of the characters recur `piece` places later: a different tail, or a number
    that counts the pieces, does not make a secret random.
    """
    again = sum(one == other for one, other in zip(value, value[piece:], strict=False))
    return 4 * again > 3 * (len(value) - piece)


def _unguessable(one: Secret) -> Secret:
    if is_guessable(one.reveal()):
        raise ValueError(GUESSABLE)
    return one


def _several(value: object) -> tuple[Secret, ...]:
    given = listed(value) if isinstance(value, str) else value
    if not isinstance(given, Iterable):
        raise ValueError("is not a list")
    return tuple(secret(one) for one in given)


def _decoded(plain: str, what: str) -> bytes:
    bare = plain.rstrip("=")
    try:
        return base64.b64decode(bare + "=" * (-len(bare) % 4), validate=True)
    except ValueError:
        raise ValueError(f"has a {what} that is not base64") from None

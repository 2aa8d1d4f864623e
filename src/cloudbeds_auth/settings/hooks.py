"""What the settings of webhooks must look like; as `values`."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterable

from cloudbeds_auth.rules.secret import Secret
from cloudbeds_auth.settings.values import GUESSABLE, guarded_url, is_guessable, is_loopback, listed, secret, url

HEADER = "X-Hook-Secret"  # that Cloudbeds sends with each of its webhooks
PREFIX = "whsec_"
SHORTEST, LONGEST = 24, 64  # bytes; Standard Webhooks, "Signature scheme"


def reachable(public_url: str) -> bool:
    """Whether Cloudbeds may be asked to post there: https, or this machine, where the simulator is."""
    parts = url(public_url)
    return parts.scheme == "https" or is_loopback(parts.hostname or "")


def webhook_url(value: object) -> str:
    """Where our events go: https, or plain http to this machine; may carry a query."""
    guarded_url(value)
    return str(value)


def webhook_secrets(value: object) -> tuple[Secret, ...]:
    """One or several, with commas or spaces between: a message is signed with each."""
    given = listed(value) if isinstance(value, str) else value
    if not isinstance(given, Iterable):
        raise ValueError("is not a list")
    found = tuple(secret(one) for one in given)
    for one in found:
        _check(one)
    return found


def hook_secret(value: object) -> Secret:
    """A part of a path that nobody guesses."""
    found = secret(value)
    if not re.fullmatch(r"[A-Za-z0-9_-]{32,256}", found.reveal()):
        raise ValueError("is no part of a path of 32 to 256 letters, digits, `_` and `-`")
    if is_guessable(found.reveal()):
        raise ValueError(GUESSABLE)
    return found


def signing_bytes(one: Secret) -> bytes:
    """What a webhook secret is in base64, with or without its prefix. Raises ValueError."""
    plain = one.reveal().removeprefix(PREFIX).rstrip("=")
    try:
        return base64.b64decode(plain + "=" * (-len(plain) % 4), validate=True)
    except (binascii.Error, ValueError):
        raise ValueError("holds a secret that is not base64") from None


def _check(one: Secret) -> None:
    key = signing_bytes(one)
    if not SHORTEST <= len(key) <= LONGEST:
        raise ValueError(f"holds a secret of {len(key)} bytes instead of {SHORTEST} to {LONGEST}")
    if is_guessable(key.decode("latin-1")):
        raise ValueError(f"holds a secret that {GUESSABLE}")

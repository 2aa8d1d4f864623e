"""Code challenge, given when an approval starts, and code verifier, which finishes it (RFC 7636 section 4.2, S256)."""

from __future__ import annotations

import hashlib
import re
from base64 import urlsafe_b64encode

from cloudbeds_auth.errors import InvalidRequest

_CHALLENGE = re.compile(r"[A-Za-z0-9_-]{43}\Z")
_VERIFIER = re.compile(r"[A-Za-z0-9._~-]{43,128}\Z")


def checked_challenge(given: str | None) -> str | None:
    """The code challenge, if one is given; raises InvalidRequest unless it is a SHA-256 hash in base64url."""
    if given is not None and not _CHALLENGE.match(given):
        raise InvalidRequest("a code challenge is the SHA-256 of the verifier in base64url without padding")
    return given


def challenge_of(verifier: str) -> str:
    """The code challenge of this verifier; raises InvalidRequest, which does not show the value, if it is malformed."""
    if not _VERIFIER.match(verifier):
        raise InvalidRequest("a code verifier has 43 to 128 letters, digits or `-._~` (RFC 7636 section 4.1)")
    return urlsafe_b64encode(hashlib.sha256(verifier.encode("ascii")).digest()).rstrip(b"=").decode()

"""Where Cloudbeds posts its webhook: the path, the header, and the two secrets that open it."""

from __future__ import annotations

import hmac
from typing import TYPE_CHECKING

from cloudbeds_auth.app.exchanges import PageAnswer
from cloudbeds_auth.app.limits import hash_of
from cloudbeds_auth.errors import Unauthenticated
from cloudbeds_auth.rules.secret import Secret

if TYPE_CHECKING:
    from cloudbeds_auth.settings import Settings

HOOK = "/hooks/{secret}"
HOOK_HEADER = "x-hook-secret"
NOTED = PageAnswer(200, {"content-type": "application/json"}, b'{"status":"noted"}')  # the answer


def require_hook_secrets(settings: Settings, in_path: str, in_header: str) -> None:
    """Two secrets, because Cloudbeds signs nothing: one in the path, one in a header.

    A wrong one is answered as a missing credential is: raises Unauthenticated.
    """
    path = is_secret(in_path, settings.hook_secret)
    header = is_secret(in_header, settings.hook_header)
    if not path & header:
        raise Unauthenticated


def is_secret(given: str, expected: Secret | None) -> bool:
    """Compared over hashes, in constant time; no value is the same as a secret that is not set."""
    known = "" if expected is None else expected.reveal()
    return hmac.compare_digest(hash_of(given), hash_of(known)) & (expected is not None)

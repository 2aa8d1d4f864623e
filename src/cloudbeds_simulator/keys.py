"""API keys: given for a code or in exchange for a refresh token, never refreshed, ended by a refresh. Pure.

Documented: a key begins with ``cbat_``, has no expiry, dies after 30 days without use, and "if you generate a new
access token with the refresh token, it will invalidate the new API key". What a repeated exchange gives is not, so it
is a setting.
"""

from __future__ import annotations

from collections.abc import Callable

from cloudbeds_simulator.records import Grant, Key, Keyed, Rejected
from cloudbeds_simulator.settings import Settings

PREFIX = "cbat_"


class Keyring:
    """Every key there ever was, by its value."""

    def __init__(self, mint: Callable[[str], str]) -> None:
        self._mint = mint
        self._by_value: dict[str, tuple[Grant, Key]] = {}

    def clear(self) -> None:
        """Forget all of them."""
        self._by_value.clear()

    def issue(self, grant: Grant, now: float) -> Keyed:
        """A new key of this grant."""
        key = Key(f"{PREFIX}{self._mint('key')}", now, now)
        grant.keys.append(key)
        self._by_value[key.value] = (grant, key)
        return Keyed(grant, key)

    def exchange(self, grant: Grant, settings: Settings, now: float) -> Keyed | Rejected:
        """A living refresh token of this grant was presented: the key for it, the first time or once more."""
        living = next((key for key in reversed(grant.keys) if key.ended is None), None)
        if living is None or settings.repeated_exchange == "new":
            for earlier in grant.keys:
                earlier.ended = earlier.ended or "exchanged again"
            return self.issue(grant, now)
        if settings.repeated_exchange == "refused":
            return Rejected("refused", "exchanged before", grant)
        return Keyed(grant, living, repeated=True)

    def find(self, value: str, settings: Settings, now: float) -> tuple[Grant, Key] | Rejected:
        """The living key of this value, without counting it as a use."""
        found = self._by_value.get(value)
        if found is None:
            return Rejected("key", "unknown")
        grant, key = found
        if grant.rotation.revoked:
            return Rejected("dead", grant.ended or "revoked", grant)
        if now - key.last_used_at >= settings.key_idle_lifetime:
            key.ended = key.ended or "idle"
        return Rejected("key", key.ended, grant) if key.ended else found

    def used(self, value: str, now: float) -> bool:
        """Count a use of the key of this value; false when there is none."""
        found = self._by_value.get(value)
        if found is not None:
            found[1].last_used_at = now
        return found is not None


def refreshed(grant: Grant) -> None:
    """A new pair was generated with a refresh token: its keys are invalid."""
    for key in grant.keys:
        key.ended = key.ended or "refreshed"

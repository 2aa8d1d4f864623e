"""Seeded bugs of rules 7, 11 and 12: what is sent too late or believed too soon, and what is never tried again."""

from __future__ import annotations

from collections import Counter
from typing import Any

from tests.simulation.patch import Patch

from cloudbeds_auth.engine import commit as commit_module
from cloudbeds_auth.engine import lease as lease_module
from cloudbeds_auth.engine import sending as sending_module
from cloudbeds_auth.engine.access import Access
from cloudbeds_auth.engine.context import World
from cloudbeds_auth.errors import RefreshInDoubt, StoreUnavailable
from cloudbeds_auth.rules.token_response import Refused, Sent
from cloudbeds_auth.transactions import connections, refusals, upkeep
from cloudbeds_auth.transactions.statements import query_one
from cloudbeds_auth.wire import token_endpoint as endpoint_module


def no_clock_before_the_send(patch: Patch) -> None:
    patch.put(World, "in_time", lambda self: lambda: True)


def mark_never_retries(patch: Patch) -> None:
    def claim(tx: Any, limit: int, hold: float) -> Any:
        yield from ()
        return []

    patch.put_transaction(upkeep, "claim_retries", claim)


def no_hold_back(patch: Patch) -> None:
    """An attempt without an answer is followed by the next at once."""
    patch.put(sending_module.Sender, "_hold", lambda self, row: 0.0)


def no_wait_with_a_pair_in_hand(patch: Patch) -> None:
    """A pair that comes late is stored, and used, at once."""
    patch.put(lease_module, "arrives_within", lambda sent_ago, timing: 0.0)


def no_brake(patch: Patch) -> None:
    """Rule 11: a 401 to a new access token holds nothing back."""
    patch.put(commit_module, "brake", lambda denied, timing: 0.0)


def deaf_after_a_while(patch: Patch) -> None:
    """A process that has served forty calls says from then on that the database is away; a new one is sound."""
    sound, asked = patch.of(Access, "access_token"), Counter[int]()

    async def access_token(self: Any, *where: Any, **how: Any) -> Any:
        asked[id(self)] += 1
        if asked[id(self)] > 40:
            raise StoreUnavailable("for ever")
        return await sound(self, *where, **how)

    patch.put(Access, "access_token", access_token)


def callers_are_given_a_bug(patch: Patch) -> None:
    """An error that is none of ours comes out where the token endpoint gave no answer."""
    sound = patch.of(Access, "access_token")

    async def access_token(self: Any, *where: Any, **how: Any) -> Any:
        try:
            return await sound(self, *where, **how)
        except RefreshInDoubt as error:
            raise KeyError("bug") from error

    patch.put(Access, "access_token", access_token)


def refusal_by_substring(patch: Patch) -> None:
    sound = patch.of(endpoint_module, "classify")

    def classify(status: int, content_type: str, body: bytes, *, sent: Sent) -> Any:
        if 400 <= status < 500 and sent.encode() in body.lower():
            return Refused("it mentions what was sent")
        return sound(status, content_type, body, sent=sent)

    patch.put(endpoint_module, "classify", classify)


def one_disabled_believed(patch: Patch) -> None:
    def note(tx: Any, grant_id: str, generation: int) -> Any:
        row = yield from query_one("grant", grant_id=grant_id)
        if not row:
            return False
        return (yield from connections.disconnect(row["connection_id"], detail="disabled")(tx))

    patch.put_transaction(refusals, "note_disabled", note)

"""Seeded bugs of rules 7, 11 and 12: what is sent too late or believed too soon, and what is never tried again."""

from __future__ import annotations

from typing import Any

from tests.simulation.patch import Patch

from cloudbeds_auth.engine.context import World
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

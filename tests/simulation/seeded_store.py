"""Seeded bugs of the store: slots instead of a list, no lease, loose fences, lost syncs."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from tests.simulation.patch import Patch, TargetGone

from cloudbeds_auth.database import durability
from cloudbeds_auth.engine import refresh as refresh_module
from cloudbeds_auth.rules.model import Fence
from cloudbeds_auth.transactions import grants, refusals, rows, statements
from cloudbeds_auth.transactions.grants import AttemptEnd, Leased, Settled
from cloudbeds_auth.transactions.statements import query, query_one

IN_THE_LIST = "AND EXISTS (SELECT 1 FROM tokens WHERE grant_id = :grant_id AND position = :position)"


def lost_sync(patch: Patch) -> None:
    sound = patch.of(durability, "settle_pragmas")

    def settle(connection: Any, **more: Any) -> None:
        sound(connection, **more)
        connection.execute("PRAGMA synchronous = OFF")

    patch.put(durability, "settle_pragmas", settle)


def no_lease(patch: Patch) -> None:
    def take(tx: Any, grant_id: str, owner: str, seconds: float) -> Any:
        row = yield from query_one("grant", grant_id=grant_id)
        return Leased(row["lease_epoch"]) if row else None

    patch.put_transaction(grants, "take_lease", take)


def refusal_counted_when_told(patch: Patch) -> None:
    sound = patch.of(refusals, "count_refusal")

    def count(tx: Any, fence: Fence, reason: str, *, may_mark: bool, interval: float) -> Any:
        row = yield from query_one("grant", grant_id=fence.grant_id)
        first = row["first_refused"] if row else None
        late = first is not None and tx.steady - first >= interval
        return (yield from sound(fence, reason, may_mark=late, interval=interval)(tx))

    patch.put_transaction(refusals, "count_refusal", count)


def _only(patch: Patch, *, sent: bool, old_child: bool) -> None:
    """After the sound `_append`, keep of the older tokens only these."""
    sound = patch.of(grants, "_append")

    def append(grant_id: str, generation: int, token: Any, pair: Any, sealer: Any) -> Any:
        before = yield from query("tokens", grant_id=grant_id)
        result = yield from sound(grant_id, generation, token, pair, sealer)
        after = yield from query("tokens", grant_id=grant_id)
        if old_child and before[-1]["position"] != token.position:
            value = sealer.open(before[-1]["sealed"], rows.token_place(
                grant_id, before[-1]["position"], before[-1]["generation"]))  # fmt: skip
            patch.of(grants, "_add_token")
            last = after[-1]
            new = sealer.open(last["sealed"], rows.token_place(grant_id, last["position"], last["generation"]))
            yield from query("drop_tokens_after", grant_id=grant_id, position=-1)
            yield from grants._add_token(grant_id, 1, generation, value, sealer)
            yield from grants._add_token(grant_id, 2, generation, new, sealer)
            return result
        for row in after[:-1]:
            if not (sent and row["position"] == token.position):
                newer = [one for one in after if one["position"] > row["position"]]
                yield from _drop_one(grant_id, row, newer, sealer)
        return result

    patch.put(grants, "_append", append)


def _drop_one(grant_id: str, row: Any, newer: Any, sealer: Any) -> Any:
    """There is no query that drops one token: drop it with what follows, and put that back."""
    values = [
        (one, sealer.open(one["sealed"], rows.token_place(grant_id, one["position"], one["generation"])))
        for one in newer
    ]
    yield from query("drop_tokens_after", grant_id=grant_id, position=row["position"] - 1)
    for one, value in values:
        yield from grants._add_token(grant_id, one["position"], one["generation"], value, sealer)


def one_slot(patch: Patch) -> None:
    _only(patch, sent=False, old_child=False)


def two_slots(patch: Patch) -> None:
    _only(patch, sent=True, old_child=False)


def refused_child_kept(patch: Patch) -> None:
    sound = patch.of(grants, "_append")
    _only(patch, sent=True, old_child=True)
    broken = grants._append

    def append(grant_id: str, generation: int, token: Any, pair: Any, sealer: Any) -> Any:
        before = yield from query("tokens", grant_id=grant_id)
        refused = bool(before) and before[-1]["position"] > token.position
        return (yield from (broken if refused else sound)(grant_id, generation, token, pair, sealer))

    patch.put(grants, "_append", append)


def unfenced_confirm(patch: Patch) -> None:
    sound = patch.of(refusals, "confirm")

    def confirm(tx: Any, grant_id: str, generation: int, **more: Any) -> Any:
        row = yield from query_one("grant", grant_id=grant_id)
        return (yield from sound(grant_id, row["generation"] if row else generation, **more)(tx))

    patch.put_transaction(refusals, "confirm", confirm)


def dropped_token_sent(patch: Patch) -> None:
    """The intent does not ask whether its token is still in the list."""
    sound = statements.QUERIES["write_intent"]
    if IN_THE_LIST not in sound:
        raise TargetGone("the intent asks for its token in other words")
    patch.put(statements, "QUERIES", {**statements.QUERIES, "write_intent": sound.replace(IN_THE_LIST, "")})


def delete_at_first_refusal(patch: Patch) -> None:
    sound = patch.of(grants, "settle")

    def settle(tx: Any, fence: Any, attempt: Any, **more: Any) -> Any:
        row = yield from query_one("grant", grant_id=fence.grant_id)
        done = yield from sound(fence, attempt, **more)(tx)
        if done is Settled.DONE and attempt is AttemptEnd.REFUSED and row and row["intent_position"]:
            held = yield from query("tokens", grant_id=fence.grant_id)
            if len(held) > 1:
                yield from query("drop_tokens_after", grant_id=fence.grant_id, position=row["intent_position"] - 1)
        return done

    patch.put_transaction(grants, "settle", settle)


def latch_ignored(patch: Patch) -> None:
    sound_decision = patch.of(refresh_module, "decide")
    sound = patch.of(grants, "write_intent")

    def decide(row: Any, *rest: Any) -> Any:
        return sound_decision(row and replace(row, latched=False), *rest)

    def write_intent(tx: Any, fence: Any, position: int, **more: Any) -> Any:
        row = yield from query_one("grant", grant_id=fence.grant_id)
        return (yield from sound(fence, position, **more | {"exchange": bool(row and row["latched"])})(tx))

    patch.put(refresh_module, "decide", decide)
    patch.put_transaction(grants, "write_intent", write_intent)


def fence_not_checked(patch: Patch) -> None:
    sound = patch.of(grants, "commit_pair")

    def commit(tx: Any, fence: Any, *parts: Any, **more: Any) -> Any:
        row = yield from query_one("grant", grant_id=fence.grant_id)
        loose = Fence(fence.grant_id, row["generation"], row["lease_epoch"]) if row else fence
        return (yield from sound(loose, *parts, **more)(tx))

    patch.put_transaction(grants, "commit_pair", commit)

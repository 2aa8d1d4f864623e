"""Copies the histories of hotels that were moved to another database (see `copy`), while that is in use.

It resumes at the row that was reached. The chain of a history begins at its newest event, which the move brought, until
the earlier events have come.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import partial

from cloudbeds_auth.database import bulk
from cloudbeds_auth.database.bulk import Batch, Progress
from cloudbeds_auth.database.copy import HISTORY, Side, is_moved_to, mac_key
from cloudbeds_auth.errors import ConfigurationError
from cloudbeds_auth.ports import Clock
from cloudbeds_auth.rules.authentic import Chain, MacKey
from cloudbeds_auth.transactions.authentic import read_chains, set_chains
from cloudbeds_auth.transactions.history import TAKEN_OVER, without_names
from cloudbeds_auth.transactions.runner import HISTORY_BEHIND
from cloudbeds_auth.transactions.statements import Instant, Row, Rows, Transaction, as_keys, query, query_one


async def copy_history(source: Side, target: Side, progress: Progress, clock: Clock) -> dict[str, int]:
    """Copy the histories, after `copy`; the target may be in use. Returns the number of rows copied, by table.

    Resumes where an earlier attempt ended; when all is copied, copies nothing. After each batch it pauses for as long
    as the batch took. Raises ConfigurationError.
    """
    if not await source.driver.read(partial(is_moved_to, target=target.name)):
        raise ConfigurationError(
            f"{source.name} was not moved to {target.name}, or was adopted since",
            next_step="use only one of the two, or both refresh the same hotels",
        )
    copied = dict[str, int]()
    while (reached := await target.driver.read(_behind)) is not None:
        table, *after = json.loads(reached)
        work = partial(_copy_behind, source, target, clock)
        copied[table] = await bulk.each(source.driver, table, work, progress, after=tuple(after))
        await target.driver.write(partial(_finish, table=table))
    return copied


def _behind(now: Instant) -> Transaction[str | None]:
    row = yield from query_one("meta", name=HISTORY_BEHIND)
    return None if row is None else str(row["value"])


async def _copy_behind(source: Side, target: Side, clock: Clock, batch: Batch) -> None:
    begun = clock.steady()
    found, chains = await source.driver.read(partial(_rows_and_chains, batch))
    key = await mac_key(source)
    await target.driver.write(partial(_add_history, batch=batch, found=found, chains=chains, key=key))
    await clock.sleep(clock.steady() - begun)


def _rows_and_chains(batch: Batch, now: Instant) -> Transaction[tuple[Rows, Mapping[str, Chain]]]:
    rows = yield from bulk.rows(batch, now)
    return rows, (yield from read_chains(row["connection_id"] for row in rows))


def _add_history(
    now: Instant, *, batch: Batch, found: Rows, chains: Mapping[str, Chain], key: MacKey
) -> Transaction[None]:
    """Add a batch and the position that it reaches, so that no row is added twice: calls may have been merged.

    A connection that was deleted gets no history, and one that was forgotten here gets what `forget` leaves. Raises
    ConfigurationError when another process copies the histories, too.
    """
    if (yield from _behind(now)) != json.dumps([batch.table, *batch.after]):
        raise ConfigurationError("another process is copying this history", next_step="let it finish")
    ids = as_keys(row["connection_id"] for row in found)
    there = yield from query("connections_locked", connection_ids=ids)
    gone = yield from query("forgotten_at", connection_ids=ids)
    forgotten: dict[str, float] = dict.fromkeys((row["id"] for row in there), 0.0)
    forgotten |= {row["connection_id"]: row["at"] for row in gone if row["connection_id"] in forgotten}
    kept = [
        _without_names(row) if _at(row) <= forgotten[row["connection_id"]] else row
        for row in found
        if row["connection_id"] in forgotten
    ]
    yield from bulk.insert(batch.table, kept, unless_there=True)
    if batch.table == "events":
        whole = {home: chain for home, chain in chains.items() if forgotten.get(home) == 0.0 and chain.is_of(key, home)}
        yield from _reach_back(found, whole, key)
    yield from query("set_meta", name=HISTORY_BEHIND, value=json.dumps([batch.table, *batch.to]))


def _reach_back(found: Rows, former: Mapping[str, Chain], key: MacKey) -> Transaction[None]:
    """Chain a history from its former beginning once the event right before its present chain has been copied."""
    here = yield from read_chains(former)
    macs = {(row["connection_id"], row["sequence"]): row["mac"] for row in found}
    yield from set_chains(
        {
            home: chain.changed(key, home, base=former[home].base, base_mac=former[home].base_mac)
            for home, chain in here.items()
            if chain.base > former[home].base and macs.get((home, chain.base)) == chain.base_mac
        }
    )


def _at(row: Row) -> float:
    """Unix seconds of an event, or of the first call of a line."""
    at: float = row["at"] if "at" in row else row["first_us"] / 1e6
    return at


def _without_names(row: Row) -> Row:
    """The row as `forget` leaves it."""
    return {**row, "methods": "{}"} if "methods" in row else without_names(row)


def _finish(now: Instant, *, table: str) -> Transaction[None]:
    """Begin the next table, or end; then event lines of an earlier version are taken over from the beginning again."""
    following = HISTORY[HISTORY.index(table) + 1 :]
    if following:
        yield from query("set_meta", name=HISTORY_BEHIND, value=json.dumps(following[:1]))
    else:
        for name in (HISTORY_BEHIND, TAKEN_OVER):
            yield from query("forget_meta", name=name)

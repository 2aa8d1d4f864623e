"""Moves the hotels to another database. They are handed over, so that the two databases never both refresh them (F74).

    begin at the source  a run that began earlier goes no further; nor does this one, if another ended meanwhile
    latch the source     its grants are refreshed no more; refreshes under way commit first
    close its grants     a pair that still arrives is dropped unused, so its parent, which is copied, keeps working
    empty the target     what an earlier attempt left is deleted
    copy                 table by table, in the order in which rows refer to each other; of a history only the newest
                         event, from which the next one is numbered
    close the source     it is read-only; unless it was adopted, another run has begun, or a hotel was connected to it
                         meanwhile, which would stay behind: then all is repeated
    open the target      it belongs to this installation from now on, and serves
    copy the history     afterwards, while the target is in use: `copy_history`

The target takes over the source's MAC key: rows that are authentic there are authentic here, and altered rows are
refused here, too. The chain of a history begins at its newest event until the earlier events have been copied.

Each step may be killed and the whole repeated: until the target is open it is read-only, and is filled from the
start; the copying of histories resumes at the row that was reached.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from functools import partial

from cloudbeds_auth.database import bulk, clone_guard
from cloudbeds_auth.database.bulk import Batch, Progress
from cloudbeds_auth.database.sealed_values import IN_META
from cloudbeds_auth.errors import ConfigurationError, Error
from cloudbeds_auth.ports import Sealer
from cloudbeds_auth.rules.authentic import Chain, MacKey
from cloudbeds_auth.system import random_bytes
from cloudbeds_auth.transactions.authentic import read_key, set_chains
from cloudbeds_auth.transactions.roles import show
from cloudbeds_auth.transactions.runner import HISTORY_BEHIND, Driver
from cloudbeds_auth.transactions.statements import Instant, Row, Rows, Statement, Transaction, query, query_one

LEASES = 60.0  # seconds within which refreshes under way may finish
LOOK_AGAIN = 0.2
COPYING = "copying"  # the target's owner until it is complete: no installation, so it is read-only
ORIGIN = "copy_origin"  # in `meta` of a source: a name that no other database has
FILLED_BY = "copy_filled_by"  # in `meta` of a target: that name
HISTORY = ("events", "calls")
BESIDE = ("chain", "mac_before")  # columns of the query newest_events that are not the event's

Pause = Callable[[float], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Side:
    """One of the two databases, and this installation's identity there."""

    driver: Driver
    identity: clone_guard.Identity
    name: str
    sealer: Sealer
    is_postgres: bool


async def copy(source: Side, target: Side, progress: Progress, pause: Pause) -> dict[str, int]:
    """Move the hotels from `source` to `target`, without their histories; returns the number of rows copied, by table.

    When all is moved, another call copies nothing. `pause` waits for the given seconds. Raises ConfigurationError.
    """
    is_moved = await source.driver.read(partial(_may_move, source=source, target=target.name))
    known = await source.driver.read(_origin)
    if await target.driver.read(partial(_copied_from, source=source.name, origin=known, is_moved=is_moved)):
        if not is_moved:
            raise ConfigurationError(
                f"the hotels were moved to {target.name} before, and {source.name} was adopted since",
                next_step="use only one of the two; to move the hotels again, name an empty database",
            )
        return {}
    run = random_bytes(8).hex()
    origin, begin = known or run, partial(_begin, source=source, target=target.name)
    await source.driver.write(partial(begin, origin=origin, run=run, is_moved=is_moved))
    await target.driver.write(partial(_own_by_none, source=source.name, origin=origin, run=run, is_moved=is_moved))
    return await _move(source, target, run, progress, pause)


async def _move(source: Side, target: Side, run: str, progress: Progress, pause: Pause) -> dict[str, int]:
    ours = partial(bulk.still, name=source.name, run=run)
    keys = await source.driver.read(_keys)
    await bulk.each_grant(source.driver, "latch_grants", progress, "hotels latched", ours)
    await _until_nothing_is_under_way(source, progress, pause)
    await bulk.each_grant(source.driver, "close_grants", progress, "hotels closed", ours)
    for table in reversed(bulk.TABLES):
        what = f"{table} of an earlier attempt"
        await bulk.each(target.driver, table, partial(_delete, target, run), progress, what=what)
    try:
        copied = await _copy_tables(source, target, run, progress)
    except Exception as error:
        if not isinstance(error, Error):  # a row that refers to one that came since cannot be inserted
            await source.driver.read(partial(_nothing_came, name=source.name))
        raise
    await source.driver.write(partial(_close, source=source, target=target.name, run=run))
    keys |= await source.driver.read(_keys)  # and those that have sealed since
    await source.driver.read(ours)  # once more: a process can be stopped for hours between two steps
    await target.driver.write(partial(_open, target=target, keys=keys, run=run))
    return copied


async def _copy_tables(source: Side, target: Side, run: str, progress: Progress) -> dict[str, int]:
    """Copy everything but the histories, of which only the newest events; returns the numbers of rows."""
    copied, work = {}, partial(_copy, source, target, run)
    for table in (table for table in bulk.TABLES if table not in HISTORY):
        copied[table] = await bulk.each(source.driver, table, work, progress)
    copied["events"] = await _copy_newest_events(source, target, run, progress)
    return copied


def is_moved_to(now: Instant, *, target: str) -> Transaction[bool]:
    """Whether the source was moved to a target of this name; another database may have the same name."""
    moved = yield from query_one("meta", name="moved_to")
    return moved is not None and moved["value"] == target


def _may_move(now: Instant, *, source: Side, target: str) -> Transaction[bool]:
    """Whether the source was moved to the target before. Raises ConfigurationError if it is not ours to move."""
    if (yield from is_moved_to(now, target=target)):
        return True
    elsewhere = yield from query_one("meta", name="moved_to")
    if elsewhere is not None:
        where = elsewhere["value"]
        raise ConfigurationError(
            f"the hotels of {source.name} were moved elsewhere, to {where}",
            next_step=f"copy from {where}; if that is gone for good, run `cloudbeds-auth database adopt` first",
        )
    if not (yield from clone_guard.is_own(now, source.identity)):
        raise ConfigurationError(
            f"{source.name} is a copy of another installation's database",
            next_step="copy from the original, or run `cloudbeds-auth database adopt` if it is gone for good",
        )
    return False


def _begin(now: Instant, *, source: Side, target: str, origin: str, run: str, is_moved: bool) -> Transaction[None]:
    """Record at the source that this run moves its hotels, unless it was moved or adopted since `is_moved` was read."""
    yield from bulk.begin_run(run)
    if (yield from _may_move(now, source=source, target=target)) is not is_moved:
        raise _overtaken(target)
    yield from query("set_meta", name=ORIGIN, value=origin)


def _overtaken(target: str) -> ConfigurationError:
    return ConfigurationError(
        f"another command moved the hotels to {target}, or adopted this database, meanwhile",
        next_step="run the same command again: it says where the hotels are",
    )


def unfinished() -> Transaction[ConfigurationError | None]:
    """What to tell whoever opens a target that is not complete: its rows are not authentic yet; None if it is none."""
    owner = yield from query_one("meta", name="instance")
    begun = yield from query_one("meta", name="copy_of")
    if owner is None or owner["value"] != COPYING or begun is None:
        return None
    name = begun["value"]
    return ConfigurationError(
        f"a `cloudbeds-auth database copy` from {name} fills this database, and has not ended",
        next_step=f"run it again, from {name}; if that is gone for good, restore its backup",
    )


def _origin(now: Instant) -> Transaction[str | None]:
    """How the target knows this source again, since a move began: two installations may have a database of one name."""
    row = yield from query_one("meta", name=ORIGIN)
    return None if row is None else str(row["value"])


def _copied_from(now: Instant, *, source: str, origin: str | None, is_moved: bool) -> Transaction[bool]:
    """Whether the hotels were moved here before. Raises ConfigurationError when the target holds anything else, or is
    not the database to which an earlier attempt moved them: both would refresh the same hotels.
    """
    begun = yield from query_one("meta", name="copy_of")
    owner = yield from query_one("meta", name="instance")
    filler = yield from query_one("meta", name=FILLED_BY)
    if begun is not None and begun["value"] == source and (filler is None or filler["value"] == origin):
        return owner is None or owner["value"] != COPYING
    if is_moved:
        raise ConfigurationError(
            "the hotels were moved to another database with the same name as this target",
            next_step=f"use that one; if it is gone for good, run `cloudbeds-auth database adopt` for {source} first",
        )
    held = yield from bulk.in_use(now)
    if held:
        raise ConfigurationError(
            f"the target holds {', '.join(held)} of its own", next_step="give the URL of an empty database"
        )
    return False


def _own_by_none(now: Instant, *, source: str, origin: str, run: str, is_moved: bool) -> Transaction[None]:
    """Record that the target belongs to no installation, and that this run fills it; unless it is in use since it was
    looked at. A key with which a service there sealed nothing but its own rows of `meta` is needed no more.
    """
    yield from bulk.begin_run(run)
    if (yield from _copied_from(now, source=source, origin=origin, is_moved=is_moved)):
        raise _overtaken("the target")
    yield from query("retire_keys", name="")
    for name, value in (("copy_of", source), (FILLED_BY, origin), ("instance", COPYING), ("place", COPYING)):
        yield from query("set_meta", name=name, value=value)


async def _until_nothing_is_under_way(source: Side, progress: Progress, pause: Pause) -> None:
    """Wait until each refresh that began before the latch has committed, or its lease has expired."""
    waited, most = 0.0, 0
    while (held := await source.driver.read(_held)) and waited < LEASES:
        most = max(most, held)
        progress("refreshes under way, finished", most - held, most)
        await pause(LOOK_AGAIN)
        waited += LOOK_AGAIN


def _held(now: Instant) -> Transaction[int]:
    (row,) = yield from query("held_leases", now=now.steady, clock_id=now.clock_id)
    held: int = row["held"]
    return held


async def _delete(target: Side, run: str, batch: Batch) -> None:
    def deleted(now: Instant) -> Transaction[None]:
        yield from bulk.still(now, name=target.name, run=run)
        yield from bulk.delete(batch, now)

    await target.driver.write(deleted)


async def _copy(source: Side, target: Side, run: str, batch: Batch) -> None:
    found = await source.driver.read(partial(bulk.rows, batch))
    if batch.table == "grants":
        found = [{**row, "latched": row["latched"] % 2} for row in found]
    await target.driver.write(lambda now: _insert(now, target, run, batch.table, found))


def _insert(now: Instant, target: Side, run: str, table: str, rows: Rows) -> Transaction[None]:
    yield from bulk.still(now, name=target.name, run=run)
    yield from bulk.insert(table, rows)
    if table == "grants":  # rows read at different moments may include two current grants of a connection
        yield from show(*{row["connection_id"] for row in rows})


async def _copy_newest_events(source: Side, target: Side, run: str, progress: Progress) -> int:
    """Copy the newest event of each connection, with progress by connections; returns their number."""
    copied, key = 0, await mac_key(source)

    async def work(batch: Batch) -> None:
        nonlocal copied
        after, to = batch.after[0] if batch.after else "", batch.to[0]
        found = await source.driver.read(lambda now: query("newest_events", after=after, to=to))
        events = [{column: value for column, value in row.items() if column not in BESIDE} for row in found]
        chains = {row["connection_id"]: chain for row in found if (chain := _at_its_newest(key, row)) is not None}

        def inserted(now: Instant) -> Transaction[None]:
            yield from _insert(now, target, run, "events", events)
            yield from set_chains(chains)

        await target.driver.write(inserted)
        copied += len(found)

    await bulk.each(source.driver, "connections", work, progress, what="newest events")
    return copied


async def mac_key(side: Side) -> MacKey:
    """The key of the database's MACs."""
    key = await side.driver.read(lambda now: read_key(side.sealer))
    assert key is not None  # noqa: S101 - it was opened before
    return key


def _at_its_newest(key: MacKey, row: Row) -> Chain | None:
    """A chain of the newest event alone; None if that event precedes the stored chain, or if either was altered."""
    home, sequence, chain = row["connection_id"], row["sequence"], Chain.parse(row["chain"])
    if not chain.is_of(key, home) or (chain.last, chain.last_mac) != (sequence, row["mac"]) or sequence <= chain.base:
        return None
    before = chain.base_mac if sequence == chain.base + 1 else row["mac_before"]
    return None if before is None else chain.changed(key, home, base=sequence - 1, base_mac=before)


def _nothing_came(now: Instant, *, name: str) -> Transaction[None]:
    """Raise ConfigurationError if a grant was stored since the others were closed: it may not have been copied."""
    if (yield Statement("grants_not_closed", "SELECT id FROM grants WHERE latched < 4 LIMIT 1", {})):
        raise ConfigurationError(
            f"a hotel was connected in {name} while its hotels were moved",
            next_step="stop every program that uses it, then run the same command again",
        )


def _close(now: Instant, *, source: Side, target: str, run: str) -> Transaction[None]:
    yield from bulk.still(now, name=source.name, run=run)
    if source.is_postgres:  # a hotel whose transaction has not ended would not be seen
        yield Statement("grants_stored", "LOCK TABLE grants IN SHARE MODE", {})
    yield from _nothing_came(now, name=source.name)
    yield from query("set_meta", name="moved_to", value=target)
    yield from query("set_meta", name="instance", value=f"moved to {target}")


def _keys(now: Instant) -> Transaction[dict[str, str]]:
    """The rows of `meta` about keys, and those that hold sealed values."""
    rows = yield from query("key_rows")
    found = {row["name"]: row["value"] for row in rows}
    for name in IN_META:
        row = yield from query_one("meta", name=name)
        found |= {} if row is None else {name: row["value"]}
    return found


def _open(now: Instant, *, target: Side, keys: Mapping[str, str], run: str) -> Transaction[None]:
    yield from bulk.still(now, name=target.name, run=run)
    yield from query("forget_meta", name=bulk.RUN)
    for name, value in keys.items():
        yield from query("set_meta", name=name, value=value)
    yield from query("set_meta", name=HISTORY_BEHIND, value=json.dumps(HISTORY[:1]))
    yield from clone_guard.adopt(now, target.identity)

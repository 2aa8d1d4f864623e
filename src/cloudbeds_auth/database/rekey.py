"""Seals everything with the first key, so that the others are no longer needed (docs/adr/0026).

    pass      values that another key sealed are sealed anew, a batch of rows at a time
    again     until a pass finds none
    retire    the canaries of the other keys are deleted
    again     values that one of them has sealed meanwhile are found, and its canary is put back

A service that lacks the first key would lose every hotel. So this begins only if a service with that key was seen, or
if no process uses the database. A kill undoes one batch at most, and the next run begins with a pass over everything.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial

from cloudbeds_auth.database import clone_guard, key_files, opening
from cloudbeds_auth.database.bulk import Batch, Progress
from cloudbeds_auth.database.sealed_values import (
    SealedAnew,
    SealedColumn,
    count_batch,
    count_meta,
    count_values,
    each_column,
    seal_batch,
    seal_meta,
)
from cloudbeds_auth.database.sealing import AesGcmSealer
from cloudbeds_auth.errors import ConfigurationError, StoreReadOnly
from cloudbeds_auth.ports import Sealer
from cloudbeds_auth.rules.audit import COMMAND, AuditAction
from cloudbeds_auth.settings import Settings
from cloudbeds_auth.system import SystemClock
from cloudbeds_auth.transactions.audit import add_audit
from cloudbeds_auth.transactions.runner import Database, Driver, keys_missing
from cloudbeds_auth.transactions.seals import is_seen, need_keys, retire_keys
from cloudbeds_auth.transactions.statements import query_one

MOST_PASSES = 6  # at least two find nothing; a row that was held during one is found by the next
HELD = 0.2  # seconds to wait for transactions that hold rows


@dataclass
class Rekeyed:
    """The result: how many values were sealed anew with `key_id`, and which keys are no longer needed.

    `retired` became so in this run; of `unneeded`, the other configured ones, nothing was sealed, or an earlier run
    finished that. `problems` are sentences for people that say why other keys are still needed.
    """

    key_id: str
    sealed_anew: int = 0
    retired: list[str] = field(default_factory=list)
    unneeded: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


@dataclass
class _Pass:
    """One pass: how many values of other keys it found, by key id, and what became of them."""

    others: Counter[str] = field(default_factory=Counter)
    done: SealedAnew = field(default_factory=SealedAnew)

    @property
    def found_broken_alone(self) -> bool:
        """Whether it found only values that do not open: another pass could do nothing."""
        return 0 < self.others.total() == len(self.done.broken)


async def rekey(settings: Settings, progress: Progress, *, offline: bool = False) -> Rekeyed:
    """Seal everything with the first key, while the service runs. If it is interrupted, another run finishes it.

    Before it changes anything, raises StoreReadOnly, or ConfigurationError; also if no service with the first key was
    seen, unless `offline` says that no process uses the database now.
    """
    sealer = AesGcmSealer(key_files.load_keys(settings, database_has_rows=True))
    driver, identity = await opening.open_driver(settings, bulk=True)
    try:
        database = Database(driver, sealer, opening.nobody_is_known_dead)
        if not await driver.write(partial(clone_guard.recognise, identity=identity)):
            raise StoreReadOnly
        await _check(driver, database, sealer, progress, offline=offline)
        await _note(database, {"key": sealer.key_id, "begun": True})  # a run that is killed has an entry, too
        done = await _seal_everything(driver, database, sealer, progress)
        if not done.problems:
            done.unneeded = sorted({*sealer.key_ids} - {sealer.key_id, *done.retired, *await database.needed_keys()})
        numbers = {"sealed_anew": done.sealed_anew, "retired": len(done.retired), "problems": len(done.problems)}
        await _note(database, {"key": sealer.key_id, **numbers})
        return done
    finally:
        await driver.close()


async def _check(driver: Driver, database: Database, sealer: Sealer, progress: Progress, *, offline: bool) -> None:
    """Raise ConfigurationError unless it may begin. A value whose key is neither configured nor needed was altered, and
    is found later.
    """
    held = await driver.read(lambda now: query_one("held_by_a_copy"))
    if held is not None and held["hotels"]:
        raise ConfigurationError(
            "`cloudbeds-auth database copy` is moving these hotels, sealed as they are",
            next_step="let it finish, then run this for the new database; or run `cloudbeds-auth database adopt` first",
        )
    counts, needed = await count_values(driver, sealer, progress), await database.needed_keys()
    missing = sorted(key_id for key_id in needed if counts[key_id] and key_id not in sealer.key_ids)
    if missing:
        raise keys_missing(missing, counts)
    is_new = any(counts[key_id] for key_id in sealer.key_ids if key_id != sealer.key_id)
    if is_new and not offline and not await database.read(is_seen()):
        raise ConfigurationError(
            f"no running service was seen with the key {sealer.key_id} first: a service without it cannot open what "
            "is sealed anew",
            next_step="put it first for every process that uses this database, and restart them; then run this again. "
            "If no process uses the database now: `cloudbeds-auth database rekey --offline`",
        )


async def _note(database: Database, data: Mapping[str, object]) -> None:
    await database.write(add_audit(AuditAction.DATABASE_REKEYED, None, data, COMMAND))


async def _seal_everything(driver: Driver, database: Database, sealer: Sealer, progress: Progress) -> Rekeyed:
    result, clean, retired = Rekeyed(sealer.key_id), False, set[str]()
    for number in range(MOST_PASSES):
        found = await _one_pass(driver, database, sealer, progress, ", again" if number else "")
        result.sealed_anew += found.done.values
        if clean and not found.others:
            result.retired = sorted(retired)
            return result
        if found.found_broken_alone:
            result.problems = [f"a value of {place.table} {place.row} does not open" for place in found.done.broken]
            return result
        if clean:  # these keys are needed again, and one more pass is made
            await database.write(need_keys(sorted(found.others)))
            retired.difference_update(found.others)
        clean = not found.others
        if clean:
            retired.update(await database.write(retire_keys()))
        elif found.others.total() > found.done.values:
            await SystemClock().sleep(HELD)
    result.problems = [
        f"values sealed with the key {key_id} are left: a process seals with it, or holds their rows; restart every "
        f"process with {sealer.key_id} first, then run this again"
        for key_id in sorted(found.others)
    ]
    return result


async def _one_pass(driver: Driver, database: Database, sealer: Sealer, progress: Progress, suffix: str) -> _Pass:
    found = _Pass()

    def others(counts: Counter[str]) -> bool:
        del counts[sealer.key_id]
        found.others.update(counts)
        return bool(counts)

    async def work(column: SealedColumn, batch: Batch) -> None:
        if others(await driver.read(partial(count_batch, column, batch))):
            found.done.add(await database.write(seal_batch(column, batch)))

    if others(await driver.read(partial(count_meta, sealer))):
        found.done.add(await database.write(seal_meta()))
    await each_column(driver, work, progress, suffix)
    return found

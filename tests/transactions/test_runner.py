"""The runner of transactions: its keys, its check, and reads that share one while a test holds back the database."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

import pytest
from tests.support.bench import Bench
from tests.support.fakes import pair
from tests.support.keys import KEY, OTHER_KEY

from cloudbeds_auth.database.sealed_values import seal_meta
from cloudbeds_auth.database.sealing import AesGcmSealer
from cloudbeds_auth.errors import ConfigurationError, StoreUnavailable
from cloudbeds_auth.transactions.grants import commit_pair, read_grant
from cloudbeds_auth.transactions.runner import AT_ONCE, MOST, Together
from cloudbeds_auth.transactions.statements import Transaction, Tx, query_one, transaction

# --- keys and the check


@pytest.mark.row("F68")
async def test_the_wrong_key(bench: Bench) -> None:
    """Refused before anything is sent; the right one still opens."""
    with pytest.raises(ConfigurationError, match=f"the key {AesGcmSealer([KEY]).key_id} is missing"):
        await bench.another(OTHER_KEY)
    await bench.another(OTHER_KEY, KEY)


async def test_a_second_key(bench: Bench) -> None:
    """The first seals, all open."""
    grant = await bench.connected(pair(1))
    both = await bench.another(OTHER_KEY, KEY)
    fence = await bench.leased(grant)
    await both.write(commit_pair(fence, grant.tokens[0], pair(2), stale_after=9.0))
    row = await both.read(read_grant(grant.id))
    assert row is not None
    assert [token.value.reveal() for token in row.tokens] == ["R-1", "R-2"]
    with pytest.raises(StoreUnavailable, match="does not open"):
        await bench.store.read(read_grant(grant.id))


@transaction
def checked_at(tx: Tx) -> Transaction[float | None]:
    row = yield from query_one("meta", name="checked_at")
    return None if row is None else float(row["value"])


async def test_a_check(bench: Bench) -> None:
    """One real write, and the keys: where another process sealed with a new one, the error says what to do."""
    assert await bench.store.read(checked_at()) is None
    await bench.store.check()
    assert await bench.store.read(checked_at()) == bench.clock.wall
    await (await bench.another(OTHER_KEY, KEY)).write(seal_meta())
    with pytest.raises(StoreUnavailable, match=f"the key {AesGcmSealer([OTHER_KEY]).key_id} is missing") as raised:
        await bench.store.check()
    assert "CLOUDBEDS_AUTH_ENCRYPTION_KEYS" in (raised.value.next_step or "")


# --- reads that share a transaction


class Database:
    """Answers each read with the ids in capitals, once the test lets it; `asked` are the ids of each read."""

    def __init__(self) -> None:
        self.asked: list[Sequence[str]] = []
        self.free = asyncio.Event()
        self.error: Exception | None = None
        self.together = Together(self.read)

    async def read(self, ids: Sequence[str]) -> Mapping[str, str]:
        self.asked.append(ids)
        await self.free.wait()
        if self.error is not None:
            raise self.error
        return {one: one.upper() for one in ids if one.isalpha()}


async def turns() -> None:
    """Until what can run now has run."""
    for _ in range(10):
        await asyncio.sleep(0)


async def test_those_that_come_at_one_moment() -> None:
    """One read answers them all, each id asked for once; what it does not find is not there."""
    database = Database()
    database.free.set()
    found = await asyncio.gather(*map(database.together.ask, ["a", "b", "a", "7"]))
    assert found == ["A", "B", "A", None]
    assert database.asked == [["a", "b", "7"]]


async def test_those_that_come_while_as_many_reads_run_as_may() -> None:
    """They wait for the next read, which begins after they asked."""
    database = Database()
    waiting = []
    for name in "abcdefg":
        waiting.append(asyncio.create_task(database.together.ask(name)))
        await turns()
    assert database.asked == [["a"], ["b"], ["c"]]
    assert len(database.asked) == AT_ONCE
    database.free.set()
    assert await asyncio.gather(*waiting) == list("ABCDEFG")
    assert database.asked[AT_ONCE:] == [["d", "e", "f", "g"]]


@pytest.mark.row("F105")
@pytest.mark.parametrize("steps", range(8))
async def test_one_that_comes_as_the_last_reads_end(steps: int) -> None:
    """All reads that may run end at one moment, and one asks so many steps of the loop later: it is answered."""
    database = Database()
    running = []
    for name in "abc":
        running.append(asyncio.create_task(database.together.ask(name)))
        await turns()
    database.free.set()
    for _ in range(steps):
        await asyncio.sleep(0)
    late = [asyncio.create_task(database.together.ask(name)) for name in "da"]
    for _ in range(3):
        await turns()
    assert [task.done() for task in (*running, *late)] == [True] * 5


async def test_one_that_asks_again_while_its_read_runs() -> None:
    """The answer that is under way may be older than the question: it is read anew."""
    database = Database()
    first = asyncio.create_task(database.together.ask("a"))
    await turns()
    second = asyncio.create_task(database.together.ask("a"))
    await turns()
    database.free.set()
    assert (await first, await second) == ("A", "A")
    assert database.asked == [["a"], ["a"]]


async def test_more_than_one_transaction_takes() -> None:
    """A statement does not grow without end."""
    database = Database()
    database.free.set()
    await asyncio.gather(*(database.together.ask(str(number)) for number in range(MOST + 1)))
    assert [len(ids) for ids in database.asked] == [MOST, 1]


async def test_a_read_that_fails() -> None:
    """Each caller has an error of its own, and the next read is made as if nothing had been."""
    database = Database()
    database.free.set()
    database.error = StoreUnavailable("gone", next_step="wait")
    told = await asyncio.gather(*map(database.together.ask, "ab"), return_exceptions=True)
    errors = [one for one in told if isinstance(one, StoreUnavailable)]
    assert [(one.detail, one.next_step) for one in errors] == [("gone", "wait")] * 2
    assert errors[0] is not errors[1]
    database.error = None
    assert await database.together.ask("a") == "A"


async def test_one_who_goes_away() -> None:
    """The others of its read are answered; what nobody waits for any more, is told to nobody."""
    database = Database()
    gone, there = (asyncio.create_task(database.together.ask(name)) for name in "ab")
    await turns()
    gone.cancel()
    database.free.set()
    assert await there == "B"
    with pytest.raises(asyncio.CancelledError):
        await gone
    database.error = StoreUnavailable()
    gone = asyncio.create_task(database.together.ask("a"))
    await turns()
    gone.cancel()
    await asyncio.gather(gone, return_exceptions=True)


@pytest.mark.parametrize("one", ["con_\0", "con_\ud800", "con_\n"])
async def test_an_id_that_no_row_can_have(one: str) -> None:
    """It is nobody's, and never in a question that is others' too."""
    database = Database()
    assert await database.together.ask(one) is None
    assert database.asked == []

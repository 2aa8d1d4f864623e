"""A transaction is driven by what executes its statements, at once or waited for."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from cloudbeds_auth.errors import StoreUnavailable
from cloudbeds_auth.transactions.statements import Rows, Statement, Transaction, drive, drive_async

Answer = Callable[[str], Rows]
Driven = Callable[[Transaction[list[Rows]], Answer], Awaitable[list[Rows]]]


async def at_once(transaction: Transaction[list[Rows]], answer: Answer) -> list[Rows]:
    """As SQLite's driver does it."""
    return drive(transaction, lambda statement: answer(statement.name))


async def waited_for(transaction: Transaction[list[Rows]], answer: Answer) -> list[Rows]:
    """As PostgreSQL's driver does it."""

    async def execute(statement: Statement) -> Rows:
        await asyncio.sleep(0)
        return answer(statement.name)

    return await drive_async(transaction, execute)


def two_questions(ended: list[bool]) -> Transaction[list[Rows]]:
    try:
        first = yield Statement("first", "SELECT 1", {})
        second = yield Statement("second", "SELECT 2", {})
        return [first, second]
    except StoreUnavailable:
        return []  # a transaction may not go on after a statement that failed
    finally:
        ended.append(True)


drivers = pytest.mark.parametrize("driven", [at_once, waited_for])


@drivers
async def test_each_statement_is_answered_with_its_rows(driven: Driven) -> None:
    """In their order; what the transaction returns is the result."""
    ended: list[bool] = []
    assert await driven(two_questions(ended), lambda name: [{"asked": name}]) == [
        [{"asked": "first"}],
        [{"asked": "second"}],
    ]
    assert ended == [True]


@drivers
async def test_a_statement_that_fails_ends_the_transaction(driven: Driven) -> None:
    """The error is the caller's and not the transaction's: it is left where it is, and closed."""
    ended: list[bool] = []

    def answer(name: str) -> Rows:
        if name == "second":
            raise StoreUnavailable
        return []

    with pytest.raises(StoreUnavailable):
        await driven(two_questions(ended), answer)
    assert ended == [True]

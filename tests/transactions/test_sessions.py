"""The transactions of sign-in, over both databases."""

from __future__ import annotations

import pytest
from tests.support.bench import Bench, HandClock

from cloudbeds_auth.rules.sessions import CODE_FOR, IDLE_SESSION, LONGEST_SESSION, SignedInBy
from cloudbeds_auth.transactions.history import sweep
from cloudbeds_auth.transactions.sessions import (
    add_sign_in_code,
    begin_session,
    end_session,
    end_sessions,
    find_session,
    is_sign_in_code,
    use_session,
)
from cloudbeds_auth.transactions.verification import verify_keys

HERE = "192.0.2.7"


async def begun(bench: Bench, session_id: str, code: str | None = None) -> bool:
    """A session by the admin token, or by a code."""
    begin = begin_session(session_id, f"hash of {session_id}", code_hash=code, address=HERE)
    how = await bench.store.write(begin)
    assert how in {None, SignedInBy.TOKEN if code is None else SignedInBy.LINK}
    return how is not None


async def is_good(bench: Bench, session_id: str) -> bool:
    """As another process sees it."""
    return await (await bench.another()).read(find_session(session_id)) is not None


async def test_a_code_is_good_once(bench: Bench) -> None:
    """It is spent with the session that it begins; one that was never made begins none."""
    await bench.store.write(add_sign_in_code("code-1", made_by="operator"))
    assert await bench.store.read(is_sign_in_code("code-1"))
    assert await begun(bench, "S1", "code-1")
    assert not await bench.store.read(is_sign_in_code("code-1"))
    assert not await begun(bench, "S2", "code-1")
    assert not await begun(bench, "S3", "code-2")
    assert [await is_good(bench, one) for one in ("S1", "S2", "S3")] == [True, False, False]


async def test_a_code_ends_in_time(bench: Bench, clock: HandClock) -> None:
    """After ten minutes."""
    await bench.store.write(add_sign_in_code("code-1", made_by="operator"))
    clock.pass_(CODE_FOR - 1)
    assert await bench.store.read(is_sign_in_code("code-1"))
    clock.pass_(1)
    assert not await bench.store.read(is_sign_in_code("code-1"))
    assert not await begun(bench, "S1", "code-1")


async def test_a_session_ends_when_it_is_not_used(bench: Bench, clock: HandClock) -> None:
    """Each use puts that off; not the end that it has in any case."""
    await begun(bench, "S1")
    await begun(bench, "S2")
    used = 0.0
    while used < LONGEST_SESSION:
        assert await bench.store.read(find_session("S1")) is not None
        clock.pass_(IDLE_SESSION / 2)
        used += IDLE_SESSION / 2
        await bench.store.write(use_session("S1"))
        assert await is_good(bench, "S2") == (used < IDLE_SESSION)
    assert not await is_good(bench, "S1")


async def test_what_is_read_of_a_session(bench: Bench, clock: HandClock) -> None:
    """The hash of its secret, and how long it was not used."""
    await begun(bench, "S1")
    clock.pass_(5)
    found = await bench.store.read(find_session("S1"))
    assert found is not None
    assert found.hash == "hash of S1"
    assert found.unused == pytest.approx(5)
    await bench.store.write(use_session("S1"))
    found = await bench.store.read(find_session("S1"))
    assert found is not None
    assert found.unused == pytest.approx(0)


@pytest.mark.row("A26")
async def test_a_session_that_was_ended(bench: Bench) -> None:
    """Is good in no process, and its use changes nothing; others are as before."""
    await begun(bench, "S1")
    await begun(bench, "S2")
    await bench.store.write(end_session("S1"))
    await bench.store.write(use_session("S1"))
    await bench.store.write(end_session("S3"))
    assert [await is_good(bench, one) for one in ("S1", "S2", "S3")] == [False, True, False]


async def test_all_are_ended(bench: Bench, clock: HandClock) -> None:
    """With the codes that were not used; those that were over are not counted."""
    await begun(bench, "S0")
    clock.pass_(IDLE_SESSION)
    for name in ("S1", "S2", "S3"):
        await begun(bench, name)
    await bench.store.write(end_session("S3"))
    await bench.store.write(add_sign_in_code("code-1", made_by="operator"))
    assert await bench.store.write(end_sessions()) == 2
    assert await bench.store.write(end_sessions()) == 0
    assert [await is_good(bench, one) for one in ("S1", "S2")] == [False, False]
    assert not await begun(bench, "S4", "code-1")
    assert await begun(bench, "S4")


async def test_what_is_long_over_is_forgotten(bench: Bench, clock: HandClock) -> None:
    """As old history is, a few at a time: codes that were not used, sessions, and their entries in the audit."""
    for number in range(3):
        await bench.store.write(add_sign_in_code(f"code-{number}", made_by="operator"))
        await begun(bench, f"S{number}")
    clock.pass_(LONGEST_SESSION + 60.0)
    await begun(bench, "S9")
    assert await bench.store.write(sweep(3600.0, 2)) == 2 + 2
    assert await bench.store.write(sweep(30.0, 2)) == 1 + 2 + 1
    assert await bench.store.write(sweep(30.0, 2)) == 1
    assert await bench.store.write(sweep(30.0, 2)) == 0
    assert await is_good(bench, "S9")


@pytest.mark.row("A76")
@pytest.mark.parametrize("defended", [True, False])
async def test_rows_that_something_else_wrote(bench: Bench, monkeypatch: pytest.MonkeyPatch, defended: bool) -> None:
    """Who can write to the database signs in by none of them: neither by a code or a session of its own, nor by a
    session that it lengthened. Without the MAC it would.
    """
    if not defended:
        monkeypatch.setattr("cloudbeds_auth.transactions.sessions.is_genuine", lambda *_: True)
    await begun(bench, "S1")
    end = (await bench.another()).read(find_session("S1"))
    assert await end is not None
    bench.attack("UPDATE sessions SET expires_at = expires_at + 1000000")
    bench.attack(
        "INSERT INTO sign_in_codes (hash, made_by, expires_at, mac) "
        "SELECT 'code-1', 'x', expires_at, mac FROM sessions WHERE id = 'S1'"
    )
    bench.attack(
        "INSERT INTO sessions "
        "SELECT 'S2', 'hash of S2', how, address, created_at, used_at, expires_at, mac FROM sessions"
    )
    good = [await is_good(bench, "S1"), await is_good(bench, "S2")]
    code = [await bench.store.read(is_sign_in_code("code-1")), await begun(bench, "S3", "code-1")]
    assert [*good, *code] == [not defended] * 4
    named = (await bench.store.read(verify_keys(limit=10))).problems
    assert [one.split()[2] for one in named if "session" in one] == ["S1", "S2"]

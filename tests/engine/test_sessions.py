"""Sign-in of operators: codes that are good once, and sessions that any process can end."""

from __future__ import annotations

import pytest
from tests.engine.test_read_only_copy import not_ours
from tests.support.stage import Stage

from cloudbeds_auth.engine.sessions import NOTED_EVERY
from cloudbeds_auth.errors import StoreUnavailable
from cloudbeds_auth.rules.secret import Secret
from cloudbeds_auth.rules.sessions import CODE_FOR, IDLE_SESSION, Session

HERE = "192.0.2.7"


async def code(stage: Stage) -> Secret:
    """A new one."""
    link = await stage.one.sessions.create_link()
    return Secret(link.url.reveal().partition("/sign-in#")[2])


async def signed_in(stage: Stage) -> Session:
    """By the admin token."""
    session = await stage.one.sessions.begin(None, address=HERE)
    assert session is not None
    return session


async def test_a_link_signs_in_once(stage: Stage) -> None:
    """Of a code and a session nothing is stored that could be used."""
    given = await code(stage)
    session = await stage.one.sessions.begin(given, address=HERE)
    assert session is not None
    assert await stage.one.sessions.recognize(session.text.reveal()) == session
    assert await stage.one.sessions.begin(given, address=HERE) is None
    stored = str([stage.database.sql(f"SELECT * FROM {table}") for table in ("sign_in_codes", "sessions")])
    assert HERE in stored
    assert given.reveal() not in stored
    assert session.secret.reveal() not in stored
    assert stage.notes.facts("signed_in") == [{"session": session.id, "how": "link", "address": HERE}]


async def test_two_browsers_with_one_link(stage: Stage) -> None:
    """One of them is signed in, at whatever moment the other comes."""
    given, other = await code(stage), await stage.process()
    found: list[Session | None] = []

    async def meanwhile() -> None:
        found.append(await other.sessions.begin(given, address=HERE))

    stage.one.driver.after("sign_in_code", meanwhile)
    assert await stage.one.sessions.begin(given, address=HERE) is None
    assert found != [None]


async def test_a_code_that_is_over(stage: Stage) -> None:
    """Signs nobody in; nor does one that was made up, which costs no write."""
    given = await code(stage)
    await stage.clock.sleep(CODE_FOR)
    for one in (given, Secret("made up")):
        assert await stage.one.sessions.begin(one, address=HERE) is None
    assert not stage.one.driver.seen["use_sign_in_code"]


async def test_whose_browser_asks(stage: Stage) -> None:
    """An id with another secret, and what is no session, are nobody's."""
    session = await signed_in(stage)
    for text in ("", "x", f"{session.id}.another", f"S9.{session.secret.reveal()}"):
        assert await stage.one.sessions.recognize(text) is None
    assert await stage.one.sessions.recognize(session.text.reveal()) == session


@pytest.mark.row("A26")
async def test_a_session_that_was_ended(stage: Stage) -> None:
    """Is refused at once, in every process."""
    session, other = await signed_in(stage), await stage.process()
    assert await other.sessions.recognize(session.text.reveal()) == session
    await stage.one.sessions.end(session, address=HERE)
    for process in (stage.one, other):
        assert await process.sessions.recognize(session.text.reveal()) is None
    assert stage.notes.facts("signed_out") == [{"session": session.id, "address": HERE}]
    begun, ended = reversed(await stage.one.audit.entries())
    assert (begun.action, begun.actor, begun.address) == ("signed_in", session.actor, HERE)
    assert ended.action == "signed_out"


@pytest.mark.row("A26")
async def test_over_a_read_only_copy(stage: Stage) -> None:
    """Nobody is known: it honours no session of the original, where it may be over already."""
    session, copy = await signed_in(stage), await stage.process()
    assert await copy.sessions.recognize(session.text.reveal()) == session
    await copy.store.open(not_ours)
    assert await copy.sessions.recognize(session.text.reveal()) is None
    assert await stage.one.sessions.recognize(session.text.reveal()) == session


async def test_all_are_ended(stage: Stage) -> None:
    """From any process, with the links that were not used."""
    session, given, other = await signed_in(stage), await code(stage), await stage.process()
    assert await other.sessions.end_all() == 1
    assert await stage.one.sessions.recognize(session.text.reveal()) is None
    assert await stage.one.sessions.begin(given, address=HERE) is None
    assert stage.notes.facts("sessions_ended") == [{"sessions": 1, "actor": "program"}]


async def test_a_session_that_is_used(stage: Stage) -> None:
    """Does not end; its use is written once a minute, and where the store does not take it now, the next time."""
    session, other = await signed_in(stage), await signed_in(stage)
    for _ in range(3):
        await stage.clock.sleep(IDLE_SESSION / 2)
        for _ in range(3):
            assert await stage.one.sessions.recognize(session.text.reveal()) == session
    assert stage.one.driver.seen["use_session"] == 3
    assert await stage.one.sessions.recognize(other.text.reveal()) is None
    await stage.clock.sleep(NOTED_EVERY)
    stage.one.driver.refuse("use_session")
    assert await stage.one.sessions.recognize(session.text.reveal()) == session


async def test_a_page_that_asks_by_itself(stage: Stage) -> None:
    """Is no use of its session: one that nobody uses ends, however long its page is open."""
    session = await signed_in(stage)
    for _ in range(3):
        await stage.clock.sleep(IDLE_SESSION / 4)
        assert await stage.one.sessions.recognize(session.text.reveal(), used=False) == session
    await stage.clock.sleep(IDLE_SESSION / 4)
    assert await stage.one.sessions.recognize(session.text.reveal(), used=False) is None
    assert stage.one.driver.seen["use_session"] == 0


async def test_while_the_store_is_away(stage: Stage) -> None:
    """Nobody is known, and nobody is taken to be signed out."""
    session = await signed_in(stage)
    stage.one.driver.dark = True
    with pytest.raises(StoreUnavailable):
        await stage.one.sessions.recognize(session.text.reveal())


@pytest.mark.row("A79")
async def test_made_up_cookies(stage: Stage) -> None:
    """Cost no look into the database, not even with the id of a good session; what another process made does."""
    session, other = await signed_in(stage), await stage.process()
    for number in range(600):
        for session_id in (session.id, f"S{number}"):
            assert await other.sessions.recognize(f"{session_id}.{number:075}") is None
    assert other.driver.seen["session"] == 0
    assert await other.sessions.recognize(session.text.reveal()) == session
    assert other.driver.seen["session"] == 1


@pytest.mark.row("A79")
async def test_were_every_cookie_looked_up(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each would cost a read: the test above sees what it is for."""
    monkeypatch.setattr(Session, "was_made", lambda *_: True)
    assert await stage.one.sessions.recognize("S1.made-up") is None
    assert stage.one.driver.seen["session"] == 1

"""What a way in led to: the connection of a one-time link, and where the browser goes when it fails."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from tests.support.fakes import issued, pair
from tests.support.stage import SqliteDatabase, Stage, stage, with_secrets
from tests.support.virtual import VirtualClock

from cloudbeds_auth.app.problems import describe
from cloudbeds_auth.errors import (
    AuthorizationExpired,
    ClientRefused,
    Error,
    InvalidRequest,
    StateMismatch,
    TokenEndpointUnavailable,
)
from cloudbeds_auth.rules.api_errors import Inconclusive, Proof
from cloudbeds_auth.rules.secret import Secret
from cloudbeds_auth.rules.token_response import Ambiguous, Answer, Refused, RefusedClient


class Ticking(VirtualClock):
    """Real time, for a store on a real thread."""

    def steady(self) -> float:
        return time.monotonic()


@pytest.fixture
async def staged(tmp_path: Path) -> AsyncIterator[Stage]:
    async with stage(tmp_path, clock=Ticking()) as made:
        yield made


async def failed(staged: Stage, answer: Answer, **parts: Any) -> Error:
    """How an approval ends whose exchange is answered so."""
    begun = await staged.one.authorizer.begin(**parts)
    staged.endpoint.will(answer)
    with pytest.raises(Error) as caught:
        await staged.one.authorizer.finish(code="code", state=begun.state)
    return caught.value


# --- where the browser goes


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (Refused("invalid_grant"), AuthorizationExpired),
        (Ambiguous("HTTP 500"), TokenEndpointUnavailable),
        (RefusedClient("invalid_client"), ClientRefused),
    ],
)
async def test_a_failure_after_the_state_was_spent(staged: Stage, answer: Answer, kind: type[Error]) -> None:
    """It knows the `return_to` that the approval was begun with; a problem document never shows it."""
    staged.apps["default"] = with_secrets(Secret("only-one"))
    error = await failed(staged, answer, return_to="/done")
    assert (type(error), error.return_to) == (kind, "/done")
    assert "/done" not in str(describe(error))


async def test_no_return_to(staged: Stage) -> None:
    """Without one there is nowhere to go."""
    assert (await failed(staged, Refused("invalid_grant"))).return_to is None


async def test_another_property(staged: Stage) -> None:
    """Also when the new approval turns out to be another hotel's (F87)."""
    grant = await staged.connected()
    staged.vendor.thinks("A-2", Proof(None))
    parts = {"connection_id": grant.connection_id, "return_to": "/done"}
    error = await failed(staged, issued(2, property_ids=("2000",)), **parts)
    assert (type(error), error.return_to) == (InvalidRequest, "/done")


async def test_a_state_that_was_not_spent(staged: Stage) -> None:
    """A forged state, or another browser's, learns nothing of where somebody wanted to go."""
    begun = await staged.one.authorizer.begin(return_to="/done", browser="mine")
    with pytest.raises(StateMismatch) as caught:
        await staged.one.authorizer.finish(code="code", state=begun.state, browser="yours")
    assert caught.value.return_to is None


async def test_both_of_two_clicks(staged: Stage) -> None:
    """Two callbacks that share one failing exchange are both sent there, and nothing of it is remembered."""
    begun = await staged.one.authorizer.begin(return_to="/done")
    staged.endpoint.will(Refused("invalid_grant"))
    finish = staged.one.authorizer.finish
    ends = await asyncio.gather(*(finish(code="code", state=begun.state) for _ in range(2)), return_exceptions=True)
    assert [one.return_to for one in ends if isinstance(one, Error)] == ["/done", "/done"]
    await asyncio.sleep(0)
    assert staged.one.authorizer._return_to == {}


# --- what a link led to


async def test_a_link_leads_to_a_connection(staged: Stage) -> None:
    """Nothing while nobody approved; then the connection, proven or not, and for whoever holds the token."""
    authorizer = staged.one.authorizer
    link = await authorizer.create_link(
        app="default", reference="tenant-7", return_to=None, connection_id=None, expires_in=600.0
    )
    assert await authorizer.link_outcome(link.token) is None
    begun = await authorizer.begin_from_link(link.token, None)
    assert await authorizer.link_outcome(link.token) is None
    staged.vendor.thinks("A-1", Inconclusive("away"))
    staged.endpoint.will(issued(1, property_ids=("1000",)))
    finished = await authorizer.finish(code="code", state=begun.state)
    assert await authorizer.link_outcome(link.token) == finished.connection.id
    other = await staged.process()
    assert await other.authorizer.link_outcome(link.token) == finished.connection.id
    assert await authorizer.link_outcome("made-up") is None


async def test_a_link_opened_in_two_browsers(staged: Stage) -> None:
    """The first one that came back counts: the other leads nowhere."""
    authorizer = staged.one.authorizer
    link = await authorizer.create_link(
        app="default", reference=None, return_to=None, connection_id=None, expires_in=600.0
    )
    first = await authorizer.begin_from_link(link.token, "one")
    second = await authorizer.begin_from_link(link.token, "two")
    staged.endpoint.will(issued(1, property_ids=("1000",)))
    led_to = (await authorizer.finish(code="code-1", state=first.state, browser="one")).connection.id
    with pytest.raises(StateMismatch):
        await authorizer.finish(code="code-2", state=second.state, browser="two")
    assert await authorizer.link_outcome(link.token) == led_to


async def test_a_link_that_nobody_finished(staged: Stage) -> None:
    """A failed exchange leads nowhere, and the link stays good."""
    authorizer = staged.one.authorizer
    link = await authorizer.create_link(
        app="default", reference=None, return_to="/done", connection_id=None, expires_in=600.0
    )
    begun = await authorizer.begin_from_link(link.token, None)
    staged.endpoint.will(Refused("invalid_grant"))
    with pytest.raises(AuthorizationExpired):
        await authorizer.finish(code="code", state=begun.state)
    assert await authorizer.link_outcome(link.token) is None
    assert (await authorizer.begin_from_link(link.token, None)).state


async def test_the_store_reports(staged: Stage) -> None:
    """What is in effect on the connection that writes, and the id of the key; nothing secret."""
    told = await staged.one.store.report()
    lists = {"longest_token_list", "longest_token_list_of"}
    assert set(told) == {"sqlite", "file", "journal_mode", "synchronous", "key_id"} | lists
    assert (told["journal_mode"], told["synchronous"]) in {("wal", "full"), ("delete", "extra")}
    assert isinstance(staged.database, SqliteDatabase)
    assert Path(told["file"]).samefile(staged.database.path)
    assert pair(1).access.reveal() not in str(told)

"""The reference of a connection: from whom it came, and what may change it (A70); how long it may be (A74)."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import pytest
from tests.support.fakes import issued
from tests.support.stage import Stage

from cloudbeds_auth.errors import InvalidRequest
from cloudbeds_auth.rules.imports import Handover
from cloudbeds_auth.rules.model import Connection
from cloudbeds_auth.rules.secret import Secret
from cloudbeds_auth.transactions.connections import disconnect, list_connections
from cloudbeds_auth.transactions.history import read_history
from cloudbeds_auth.transactions.outbox import claim_messages

ANONYMOUS: dict[str, Any] = {"trusted": False, "browser": "somebody's"}
LONG = "r" * 257


async def connects(stage: Stage, reference: str | None = None, *, named: bool = True, **parts: Any) -> Connection:
    """The hotel of property 1000 approves: over a link where nothing else is said, so the reference is trusted.

    `named`: the token answer names the property; else the list of hotels does, after the approval was stored.
    """
    browser = parts.pop("browser", "somebody's")
    authorizer = stage.one.authorizer
    if parts:
        begun = await authorizer.begin(reference=reference, browser=browser, **parts)
    else:
        link = await authorizer.create_link(
            app=None, reference=reference, return_to=None, connection_id=None, expires_in=600.0
        )
        begun = await authorizer.begin_from_link(link.token, browser)
    stage.vendor.listed = ("1000",)
    stage.endpoint.will(issued(begun.state, property_ids=("1000",) if named else ()))
    return (await authorizer.finish(code=begun.state, state=begun.state, browser=browser)).connection


async def said(stage: Stage, connection_id: str) -> list[tuple[str, str, Mapping[str, object]]]:
    """What the history says of references, oldest first: kind, actor, data."""
    lines = reversed(await stage.one.store.read(read_history(connection_id)))
    return [(one.kind, one.actor, one.data) for one in lines if one.kind.startswith("reference")]


async def sent(stage: Stage) -> list[tuple[str, str | None]]:
    """The webhooks that wait, oldest first, each with the reference that it shows."""
    found = await stage.one.store.write(claim_messages(100, 60.0))
    return [(one.kind, json.loads(one.body)["data"]["connection"]["reference"]) for one in found]


# --- who may change it


@pytest.mark.row("A70")
@pytest.mark.parametrize("named", [True, False])
async def test_an_anonymous_reference_after_a_trusted_one(stage: Stage, named: bool) -> None:
    """The trusted one stays; the history notes what was asked for; no webhook says that it changed."""
    first = await connects(stage, "tenant-A")
    again = await connects(stage, "tenant-B", named=named, **ANONYMOUS)
    assert (again.id, again.reference) == (first.id, "tenant-A")
    assert await said(stage, first.id) == [("reference_not_taken", "hotel", {"reference": "tenant-B"})]
    assert await sent(stage) == [("connection.connected", "tenant-A")]


@pytest.mark.row("A70")
@pytest.mark.parametrize("named", [True, False])
async def test_a_trusted_reference_after_a_trusted_one(stage: Stage, named: bool) -> None:
    """The newer one is taken; history and webhook say so."""
    first = await connects(stage, "tenant-A")
    again = await connects(stage, "tenant-B", named=named)
    assert (again.id, again.reference) == (first.id, "tenant-B")
    assert await said(stage, first.id) == [("reference_changed", "program", {"from": "tenant-A", "to": "tenant-B"})]
    assert await sent(stage) == [
        ("connection.connected", "tenant-A"),
        ("connection.reference_changed", "tenant-B"),
    ]


@pytest.mark.row("A70")
async def test_a_trusted_reference_after_an_anonymous_one(stage: Stage) -> None:
    """It takes the place of the anonymous one, and keeps it."""
    first = await connects(stage, "tenant-B", **ANONYMOUS)
    assert first.reference == "tenant-B"
    assert (await connects(stage, "tenant-A")).reference == "tenant-A"
    assert (await connects(stage, "tenant-B", **ANONYMOUS)).reference == "tenant-A"
    assert [kind for kind, _, _ in await said(stage, first.id)] == ["reference_changed", "reference_not_taken"]


@pytest.mark.row("A70")
async def test_a_trusted_reference_that_an_anonymous_one_named_before(stage: Stage) -> None:
    """Nothing changes, but it is trusted from then on."""
    first = await connects(stage, "tenant-A", **ANONYMOUS)
    await connects(stage, "tenant-A")
    assert await said(stage, first.id) == []
    assert (await connects(stage, "tenant-B", **ANONYMOUS)).reference == "tenant-A"


@pytest.mark.row("A70")
async def test_an_anonymous_reference_after_an_anonymous_one(stage: Stage) -> None:
    """The first one stays: whoever comes later is not the one who asked for it."""
    await connects(stage, "tenant-A", **ANONYMOUS)
    assert (await connects(stage, "tenant-B", **ANONYMOUS)).reference == "tenant-A"


@pytest.mark.row("A70")
async def test_an_anonymous_reference_where_there_is_none(stage: Stage) -> None:
    """It is taken, as that of a new connection is; an approval without one changes nothing."""
    first = await connects(stage)
    assert (await connects(stage, "tenant-A", **ANONYMOUS)).reference == "tenant-A"
    assert (await connects(stage, None, **ANONYMOUS)).reference == "tenant-A"
    assert await said(stage, first.id) == []


@pytest.mark.row("A70")
async def test_a_reference_that_a_program_gives(stage: Stage) -> None:
    """`begin_authorization` is called by the application, in a browser's name or not: trusted."""
    await connects(stage, "tenant-A", browser="one")
    await connects(stage, "tenant-B", connection_id=None, browser=None)
    assert (await connects(stage, "tenant-C", **ANONYMOUS)).reference == "tenant-B"


@pytest.mark.row("A70")
async def test_a_claim_names_a_reference(stage: Stage) -> None:
    """The hotel that it is claimed for was connected under another one: changed, by a trusted way."""
    first = await connects(stage, "tenant-A")
    stage.endpoint.will(issued("parked", property_ids=("1000",)))
    parked = (await stage.one.authorizer.arrive(code="parked")).connection
    assert await stage.one.authorizer.claim(parked.id, "tenant-B") == first.id
    assert await said(stage, first.id) == [("reference_changed", "program", {"from": "tenant-A", "to": "tenant-B"})]
    assert (await connects(stage, "tenant-C", **ANONYMOUS)).reference == "tenant-B"


@pytest.mark.row("A70")
async def test_an_import_names_a_reference(stage: Stage) -> None:
    """A disconnected hotel is imported under another reference: changed, and no webhook before it is connected."""
    first = await connects(stage, "tenant-A")
    await stage.one.store.write(disconnect(first.id))
    await sent(stage)
    stage.endpoint.will(issued("renewed", property_ids=("1000",)))
    imported = await stage.one.importer.bring_in(Handover("1000", Secret("R-old"), "tenant-B"))
    assert (imported.connection.id, imported.connection.reference) == (first.id, "tenant-B")
    assert [kind for kind, _, _ in await said(stage, first.id)] == ["reference_changed"]
    assert await sent(stage) == [("connection.connected", "tenant-B")]


@pytest.mark.row("A70")
async def test_a_link_that_mends_brings_no_reference_back(stage: Stage) -> None:
    """The link was made before the reference changed: the hotel that approves with it keeps the newer one."""
    first = await connects(stage, "tenant-A", **ANONYMOUS)
    url = (await stage.one.views.with_link(first)).connect_url
    assert url is not None
    await connects(stage, "tenant-B")
    begun = await stage.one.authorizer.begin_from_link(url.rpartition("/")[2], "somebody's")
    stage.endpoint.will(issued("mended", property_ids=("1000",)))
    finished = await stage.one.authorizer.finish(code="code", state=begun.state, browser="somebody's")
    assert finished.connection.reference == "tenant-B"


# --- how long it may be


UNUSABLE = {"long": LONG, "lines": "two\nlines", "zero": "\x00", "surrogate": "\ud800"}


@pytest.mark.row("A74")
@pytest.mark.parametrize("reference", UNUSABLE.values(), ids=UNUSABLE)
@pytest.mark.parametrize("way", ["begin", "link", "claim", "import"])
async def test_a_reference_that_is_none(stage: Stage, way: str, reference: str) -> None:
    """Longer than 256 characters, or with what is no text: refused wherever one is given; nothing is stored."""
    authorizer = stage.one.authorizer
    ways: dict[str, Callable[[], Awaitable[object]]] = {
        "begin": lambda: authorizer.begin(reference=reference),
        "link": lambda: authorizer.create_link(
            app=None, reference=reference, return_to=None, connection_id=None, expires_in=600.0
        ),
        "claim": lambda: authorizer.claim("con_1", reference),
        "import": lambda: stage.one.importer.bring_in(Handover("1000", Secret("R-old"), reference)),
    }
    with pytest.raises(InvalidRequest, match="reference"):
        await ways[way]()
    assert (await stage.one.store.read(list_connections())).connections == ()


async def test_a_reference_of_256_characters(stage: Stage) -> None:
    """It is one, in any alphabet."""
    assert (await connects(stage, "ß" * 256)).reference == "ß" * 256

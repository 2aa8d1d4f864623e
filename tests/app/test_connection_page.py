"""One hotel's page: how it is, what to do, its tokens over time, its history; and what its buttons do."""

from __future__ import annotations

import re

import pytest
from tests.app import vaults
from tests.app.operators import Operator, signed_in
from tests.app.running import Running, Vendor, a_service
from tests.app.vaults import RealVault, given

from cloudbeds_auth.app import connection_page
from cloudbeds_auth.errors import TokenEndpointUnavailable
from cloudbeds_auth.rules.event_words import event_words
from cloudbeds_auth.rules.model import User

MARKUP = '"><script>alert(1)</script>'
HOTEL = "/connections/con_1"


@pytest.fixture
async def operator(service: Running[RealVault]) -> Operator:
    """Signed in."""
    return await signed_in(service)


async def test_a_healthy_hotel(operator: Operator) -> None:
    """Its name as people know it, that there is nothing to do, what is known, and its proxy address; by its property,
    too.
    """
    for path in (HOTEL, "/connections/1000"):
        status, _, page = await operator.open(path)
        assert (status, page.count("<h1>Property 1000</h1>")) == (200, 1)
        assert '<span class="badge healthy">Healthy</span>' in page
        assert "Nothing to do." in page
        assert 'value="http://localhost:7000/proxy/con_1" readonly' in page
        assert "Ada Hotelier &lt;ada@example.com&gt;" in page
        assert "OAuth tokens, which this service refreshes" in page
        assert re.search(r'<time datetime="[0-9TZ:-]+" title="[0-9TZ:-]+">[a-z0-9 ]+</time>', page)
        assert page.count("<script") == page.count('<script src="/static/copy.js" defer></script>') == 1
    status, _, page = await operator.open("/connections/con_9")
    assert (status, "<code>unknown_connection</code>" in page) == (404, True)


async def test_its_name(operator: Operator) -> None:
    """The reference that the operator gave is how people know it."""
    await operator.service.vault.connect("con_2", "2000", reference="Seaside Inn")
    assert "<h1>Seaside Inn</h1>" in (await operator.open("/connections/con_2"))[2]


async def test_the_picture(operator: Operator) -> None:
    """A bar for each pair, what ended it, and the same in a table; the newest is on top."""
    vault = operator.service.vault
    await operator.press(f"{HOTEL}/refresh")
    await vault.engine.idle()
    _, _, page = await operator.open(HOTEL)
    picture = page.partition('<svg class="pairs"')[2].partition("</svg>")[0]
    assert re.findall(r'<text class="name"[^>]*>([^<]+)<', picture) == ["Pair 2", "Pair 1"]
    assert picture.count('class="life lives"') == 1
    assert picture.count('class="life"') == 1
    assert "until the next refresh" in picture
    assert "2 token pairs from" in picture
    assert "No refreshes went wrong" in picture
    table = page.partition("The same as a table")[2].partition("</table>")[0]
    assert re.findall(r'<th scope="row">([^<]+)<', table) == ["Pair 2", "Pair 1"]
    assert "The next refresh is planned" in page


async def test_when_the_next_refresh_is(operator: Operator) -> None:
    """Ahead of its end for a hotel that is called for; else to keep it alive, if no call comes before. What is due is
    due now, however long it has been.
    """
    vault = operator.service.vault
    for due, words in (
        ("expires_at - 60", "</time>.</p>"),
        ("expires_at + 86400", "</time>, or sooner: at a call after the access token has ended.</p>"),
        ("1", ">now</time>.</p>"),
    ):
        vault.sql(f"UPDATE grants SET due_at = {due}")
        page = (await operator.open(HOTEL))[2]
        assert words in page.partition("The next refresh is planned")[2].partition("\n")[0]


async def test_a_refresh_that_went_wrong(operator: Operator) -> None:
    """Is marked where it happened, and said in the table."""
    vault = operator.service.vault
    vault.sql(
        "INSERT INTO events (connection_id, sequence, at, kind, actor, grant_id, generation, data)"
        " SELECT connection_id, sequence + 1, at + 1, 'intent_written', 'vault', grant_id, 1, '{\"position\": 1}'"
        " FROM events WHERE connection_id = 'con_1' ORDER BY sequence DESC LIMIT 1"
    )
    _, _, page = await operator.open(HOTEL)
    assert '<g class="mark-open">' in page
    assert "refresh: no outcome stored yet" in page
    vault.sql(
        "INSERT INTO events (connection_id, sequence, at, kind, actor, grant_id, generation, data)"
        " SELECT connection_id, sequence + 1, at + 1, 'answer_lost', 'vault', grant_id, 1, '{\"detail\": \"<b>away\"}'"
        " FROM events WHERE connection_id = 'con_1' ORDER BY sequence DESC LIMIT 1"
    )
    _, _, page = await operator.open(HOTEL)
    assert '<g class="mark-wrong"><title>' in page.partition("</svg>")[0]
    assert "1 refresh went wrong" in page
    assert "refresh: answer lost (&lt;b&gt;away)" in page
    assert "<b>away" not in page


async def test_its_history(operator: Operator, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the words of people, a page at a time, and back to the newest; the picture is of the same time."""
    monkeypatch.setattr(connection_page, "LINES", 1)
    _, _, page = await operator.open(HOTEL)
    seen, pages = [], 0
    while True:
        pages += 1
        seen += re.findall(r'<td title="[a-z_]+">([^<]+)</td>', page)
        assert (f'<a href="{HOTEL}">Newest</a>' in page) == ("Its tokens, earlier" in page) == (pages > 1)
        following = page.partition(f'<a id="following" href="{HOTEL}?')[2].partition('"')[0]
        if not following:
            break
        _, _, page = await operator.open(f"{HOTEL}?{following}")
    told = [event_words(one) for one in await operator.service.vault.events("con_1")]
    assert seen == told
    assert "There is nothing earlier." in page
    assert "There are no token pairs in this part of the history." in page


async def test_a_hotel_that_has_to_approve_again(operator: Operator) -> None:
    """The next step, who takes it, and the link that mends it, to be copied and sent; what the code means."""
    operator.service.vault.sql("UPDATE grants SET state = 'reauthorization_required', reauth = 'revoked' WHERE id > ''")
    _, _, page = await operator.open(HOTEL)
    assert '<span class="badge attention">Reconnect needed</span>' in page
    assert "Send the hotel its connect link" in page
    assert "The hotel has to do this; you can ask it to." in page
    assert re.search(r'value="http://localhost:7000/connect/[\w-]{43}" readonly', page)
    assert '<a href="/errors/reauthorization_required">' in page
    assert "Make a reconnect link" not in page, "it is there already"


async def test_a_link(operator: Operator) -> None:
    """Is made for this connection when its button is pressed, shown once, and in the audit as the session's."""
    vault = operator.service.vault
    assert "Make a reconnect link" in (await operator.open(HOTEL))[2]
    status, _, page = await operator.press("/connections/1000/link")
    assert status == 200
    (made,) = vault.links.values()
    assert f'value="{made.url}" readonly' in page
    assert (await vault.read_link(made.token)).expected_properties == ("1000",)
    (entry,) = [one for one in await vault.audit() if one.action == "link_created"]
    assert entry.actor.startswith("session:")
    status, _, page = await operator.press("/connections/con_9/link")
    assert (status, "<code>unknown_connection</code>" in page) == (404, True)


async def test_what_waits_to_be_claimed(operator: Operator) -> None:
    """It leads to the page about that; nothing else is done with it here."""
    await operator.service.vault.arrive(code="code")
    _, _, page = await operator.open("/connections/con_parked")
    assert '<span class="badge attention">Waiting to be claimed</span>' in page
    assert 'href="http://localhost:7000/claim/con_parked"' in page
    assert "This is for you, the operator." in page
    assert "Refresh now" not in page
    assert "reconnect link" not in page.lower()


async def test_a_key(operator: Operator) -> None:
    """It is never refreshed, and what it is said to be is where it came from."""
    operator.service.vault.sql("UPDATE grants SET kind = 'api_key' WHERE id > ''")
    _, _, page = await operator.open(HOTEL)
    assert "API key, in exchange for OAuth tokens" in page
    assert "Refresh now" not in page


async def test_refresh(operator: Operator) -> None:
    """Now, and back to the hotel; what went wrong is a page that says whether anything is lost."""
    vault = operator.service.vault
    assert (await operator.press("/connections/1000/refresh"))[:2] == (303, HOTEL)
    assert (await vault.access_token("con_1")).generation == 2
    status, _, page = await operator.press("/connections/con_9/refresh")
    assert (status, "<code>unknown_connection</code>" in page) == (404, True)
    assert "Nothing; stored tokens are unchanged." in page
    assert '<a href="/errors/unknown_connection">' in page


async def test_disconnect(operator: Operator, monkeypatch: pytest.MonkeyPatch) -> None:
    """A second step in the page; the history has who it was. Where Cloudbeds cannot be told nothing is forgotten."""
    vault = operator.service.vault
    _, _, page = await operator.open(HOTEL)
    assert "<summary>Disconnect</summary>" in page

    async def away(*_: object) -> bool:
        raise TokenEndpointUnavailable("Cloudbeds is away", connection_id="con_1")

    with monkeypatch.context() as patch:
        patch.setattr(vault.vendor, "disable_app", away)
        status, _, page = await operator.press(f"{HOTEL}/disconnect")
        assert (status, "Cloudbeds is away." in page, f'href="{HOTEL}"' in page) == (503, True, True)
        assert (await vault.connection("con_1")).state == "fresh"
    assert (await operator.press(f"{HOTEL}/disconnect"))[:2] == (303, HOTEL)
    assert (await vault.connection("con_1")).state == "disconnected"
    newest = (await vault.events("con_1"))[0]
    session = next(facts["session"] for what, facts in vault.observer.seen if what == "signed_in")
    assert (newest.kind, newest.actor) == ("disconnected", f"session:{session}")
    _, _, page = await operator.open(HOTEL)
    assert f"the signed-in operator {session}" in page
    assert "Make a reconnect link" in page
    for gone in ("Refresh now", "Disconnect for good"):
        assert gone not in page


@pytest.mark.row("A11")
async def test_names_are_text(operator: Operator, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever a hotel or its user is named."""
    monkeypatch.setattr(vaults, "ADA", User("1", MARKUP, "{{ 12345*9 }}"))
    await operator.service.vault.connect("con_2", "2000", reference=MARKUP)
    for path, act in (("/connections/con_2", ""), ("/connections/con_2", "/link"), ("/connections/con_2", "/try")):
        fields = {"path": MARKUP} if act == "/try" else {}
        token = await operator.form_token()
        page = (await (operator.send(path + act, form_token=token, **fields) if act else operator.open(path)))[2]
        assert page.count("<script") == page.count('<script src="/static/copy.js"'), path
        assert ("111105" in page, act == "/try" or "alert(1)" in page) == (False, True), path


async def test_below_the_public_urls_prefix(vendor: Vendor) -> None:
    """Links, forms, files and the proxy address have it."""
    settings = given(base_url=vendor.base_url, public_url="http://localhost:7000/auth")
    async with a_service(RealVault(settings)) as service:
        _, _, page = await (await signed_in_below(service)).open(HOTEL)
    assert 'value="http://localhost:7000/auth/proxy/con_1"' in page
    for found in re.findall(r'(?:href|action|src)="(/[^"]*)"', page):
        assert found.startswith("/auth/"), found


async def signed_in_below(service: Running[RealVault]) -> Operator:
    operator = Operator(service)
    assert (await operator.sign_in())[:2] == (303, "/auth/")
    return operator

"""What an operator sees and does in a browser."""

from __future__ import annotations

import re
from html import unescape

import pytest
from tests.app import vaults
from tests.app.operators import Operator, signed_in
from tests.app.running import Running, a_service
from tests.app.vaults import RealVault

from cloudbeds_auth.app import dashboard
from cloudbeds_auth.errors import StoreUnavailable
from cloudbeds_auth.rules.lifecycle import State
from cloudbeds_auth.rules.model import StateCounts, User

MARKUP = '"><script>alert(1)</script>'


@pytest.fixture
async def operator(service: Running[RealVault]) -> Operator:
    """Signed in."""
    return await signed_in(service)


def ids(page: str) -> list[str]:
    """The connections of a list."""
    return re.findall(r'href="/connections/(con_\w+)">', page)


def tiles(page: str) -> dict[str, str]:
    """The numbers at the top, by their words."""
    return {words: number for number, words in re.findall(r"<strong>([^<]+)</strong> ([a-z, ]+)</a>", page)}


def following(page: str, path: str = "connections") -> str:
    """The address of the next page; empty where there is none."""
    found = re.search(rf'href="(/{path}\?[^"]*cursor=[^"]+)"', page)
    return "" if found is None else unescape(found[1])


async def test_how_many_are_shown_as_what(operator: Operator) -> None:
    """In the words that people read, each number with the way to those hotels."""
    await operator.service.vault.connect("con_2", "2000")
    await operator.service.vault.engine.disconnecter.disconnect("con_2", forget=False)
    status, _, page = await operator.open("/")
    assert status == 200
    assert tiles(page) == {
        "healthy": "1", "healthy, recovering": "0", "reconnect needed": "0", "disconnected": "1",
    }  # fmt: skip
    assert ids(page) == ["con_2", "con_1"]
    _, _, found = await operator.open("/connections?show=disconnected")
    assert ids(found) == ["con_2"]
    assert re.findall(r'aria-current="true"><strong>1</strong> ([a-z]+)', found) == ["disconnected"]


async def test_while_they_are_counted(operator: Operator, monkeypatch: pytest.MonkeyPatch) -> None:
    """It says so, and of how long ago a count is; a count that was cut says that."""
    counts = {State.FRESH: 3, State.CLIENT_REFUSED: 20_000}
    found: list[StateCounts | None] = [
        None, StateCounts({State.STALE: 2, State.FRESH: 3}, 61.4), StateCounts(counts, 0.0, capped=True),
    ]  # fmt: skip

    async def counted() -> StateCounts | None:
        return found.pop(0)

    monkeypatch.setattr(operator.service.vault.engine.views, "count_looks", counted)
    assert "The hotels are being counted." in (await operator.open("/"))[2]
    _, _, page = await operator.open("/")
    assert tiles(page)["healthy"] == "5"
    assert "As they were counted 1 minute ago." in page
    _, _, page = await operator.open("/")
    assert (tiles(page)["healthy"], tiles(page)["our credentials are refused"]) == ("≤ 3", "20,000+")


@pytest.mark.parametrize(("is_open", "ways"), [(True, 3), (False, 2)])
async def test_before_the_first_hotel(operator: Operator, is_open: bool, ways: int) -> None:
    """How one is connected: by this browser where that is open, by a link, by a program."""
    vault = operator.service.vault
    for table in ("tokens", "properties", "events", "grants", "connections"):
        vault.sql(f"DELETE FROM {table}")
    vault.change(open_connect=is_open)
    async with a_service(vault) as service:
        other = Operator(service)
        other.cookies = operator.cookies
        _, _, page = await other.open("/")
    assert "No hotel is connected yet" in page
    assert ('href="/connect"' in page) is is_open
    ways_there = page.partition("Begin in one of these ways")[2].partition("</section>")[0]
    assert ways_there.count("<li>") == ways


async def test_the_list(operator: Operator, monkeypatch: pytest.MonkeyPatch) -> None:
    """Newest or oldest first, a page at a time, which keeps the search."""
    monkeypatch.setattr(dashboard, "ROWS", 2)
    for number in (2, 3, 4):
        await operator.service.vault.connect(f"con_{number}", f"{number}000", reference="tenant 7")
    for order, pages in (
        ("newest", [["con_4", "con_3"], ["con_2", "con_1"]]),
        ("oldest", [["con_1", "con_2"], ["con_3", "con_4"]]),
    ):
        _, _, first = await operator.open(f"/connections?order={order}&show=healthy")
        _, _, second = await operator.open(following(first))
        assert [ids(first), ids(second)] == pages
        assert ('value="oldest" selected' in second) is (order == "oldest")
        assert '<option value="healthy" selected>' in second
        assert not following(second)
    _, _, found = await operator.open("/connections?search=tenant+7&show=&app=default")
    assert ids(found) == ["con_4", "con_3"]
    assert 'value="tenant 7"' in found
    assert ids((await operator.open(following(found)))[2]) == ["con_2"]
    _, _, found = await operator.open("/connections?app=default&order=oldest")
    assert ids(found) == ["con_4", "con_3"]
    assert "Only hotels of the app <strong>default</strong>, newest first." in found
    assert 'name="order"' not in found, "an order that is not kept is not offered"
    _, _, none = await operator.open("/connections?cursor=con_1")
    assert "There are no more hotels." in none


async def test_a_row(operator: Operator) -> None:
    """What people call the hotel, what else is known of it, and how it is, as a word and as a colour."""
    vault = operator.service.vault
    await vault.connect("con_2", "2000", reference="tenant 7")
    await operator.press("/connections/con_2/disconnect")
    _, _, listed = await operator.open("/connections")
    assert re.findall(
        r'<a id="to-con_\d" href="/connections/(con_\d)">([^<]+)</a><br><span class="quiet">([^<]+)<', listed
    ) == [
        ("con_2", "tenant 7", "Property 2000 · approved by Ada Hotelier"),
        ("con_1", "Property 1000", "approved by Ada Hotelier"),
    ]
    assert re.findall(r'class="badge ([a-z]+)">([^<]+)</span></td>', listed) == [
        ("ended", "Disconnected"), ("healthy", "Healthy"),
    ]  # fmt: skip


async def test_what_a_row_offers(operator: Operator) -> None:
    """The next step, who takes it, and the button for it, which is one of this session's."""
    vault = operator.service.vault
    vault.sql("UPDATE grants SET state = 'reauthorization_required', reauth = 'revoked' WHERE id > ''")
    _, _, page = await operator.open("/")
    assert "Send the hotel its connect link; the stored tokens are also retried." in page
    assert "Waits for the hotel.</span>" in page
    assert 'href="/connections/con_1#reconnect">Reconnect link' in page
    vault.sql("UPDATE grants SET state = 'backing_off', reauth = NULL WHERE id > ''")
    _, _, page = await operator.open("/")
    assert 'action="/connections/con_1/refresh"' in page
    assert (await operator.press("/connections/con_1/refresh"))[0] == 303
    vault.sql("UPDATE grants SET state = 'parked' WHERE id > ''")
    _, _, page = await operator.open("/")
    assert "<code>cloudbeds-auth connections claim" in page
    assert "Waits for you." in page


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("search=1000", ["con_1"]), ("search=+1000+", ["con_1"]), ("search=2000", []), ("search=con_1", ["con_1"]),
        ("show=disconnected", []), ("show=", ["con_1"]), ("search=tenant-8", []), ("app=other", []),
        ("search=1000&show=disconnected", []),
    ],
)  # fmt: skip
async def test_a_search(operator: Operator, query: str, found: list[str]) -> None:
    """By whatever a hotel is known by, and by words; one that finds nothing says so, and how to see all again."""
    status, _, page = await operator.open(f"/connections?{query}")
    assert (status, ids(page), "Nothing was found" in page) == (200, found, not found)
    assert ("Show all hotels" in page) is ("app=" in query or not found)


@pytest.mark.row("A78")
@pytest.mark.parametrize(
    "path",
    [
        "/connections?show=odd", "/connections?cursor=1", "/connections?cursor=con_1&cursor=con_2",
        "/connections?search=%00", "/connections/con_1?cursor=x", "/keys?cursor=%00", "/apps?cursor=%00",
        "/audit?cursor=x",
    ],
)  # fmt: skip
async def test_what_is_absurd(operator: Operator, path: str) -> None:
    """Is a page that says so."""
    status, _, page = await operator.open(path)
    assert (status, "<code>invalid_request</code>" in page) == (400, True)


@pytest.mark.row("A11")
async def test_names_are_text(operator: Operator, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever a hotel, its user, a key or a search is named."""
    monkeypatch.setattr(vaults, "ADA", User("1", MARKUP, "{{ 12345*9 }}"))
    await operator.service.vault.connect("con_2", "2000", reference=MARKUP)
    await operator.service.vault.keys.create(MARKUP, scopes=["read"])
    searched = "%22%3E%3Cscript%3Ealert(1)"
    for path in ("/connections", f"/connections?search={searched}",
                 f"/connections?app={searched}", "/keys", f"/keys?parent={searched}", "/audit"):  # fmt: skip
        status, _, page = await operator.open(path)
        assert (status, "<script>" in page, "alert(1)" in page, "111105" in page) == (200, False, True, False), path


async def test_keys(operator: Operator, monkeypatch: pytest.MonkeyPatch) -> None:
    """Listed a page at a time, and revoked; who did that is reported."""
    monkeypatch.setattr(dashboard, "ROWS", 2)
    vault = operator.service.vault
    assert "There are no keys yet" in (await operator.open("/keys"))[2]
    # Within one millisecond the ids are in no order: newest is the highest.
    made = sorted([(await vault.keys.create(f"job {number}", scopes=["read"])).key.id for number in range(3)])
    _, _, page = await operator.open("/keys")
    assert [one in page for one in made] == [False, True, True]
    assert made[0] in (await operator.open(following(page, "keys")))[2]
    assert (await operator.press(f"/keys/{made[2]}/revoke"))[:2] == (303, "/keys")
    assert (await vault.keys.get(made[2])).ended_at is not None
    _, _, page = await operator.open("/keys")
    assert (f"/keys/{made[2]}/revoke" in page, f"/keys/{made[1]}/revoke" in page) == (False, True)
    told = [facts for what, facts in vault.observer.seen if what == "key_revoked"]
    assert [str(facts["actor"]).partition(":")[0] for facts in told] == ["session"]
    assert (await operator.press("/keys/key_9/revoke"))[0] == 400


async def test_what_a_key_is_for(operator: Operator) -> None:
    """Hotels, limits and rate, who made it and until when; and its children, which end with it."""
    vault = operator.service.vault
    made = await vault.keys.create(
        "a job", scopes=["proxy"], properties=["1000"], read_only=True, rate=5, expires_in=60
    )
    parent = await vault.keys.authenticate(made.secret.reveal(), "127.0.0.1")
    assert parent is not None
    child = (await vault.keys.create("its child", scopes=["proxy"], parent=parent)).key
    _, _, page = await operator.open("/keys")
    for said in (
        "reads, 5 a second",
        ">1000</td>",
        f"a child of {made.key.id}",
        f'href="/keys?parent={made.key.id}"',
    ):
        assert said in page
    assert made.secret.reveal() not in page
    _, _, page = await operator.open(f"/keys?parent={made.key.id}")
    assert (child.id in page, "its child" in page, "a job" in page) == (True, True, False)
    assert "This key has no children" in (await operator.open(f"/keys?parent={child.id}"))[2]


@pytest.mark.row("A18")
@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE"])
async def test_only_a_form_changes_anything(operator: Operator, method: str) -> None:
    """No address does, with whatever method and query."""
    vault = operator.service.vault
    key = (await vault.keys.create("a job", scopes=["read"])).key
    before = await vault.events("con_1")
    token = await operator.form_token()
    for path in ("/connections/con_1/disconnect", "/connections/con_1/refresh", f"/keys/{key.id}/revoke"):
        assert (await operator.open(f"{path}?form_token={token}", method))[0] == 405
    assert (await operator.open("/session/end", method))[0] == 405
    assert await operator.is_signed_in()
    assert await vault.events("con_1") == before
    assert (await vault.keys.get(key.id)).ended_at is None


async def test_headers(operator: Operator) -> None:
    """No page is kept in a cache, or framed."""
    cookie = {"Cookie": "; ".join(f"{name}={value}" for name, value in operator.cookies.items())}
    pages = (
        "/connections",
        "/connections/con_1",
        "/connections/con_9",
        "/apps",
        "/keys",
        "/audit",
        "/work",
        "/settings",
    )
    for path in ("/", "/sign-in", *pages):
        for headers in ({}, cookie):
            async with operator.service.http.get(operator.service.url + path, headers=headers) as answer:
                assert answer.headers["Cache-Control"] == "no-store"
                assert answer.headers["X-Frame-Options"] == "DENY"
                assert "frame-ancestors 'none'" in answer.headers["Content-Security-Policy"]


async def test_while_the_database_is_away(operator: Operator, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody is taken to be signed out."""

    async def away(body: object) -> None:
        raise StoreUnavailable

    monkeypatch.setattr(operator.service.vault.store, "read", away)
    assert (await operator.open("/connections"))[0] == 503

"""What an operator sees and does in a browser."""

from __future__ import annotations

import re

import pytest
from tests.app import vaults
from tests.app.operators import Operator, signed_in
from tests.app.running import Running
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
    return re.findall(r'<a href="/connections/(con_\w+)">', page)


async def test_how_many_are_in_which_state(operator: Operator) -> None:
    """In the words that people read."""
    await operator.service.vault.connect("con_2", "2000")
    await operator.service.vault.engine.disconnecter.disconnect("con_2", forget=False)
    status, _, page = await operator.open("/")
    assert status == 200
    for label in ("healthy", "disconnected"):
        assert f"<td>{label}</td><td>1</td>" in page


async def test_while_they_are_counted(operator: Operator, monkeypatch: pytest.MonkeyPatch) -> None:
    """It says so, and of how long ago a count is; and where there is no hotel."""
    found: list[StateCounts | None] = [None, StateCounts({State.STALE: 2, State.FRESH: 3}, 61.4), StateCounts({}, 0.0)]

    async def counted() -> StateCounts | None:
        return found.pop(0)

    monkeypatch.setattr(operator.service.vault.engine.views, "count_states", counted)
    assert "They are being counted." in (await operator.open("/"))[2]
    _, _, page = await operator.open("/")
    assert "<td>healthy</td><td>5</td>" in page
    assert "As they were counted 61 s ago." in page
    assert "No hotel is connected yet." in (await operator.open("/"))[2]


async def test_the_list(operator: Operator, monkeypatch: pytest.MonkeyPatch) -> None:
    """Newest first, a page at a time, which keeps the search."""
    monkeypatch.setattr(dashboard, "ROWS", 2)
    for number in (2, 3, 4):
        await operator.service.vault.connect(f"con_{number}", f"{number}000", reference="tenant 7")
    _, _, first = await operator.open("/connections")
    assert ids(first) == ["con_4", "con_3"]
    following = first.partition('<a href="/connections?')[2].partition('"')[0]
    _, _, second = await operator.open(f"/connections?{following}")
    assert ids(second) == ["con_2", "con_1"]
    _, _, found = await operator.open("/connections?reference=tenant+7&state=fresh&property=")
    assert ids(found) == ["con_4", "con_3"]
    assert 'value="tenant 7"' in found
    assert '<option value="fresh" selected>' in found
    following = found.partition('<a href="/connections?')[2].partition('"')[0].replace("&amp;", "&")
    _, _, rest = await operator.open(f"/connections?{following}")
    assert ids(rest) == ["con_2"]


async def test_badges(operator: Operator) -> None:
    """How much attention each hotel needs, at a glance: as a word and as a colour."""
    await operator.service.vault.connect("con_2", "2000")
    await operator.press("/connections/con_2/disconnect")
    _, _, listed = await operator.open("/connections")
    assert re.findall(r'class="badge ([a-z]+)">\1</span> ?([a-z ]*)</td>', listed) == [
        ("ended", "disconnected"), ("healthy", ""),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("property=1000", ["con_1"]), ("property=+1000+", ["con_1"]), ("property=2000", []),
        ("state=disconnected", []), ("state=", ["con_1"]), ("reference=tenant-8", []),
    ],
)  # fmt: skip
async def test_a_search(operator: Operator, query: str, found: list[str]) -> None:
    """By state, property and reference."""
    status, _, page = await operator.open(f"/connections?{query}")
    assert (status, ids(page), "<p>None.</p>" in page) == (200, found, not found)


@pytest.mark.row("A78")
@pytest.mark.parametrize(
    "path",
    [
        "/connections?state=odd", "/connections?cursor=1", "/connections?cursor=con_1&cursor=con_2",
        "/connections?reference=%00", "/connections/con_1?cursor=x", "/keys?cursor=%00",
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
    for path in ("/connections", "/connections?property=%22%3E%3Cscript%3Ealert(1)", "/keys"):
        status, _, page = await operator.open(path)
        assert (status, "<script" in page, "alert(1)" in page, "111105" in page) == (200, False, True, False), path


async def test_keys(operator: Operator, monkeypatch: pytest.MonkeyPatch) -> None:
    """Listed a page at a time, and revoked; who did that is reported."""
    monkeypatch.setattr(dashboard, "ROWS", 2)
    vault = operator.service.vault
    assert "<p>None." in (await operator.open("/keys"))[2]
    # Within one millisecond the ids are in no order: newest is the highest.
    made = sorted([(await vault.keys.create(f"job {number}", scopes=["read"])).key.id for number in range(3)])
    _, _, page = await operator.open("/keys")
    assert [one in page for one in made] == [False, True, True]
    following = page.partition('<a href="/keys?')[2].partition('"')[0]
    assert made[0] in (await operator.open(f"/keys?{following}"))[2]
    assert (await operator.press(f"/keys/{made[2]}/revoke"))[:2] == (303, "/keys")
    assert (await vault.keys.get(made[2])).ended_at is not None
    _, _, page = await operator.open("/keys")
    assert (f"/keys/{made[2]}/revoke" in page, f"/keys/{made[1]}/revoke" in page) == (False, True)
    told = [facts for what, facts in vault.observer.seen if what == "key_revoked"]
    assert [str(facts["actor"]).partition(":")[0] for facts in told] == ["session"]
    assert (await operator.press("/keys/key_9/revoke"))[0] == 400


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
    for path in ("/", "/sign-in", "/connections", "/connections/con_1", "/connections/con_9", "/keys"):
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

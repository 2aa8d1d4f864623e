"""The page that a hotel pastes its API key into, behind a one-time link: as a browser sees it, without any script."""

from __future__ import annotations

import re
from urllib.parse import urlencode

import pytest
from tests.app.running import Running
from tests.app.tab import Tab
from tests.app.vaults import RealVault

KEY = "cbat_canary-of-hotel-3000"
FORM = {"Content-Type": "application/x-www-form-urlencoded"}


async def link(vault: RealVault, **wish: str) -> str:
    """The path of the page, by a link that was made so."""
    vault.endpoint.property_ids = ("3000",)
    return f"/paste-key/{(await vault.create_link(**wish)).token}"


async def send(service: Running[RealVault], path: str, body: str | bytes, **headers: str) -> tuple[int, str, str]:
    """Status, code, and the page, which never shows what was pasted."""
    data, given = body.encode() if isinstance(body, str) else body, FORM | headers
    async with service.http.post(service.url + path, data=data, headers=given, allow_redirects=False) as answer:
        page = await answer.text()
        assert "canary" not in page
        return answer.status, answer.headers["X-Cloudbeds-Auth-Code"], page


async def test_a_hotel_pastes_its_key(service: Running[RealVault]) -> None:
    """The page says what to make and changes nothing; the key is taken in, and the link is spent."""
    vault = service.vault
    path = await link(vault, reference="tenant-7")
    for _ in range(2):
        status, _, page = await Tab(service).open(path)
        assert (status, 'type="password"' in page, "read:hotel" in page) == (200, True, True)
        assert "<script" not in page
    status, code, page = await send(service, path, urlencode({"api_key": f" {KEY}\n"}))
    assert (status, code, "<h1>Connected</h1>" in page) == (200, "ok", True)
    for said in ("Cloudbeds accepted the key.", "You are done, and can close this page.", "tenant-7", "3000"):
        assert said in page
    found = await vault.connection("3000")
    assert (found.credential, found.reference) == ("api_key", "tenant-7")
    assert (await vault.access_token("3000")).reveal() == KEY
    (line,) = [one for one in await vault.events(found.id) if one.kind == "candidate_received"]
    assert line.actor == "hotel"
    for again in (await send(service, path, urlencode({"api_key": KEY})), await Tab(service).open(path)):
        assert (again[0], "this connect link was used" in again[2]) == (400, True)


async def test_where_the_hotel_came_from(service: Running[RealVault]) -> None:
    """A link to it: a browser follows no redirect to elsewhere after a form (Content Security Policy, form-action)."""
    path = await link(service.vault, return_to="https://app.example/done", reference="tenant-7")
    status, _, page = await send(service, path, urlencode({"api_key": KEY}))
    home = (await service.vault.connection("3000")).id
    assert status == 200
    assert f'href="https://app.example/done?connection_id={home}&amp;reference=tenant-7"' in page
    other = await link(service.vault, return_to="https://app.example/done")
    service.vault.change(return_origins=())
    assert "app.example" not in (await send(service, other, urlencode({"api_key": KEY})))[2]


async def test_a_key_that_is_refused(service: Running[RealVault]) -> None:
    """The form once more, with what is wrong; the link is as good as before."""
    vault = service.vault
    path = await link(vault)
    vault.vendor.dead = {"cbat_canary-dead"}
    for pasted, says in (
        ("cbat_canary-dead", "Cloudbeds refuses"),
        ("live1_canary", "begins with cbat_"),
        ("", "cbat_"),
    ):
        status, code, page = await send(service, path, urlencode({"api_key": pasted}))
        assert (status, code, says in page, "<form" in page) == (400, "key_refused", True, True)
    assert (await send(service, path, urlencode({"api_key": KEY})))[0] == 200


async def test_a_link_with_a_challenge(service: Running[RealVault]) -> None:
    """It takes no key, which is said before one is pasted; it stays good for an approval."""
    made = await service.vault.create_link(code_challenge="E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM")
    path = f"/paste-key/{made.token}"
    status, _, page = await Tab(service).open(path)
    assert (status, "accepts no key" in page, "<form" in page) == (400, True, False)
    status, code, page = await send(service, path, urlencode({"api_key": KEY}))
    assert (status, code, "<form" in page) == (400, "invalid_request", False)
    assert (await Tab(service).open(f"/connect/{made.token}"))[0] == 200


async def test_another_hotels_key(service: Running[RealVault]) -> None:
    """A link that mends a connection takes no other hotel's key."""
    path = await link(service.vault, connection_id="con_1")
    status, code, page = await send(service, path, urlencode({"api_key": KEY}))
    assert (status, code, "<form" in page) == (409, "property_mismatch", True)
    service.vault.endpoint.property_ids = ("1000",)
    assert (await send(service, path, urlencode({"api_key": KEY})))[0] == 200
    assert (await service.vault.connection("con_1")).credential == "api_key"


@pytest.mark.parametrize(
    ("body", "media"),
    [
        ("", "application/x-www-form-urlencoded"),
        ("api_key=a&api_key=b", "application/x-www-form-urlencoded"),
        ("api_key=a&more=b&still=more", "application/x-www-form-urlencoded"),
        ("other=a", "application/x-www-form-urlencoded"),
        (b"api_key=\xff", "application/x-www-form-urlencoded"),
        ('{"api_key": "cbat_canary"}', "application/json"),
    ],
)
async def test_what_is_no_form(service: Running[RealVault], body: str | bytes, media: str) -> None:
    """Nothing is asked or stored."""
    path = await link(service.vault)
    status, code, _ = await send(service, path, body, **{"Content-Type": media})
    assert (status, code) == (400, "invalid_request")


async def test_a_link_that_there_is_not(service: Running[RealVault]) -> None:
    """Made up: Cloudbeds is not asked, and nothing is said of any hotel."""
    for made_up in ("x", "a" * 43):
        assert (await Tab(service).open(f"/paste-key/{made_up}"))[0] == 400
        status, code, page = await send(service, f"/paste-key/{made_up}", urlencode({"api_key": KEY}))
        assert (status, code, "<form" in page) == (400, "authorization_expired", False)


async def test_no_log_shows_the_link(service: Running[RealVault]) -> None:
    """What a request is logged as."""
    path = await link(service.vault)
    await Tab(service).open(path)
    paths = [str(facts["path"]) for what, facts in service.vault.observer.seen if what == "request"]
    assert not [one for one in paths if re.search(r"/paste-key/\w", one)]
    assert "/paste-key/…" in paths

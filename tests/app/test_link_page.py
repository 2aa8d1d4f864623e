"""The page of a connect link: it says who asks and for what, and only its button begins."""

from __future__ import annotations

import re

import pytest
from tests.app.running import Running, a_service
from tests.app.tab import BROWSER, Tab
from tests.app.vaults import RealVault, given

from cloudbeds_auth.engine.authorize import hashed


@pytest.fixture
def tab(service: Running[RealVault]) -> Tab:
    """A browser on the redirect URI's host."""
    return Tab(service)


async def test_what_it_says(tab: Tab) -> None:
    """Who asks, for which of their names, for which property, and what; a name is text and never markup."""
    vault = tab.service.vault
    link = await vault.create_link(
        reference="<b>tenant-7</b>", return_to="https://app.example/done", expected_properties=["1000", "1001"]
    )
    status, _, page = await tab.open(f"/connect/{link.token}")
    assert status == 200
    for said in ("app.example", "&lt;b&gt;tenant-7&lt;/b&gt;", "1000, 1001"):
        assert f">{said}<" in page
    assert "<li>Your hotel&#39;s details: see</li>" in page
    assert "<script" not in page


async def test_a_link_that_mends(tab: Tab) -> None:
    """It says which hotel it is for, although its maker named none; who asks is us, where nobody else is named."""
    vault = tab.service.vault
    link = await vault.create_link(connection_id="con_1")
    _, _, page = await tab.open(f"/connect/{link.token}")
    assert "<dd>1000</dd>" in page
    assert "<strong>localhost</strong>" in page


@pytest.mark.parametrize("prefix", ["", "/auth"])
async def test_a_key_instead(prefix: str) -> None:
    """It leads to the page for an API key, by the same link; not where only an approval can be proven."""
    async with a_service(RealVault(given(public_url=f"http://localhost:7000{prefix}"))) as behind:
        tab, vault = Tab(behind, prefix=prefix), behind.vault
        link = await vault.create_link()
        _, _, page = await tab.open(f"/connect/{link.token}")
        assert f'href="{prefix}/paste-key/{link.token}"' in page
        assert (await tab.open(f"/paste-key/{link.token}"))[0] == 200
        link = await vault.create_link(code_challenge="c" * 43)
        assert "/paste-key/" not in (await tab.open(f"/connect/{link.token}"))[2]


async def test_without_a_client_id() -> None:
    """A link leads to the page for an API key; where only an approval would do, and at a bare start, it is said why."""
    async with a_service(RealVault(given(client_id="", client_secret="", database_url="sqlite:////srv/db"))) as alone:
        tab, vault = Tab(alone), alone.vault
        link = await vault.create_link(reference="tenant-7")
        assert (await tab.open(f"/connect/{link.token}"))[:2] == (303, f"/paste-key/{link.token}")
        assert (await tab.open(f"/paste-key/{link.token}"))[0] == 200
        challenged = await vault.create_link(code_challenge="c" * 43)
        for status, _, page in (await tab.press(f"/connect/{challenged.token}"), await tab.open("/connect")):
            assert (status, "no client id is set" in page, "CLOUDBEDS_CLIENT_ID" in page) == (503, True, False)
        assert (vault.vendor.states, vault.pending()) == ([], [])


@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_opening_it_writes_nothing(tab: Tab, monkeypatch: pytest.MonkeyPatch, method: str) -> None:
    """However often: nothing is begun, and the link is as good as before."""
    vault = tab.service.vault
    link = await vault.create_link(reference="tenant-7")

    async def written(*_: object) -> None:
        raise AssertionError("a write")

    with monkeypatch.context() as patch:
        patch.setattr(type(vault.store), "write", written)
        for _ in range(20):
            status, _, page = await Tab(tab.service).open(f"/connect/{link.token}", method)
            assert (status, bool(page)) == (200, method == "GET")
    assert vault.pending() == []
    assert (await tab.press(f"/connect/{link.token}"))[0] == 303
    assert vault.pending() == [("default", "tenant-7", None, hashed(tab.cookies[BROWSER]))]


async def test_its_form_may_lead_to_cloudbeds(tab: Tab) -> None:
    """Browsers apply the policy for forms to redirects, too; nothing else of it is wider than on any page."""
    link = await tab.service.vault.create_link()
    policies = []
    for path in (f"/connect/{link.token}", "/connected"):
        async with tab.service.http.get(tab.service.url + path, headers={"Host": tab.host}) as answer:
            [policy] = answer.headers.getall("Content-Security-Policy")
            policies.append(policy)
    assert policies[0].replace(f" https: {tab.service.vault.base_url};", ";") == policies[1]
    assert policies[0] != policies[1]


@pytest.mark.row("A06")
@pytest.mark.parametrize("site", [None, "cross-site", "same-site", "none"])
async def test_a_form_of_another_site(tab: Tab, site: str | None) -> None:
    """Without our cookie, or where the browser says where it comes from: nothing is begun, and the page is offered."""
    link = await tab.service.vault.create_link()
    path, headers = f"/connect/{link.token}", {"Host": tab.host}
    if site is not None:
        await tab.open(path)
        headers |= {"Sec-Fetch-Site": site, "Cookie": f"{BROWSER}={tab.cookies[BROWSER]}"}
    async with tab.service.http.post(tab.service.url + path, headers=headers, allow_redirects=False) as answer:
        assert (answer.status, answer.headers["X-Cloudbeds-Auth-Code"]) == (400, "state_mismatch")
        assert f'href="{path}"' in await answer.text()
    assert tab.service.vault.pending() == []


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_a_link_that_is_over(tab: Tab, method: str) -> None:
    """Used, expired or made up: a page that says so, and what to do."""
    vault = tab.service.vault
    link = await vault.create_link()
    await tab.press(f"/connect/{link.token}")
    await tab.open(f"/callback?code=c-1&state={vault.vendor.states[-1]}")
    for path in (f"/connect/{link.token}", "/connect/made-up"):
        status, _, page = await tab.open(path, method)
        assert status == 400
        assert "authorization_expired" in page
        assert "or ask for a new one" in page
        assert "<form" not in page


@pytest.mark.parametrize("return_to", [None, "https://app.example/done"])
async def test_another_hotel_than_was_expected(tab: Tab, return_to: str | None) -> None:
    """A page that says which it was, with a way back to the link; a program's page is sent the code."""
    vault = tab.service.vault
    link = await vault.create_link(return_to=return_to, expected_properties=["1000"])
    await tab.press(f"/connect/{link.token}")
    status, location, page = await tab.open(f"/callback?code=c-1&state={vault.vendor.states[-1]}")
    if return_to is None:
        assert (status, "names property 2000, not 1000" in page) == (409, True)
        assert re.findall(r"<dd>(\d+)</dd>", page) == ["2000", "1000"]
        assert f'href="/connect/{link.token}"' in page
    else:
        assert (status, location) == (303, f"{return_to}?error=property_mismatch")
    assert len((await vault.connections(state="parked")).connections) == 1


@pytest.mark.parametrize("return_to", [None, "/done"])
async def test_an_approval_that_waits_for_its_secret(tab: Tab, return_to: str | None) -> None:
    """The browser brings the connection's id, and neither a reference nor a hotel that works."""
    vault = tab.service.vault
    link = await vault.create_link(reference="tenant-7", return_to=return_to, code_challenge="c" * 43)
    await tab.press(f"/connect/{link.token}")
    _, location, _ = await tab.open(f"/callback?code=c-1&state={vault.vendor.states[-1]}")
    assert location == ("/claim/con_new" if return_to is None else "/done?connection_id=con_new")
    assert (await vault.connection("con_new")).state == "parked"


async def test_under_a_prefix() -> None:
    """The form leads to the address that the browser knows."""
    settings = given(redirect_uri="https://connect.example/auth/callback", public_url="https://connect.example/auth")
    async with a_service(RealVault(settings)) as service:
        link = await service.vault.create_link()
        _, _, page = await Tab(service, "connect.example").open(f"/connect/{link.token}")
        assert f'action="/auth/connect/{link.token}"' in page
        assert 'href="/auth/static/style.css"' in page

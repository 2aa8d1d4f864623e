"""The hotel's way behind a reverse proxy: https, a path prefix, several host names."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from tests.app.running import Running, a_service
from tests.app.tab import BROWSER, Tab
from tests.app.vaults import RealVault, given

from cloudbeds_auth.errors import StoreUnavailable
from cloudbeds_auth.rules.model import AuthorizationRequest


@pytest.fixture
async def public() -> AsyncIterator[Running[RealVault]]:
    """A service behind a reverse proxy with https, below a path prefix, where only links start a connection."""
    settings = given(
        redirect_uri="https://connect.example/auth/callback",
        public_url="https://connect.example/auth",
        allowed_hosts=("connect.example", "internal.example"),
        open_connect=False,
    )
    async with a_service(RealVault(settings)) as running:
        yield running


async def test_cookie_over_https(public: Running[RealVault]) -> None:
    """With an https redirect URI the cookie cannot be planted by a subdomain or over http: `__Host-`, Secure."""
    link = await public.vault.create_link(expires_in=60)
    tab = Tab(public, "connect.example", "/auth")
    status, _, _ = await tab.press(f"/connect/{link.token}")
    assert status == 303
    flags = tab.flags[f"__Host-{BROWSER}"].lower()
    assert all(flag in flags for flag in ("secure", "httponly", "samesite=lax", "path=/"))
    assert "domain" not in flags
    [state] = public.vault.vendor.states
    victim = Tab(public, "connect.example", "/auth")
    victim.cookies[BROWSER] = tab.cookies[f"__Host-{BROWSER}"]
    assert (await victim.open(f"/callback?code=x&state={state}"))[0] == 400
    assert (await tab.open(f"/callback?code=x&state={state}"))[1] == "/auth/connected?connection_id=con_new"


async def test_callback_under_the_prefix(public: Running[RealVault]) -> None:
    """The callback is served with the prefix and without it: a reverse proxy may strip it."""
    for path in ("/auth/callback", "/callback"):
        status, _, page = await Tab(public, "connect.example", "/auth").open(path)
        assert status == 400
        assert 'href="/auth/static/style.css"' in page


async def test_another_host_name(public: Running[RealVault]) -> None:
    """Asked on another name, the browser first goes to the same path on the redirect URI's host, and gets no cookie."""
    link = await public.vault.create_link(expires_in=60)
    tab = Tab(public, "internal.example")
    status, location, _ = await tab.open(f"/connect/{link.token}?x=1")
    assert (status, location) == (303, f"https://connect.example/auth/connect/{link.token}?moved=1")
    assert tab.cookies == {}


async def test_closed_connect(public: Running[RealVault]) -> None:
    """Where the operator did not open it, a bare `/connect` starts nothing."""
    status, _, page = await Tab(public, "connect.example").open("/connect?reference=mine")
    assert status == 403
    assert "Start again" not in page
    assert public.vault.pending() == []


async def test_start_again_under_the_prefix(public: Running[RealVault], monkeypatch: pytest.MonkeyPatch) -> None:
    """A start that fails for the moment offers itself once more, at the address that the browser knows."""

    async def unavailable(token: str, browser: str, /) -> AuthorizationRequest:
        raise StoreUnavailable

    link = await public.vault.create_link(expires_in=60)
    monkeypatch.setattr(public.vault.engine.authorizer, "begin_from_link", unavailable)
    status, _, page = await Tab(public, "connect.example", "/auth").press(f"/connect/{link.token}")
    assert status == 503
    assert f'href="/auth/connect/{link.token}"' in page

"""The page that a hotel enters client id and secret of its own app into, behind a one-time link, without any script."""

from __future__ import annotations

from urllib.parse import urlencode

import pytest
from tests.app.running import Running, a_service
from tests.app.tab import Tab
from tests.app.vaults import RealVault, given

FORM = {"Content-Type": "application/x-www-form-urlencoded"}
ENTERED = {"client_id": "client-2", "client_secret": "canary-secret"}


async def enter(service: Running[RealVault], path: str, **fields: str) -> tuple[int, str, str]:
    """Status, code, and the page, which never shows what was entered."""
    async with service.http.post(service.url + path, data=urlencode(fields).encode(), headers=FORM) as answer:
        page = await answer.text()
        assert not {name for name, value in fields.items() if len(value) > 3 and value in page}
        return answer.status, answer.headers["X-Cloudbeds-Auth-Code"], page


@pytest.mark.parametrize("prefix", ["", "/auth"])
async def test_a_hotel_enters_them_and_connects(prefix: str) -> None:
    """The page says what to enter at Cloudbeds; they are stored, and the same link leads on to the approval."""
    async with a_service(RealVault(given(public_url=f"http://localhost:7000{prefix}"))) as service:
        vault, tab = service.vault, Tab(service, prefix=prefix)
        link = await vault.apps.create_link("aurora", scopes=["read:hotel", "read:guest"], reference="tenant-7")
        assert link.url == f"http://localhost:7000{prefix}/add-app/{link.token}"
        path = f"/add-app/{link.token}"
        status, _, page = await tab.open(path)
        assert (status, 'type="password"' in page, "<script" in page) == (200, True, False)
        for said in ("localhost", "http://localhost:7000/callback/aurora", "read:hotel", "read:guest"):
            assert f">{said}<" in page
        status, code, page = await enter(service, path, **ENTERED)
        assert (status, code, f'href="{prefix}/connect/{link.token}"' in page) == (200, "ok", True)
        app = await vault.apps.get("aurora")
        assert (app.client_id, app.secrets[0].reveal()) == ("client-2", "canary-secret")
        assert await tab.open(path) == (303, f"{prefix}/connect/{link.token}", "")
        assert (await tab.press(f"/connect/{link.token}"))[0] == 303
        assert vault.pending()[0][:2] == ("aurora", "tenant-7")


async def test_opening_it_writes_nothing(service: Running[RealVault], monkeypatch: pytest.MonkeyPatch) -> None:
    """However often, and whoever does: scanners of mail do before people."""
    link = await service.vault.apps.create_link("aurora")

    async def written(*_: object) -> None:
        raise AssertionError("a write")

    with monkeypatch.context() as patch:
        patch.setattr(type(service.vault.store), "write", written)
        for method in ("GET", "HEAD", "GET"):
            assert (await Tab(service).open(f"/add-app/{link.token}", method))[0] == 200
    assert (await enter(service, f"/add-app/{link.token}", **ENTERED))[0] == 200


async def test_what_is_entered_wrongly(service: Running[RealVault]) -> None:
    """The form once more, with what is wrong; nothing is stored, and the link is as good as before."""
    path = f"/add-app/{(await service.vault.apps.create_link('aurora')).token}"
    for fields in (
        {"client_id": "", "client_secret": "canary-secret"},
        {"client_id": "client-2", "client_secret": " "},
        {"client_id": "client-1", "client_secret": "canary-secret"},
        {"client_id": "client-2"},
        {"client_id": "client-2", "client_secret": "canary-secret", "level": "partner"},
    ):
        status, code, page = await enter(service, path, **fields)
        assert (status, code, '<form method="post"' in page) == (400, "invalid_request", True)
    assert [app.id for app in await service.vault.apps.list()] == ["default"]
    assert (await enter(service, path, **ENTERED))[0] == 200


async def test_it_takes_one_registration(service: Running[RealVault]) -> None:
    """Pressed again, or with others: the first one stays, and the page leads on to the approval."""
    link = await service.vault.apps.create_link("aurora")
    await enter(service, f"/add-app/{link.token}", **ENTERED)
    status, code, page = await enter(
        service, f"/add-app/{link.token}", client_id="client-3", client_secret="canary-other"
    )
    assert (status, code, f'href="/connect/{link.token}"' in page) == (400, "invalid_request", True)
    assert (await service.vault.apps.get("aurora")).client_id == "client-2"


async def test_a_link_that_is_over(service: Running[RealVault]) -> None:
    """Used or made up: a page that says so, and what to do."""
    vault, tab = service.vault, Tab(service)
    link = await vault.create_link()
    await tab.press(f"/connect/{link.token}")
    await tab.open(f"/callback?code=c-1&state={vault.vendor.states[-1]}")
    for token in (link.token, "made-up"):
        path = f"/add-app/{token}"
        for status, _, page in (await enter(service, path, **ENTERED), await tab.open(path)):
            assert (status, "authorization_expired" in page) == (400, True)
            assert ("or ask for a new one" in page, "<form" in page) == (True, False)


async def test_before_it_no_hotel_is_connected(service: Running[RealVault]) -> None:
    """Neither an approval nor a key is taken while the app is not there; the page says what to do."""
    link = await service.vault.apps.create_link("aurora")
    for path in (f"/connect/{link.token}", f"/paste-key/{link.token}"):
        status, _, page = await Tab(service).open(path)
        assert (status, "Open the link that you were sent once more" in page) == (400, True)


async def test_no_log_shows_the_link(service: Running[RealVault]) -> None:
    """What a request is logged as."""
    link = await service.vault.apps.create_link("aurora")
    await enter(service, f"/add-app/{link.token}", **ENTERED)
    paths = [str(facts["path"]) for what, facts in service.vault.observer.seen if what == "request"]
    assert "/add-app/…" in paths
    assert link.token not in str(service.vault.observer.seen)

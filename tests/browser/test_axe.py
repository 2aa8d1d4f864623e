"""No page has anything that axe-core would complain about: hotels' in every language, operators', and our own check."""

from __future__ import annotations

import json

import pytest
from playwright.sync_api import Browser, Page
from tests.acceptance.conftest import MakeWorld, make_world
from tests.acceptance.processes import World
from tests.browser.axe import HERE, violations, violations_at
from tests.browser.test_hotel_pages import browser, page

__all__ = ["browser", "make_world", "page"]

OF_HOTELS = (
    "/connected", "/connected?connection_id=con_01J0000000000000000000", "/connected?connection_id=a&connection_id=b",
    "/claim/con_01J00000000000000000000000", "/not-connected/authorization_denied", "/not-connected/property_mismatch",
    "/not-connected/refresh_pending", "/connect/made-up", "/errors", "/errors/rate_limited", "/errors/none", "/sign-in",
    "/",
)  # fmt: skip
OF_OPERATORS = (
    "/", "/connections", "/connections/{hotel}", "/apps", "/keys", "/audit", "/work", "/settings", "/docs",
    "/connections/con_x",
)  # fmt: skip


@pytest.fixture
def made(make_world: MakeWorld) -> World:
    """The service, and hotels that approve at once."""
    world = make_world("--auto-approve", "--hotels", "2", CLOUDBEDS_SCOPES="read:hotel read:reservation read:moon")
    world.start()
    return world


@pytest.mark.parametrize("language", ["en", "es", "pt-BR"])
def test_what_hotels_see(browser: Browser, made: World, language: str) -> None:
    """From the link to "connected", and what can go wrong, in each language."""
    context = browser.new_context(locale=language)
    page = context.new_page()
    asked = {"reference": "Hôtel <Étoile>", "expected_properties": ["100002"]}
    link = made.admin.post("/api/v1/authorizations", json_body=asked).json["connect_url"]
    add_app = made.run("apps", "add", "aurora", "--link").stdout.split()
    (add_app_link,) = [word for word in add_app if "/add-app/" in word]
    paths = (*OF_HOTELS, link.removeprefix(made.base), add_app_link.removeprefix(made.base))
    found = violations_at(page, made.base, paths)
    assert page.get_by_role("heading", level=1).is_visible()
    page.goto(link.replace("/connect/", "/paste-key/"))
    page.locator("#api_key").fill("nonsense")
    page.keyboard.press("Enter")
    page.get_by_role("alert").wait_for()
    found += violations(page)
    page.goto(link)
    page.get_by_role("button").click()  # approved as 100001
    page.wait_for_url("**/not-connected/property_mismatch")
    found += violations(page)
    page.goto(f"{made.base}/connect?reference=Hotel")
    page.wait_for_url("**/connected?**")
    found += violations(page)
    assert page.evaluate("document.documentElement.lang") == language
    context.close()
    assert found == []


def test_what_operators_see(page: Page, made: World) -> None:
    """Each of their pages, with a hotel in it."""
    hotel = made.connect()
    page.goto(made.run("sign-in").stdout.strip())
    page.wait_for_url(f"{made.base}/")
    assert violations_at(page, made.base, tuple(path.format(hotel=hotel) for path in OF_OPERATORS)) == []


def test_that_it_complains(page: Page, made: World) -> None:
    """Of a picture without words and of text that is too pale: what finds nothing might not have looked."""
    page.goto(f"{made.base}/connected")
    page.evaluate("document.querySelector('main').innerHTML += '<img src=/favicon.ico><p>pale</p>'")
    page.evaluate("document.querySelector('main p:last-child').style.color = 'rgb(140, 140, 140)'")
    found = violations(page)
    assert {line.split(": ")[0].split()[-1] for line in found} == {"image-alt", "color-contrast"}


def test_the_lock_names_no_registry() -> None:
    """What is installed is known by its hash, wherever this machine gets packages from."""
    packages = json.loads((HERE / "package-lock.json").read_text("utf-8"))["packages"]
    installed = {name: one for name, one in packages.items() if name}
    assert [*installed] == ["node_modules/axe-core"]
    assert all("integrity" in one and "resolved" not in one for one in installed.values())

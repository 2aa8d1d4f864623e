"""One hotel's page in a real browser: a call by hand, an address copied, and how wide it is on a telephone."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page
from tests.acceptance.conftest import MakeWorld, make_world
from tests.acceptance.processes import World
from tests.browser.test_hotel_pages import browser, page
from tests.browser.test_sign_in import link

__all__ = ["browser", "make_world", "page"]


@pytest.fixture
def made(make_world: MakeWorld) -> World:
    """The service, and hotels that approve at once."""
    world = make_world("--auto-approve")
    world.start()
    return world


def test_a_call_by_hand(page: Page, made: World, tmp_path: Path) -> None:
    """From the hotel's page to Cloudbeds' answer, and back; both pairs are in the picture and in its table."""
    home = made.connect()
    page.goto(link(made))
    page.wait_for_url(f"{made.base}/")
    page.goto(f"{made.base}/connections/{home}")
    with page.expect_navigation():
        page.get_by_role("button", name="Refresh now").click()
    assert page.get_by_role("img", name="Token pairs over time").is_visible()
    page.screenshot(path=tmp_path / "hotel.png", full_page=True)
    page.get_by_role("button", name="Make the call").click()
    page.wait_for_url(f"{made.base}/connections/{home}/try")
    assert page.get_by_role("heading", level=1).inner_text() == "What Cloudbeds answered"
    assert '"email": "ada.lindqvist@hotel-1.example"' in page.get_by_label("Body of the answer").inner_text()
    page.screenshot(path=tmp_path / "answer.png", full_page=True)
    page.get_by_role("main").get_by_role("link").first.click()
    page.wait_for_url(f"{made.base}/connections/{home}")
    page.get_by_text("The same as a table").click()
    rows = page.get_by_label("Token pairs as a table").get_by_role("rowheader").all_inner_texts()
    assert rows == ["Pair 2", "Pair 1"]


def test_a_link_is_made_and_copied(browser: Browser, made: World) -> None:
    """By its button, where the browser lets scripts copy; it leads a hotel to the page that asks for its approval."""
    home = made.connect()
    context = browser.new_context(permissions=["clipboard-read", "clipboard-write"])
    page = context.new_page()
    page.goto(link(made))
    page.wait_for_url(f"{made.base}/")
    page.goto(f"{made.base}/connections/{home}")
    page.get_by_role("button", name="Make a reconnect link").click()
    page.get_by_role("button", name="Copy").click()
    page.get_by_text("Copied").wait_for()
    copied = page.evaluate("navigator.clipboard.readText()")
    assert copied == page.get_by_label("Send this to the hotel").input_value()
    page.goto(copied)
    assert page.get_by_role("heading", level=1).inner_text() == "Connect your hotel"
    context.close()


def test_without_scripts(browser: Browser, made: World) -> None:
    """There is no button that does nothing; the address is in a field."""
    home = made.connect()
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(f"{made.base}/connections/{home}")
    page.get_by_label("Code, or admin token").fill(made.admin.token or "")
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url(f"{made.base}/")
    page.goto(f"{made.base}/connections/{home}")
    assert page.get_by_role("button", name="Copy").count() == 0
    assert page.get_by_label(re.compile("^Proxy address")).input_value() == f"{made.base}/proxy/{home}"
    context.close()


def test_on_a_telephone(browser: Browser, made: World) -> None:
    """At 360 pixels no page scrolls sideways: pictures, tables and code scroll by themselves."""
    home = made.connect()
    context = browser.new_context(viewport={"width": 360, "height": 640})
    narrow = context.new_page()
    narrow.goto(link(made))
    narrow.wait_for_url(f"{made.base}/")
    for path in (f"/connections/{home}", "/docs", "/errors"):
        narrow.goto(made.base + path)
        assert narrow.evaluate("document.documentElement.scrollWidth") <= 360, path
    narrow.goto(f"{made.base}/connections/{home}")
    for button in ("Make the call", "Make a reconnect link"):
        narrow.goto(f"{made.base}/connections/{home}")
        narrow.get_by_role("button", name=button).click()
        narrow.get_by_role("heading", level=1).wait_for()
        assert narrow.evaluate("document.documentElement.scrollWidth") <= 360, button
    context.close()

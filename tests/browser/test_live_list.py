"""The list of hotels in a real browser: it shows what changes by itself, and leaves alone who is at work in it."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect
from tests.acceptance.conftest import make_world
from tests.acceptance.processes import World
from tests.browser.test_hotel_pages import browser, page
from tests.browser.test_sign_in import link, made

__all__ = ["browser", "made", "make_world", "page"]


@pytest.fixture
def signed_in(page: Page, made: World) -> Page:
    """An operator at the dashboard."""
    page.goto(link(made))
    page.wait_for_url(f"{made.base}/")
    expect(page.locator("#live")).to_contain_text("Live")
    return page


def test_the_first_hotel_appears(signed_in: Page, made: World, tmp_path: Path) -> None:
    """In the place of what teaches how to connect one; and it changes when the hotel leaves, without a reload."""
    signed_in.evaluate("window.kept = true")
    assert signed_in.get_by_role("heading", name="No hotel is connected yet").is_visible()
    signed_in.screenshot(path=tmp_path / "none.png")
    home = made.connect()
    row = signed_in.locator(f"#to-{home}")
    expect(row).to_be_visible()
    expect(signed_in.get_by_role("link", name="1 healthy", exact=True)).to_be_visible()
    row.focus()
    made.admin.ask("DELETE", f"/api/v1/connections/{home}")
    expect(signed_in.get_by_role("link", name="1 disconnected", exact=True)).to_be_visible()
    assert signed_in.evaluate("document.activeElement.id") == f"to-{home}"
    assert signed_in.evaluate("window.kept")


def test_what_somebody_writes_stays(signed_in: Page, made: World) -> None:
    """The search is not read again with the list."""
    signed_in.get_by_label("Find a hotel").fill("tenant")
    home = made.connect()
    expect(signed_in.locator(f"#to-{home}")).to_be_visible()
    assert signed_in.get_by_label("Find a hotel").input_value() == "tenant"


def test_signed_out_elsewhere(signed_in: Page, made: World) -> None:
    """It says that it is not live any more."""
    assert made.run("sign-in", "--end-all").returncode == 0
    expect(signed_in.locator("#live")).to_contain_text("Not live", timeout=20_000)


def test_without_scripts(browser: Browser, made: World) -> None:
    """The page is the same, and does not say that it is live."""
    home = made.connect()
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    url = link(made)
    page.goto(url)
    page.get_by_label("Code, or admin token").fill(url.partition("#")[2])
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url(f"{made.base}/")
    assert page.locator(f"#to-{home}").is_visible()
    assert page.locator("#live").inner_text() == ""
    context.close()

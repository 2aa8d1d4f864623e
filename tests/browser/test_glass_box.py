"""The simulator's pages in a browser: an answer is lost and heals, watched live; keyboard, telephone, no script."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect
from tests.acceptance.conftest import MakeWorld, make_world
from tests.acceptance.processes import World
from tests.browser.test_hotel_pages import browser, page

__all__ = ["browser", "make_world", "page"]

PATIENCE = 30_000  # milliseconds in which the service asks again


@pytest.fixture
def made(make_world: MakeWorld) -> World:
    """The service as a process, and a hotel that is connected."""
    world = make_world("--auto-approve")
    world.start()
    world.connect()
    return world


@pytest.fixture
def dashboard(page: Page, made: World) -> Iterator[Page]:
    """An operator's window beside the one with the glass box."""
    opened = page.context.new_page()
    opened.goto(made.run("sign-in").stdout.strip())
    opened.wait_for_url(f"{made.base}/")
    yield opened
    opened.close()


def test_a_lost_answer_heals_before_ones_eyes(page: Page, dashboard: Page, made: World, tmp_path: Path) -> None:
    """One press loses an answer, the dashboard refreshes, the glass box shows why nothing is lost, then "Healed"."""
    [home] = (one["id"] for one in made.admin.get("/api/v1/connections").json["connections"])
    page.goto(f"{made.vendor.base}/glass-box")
    live = page.locator("#live")
    expect(live).to_contain_text("Pair 1 is in use.")
    page.get_by_role("button", name="Lose the next answer to a refresh").click()
    expect(page.get_by_role("status")).to_have_text("Pressed: Lose the next answer to a refresh.")
    expect(live).to_contain_text("The next refresh will be acted upon, and cut before the answer.")
    dashboard.goto(f"{made.base}/connections/{home}")
    dashboard.get_by_role("button", name="Refresh").first.click()
    expect(live).to_contain_text("Gave pair 2. The answer was lost.")
    expect(live).to_contain_text("Still accepted: the new access token, of pair 2, has not been used yet.")
    expect(live).to_contain_text("Answer lost")
    page.screenshot(path=tmp_path / "lost.png", full_page=True)
    dashboard.goto(f"{made.base}/connections/{home}")
    dashboard.wait_for_timeout(1000 * float(made.settings["CLOUDBEDS_AUTH_TOKEN_TIMEOUT"]))
    dashboard.get_by_role("button", name="Refresh").first.click()
    expect(live).to_contain_text("Healed", timeout=PATIENCE)
    expect(live).to_contain_text("The answer with pair 2 was lost. Pair 3 took its place, and is in use")
    page.screenshot(path=tmp_path / "healed.png", full_page=True)
    assert page.url == f"{made.vendor.base}/glass-box", "it was never reloaded"


def test_the_rule_is_changed_and_the_words_with_it(page: Page, made: World) -> None:
    """By keyboard alone, without leaving the page."""
    page.goto(f"{made.vendor.base}/glass-box")
    page.get_by_label("What a repeated refresh gives").select_option("V7")
    page.get_by_role("button", name="Change").focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("status")).to_have_text("The settings are changed.")
    expect(page.locator("#live")).to_contain_text("V7/n: a refresh token counts once")
    page.get_by_role("button", name="Let all access tokens run out").click()
    expect(page.locator("#live")).to_contain_text("Ran out")


def test_what_scrolls_keeps_the_focus(page: Page, made: World) -> None:
    """What changes is put in the place of what was, under whoever reads it."""
    page.goto(f"{made.vendor.base}/glass-box")
    expect(page.locator("#connection")).to_have_text("This page changes by itself.")
    page.locator("#log").focus()
    made.vendor.control("expire")
    expect(page.locator("#live")).to_contain_text("Ran out")
    assert page.evaluate("document.activeElement.id") == "log"


def test_without_its_script(browser: Browser, made: World) -> None:
    """The switches work, and say what they did; the page says how to look again."""
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(f"{made.vendor.base}/glass-box")
    page.get_by_role("button", name="Lose the next answer to a refresh").click()
    expect(page.get_by_role("status")).to_have_text("Pressed: Lose the next answer to a refresh.")
    expect(page.get_by_role("heading", name="Waiting to go wrong")).to_be_visible()
    with page.expect_navigation():
        page.get_by_role("link", name="Look again").click()
    context.close()


def test_a_page_from_elsewhere_presses_no_button(browser: Browser, made: World) -> None:
    """Neither its form nor its script changes anything, in the glass box or by the control API."""
    context = browser.new_context()
    page = context.new_page()
    for path in ("/glass-box/expire", "/_control/expire"):
        target = made.vendor.base + path
        page.goto("about:blank")
        page.evaluate(
            "target => fetch(target, {method: 'POST', mode: 'no-cors', body: '{}'}).catch(() => null)", target
        )
        page.set_content(f'<form method="post" enctype="text/plain" action="{target}"></form>')
        with page.expect_navigation():
            page.evaluate("document.forms[0].submit()")
        assert "a page of another site sent this" in page.content()
    assert made.vendor.control("state", "GET")["grants"][0]["pairs"][0]["access_accepted"]
    context.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 1280])
def test_every_page_fits(browser: Browser, made: World, width: int, scheme: str, tmp_path: Path) -> None:
    """At both widths, light and dark, no page scrolls sideways; one heading of the first level; all in a landmark."""
    made.vendor.control("settings", auto_approve=False)
    made.vendor.control("apps", client_id="acceptance-app", name="Breakfast " * 12)
    made.vendor.control("faults", target="token", kind="reset_after", grant_type="refresh_token")
    shape: Any = {"viewport": {"width": width, "height": 800}, "color_scheme": scheme}
    context = browser.new_context(**shape)
    page = context.new_page()
    there = {"root": "/", "glass-box": "/glass-box", "problem": "/api/v1.3/oauth"}
    pages = {name: made.vendor.base + path for name, path in there.items()} | {"approve": f"{made.base}/connect"}
    for name, url in pages.items():
        page.goto(url)
        page.screenshot(path=tmp_path / f"{name}-{width}-{scheme}.png", full_page=True)
        assert page.evaluate("document.documentElement.scrollWidth") <= width, name
        assert page.get_by_role("heading", level=1).count() == 1, name
        assert page.get_by_role("main").count() == 1, name
    context.close()

"""What a hotel user sees, in a real browser: approve, "connected", denied; and that the pages keep their own policy."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, sync_playwright
from tests.acceptance.conftest import MakeWorld, make_world
from tests.acceptance.processes import World

__all__ = ["make_world"]

CHROMIUM = "/usr/bin/chromium"
QUIET = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update",
         "--disable-sync", "--no-first-run", "--disable-quic"]  # fmt: skip


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """The system's Chromium, headless."""
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=CHROMIUM, args=QUIET)
        yield opened
        opened.close()


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """A fresh profile; the test fails when the console shows an error or anything is fetched from elsewhere."""
    context = browser.new_context()
    opened = context.new_page()
    complaints: list[str] = []
    opened.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
    opened.on("pageerror", lambda error: complaints.append(str(error)))
    foreign: list[str] = []
    loopback = ("http://localhost:", "http://127.0.0.1:")
    opened.on("request", lambda asked: None if asked.url.startswith(loopback) else foreign.append(asked.url))
    yield opened
    context.close()
    assert not foreign
    # A 4xx page is a page: that the browser notes its status is no complaint about what is on it.
    assert not [text for text in complaints if "Failed to load resource" not in text]


@pytest.fixture
def made(make_world: MakeWorld) -> World:
    """A hotel's world: a consent page with buttons, and the service."""
    world = make_world("--app-name", "Breakfast Club", CLOUDBEDS_SCOPES="read:hotel read:reservation")
    world.start()
    return world


def test_approve_ends_on_a_page_that_says_connected(page: Page, made: World, tmp_path: Path) -> None:
    """From Connect over the vendor's page to ours: styled, clean address, nothing secret on it."""
    page.goto(f"{made.base}/connect")
    assert page.url.startswith(made.vendor.base)
    assert page.get_by_text("Breakfast Club").first.is_visible()
    assert page.get_by_text("read:reservation").first.is_visible()
    page.screenshot(path=tmp_path / "consent.png")
    page.get_by_role("button", name="Approve").click()
    page.wait_for_url(f"{made.base}/connected**")
    assert page.get_by_role("heading", level=1).is_visible()
    assert "connected" in page.inner_text("main").lower()
    assert "code=" not in page.url
    assert "state=" not in page.url
    assert page.evaluate("getComputedStyle(document.querySelector('main')).maxWidth") != "none"
    page.screenshot(path=tmp_path / "connected.png")
    assert len(made.admin.get("/api/v1/connections").json["connections"]) == 1


def test_deny_says_so_and_start_again_works(page: Page, made: World, tmp_path: Path) -> None:
    """The hotel changes its mind: Deny, our page, "start again", Approve."""
    page.goto(f"{made.base}/connect")
    page.get_by_role("button", name="Deny").click()
    page.wait_for_url(f"{made.base}/not-connected/authorization_denied")
    page.screenshot(path=tmp_path / "denied.png")
    page.get_by_role("link", name="Start again").click()
    page.get_by_role("button", name="Approve").click()
    page.wait_for_url(f"{made.base}/connected**")


def test_the_page_of_a_link(page: Page, made: World, tmp_path: Path) -> None:
    """It says who asks and for what; its button, pressed with a key, leads to Cloudbeds, and back to "connected"."""
    asked = {"reference": "Seaside Inn", "expected_properties": ["100001"]}
    link = made.admin.post("/api/v1/authorizations", json_body=asked).json["connect_url"]
    page.goto(link)
    assert page.get_by_role("heading", level=1).inner_text() == "Connect your hotel"
    for said in ("Seaside Inn", "100001", "Reservations: see"):
        assert page.get_by_text(said).first.is_visible()
    page.screenshot(path=tmp_path / "link.png")
    assert made.vendor.counts("authorization_code") == {}
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.innerText") == "Continue to Cloudbeds"
    page.keyboard.press("Enter")
    page.get_by_role("button", name="Approve").click()
    page.wait_for_url(f"{made.base}/connected**")
    page.goto(link)
    assert page.get_by_role("heading", level=1).inner_text() == "This link or approval is not valid any more"


def test_another_site_cannot_press_the_button_of_a_link(browser: Browser, made: World) -> None:
    """Its form reaches us without the cookie that our page sets: nothing is begun, and our page is offered."""
    link = made.admin.post("/api/v1/authorizations", json_body={}).json["connect_url"]
    context = browser.new_context()
    page = context.new_page()
    page.goto(link)
    page.goto(f"{made.vendor.base.replace('localhost', '127.0.0.1')}/")
    form = f'<form method="post" action="{link}"></form>'
    page.set_content(form)
    with page.expect_navigation():
        page.evaluate("document.forms[0].submit()")
    assert page.get_by_role("heading", level=1).inner_text() == "This approval does not belong to this browser"
    assert made.vendor.counts("authorization_code") == {}
    context.close()


def test_going_back_and_reloading_change_nothing(page: Page, made: World) -> None:
    """The back button and a reload after "connected": one exchange, one connection, no error."""
    page.goto(f"{made.base}/connect")
    page.get_by_role("button", name="Approve").click()
    page.wait_for_url(f"{made.base}/connected**")
    page.reload()
    page.go_back()
    page.go_forward()
    assert made.vendor.counts("authorization_code") == {"issued": 1}
    assert len(made.admin.get("/api/v1/connections").json["connections"]) == 1


def test_on_a_telephone_nothing_is_wider_than_the_screen(browser: Browser, made: World) -> None:
    """At 360 pixels no page scrolls sideways."""
    context = browser.new_context(viewport={"width": 360, "height": 640})
    narrow = context.new_page()
    link = made.admin.post("/api/v1/authorizations", json_body={"reference": "x" * 200}).json["connect_url"]
    for path in (
        link.removeprefix(made.base),
        "/connect",
        "/connected?connection_id=con_01J00000000000000000000000",
        "/callback?state=x",
    ):
        narrow.goto(made.base + path)
        assert narrow.evaluate("document.documentElement.scrollWidth") <= 360, path
    context.close()


def test_the_browsers_cookie_is_not_for_scripts_or_other_sites(page: Page, made: World) -> None:
    """HttpOnly and SameSite=Lax; a page of another site that posts to us carries nothing."""
    page.goto(f"{made.base}/connect")
    cookies = [cookie for cookie in page.context.cookies(made.base) if "browser" in cookie["name"]]
    assert [(cookie["httpOnly"], cookie["sameSite"]) for cookie in cookies] == [(True, "Lax")]

"""An operator in a real browser: signed in by a link, or by the admin token; what pages' policies let through."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page
from tests.acceptance.conftest import MakeWorld, make_world
from tests.acceptance.processes import World
from tests.browser.test_hotel_pages import browser, page

__all__ = ["browser", "make_world", "page"]


@pytest.fixture
def made(make_world: MakeWorld) -> World:
    """The service, and hotels that approve at once."""
    world = make_world("--auto-approve")
    world.start()
    return world


def link(made: World) -> str:
    """What the command prints."""
    printed = made.run("sign-in")
    assert printed.returncode == 0, printed.stderr
    return printed.stdout.strip()


def test_a_link_signs_in(page: Page, made: World, tmp_path: Path) -> None:
    """It is opened, and that is all; the code is in no address and no history after that, and good for nobody else."""
    made.connect()
    url = link(made)
    page.goto(url)
    page.wait_for_url(f"{made.base}/")
    assert page.get_by_role("link", name="1 healthy", exact=True).is_visible()
    page.screenshot(path=tmp_path / "overview.png")
    page.go_back()
    assert "#" not in page.url
    page.goto(url)
    assert page.get_by_role("alert").is_visible()
    page.screenshot(path=tmp_path / "used.png")
    [cookie] = [one for one in page.context.cookies(made.base) if "session" in one["name"]]
    assert (cookie["httpOnly"], cookie["sameSite"]) == (True, "Lax")


def test_a_link_without_scripts(browser: Browser, made: World) -> None:
    """Its end is pasted."""
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    url = link(made)
    page.goto(url)
    page.get_by_label("Code, or admin token").fill(url.partition("#")[2])
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url(f"{made.base}/")
    assert page.get_by_role("heading", level=1).inner_text() == "Hotels"
    context.close()


@pytest.mark.row("A23")
def test_a_fragment_that_is_no_code(page: Page, made: World) -> None:
    """Any site can send a browser here with one: it is not sent, so it spends no guess of the operator's address."""
    sent: list[str] = []
    page.on("request", lambda request: sent.append(request.url) if request.method == "POST" else None)
    url = link(made)
    for junk in ("junk", "top", url.partition("#")[2] + "x", "%00", "x" * 42):
        page.goto("about:blank")
        page.goto(f"{made.base}/sign-in#{junk}")
        page.evaluate(f"location.hash = 'again-{junk}'")
    assert page.get_by_label("Code, or admin token").input_value() == ""
    page.goto("about:blank")
    page.goto(url)
    page.wait_for_url(f"{made.base}/")
    assert sent == [f"{made.base}/session"], "the code alone"


def test_a_day_of_an_operator(page: Page, made: World, tmp_path: Path) -> None:
    """Signs in with the admin token, looks for a hotel, refreshes it, disconnects it, signs out."""
    home = made.connect()
    token = made.admin.token
    assert token is not None
    page.goto(f"{made.base}/connections/{home}")
    page.get_by_label("Code, or admin token").fill(token)
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url(f"{made.base}/")
    page.get_by_role("link", name="Hotels", exact=True).click()
    page.get_by_label("Shown as", exact=True).select_option("healthy")
    with page.expect_navigation():
        page.get_by_role("button", name="Search").click()
    page.screenshot(path=tmp_path / "hotels.png")
    page.locator(f"#to-{home}").click()
    with page.expect_navigation():
        page.get_by_role("button", name="Refresh").click()
    assert page.url == f"{made.base}/connections/{home}"
    assert made.admin.get(f"/api/v1/connections/{home}").json["generation"] == 2
    assert not page.get_by_role("button", name="Disconnect for good").is_visible()
    page.get_by_text("Disconnect", exact=True).click()
    page.screenshot(path=tmp_path / "hotel.png")
    with page.expect_navigation():
        page.get_by_role("button", name="Disconnect for good").click()
    assert page.url == f"{made.base}/connections/{home}"
    assert made.admin.get(f"/api/v1/connections/{home}").json["state"] == "disconnected"
    page.get_by_role("button", name="Sign out").click()
    page.wait_for_url(f"{made.base}/")
    page.goto(f"{made.base}/connections/{home}")
    assert page.get_by_role("heading", level=1).inner_text() == "Sign in"


@pytest.mark.row("A17")
def test_another_site_cannot_send_a_form_of_ours(browser: Browser, made: World) -> None:
    """The browser brings no cookie, and says where the form came from: nothing is done, and nobody is signed out."""
    home = made.connect()
    context = browser.new_context()
    page = context.new_page()
    page.goto(link(made))
    page.wait_for_url(f"{made.base}/")
    for path in (f"/connections/{home}/disconnect", "/session/end"):
        page.goto(f"{made.vendor.base.replace('localhost', '127.0.0.1')}/")
        page.set_content(f'<form method="post" action="{made.base}{path}"></form>')
        with page.expect_navigation():
            page.evaluate("document.forms[0].submit()")
        assert page.get_by_role("heading", level=1).inner_text() != "Hotels"
    assert made.admin.get(f"/api/v1/connections/{home}").json["state"] == "fresh"
    page.goto(f"{made.base}/connections")
    assert page.get_by_role("heading", level=1).inner_text() == "Hotels"
    context.close()


@pytest.mark.row("A26")
def test_ended_from_the_servers_side(page: Page, made: World) -> None:
    """By the command: the next page asks to sign in."""
    page.goto(link(made))
    page.wait_for_url(f"{made.base}/")
    assert made.run("sign-in", "--end-all").stdout == "1 session was ended\n"
    page.goto(f"{made.base}/keys")
    assert page.get_by_role("heading", level=1).inner_text() == "Sign in"


NARROW, HALF = 390, 900  # a telephone, and half a screen
PAIRS = "Token pairs as a table"  # the numbers of the picture, ten in a row: that one scrolls in its box
TOO_WIDE = """() => {
    document.querySelectorAll("details").forEach((one) => { one.open = true; });
    return [...document.querySelectorAll("table")].map((one) => one.parentElement)
        .filter((box) => box.scrollWidth > box.clientWidth).map((box) => box.getAttribute("aria-label"));
}"""


@pytest.mark.parametrize("width", [NARROW, HALF])
def test_no_table_scrolls_sideways(browser: Browser, made: World, width: int) -> None:
    """On every page that has one none is wider than its box; on a telephone each cell has its heading before it."""
    home = made.connect()
    limits = ("--property", "100001", "--read-only", "--method", "getHotels", "--rate", "2", "--expires-in", "90d")
    name = "a nightly report with a name that is rather long"
    assert made.run("keys", "create", name, "--scope", "proxy", "--scope", "read", *limits).returncode == 0
    context = browser.new_context(viewport={"width": width, "height": 844})
    narrow = context.new_page()
    narrow.goto(link(made))
    narrow.wait_for_url(f"{made.base}/")
    tables = 0
    for path in ("/", f"/connections/{home}", "/apps", "/keys", "/audit", "/work", "/settings", "/docs"):
        narrow.goto(made.base + path)
        assert set(narrow.evaluate(TOO_WIDE)) <= ({PAIRS} if width == HALF else set()), path
        tables += narrow.locator("table").count()
    assert tables > 10
    narrow.goto(f"{made.base}/keys")
    before = "getComputedStyle(document.querySelector('[data-name=Ends]'), '::before').content"
    assert narrow.evaluate(before) == ('"Ends: "' if width == NARROW else "none")
    context.close()


def test_on_a_telephone(browser: Browser, made: World) -> None:
    """At 360 pixels no page scrolls sideways."""
    home = made.connect()
    context = browser.new_context(viewport={"width": 360, "height": 640})
    narrow = context.new_page()
    narrow.goto(f"{made.base}/sign-in")
    assert narrow.evaluate("document.documentElement.scrollWidth") <= 360
    narrow.goto(link(made))
    narrow.wait_for_url(f"{made.base}/")
    for path in ("/", f"/connections/{home}", "/apps", "/keys", "/audit", "/work", "/settings"):
        narrow.goto(made.base + path)
        assert narrow.evaluate("document.documentElement.scrollWidth") <= 360, path
    context.close()

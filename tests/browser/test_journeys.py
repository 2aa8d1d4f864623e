"""Whole journeys of a hotel in a real browser: from Connect to a protected call, and what comes after that."""

from __future__ import annotations

import pytest
from playwright.sync_api import Browser, Page
from tests.acceptance.conftest import MakeWorld, make_world
from tests.acceptance.processes import PATIENCE, Process, World
from tests.browser.test_hotel_pages import browser, page

__all__ = ["browser", "make_world", "page"]


@pytest.fixture
def made(make_world: MakeWorld) -> World:
    """A consent page with buttons, two hotels to choose from, and the service."""
    world = make_world("--hotels", "2", "--app-name", "Breakfast Club", CLOUDBEDS_SCOPES="read:hotel write:reservation")
    world.start()
    return world


def test_from_connect_to_a_protected_call(page: Page, made: World) -> None:
    """The page says which hotel it was and what was granted; then a program's call is answered for that hotel."""
    page.goto(f"{made.base}/connect?reference=Seaside%20Inn")
    page.get_by_role("button", name="Approve").click()
    page.wait_for_url(f"{made.base}/connected**")
    for said in ("Seaside Inn", "100001", "Reservations: change", "You are done"):
        assert page.get_by_text(said).first.is_visible(), said
    assert made.admin.get("/proxy/100001/api/v1.3/userinfo").json["first_name"] == "Ada"


def test_a_hotel_that_denies(page: Page, made: World) -> None:
    """It is told that it did so, that nothing is lost, and how to go on; nothing is connected."""
    page.goto(f"{made.base}/connect")
    page.get_by_role("button", name="Deny").click()
    assert page.get_by_role("heading", level=1).inner_text() == "You did not approve"
    assert page.get_by_text("What was connected before stays connected").is_visible()
    assert not page.get_by_text("authorization_denied").is_visible(), "only who asks for it sees the code"
    page.get_by_text("For support").click()
    assert page.get_by_text("authorization_denied").is_visible()
    assert made.admin.get("/api/v1/connections").json["connections"] == []


def test_a_hotel_comes_back_under_the_same_number(page: Page, made: World) -> None:
    """By a link for its connection: after another approval it is the connection that it was."""
    page.goto(f"{made.base}/connect")
    page.get_by_role("button", name="Approve").click()
    page.wait_for_url(f"{made.base}/connected**")
    [before] = made.admin.get("/api/v1/connections").json["connections"]
    made.vendor.control("revoke", property="100001")
    assert made.admin.get("/proxy/100001/api/v1.3/userinfo").status != 200
    command = Process("cloudbeds_auth", "connect", "--connection", before["id"], env=made.settings, cwd=made.folder)
    try:
        page.goto(command.wait_for(r"http://localhost:\S+/connect/\S+")[0])
        page.get_by_role("button", name="Continue to Cloudbeds").click()
        page.get_by_role("button", name="Approve").click()
        page.wait_for_url(f"{made.base}/connected**")
        assert command.popen.wait(PATIENCE) == 0
    finally:
        command.stop()
    assert page.get_by_text(before["id"]).is_visible()
    assert made.admin.get("/proxy/100001/api/v1.3/userinfo").status == 200


def test_a_hotel_that_reads_spanish(browser: Browser, made: World) -> None:
    """From the link to the end, also where it denies first."""
    context = browser.new_context(locale="es-MX")
    page = context.new_page()
    page.goto(made.admin.post("/api/v1/authorizations", json_body={"reference": "Posada"}).json["connect_url"])
    page.get_by_role("button", name="Continuar a Cloudbeds").click()
    page.get_by_role("button", name="Deny").click()
    assert page.get_by_role("heading", level=1).inner_text() == "Usted no dio la autorización"
    page.get_by_role("link", name="Empezar de nuevo").click()
    page.get_by_role("button", name="Continuar a Cloudbeds").click()
    page.get_by_role("button", name="Approve").click()
    page.wait_for_url(f"{made.base}/connected**")
    assert page.get_by_role("heading", level=1).inner_text() == "Conectado"
    assert page.get_by_text("Reservas: modificar").is_visible()
    context.close()


def test_a_hotel_that_is_not_the_one_that_is_meant(page: Page, made: World) -> None:
    """It reads which one it approved for and which one is meant, goes back, and chooses that."""
    asked = {"expected_properties": ["100002"]}
    page.goto(made.admin.post("/api/v1/authorizations", json_body=asked).json["connect_url"])
    page.get_by_role("button", name="Continue to Cloudbeds").click()
    page.get_by_role("button", name="Approve").click()
    page.wait_for_url("**/not-connected/property_mismatch")
    assert page.locator("dd").all_inner_texts()[:2] == ["100001", "100002"]
    page.get_by_role("link", name="Start again").click()
    page.get_by_role("button", name="Continue to Cloudbeds").click()
    page.get_by_label("100001").uncheck()
    page.get_by_label("100002").check()
    page.get_by_role("button", name="Approve").click()
    page.wait_for_url(f"{made.base}/connected**")
    assert made.admin.get("/proxy/100002/api/v1.3/userinfo").status == 200

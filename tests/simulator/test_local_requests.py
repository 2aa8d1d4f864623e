"""Who may see into the simulator and steer it: no other machine, no name of another, and no foreign page."""

from __future__ import annotations

import pytest
from tests.simulator.driver import Driver

OWN = ["/", "/glass-box", "/_control/state"]
CHANGES = ["/_control/expire", "/glass-box/expire"]


async def expired(sim: Driver) -> bool:
    """Whether the one access token has run out."""
    pair = (await sim.control("GET", "state"))["grants"][0]["pairs"][0]
    return not pair["access_accepted"]


@pytest.mark.parametrize("path", [*OWN, "/glass-box/live"])
async def test_another_machine_sees_nothing(sim: Driver, monkeypatch: pytest.MonkeyPatch, path: str) -> None:
    """A peer from elsewhere is refused; the approval page is for everybody, with what it looks like."""
    monkeypatch.setattr("cloudbeds_simulator.local_requests.is_loopback", lambda _: False)
    assert (await sim.ask("GET", path)).status == 403
    assert (await sim.ask("GET", "/_assets/style.css")).status == 200
    assert (await sim.ask("GET", "/api/v1.3/oauth")).status == 400


@pytest.mark.parametrize("host", ["evil.example", "evil.example:7001", "127.0.0.1.evil.example", "192.0.2.1", "[", ""])
@pytest.mark.parametrize("path", OWN)
async def test_another_name_sees_nothing(sim: Driver, path: str, host: str) -> None:
    """A name that was made to lead here by its owner (DNS rebinding) opens neither the control API nor a page."""
    reply = await sim.ask("GET", path, headers={"Host": host})
    assert reply.status == 403
    assert b"secret" not in reply.body


@pytest.mark.parametrize("host", ["localhost", "localhost:7001", "127.0.0.1", "127.0.0.2:80", "[::1]:7001"])
@pytest.mark.parametrize("path", OWN)
async def test_names_of_this_machine(sim: Driver, path: str, host: str) -> None:
    """Every loopback name and address is answered."""
    assert (await sim.ask("GET", path, headers={"Host": host})).status == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://localhost:1"},
        {"Sec-Fetch-Site": "same-origin", "Origin": "https://evil.example"},
    ],
    ids=str,
)
@pytest.mark.parametrize("path", CHANGES)
async def test_a_foreign_page_changes_nothing(sim: Driver, path: str, headers: dict[str, str]) -> None:
    """A form or a plain text that another site's page sends is refused, a port of this machine being another site."""
    await sim.connect()
    plain = headers | {"Content-Type": "text/plain"}
    assert (await sim.ask("POST", path, data=b"{}", headers=plain)).status == 403
    assert (await sim.ask("POST", path, data={"a": "b"}, headers=headers)).status == 403
    assert not await expired(sim)


@pytest.mark.parametrize("path", CHANGES)
async def test_programs_and_own_pages_change_things(sim: Driver, path: str) -> None:
    """A program says nothing of where it comes from, a page of the simulator says the truth."""
    await sim.connect()
    for headers in ({}, {"Sec-Fetch-Site": "none"}, {"Sec-Fetch-Site": "same-origin", "Origin": sim.base}):
        assert (await sim.ask("POST", path, headers=headers)).status in {200, 303}
    assert await expired(sim)


async def test_no_page_of_another_site_reads_the_answers(sim: Driver) -> None:
    """No answer lets another origin read it, or be shown in its frame, or take it for a script."""
    for path in OWN:
        reply = await sim.ask("GET", path, headers={"Origin": "https://evil.example"})
        assert "Access-Control-Allow-Origin" not in reply.headers
        assert reply.headers["X-Content-Type-Options"] == "nosniff"
        assert reply.headers["Cross-Origin-Resource-Policy"] == "same-origin"
    assert "frame-ancestors 'none'" in (await sim.ask("GET", "/glass-box")).headers["Content-Security-Policy"]

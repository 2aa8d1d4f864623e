"""Faults on demand: what was done, what reached the client, what the log says."""

from __future__ import annotations

import asyncio
from typing import Any

import aiohttp
import pytest
from tests.simulator.driver import Driver

from cloudbeds_simulator.faults import KINDS, FaultRule, Faults, parse

LOST = (aiohttp.ClientError, ConnectionResetError)


async def rotated(sim: Driver) -> bool:
    """Whether the first grant has been refreshed."""
    grants = (await sim.control("GET", "state"))["grants"]
    return len(grants[0]["pairs"]) > 1


async def last(sim: Driver) -> dict[str, Any]:
    """The newest log entry."""
    return dict((await sim.control("GET", "requests"))["requests"][-1])


@pytest.mark.parametrize(("kind", "acted"), [("reset_before", False), ("reset_after", True)])
async def test_reset(sim: Driver, kind: str, acted: bool) -> None:
    """A reset loses the answer; the token was rotated only when the reset came after acting."""
    parent = (await sim.connect())["refresh_token"]
    await sim.fault(kind)
    with pytest.raises(LOST):
        await sim.refresh(parent)
    entry = await last(sim)
    assert (entry["fault"], entry["answered"], await rotated(sim)) == (kind, False, acted)
    assert entry["outcome"] == ("issued" if acted else "pending")
    assert (await sim.refresh(parent)).status == 200


async def test_reset_is_a_reset(sim: Driver) -> None:
    """On the wire a reset is an RST, not an orderly end."""
    await sim.fault("reset_before", "any")
    host, port = sim.base.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(b"GET /api/v1.3/userinfo HTTP/1.1\r\nHost: x\r\n\r\n")
    with pytest.raises(ConnectionResetError):
        await reader.read()
    writer.close()


@pytest.mark.parametrize(("kind", "acted"), [("hang_before", False), ("hang_after", True)])
async def test_hang_until_released(sim: Driver, kind: str, acted: bool) -> None:
    """A hanging request is seen in the log unanswered, and is answered once the faults are cleared."""
    parent = (await sim.connect())["refresh_token"]
    await sim.fault(kind)
    asking = asyncio.create_task(sim.refresh(parent))
    outcome = "issued" if acted else "pending"
    seen = await sim.control("GET", "wait", target="token", fault=kind, outcome=outcome, answered="false")
    assert seen["entry"]["refresh_token"] == parent
    assert await rotated(sim) == acted
    await sim.control("DELETE", "faults")
    assert (await asking).status == 200
    assert (await last(sim))["answered"] is True
    assert len((await sim.control("GET", "state"))["grants"][0]["pairs"]) == 2


async def test_hang_ends_with_the_connection(sim: Driver) -> None:
    """A client that goes away ends its hanging request; clearing afterwards acts on nothing."""
    parent = (await sim.connect())["refresh_token"]
    await sim.fault("hang_before")
    asking = asyncio.create_task(sim.refresh(parent))
    await sim.control("GET", "wait", target="token", fault="hang_before")
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    await sim.control("DELETE", "faults")
    assert not await rotated(sim)
    assert (await last(sim))["outcome"] == "pending"


@pytest.mark.parametrize(
    ("rule", "status", "body"),
    [
        ({"kind": "status", "status": 503, "content_type": "text/plain", "body": "no"}, 503, b"no"),
        ({"kind": "html"}, 502, b"<h1>502"),
        ({"kind": "html", "status": 403}, 403, b"<h1>403"),
        ({"kind": "empty"}, 200, b""),
        ({"kind": "body", "body": '{"access_token": 7}'}, 200, b'{"access_token": 7}'),
        ({"kind": "success_false", "message": "No."}, 200, b'{"success": false, "message": "No."}'),
        ({"kind": "refused"}, 200, b"Scope required for this call was not granted"),
        ({"kind": "refused", "face": "property_closed"}, 200, b"canceled: 100001"),
        ({"kind": "refused", "face": "forbidden"}, 403, b"Forbidden"),
        ({"kind": "refused", "face": "html"}, 403, b"<h1>403"),
        ({"kind": "rate_limited"}, 429, b"Too many"),
        ({"kind": "redirect", "status": 307}, 307, b""),
        ({"kind": "oversized", "size": 100_000}, 200, b"xxxx"),
    ],
)
@pytest.mark.parametrize("when", ["before", "after"])
async def test_answered_instead(sim: Driver, rule: dict[str, Any], status: int, body: bytes, when: str) -> None:
    """Another answer replaces the real one, before or after the token was rotated."""
    parent = (await sim.connect())["refresh_token"]
    await sim.fault(target="token", when=when, **rule)
    reply = await sim.refresh(parent)
    assert reply.status == status
    assert body in reply.body
    assert reply.headers["X-Request-ID"]
    entry = await last(sim)
    assert (entry["outcome"], entry["status"]) == ("not_acted" if when == "before" else "issued", status)
    assert await rotated(sim) == (when == "after")


async def test_headers_of_answers(sim: Driver) -> None:
    """Retry-After, Location and the content type are the rule's."""
    await sim.fault("rate_limited", "any", retry_after="7")
    await sim.fault("redirect", "any", location="http://169.254.169.254/")
    await sim.fault("html", "any", content_type="text/html; charset=utf-16")
    replies = [await sim.ask("GET", "/api/v1.3/userinfo") for _ in range(3)]
    assert replies[0].headers["Retry-After"] == "7"
    assert replies[1].headers["Location"] == "http://169.254.169.254/"
    assert replies[2].headers["Content-Type"] == "text/html; charset=utf-16"


async def test_bytes_that_are_no_text(sim: Driver) -> None:
    """A body can be any bytes under any headers."""
    fields = {"body_base64": "/wD+", "content_type": "application/json; charset=x-unknown", "headers": {"X-Odd": "1"}}
    await sim.fault("body", "userinfo", **fields)
    host, port = sim.base.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(b"GET /api/v1.3/userinfo HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    head, _, body = (await reader.read()).partition(b"\r\n\r\n")
    assert body == b"\xff\x00\xfe"
    assert b"X-Odd: 1" in head
    assert b"charset=x-unknown" in head
    writer.close()


async def test_oversized_is_exact(sim: Driver) -> None:
    """An oversized answer has the size asked for."""
    await sim.fault("oversized", "userinfo", size=200_001)
    assert len((await sim.ask("GET", "/api/v1.3/userinfo")).body) == 200_001


@pytest.mark.parametrize("at", [0, 1, 50])
async def test_truncate(sim: Driver, at: int) -> None:
    """A truncated answer stops at the byte asked for, below its content length, after the token was rotated."""
    parent = (await sim.connect())["refresh_token"]
    await sim.fault("truncate", at=at)
    with pytest.raises(LOST):
        await sim.refresh(parent)
    assert await rotated(sim)
    assert (await last(sim))["answered"] is False


async def test_truncate_delivers_its_bytes(sim: Driver) -> None:
    """The bytes before the cut reach the client."""
    await sim.fault("truncate", "any", at=9)
    host, port = sim.base.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(b"GET /api/v1.3/userinfo HTTP/1.1\r\nHost: x\r\n\r\n")
    head, _, body = (await reader.read()).partition(b"\r\n\r\n")
    assert body == b'{"error":'
    assert int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0]) > 9
    writer.close()


async def test_slow_and_delay(sim: Driver) -> None:
    """A slow or delayed answer is whole in the end, with the pauses asked for, here taken from an injected clock."""
    pauses: list[float] = []

    async def sleep(seconds: float) -> None:
        pauses.append(seconds)

    sim.simulator.clock.sleep = sleep
    await sim.fault("slow", "userinfo", seconds=0.5)
    await sim.fault("delay", "userinfo", seconds=9)
    reply = await sim.ask("GET", "/api/v1.3/userinfo")
    assert reply.json["error"] == "access_denied"
    assert (await sim.ask("GET", "/api/v1.3/userinfo")).status == 401
    assert pauses == [0.5] * len(reply.body) + [9]


@pytest.mark.parametrize(("when", "acted"), [("before", False), ("after", True)])
async def test_delay_before_or_after(sim: Driver, when: str, acted: bool) -> None:
    """A delay waits before acting, or with the token rotated already."""
    parent = (await sim.connect())["refresh_token"]
    go = asyncio.Event()

    async def sleep(_: float) -> None:
        await go.wait()

    sim.simulator.clock.sleep = sleep
    await sim.fault("delay", when=when)
    asking = asyncio.create_task(sim.refresh(parent))
    await sim.control("GET", "wait", fault="delay", outcome="issued" if acted else "pending")
    assert await rotated(sim) == acted
    go.set()
    assert (await asking).status == 200


async def test_late(sim: Driver) -> None:
    """A late request loses its connection and is acted upon afterwards, with nobody listening."""
    parent = (await sim.connect())["refresh_token"]
    go = asyncio.Event()

    async def sleep(_: float) -> None:
        await go.wait()

    sim.simulator.clock.sleep = sleep
    await sim.fault("late")
    with pytest.raises(LOST):
        await sim.refresh(parent)
    assert not await rotated(sim)
    go.set()
    seen = await sim.control("GET", "wait", fault="late", outcome="issued")
    assert (seen["entry"]["answered"], await rotated(sim)) == (False, True)


async def test_duplicate(sim: Driver) -> None:
    """A duplicated request is answered once and acted upon twice: under V2 the answer in hand is dead."""
    parent = (await sim.connect())["refresh_token"]
    await sim.fault("duplicate", seconds=0)
    child = (await sim.refresh(parent)).json
    await sim.control("GET", "wait", fault="duplicate", outcome="issued", answered="false")
    assert (await sim.api("GET", "userinfo", child["access_token"])).status == 401
    assert (await sim.refresh(child["refresh_token"])).status == 400
    assert (await sim.refresh(parent)).status == 200


async def test_times_and_skip(sim: Driver) -> None:
    """A rule lets some requests pass, hits as many as asked for, and is gone."""
    await sim.fault("status", "userinfo", status=500, skip=1, times=2)
    statuses = [(await sim.ask("GET", "/api/v1.3/userinfo")).status for _ in range(5)]
    assert statuses == [401, 500, 500, 401, 401]
    assert (await sim.control("GET", "state"))["faults"] == []


async def test_targets(sim: Driver) -> None:
    """A rule hits its target only: a kind of endpoint, a method, a path, or one grant type."""
    for target in ("resource", "getHotels", "/api/v1.2/oauth"):
        await sim.fault("status", target, status=599)
    await sim.fault("status", "token", grant_type="authorization_code", status=599)
    assert (await sim.ask("GET", "/api/v1.3/userinfo")).status == 401
    assert (await sim.ask("GET", "/api/v1.3/getHotels")).status == 599
    assert (await sim.ask("GET", "/api/v1.3/getReservations")).status == 401
    assert (await sim.ask("GET", "/api/v1.3/getHotels")).status == 599
    assert (await sim.ask("GET", "/api/v1.3/oauth")).status == 400
    assert (await sim.ask("GET", "/api/v1.2/oauth")).status == 599
    assert (await sim.refresh("x")).status == 400
    assert (await sim.exchange("x")).status == 599


def test_without_end() -> None:
    """A rule without a number of times stays until it is cleared."""
    faults = Faults()
    faults.rules.append(FaultRule("token", "empty", times=None))
    assert all(faults.take("token", "/x", "x", None) for _ in range(50))
    assert faults.clear() == 1
    assert faults.take("token", "/x", "x", None) is None


@pytest.mark.parametrize(("variant", "parent_lives"), [("V2/n", True), ("V4/n", False), ("V5/n", True)])
async def test_rate_limited_as_use(sim: Driver, variant: str, parent_lives: bool) -> None:
    """A 429 before the method was reached is a first use only under V4."""
    await sim.control("POST", "settings", variant=variant)
    parent = (await sim.connect())["refresh_token"]
    child = (await sim.refresh(parent)).json
    await sim.fault("rate_limited", "userinfo")
    assert (await sim.api("GET", "userinfo", child["access_token"])).status == 429
    assert ((await sim.refresh(parent)).status == 200) == parent_lives


@pytest.mark.parametrize(("variant", "parent_lives"), [("V2/n", False), ("V4/n", False), ("V5/n", True)])
async def test_reached_but_refused_as_use(sim: Driver, variant: str, parent_lives: bool) -> None:
    """A method that was reached and answered 404 is a first use except under V5."""
    await sim.control("POST", "settings", variant=variant)
    parent = (await sim.connect())["refresh_token"]
    child = (await sim.refresh(parent)).json
    await sim.fault("status", "getHotels", status=404, when="after")
    assert (await sim.api("GET", "getHotels", child["access_token"])).status == 404
    assert ((await sim.refresh(parent)).status == 200) == parent_lives


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_every_kind_parses(kind: str) -> None:
    """Every kind is accepted with nothing but a target, and knows its place."""
    rule = parse({"kind": kind, "target": "token"})
    assert rule.when in ("before", "after")
    assert rule.status >= 200


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ([], "JSON object"),
        ({"kind": "explode", "target": "token"}, "unknown fault kind"),
        ({"kind": "empty"}, "needs a target"),
        ({"kind": "empty", "target": "token", "colour": 1}, "unknown fault field 'colour'"),
        ({"kind": "empty", "target": "token", "times": "2"}, "times cannot be"),
        ({"kind": "empty", "target": "token", "skip": True}, "skip cannot be"),
        ({"kind": "empty", "target": "token", "when": "later"}, "before or after"),
        ({"kind": "body", "target": "token", "body_base64": "!"}, "base64|padding"),
        ({"kind": "body", "target": "token", "headers": []}, "headers cannot be"),
        ({"kind": "refused", "target": "any", "face": "odd"}, "unknown face 'odd'"),
    ],
)
def test_impossible_rules(content: object, words: str) -> None:
    """A rule that makes no sense is refused, naming what is wrong."""
    with pytest.raises(ValueError, match=words):
        parse(content)

"""`connect`: listening for one redirect, or a link of the running service; a stranger on the port is refused."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Callable, Sequence
from types import SimpleNamespace
from urllib.parse import urlsplit

import httpx2
import pytest
from tests.cli.fakes import AT, FakeVault, Result, invoke, put

from cloudbeds_auth import errors
from cloudbeds_auth.cli import connect
from cloudbeds_auth.cli.connect import CallbackListener, bind, page
from cloudbeds_auth.doctor import installation
from cloudbeds_auth.doctor.installation import Port, Tenant, look
from cloudbeds_auth.rules.model import Event
from cloudbeds_auth.settings import Settings


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


@pytest.fixture
def uri() -> str:
    return f"http://127.0.0.1:{free_port()}/callback"


@pytest.fixture
def vault(monkeypatch: pytest.MonkeyPatch, uri: str) -> FakeVault:
    return put(monkeypatch, FakeVault(Settings(client_id="client-1", redirect_uri=uri)))


async def while_connecting(visit: Callable[[httpx2.AsyncClient], object], *args: str) -> Result:
    """Run `connect` in a thread and be its browser."""
    async with httpx2.AsyncClient(trust_env=False) as browser:
        running = asyncio.create_task(asyncio.to_thread(invoke, "connect", "--timeout", "30", *args))
        try:
            await visit(browser)  # type: ignore[misc]
        finally:
            result = await running
    return result


async def patiently(browser: httpx2.AsyncClient, url: str) -> httpx2.Response:
    """The answer, as soon as somebody listens."""
    while True:
        try:
            return await browser.get(url)
        except httpx2.ConnectError:
            await asyncio.sleep(0.02)


async def test_listens_and_finishes(vault: FakeVault, uri: str) -> None:
    """One redirect with the right state connects; the browser and the command are told."""

    async def visit(browser: httpx2.AsyncClient) -> None:
        page = await patiently(browser, f"{uri}?code=c1&state=the-state")
        assert (page.status_code, "Connected" in page.text) == (200, True)
        assert page.headers["cache-control"] == "no-store"
        assert page.headers["referrer-policy"] == "no-referrer"

    result = await while_connecting(visit, "--reference", "tenant-7", "--property", "1000", "--property", "1001")
    assert result.status == 0
    assert "con_ADA" in result.out
    assert "https://cloudbeds.example/approve" in result.err
    wish = {"reference": "tenant-7", "app": None, "connection_id": None, "expected_properties": ("1000", "1001")}
    assert vault.asked[0] == ("begin", wish)
    assert vault.asked[1:] == [("finish", "c1", "the-state")]


@pytest.mark.row("A57")
async def test_whatever_else_asks_does_not_end_the_wait(vault: FakeVault, uri: str) -> None:
    """Another path, method, host or state is turned away; the right redirect still counts."""

    async def visit(browser: httpx2.AsyncClient) -> None:
        assert (await patiently(browser, uri.replace("callback", "favicon.ico"))).status_code == 404
        assert (await browser.post(uri)).status_code == 405
        assert (await browser.get(uri, headers={"Host": "evil.example"})).status_code == 400
        assert (await browser.get(f"{uri}?code=x&state=forged")).status_code == 400
        assert (await browser.get(f"{uri}?code=x")).status_code == 400
        assert (await browser.get(f"{uri}?{'&'.join(['code=x'] * 60)}")).status_code == 400
        assert (await browser.get(f"{uri}?code=c1&state=the-state")).status_code == 200

    result = await while_connecting(visit, "--json")
    assert json.loads(result.out)["id"] == "con_ADA"
    assert [one[0] for one in vault.asked] == ["begin", "finish"]


@pytest.mark.row("A57", control=True)
async def test_a_state_that_was_not_compared(vault: FakeVault, uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Then any page that the browser has open could bring its own code, and the hotel would be the attacker's."""
    monkeypatch.setattr(connect, "hmac", SimpleNamespace(compare_digest=lambda one, other: True))

    async def visit(browser: httpx2.AsyncClient) -> None:
        assert (await patiently(browser, f"{uri}?code=the-attackers&state=forged")).status_code == 200

    assert (await while_connecting(visit)).status == 0
    assert vault.asked[1:] == [("finish", "the-attackers", "the-state")]


async def test_a_denial(vault: FakeVault, uri: str) -> None:
    """The state is spent, nothing is exchanged, exit 1."""

    async def visit(browser: httpx2.AsyncClient) -> None:
        page = await patiently(browser, f"{uri}?error=access_denied&state=the-state")
        assert page.status_code == 400

    result = await while_connecting(visit)
    assert result.status == 1
    assert "did not approve" in result.err
    assert vault.asked[1:] == [("deny", "the-state")]


async def test_a_failed_exchange_is_told_to_both(vault: FakeVault, uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The browser sees what happened, the command exits with its diagnosis."""

    async def refused(*, code: str, state: str, browser: str | None = None) -> object:
        raise errors.AuthorizationExpired("the code is <spent>")

    monkeypatch.setattr(vault, "finish_authorization", refused)

    async def visit(browser: httpx2.AsyncClient) -> None:
        page = await patiently(browser, f"{uri}?code=c1&state=the-state")
        assert "the code is &lt;spent&gt;. What to do next: start again" in page.text

    result = await while_connecting(visit)
    assert result.status == 1
    assert "the code is <spent>" in result.err
    assert "start again" in result.err


def test_nobody_approves(vault: FakeVault) -> None:
    """The wait ends by itself, with what to do next."""
    result = invoke("connect", "--timeout", "1")
    assert result.status == 1
    assert "no approval arrived within 1 s" in result.err
    assert "start again with `cloudbeds-auth connect`" in result.err


@pytest.mark.row("A57")
def test_a_stranger_on_the_port(vault: FakeVault, uri: str) -> None:
    """Refused before anything is begun, naming who it is."""
    with socket.create_server(("127.0.0.1", int(uri.split(":")[2].split("/")[0]))):
        result = invoke("connect")
    assert result.status == 1
    assert "is in use by" in result.err
    assert vault.asked == []


def approval(*kinds: str) -> tuple[Event, ...]:
    """A history with these kinds, newest first."""
    data = {"reason": "another property was approved"}
    return tuple(Event(9 - at, AT, kind, "vault", "g2", 1, data) for at, kind in enumerate(kinds))


@pytest.fixture
def elsewhere(monkeypatch: pytest.MonkeyPatch) -> FakeVault:
    """A vault whose redirect URI leads to a service on another machine."""
    monkeypatch.setattr(connect, "GLANCE", 0.01)
    monkeypatch.setattr(connect, "PROOF_SECONDS", 0.5)
    return put(monkeypatch, FakeVault(Settings(client_id="client-1", redirect_uri="https://auth.example.com/callback")))


def test_through_the_running_service(vault: FakeVault, uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A one-time link is printed; the connection that it led to is the result."""

    async def ours(host: str, port: int) -> Port:
        return Port(Tenant.OURS)

    monkeypatch.setattr(installation, "look", ours)
    monkeypatch.setattr(connect, "GLANCE", 0.01)
    vault.led_to = [None, None, "con_ADA"]
    vault.history = approval("promoted", "superseded", "candidate_received")
    with socket.create_server(("127.0.0.1", int(uri.split(":")[2].split("/")[0]))):
        result = invoke("connect", "--reference", "tenant-7", "--property", "1000")
    assert result.status == 0
    assert f"{vault.settings.public_url}/connect/one-time" in result.err
    assert "con_ADA" in result.out
    assert [name for name, *_ in vault.asked] == ["link"]
    assert (vault.asked[0][1]["reference"], vault.asked[0][1]["expected_properties"]) == ("tenant-7", ("1000",))


def test_what_others_do_is_not_waited_for(elsewhere: FakeVault) -> None:
    """Only what this link led to counts: a refresh, or another hotel that connects meanwhile, does not."""
    elsewhere.history = approval("promoted", "candidate_received")
    assert "no approval arrived" in invoke("connect", "--timeout", "1").err


def test_the_proof_is_waited_for(elsewhere: FakeVault, monkeypatch: pytest.MonkeyPatch) -> None:
    """The tokens are stored and the service has not called with them yet: a little more patience."""
    histories = [approval("candidate_received"), approval("calls", "candidate_received"), approval("promoted")]

    async def events(connection_id: str) -> Sequence[Event]:
        return histories.pop(0)

    elsewhere.led_to = ["con_ADA"]
    monkeypatch.setattr(elsewhere, "events", events)
    assert invoke("connect").status == 0
    assert histories == []


def test_a_proof_that_does_not_come(elsewhere: FakeVault) -> None:
    """Connected all the same; the connection says how it is."""
    elsewhere.led_to, elsewhere.history = ["con_ADA"], approval("candidate_received", "promoted")
    assert "con_ADA" in invoke("connect").out


def test_an_approval_that_was_turned_down(elsewhere: FakeVault) -> None:
    """Another property than the connection's was approved: not connected, and why."""
    elsewhere.led_to, elsewhere.history = ["con_ADA"], approval("superseded", "candidate_received", "promoted")
    result = invoke("connect", "--connection", "100001")
    assert (result.status, result.out) == (1, "")
    assert "another property was approved" in result.err


def test_a_hotel_that_came_back(elsewhere: FakeVault, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its approval moves while the proof is waited for: the connection that it had is the result, not what was left."""
    histories = {
        "con_new": approval("superseded", "candidate_received"),
        "con_ADA": approval("promoted", "candidate_received"),
    }

    async def events(connection_id: str) -> Sequence[Event]:
        return histories[connection_id]

    elsewhere.led_to = ["con_new", "con_ADA"]
    monkeypatch.setattr(elsewhere, "events", events)
    result = invoke("connect")
    assert result.status == 0
    assert "con_ADA" in result.out
    assert "con_new" not in result.out


def test_a_public_redirect_uri_goes_through_the_service(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is listened on for a redirect URI that leads elsewhere."""
    vault = put(
        monkeypatch, FakeVault(Settings(client_id="client-1", redirect_uri="https://auth.example.com/callback"))
    )
    result = invoke("connect", "--timeout", "1", "--connection", "100001")
    assert "https://auth.example.com/connect/one-time" in result.err
    assert vault.asked[0][1]["connection_id"] == "100001"


@pytest.mark.row("A57")
async def test_a_service_with_another_database(vault: FakeVault, uri: str) -> None:
    """It does not know the link: the command says so at once, instead of waiting for an approval that cannot come."""

    async def another(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(
            b"HTTP/1.1 400 Bad Request\r\nX-Cloudbeds-Auth-Code: authorization_expired\r\nContent-Length: 0\r\n\r\n"
        )
        writer.close()

    async with await asyncio.start_server(another, "127.0.0.1", urlsplit(uri).port):
        result = await asyncio.to_thread(invoke, "connect")
    assert result.status == 1
    assert "has another database" in result.err


@pytest.mark.parametrize(("code", "refuses"), [("authorization_expired", True), ("store_unavailable", False)])
async def test_which_answer_says_that_a_link_is_unknown(uri: str, code: str, refuses: bool) -> None:
    """Not that of a service whose database is away for a moment: it may well be the same one."""

    async def answers(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        head = f"HTTP/1.1 503 Service Unavailable\r\nX-Cloudbeds-Auth-Code: {code}\r\nContent-Length: 0\r\n\r\n"
        writer.write(head.encode())
        writer.close()

    async with await asyncio.start_server(answers, "127.0.0.1", urlsplit(uri).port):
        assert await installation.refuses_link(f"http://127.0.0.1:{urlsplit(uri).port}/connect/one-time") is refuses


async def test_look_knows_ours_from_strangers(uri: str) -> None:
    """A free port, a silent stranger, and a listener that names our code."""
    port = int(uri.split(":")[2].split("/")[0])
    assert (await look("127.0.0.1", port)).tenant is Tenant.NOBODY

    async def stranger(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        writer.close()

    async def ours(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        assert b"authorization" not in head.lower()
        code = b"X-Cloudbeds-Auth-Code: unauthenticated"
        writer.write(b"HTTP/1.1 401 Unauthorized\r\n" + code + b"\r\nContent-Length: 0\r\n\r\n")
        writer.close()

    async with await asyncio.start_server(stranger, "127.0.0.1", port):
        assert (await look("127.0.0.1", port)).tenant is Tenant.STRANGER
    async with await asyncio.start_server(ours, "127.0.0.1", port):
        assert (await look("127.0.0.1", port)).tenant is Tenant.OURS


@pytest.mark.row("A57")
async def test_the_listener_closes_after_one_answer(uri: str) -> None:
    """A second redirect finds nobody."""
    sockets = bind(uri)
    assert sockets is not None
    assert bind(uri) is None

    async def callback(given: object) -> bytes:
        return page(200, "done", "")

    serving = asyncio.create_task(CallbackListener(uri, "s", callback).serve(sockets, asyncio.timeout(None)))
    async with httpx2.AsyncClient(trust_env=False) as browser:
        assert (await browser.get(f"{uri}?state=s")).status_code == 200
        await serving
        with pytest.raises(httpx2.ConnectError):
            await browser.get(f"{uri}?state=s")


@pytest.mark.row("A57")
async def test_a_second_redirect_meanwhile_does_not_end_the_wait(uri: str) -> None:
    """A browser that repeats its request while the code is exchanged is turned away; the first is answered, however
    long the exchange takes: what bounds the wait for an approval is over once it came.
    """
    sockets = bind(uri)
    assert sockets is not None
    begun, go_on = asyncio.Event(), asyncio.Event()

    async def callback(given: object) -> bytes:
        begun.set()
        await go_on.wait()
        return page(200, "done", "")

    patience = asyncio.timeout(None)
    serving = asyncio.create_task(CallbackListener(uri, "s", callback).serve(sockets, patience))
    async with httpx2.AsyncClient(trust_env=False) as browser:
        first = asyncio.create_task(browser.get(f"{uri}?state=s"))
        await begun.wait()
        assert (await browser.get(f"{uri}?state=s")).status_code == 400
        with pytest.raises(RuntimeError, match="finished"):
            patience.reschedule(0)
        assert not serving.done()
        go_on.set()
        assert (await first).status_code == 200
        await serving

"""The token endpoint over real sockets: what every kind of answer and failure means."""

from __future__ import annotations

import asyncio
import gzip
import json
import socket
from collections.abc import Callable
from dataclasses import replace
from typing import Any
from urllib.parse import parse_qs

import httpx2
import pytest
from tests.wire.rawserver import Peer, RawServer, Respond, answer, drip, raw, reset, serving, silence

from cloudbeds_auth.ports import TokenEndpoint
from cloudbeds_auth.rules.credential import FOREVER
from cloudbeds_auth.rules.model import App, CredentialKind
from cloudbeds_auth.rules.refresh import Timing
from cloudbeds_auth.rules.secret import Secret
from cloudbeds_auth.rules.token_response import Ambiguous, Answer, Issued, NotSent, Refused, RefusedClient, TooLate
from cloudbeds_auth.wire import http_client
from cloudbeds_auth.wire.http_client import at_any_time
from cloudbeds_auth.wire.token_endpoint import HttpTokenEndpoint

APP = App("default", "client-1", (Secret("s3cret & more"),), "https://app.example.com/callback")
PAIR = {"access_token": "a1", "refresh_token": "r1", "token_type": "Bearer", "expires_in": 28800}
TIMING = Timing.of(20.0)
HASTY = Timing.of(0.3)
OK = json.dumps(PAIR)
FOLLOWS = {"follow_redirects": True}


async def refresh(url: str, timing: Timing = TIMING) -> Answer:
    """One refresh of the token `r0`."""
    endpoint: TokenEndpoint = HttpTokenEndpoint(f"{url}/api/v1.3/access_token", timing)
    return await endpoint.refresh(APP, APP.secrets[0], Secret("r0"), at_any_time)


async def refreshed(respond: Respond, timing: Timing = TIMING) -> Answer:
    """One refresh against a server that answers so; the client's socket is closed when it returns."""
    async with serving(respond) as server:
        found = await refresh(server.url, timing)
        async with asyncio.timeout(5):
            await server.closed.wait()
        assert server.connections == 1
    return found


async def test_refresh_request() -> None:
    """One urlencoded form with the secret in its body, on a connection that is not kept."""
    async with serving(answer(OK)) as server:
        found = await refresh(server.url)
        (peer,) = server.peers
    assert isinstance(found, Issued)
    assert found.pair.access == Secret("a1")
    assert found.pair.refresh == Secret("r1")
    assert peer.line == "POST /api/v1.3/access_token"
    assert parse_qs(peer.body) == {
        "grant_type": ["refresh_token"],
        "client_id": ["client-1"],
        "client_secret": ["s3cret & more"],
        "refresh_token": ["r0"],
    }
    assert peer.head["content-type"] == "application/x-www-form-urlencoded"
    assert peer.head["accept-encoding"] == "identity"
    assert peer.head["connection"] == "close"
    assert peer.head["user-agent"].startswith("cloudbeds-auth/")
    assert not {"authorization", "cookie"} & peer.head.keys()


KEY = json.dumps({"access_token": "cbat_1"})


async def test_a_key_is_asked_for_with_the_code() -> None:
    """Where the app's approvals ask for keys: its own grant type, and the rest as for tokens."""
    async with serving(answer(KEY)) as server:
        endpoint = HttpTokenEndpoint(server.url, TIMING)
        found = await endpoint.exchange(replace(APP, credential=CredentialKind.API_KEY), APP.secrets[0], "code-1")
        (peer,) = server.peers
    assert isinstance(found, Issued)
    assert (found.pair.access, found.pair.refresh, found.pair.lifetime) == (Secret("cbat_1"), None, FOREVER)
    form = parse_qs(peer.body)
    assert form["grant_type"] == ["urn:ietf:params:oauth:grant-type:api-key"]
    assert (form["code"], form["redirect_uri"]) == (["code-1"], [APP.redirect_uri])


async def test_a_refresh_token_is_exchanged_for_a_key() -> None:
    """Its own grant type, with the refresh token and nothing else."""
    async with serving(answer(KEY)) as server:
        endpoint = HttpTokenEndpoint(server.url, TIMING)
        found = await endpoint.exchange_for_key(APP, APP.secrets[0], Secret("r0"), at_any_time)
        (peer,) = server.peers
    assert isinstance(found, Issued)
    assert found.pair.kind is CredentialKind.API_KEY
    form = parse_qs(peer.body)
    assert set(form) == {"grant_type", "refresh_token", "client_id", "client_secret"}
    assert (form["grant_type"], form["refresh_token"]) == (["refresh_token_exchange"], ["r0"])


async def test_an_exchange_under_a_rate_limit() -> None:
    """A rate limit tells how long to wait, for an exchange too."""
    async with serving(answer("{}", "429 Too Many Requests", "Retry-After: 7\r\n")) as server:
        found = await HttpTokenEndpoint(server.url, TIMING).exchange_for_key(
            APP, APP.secrets[0], Secret("r0"), at_any_time
        )
    assert found == Ambiguous("HTTP 429", retry_after=7.0, pause=7.0)


async def test_exchange_request() -> None:
    """A code is exchanged with the redirect URI of the authorization request."""
    async with serving(answer(OK)) as server:
        endpoint = HttpTokenEndpoint(server.url, TIMING)
        found = await endpoint.exchange(APP, APP.secrets[0], "code-1")
        (peer,) = server.peers
    assert isinstance(found, Issued)
    assert parse_qs(peer.body) == {
        "grant_type": ["authorization_code"],
        "client_id": ["client-1"],
        "client_secret": ["s3cret & more"],
        "redirect_uri": ["https://app.example.com/callback"],
        "code": ["code-1"],
    }


async def test_own_connection_each() -> None:
    """Two requests are two connections, even where the server would keep the first."""
    async with serving(answer(OK)) as server:
        endpoint = HttpTokenEndpoint(server.url, TIMING)
        for _ in range(2):
            assert isinstance(await endpoint.refresh(APP, APP.secrets[0], Secret("r0"), at_any_time), Issued)
        assert server.connections == 2


REFUSALS: list[tuple[str, dict[str, str], str, type[Answer]]] = [
    ("400 Bad Request", {"error": "invalid_request", "message": "The refresh token is invalid."}, "refresh", Refused),
    ("401 Unauthorized", {"error": "invalid_grant"}, "refresh", Refused),
    (
        "401 Unauthorized",
        {"error": "server_error", "error_description": "The authorization code is invalid or has expired."},
        "exchange",
        Refused,
    ),
    (
        "401 Unauthorized",
        {"error": "server_error", "error_description": "Entity not found: CloudBeds\\API\\Models\\Client"},
        "refresh",
        RefusedClient,
    ),
]


@pytest.mark.parametrize(("status", "body", "grant", "kind"), REFUSALS)
async def test_refusals(status: str, body: dict[str, str], grant: str, kind: type[Answer]) -> None:
    """The vendor's documented refusals arrive as what they mean."""
    async with serving(answer(json.dumps(body), status)) as server:
        endpoint = HttpTokenEndpoint(server.url, TIMING)
        if grant == "refresh":
            found = await endpoint.refresh(APP, APP.secrets[0], Secret("r0"), at_any_time)
        else:
            found = await endpoint.exchange(APP, APP.secrets[0], "code")
    assert isinstance(found, kind)


def framed(body: bytes, length: int) -> bytes:
    """An answer whose Content-Length may lie."""
    return b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % length + body


def chunked(*parts: bytes, end: bytes = b"0\r\n\r\n") -> bytes:
    """A chunked answer, with or without its end."""
    head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
    return head + b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in parts) + end


HTML = "<html><body>Welcome to Hotel WiFi secret-page</body></html>"
GOOD = OK.encode()
BAD_ANSWERS: list[tuple[str, str, Respond]] = [
    ("F22", "cut before its length", raw(framed(GOOD[:20], len(GOOD)), close=True)),
    ("F22", "length too short", raw(framed(GOOD, len(GOOD) - 5), close=True)),
    ("F22", "chunks without an end", raw(chunked(GOOD, end=b""), close=True)),
    ("F22", "JSON cut in a chunk", raw(chunked(GOOD[:-4]), close=True)),
    ("F22", "closed without any byte", raw(b"", close=True)),
    ("F22", "closed within the head", raw(b"HTTP/1.1 200 OK\r\nContent-Ty", close=True)),
    (
        "F22",
        "two lengths",
        raw(framed(GOOD, len(GOOD)).replace(b"\r\n\r\n", b"\r\nContent-Length: 3\r\n\r\n"), close=True),
    ),
    ("F22", "no HTTP at all", raw(b"SSH-2.0-OpenSSH_9.2\r\n", close=True)),
    ("F23", "a page", answer(HTML, kind="text/html")),
    ("F23", "a page with status 403", answer(HTML, "403 Forbidden", kind="text/html; charset=utf-8")),
    ("F23", "JSON called a page", answer(OK, kind="text/html")),
    ("F23", "JSON without a type", answer(OK, kind="")),
    ("F23", "empty", answer("")),
    ("F24", "number as token", answer(json.dumps(PAIR | {"access_token": 5}))),
    ("F24", "null", answer("null")),
    ("F24", "empty string", answer(json.dumps(PAIR | {"access_token": ""}))),
    ("F24", "an array", answer("[]")),
    ("F24", "nested 10k deep", answer('{"access_token":' + "[" * 10_000 + "]" * 10_000 + "}")),
    ("F24", "duplicate keys", answer('{"access_token":"a","access_token":"b","refresh_token":"r"}')),
    ("F24", "NaN", answer(OK.replace("28800", "NaN"))),
    ("F24", "1e400", answer(OK.replace("28800", "1e400"))),
    ("F28", "invalid UTF-8", answer(GOOD.replace(b"a1", b"\xff\xfe"))),
    ("F28", "UTF-8 with BOM", answer(b"\xef\xbb\xbf" + GOOD)),
    ("F28", "UTF-16", answer(OK.encode("utf-16"))),
    ("F28", "gzip", answer(gzip.compress(GOOD), head="Content-Encoding: gzip\r\n")),
    ("F28", "a gzip bomb", answer(gzip.compress(bytes(5_000_000)), head="Content-Encoding: gzip\r\n")),
    ("F28", "unknown encoding", answer(GOOD, head="Content-Encoding: zzz\r\n")),
    ("F29", "larger than 64 KiB", answer(OK[:-1] + ', "x": "' + "x" * 65536 + '"}')),
    ("F29", "2 GB announced", raw(framed(b" " * 100_000, 2 << 30))),
    ("F29", "a head without end", raw(b"HTTP/1.1 200 OK\r\n" + b"X-Y: z\r\n" * 20_000)),
    ("F29", "one endless header", raw(b"HTTP/1.1 200 OK\r\nX: " + b"y" * 200_000)),
    ("F30", "CR LF in a token", answer(json.dumps(PAIR | {"refresh_token": "r\r\nX-Evil: 1"}))),
    ("F30", "NUL in a token", answer(json.dumps(PAIR | {"access_token": "a\0"}))),
    ("F30", "a space in a token", answer(json.dumps(PAIR | {"access_token": "a b"}))),
    ("F30", "a token that is not ASCII", answer(json.dumps(PAIR | {"access_token": "tökën"}))),
    ("F30", "a token of 63 KiB", answer(json.dumps(PAIR | {"access_token": "a" * 63 * 1024}))),
    ("F21", "408", answer("{}", "408 Request Timeout")),
    ("F21", "425", answer('{"error":"invalid_grant"}', "425 Too Early")),
    ("F15", "reset", reset),
    ("F15", "500", answer('{"error":"invalid_grant"}', "500 Internal Server Error")),
    ("F15", "503", answer("busy", "503 Service Unavailable", kind="text/plain")),
]


@pytest.mark.row("F15", "F21", "F22", "F23", "F24", "F28", "F29", "F30")
@pytest.mark.parametrize(("row", "case", "respond"), BAD_ANSWERS, ids=[f"{row}-{case}" for row, case, _ in BAD_ANSWERS])
async def test_unusable_answers(row: str, case: str, respond: Respond) -> None:
    """Whatever is no well-formed answer is ambiguous, never a refusal or a pair; its words are not repeated."""
    found = await refreshed(respond)
    assert isinstance(found, Ambiguous)
    assert "secret-page" not in found.reason
    assert "a1" not in found.reason


@pytest.mark.row("F25", "F26", "F27")
@pytest.mark.parametrize(
    ("change", "lifetime"),
    [
        ({}, 28800.0),
        ({"refresh_token": "r0"}, 28800.0),
        ({"expires_in": 0}, 3600.0),
        ({"expires_in": -5}, 3600.0),
        ({"expires_in": "3600"}, 3600.0),
        ({"expires_in": 1e12}, 366 * 86400.0),
        ({"expires_in": None}, 3600.0),
        ({"refresh_token": None}, 28800.0),
    ],
)
async def test_odd_but_usable(change: dict[str, Any], lifetime: float) -> None:
    """The same refresh token, none, or a strange lifetime: the pair counts."""
    found = await refreshed(answer(json.dumps(PAIR | change)))
    assert isinstance(found, Issued)
    assert found.pair.lifetime == lifetime


@pytest.mark.row("F21")
async def test_informational_answers_are_skipped() -> None:
    """100 and 103 before the real answer change nothing."""
    early = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n"
    assert isinstance(await refreshed(raw(early + framed(GOOD, len(GOOD)))), Issued)


@pytest.mark.row("F15", "F29")
@pytest.mark.parametrize(
    "respond",
    [
        silence,
        drip(b""),
        drip(b"HTTP/1.1 200 OK\r\nX: "),
        drip(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n{"),
        drip(b"HTTP/1.1 103 Early Hints\r\n\r\n" * 3),
    ],
    ids=["silence", "slow status line", "slow head", "slow body", "only hints"],
)
async def test_endless_answers(respond: Respond) -> None:
    """The whole call has one deadline, however alive the answer looks; the socket is closed when it ends."""
    found = await refreshed(respond, HASTY)
    assert isinstance(found, Ambiguous)


@pytest.mark.row("F31")
@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("where", ["same host", "other host", "downgrade", "metadata", "itself", "nonsense"])
async def test_redirects_are_not_followed(status: int, where: str) -> None:
    """A redirect is ambiguous and the secret goes nowhere else."""
    async with serving(answer(OK)) as other:

        async def redirect(peer: Peer) -> None:
            target = {
                "same host": "/elsewhere",
                "other host": other.url,
                "downgrade": f"http://user@localhost:{other.port}/",
                "metadata": "http://169.254.169.254/latest",
                "itself": peer.line.split()[1],
                "nonsense": "http://[::1",
            }[where]
            await answer("{}", f"{status} Moved", head=f"Location: {target}\r\n")(peer)

        async with serving(redirect) as server:
            found = await refresh(server.url)
            assert isinstance(found, Ambiguous)
            assert server.connections == 1
        assert other.connections == 0


@pytest.mark.row("F31", control=True)
@pytest.mark.parametrize("status", [307, 308])
async def test_a_redirect_that_would_be_followed(status: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """By a client that follows: the other host would have the client secret and the refresh token."""
    policy = http_client.manners
    monkeypatch.setattr(
        http_client, "manners", lambda timing, *, keep_alive: policy(timing, keep_alive=keep_alive) | FOLLOWS
    )
    async with serving(answer(OK)) as other:
        async with serving(answer("{}", f"{status} Moved", head=f"Location: {other.url}/\r\n")) as server:
            assert isinstance(await refresh(server.url), Issued)
        assert {"client_secret", "refresh_token"} <= parse_qs(other.peers[0].body).keys()


def closed_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port


@pytest.mark.row("F14")
@pytest.mark.parametrize("url", ["http://127.0.0.1:{port}", "http://nobody.invalid", "ws+x://127.0.0.1:{port}"])
async def test_nothing_was_sent(url: str) -> None:
    """A refused port, a name that does not exist and an unknown scheme: nothing left this machine."""
    assert isinstance(await refresh(url.format(port=closed_port())), NotSent)


@pytest.mark.row("F14")
async def test_connect_timeout() -> None:
    """A connection that never comes about is given up after the connect timeout, well before the deadline."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        address = listener.getsockname()
        fillers = [socket.socket() for _ in range(4)]
        try:
            for filler in fillers:  # a full backlog: further SYNs are dropped
                filler.setblocking(False)
                filler.connect_ex(address)
            found = await refresh(f"http://127.0.0.1:{address[1]}", Timing.of(4.0))
        finally:
            for filler in fillers:
                filler.close()
    assert found == NotSent("no connection (ConnectTimeout)")


async def test_cancellation_closes_the_socket() -> None:
    """A caller that is cancelled leaves no request running: the server sees the end at once."""
    arrived = asyncio.Event()

    async def respond(peer: Peer) -> None:
        arrived.set()
        await peer.gone()

    async with serving(respond) as server, asyncio.timeout(10):
        task = asyncio.create_task(refresh(server.url))
        await arrived.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await server.closed.wait()


async def test_pair_survives_a_bad_close(monkeypatch: pytest.MonkeyPatch) -> None:
    """An error while closing does not turn a received pair into a lost answer."""

    async def broken(self: object) -> None:
        raise httpx2.CloseError("broken pipe")

    async with serving(answer(OK)) as server:
        monkeypatch.setattr(httpx2.AsyncClient, "aclose", broken)
        assert isinstance(await refresh(server.url), Issued)


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (httpx2.ConnectError("x"), NotSent),
        (httpx2.ConnectTimeout("x"), NotSent),
        (httpx2.PoolTimeout("x"), NotSent),
        (httpx2.LocalProtocolError("x"), NotSent),
        (httpx2.UnsupportedProtocol("x"), NotSent),
        (httpx2.ReadError("x"), Ambiguous),
        (httpx2.ReadTimeout("x"), Ambiguous),
        (httpx2.WriteError("x"), Ambiguous),
        (httpx2.WriteTimeout("x"), Ambiguous),
        (httpx2.RemoteProtocolError("x"), Ambiguous),
        (httpx2.DecodingError("x"), Ambiguous),
        (ConnectionResetError("x"), Ambiguous),
        (RuntimeError("canary"), Ambiguous),
    ],
)
async def test_failures_beneath(error: Exception, kind: type[Answer]) -> None:
    """Only failures before the first byte mean that nothing was sent; a given transport is used and stays open."""

    class Failing(httpx2.AsyncBaseTransport):
        closed = False

        async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
            raise error

        async def aclose(self) -> None:
            self.closed = True

    transport = Failing()
    endpoint = HttpTokenEndpoint("https://api.cloudbeds.com/x", TIMING, transport)
    found = await endpoint.refresh(APP, APP.secrets[0], Secret("r0"), at_any_time)
    assert isinstance(found, kind)
    assert "canary" not in repr(found)
    assert not transport.closed


DATE = "Date: Tue, 24 Nov 2026 08:00:00 GMT\r\n"


@pytest.mark.parametrize(
    ("head", "seconds"),
    [
        ("Retry-After: 7\r\n", 7.0),
        ("Retry-After: 0\r\n", 0.0),
        ("Retry-After: 3600\r\n", 60.0),
        (f"Retry-After: {'9' * 400}\r\n", 60.0),
        (f"{DATE}Retry-After: Tue, 24 Nov 2026 08:00:09 GMT\r\n", 9.0),
        (f"{DATE}Retry-After: Tue, 24 Nov 2026 07:00:00 GMT\r\n", 0.0),
        (f"{DATE}Retry-After: Wed, 25 Nov 2026 08:00:00 GMT\r\n", 60.0),
        ("Retry-After: Tue, 24 Nov 2026 08:00:09 GMT\r\n", 60.0),
        (f"{DATE}Retry-After: -5\r\n", 0.0),
        ("Retry-After: soon\r\n", 0.0),
        ("", 0.0),
    ],
)
async def test_retry_after(head: str, seconds: float) -> None:
    """A wait in seconds or until a date, by the server's own clock and capped, comes with the ambiguity; else none."""
    found = await refreshed(answer("{}", "429 Too Many Requests", head=head))
    assert isinstance(found, Ambiguous)
    assert found.retry_after == seconds


async def test_retry_after_scales() -> None:
    """The cap is in proportion to the protocol's other durations; how long nobody sends after a 429 is the vendor's."""
    found = await refreshed(answer("{}", "429 Too Many Requests", head="Retry-After: 40\r\n"), Timing.of(2.0))
    assert isinstance(found, Ambiguous)
    assert (found.retry_after, found.pause) == (6.0, 40.0)


@pytest.mark.row("F20")
async def test_only_a_429_pauses_everybody() -> None:
    """A 503 holds back the grant that it came for, and nobody else."""
    for status, pause in (("429 Too Many Requests", 9.0), ("503 Service Unavailable", None)):
        found = await refreshed(answer("{}", status, head="Retry-After: 9\r\n"))
        assert isinstance(found, Ambiguous)
        assert (found.retry_after, found.pause) == (9.0, pause)


@pytest.mark.row("A32")
async def test_environment_is_not_read(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    """No proxy, certificate bundle or netrc from the environment takes part."""
    async with serving(answer(OK)) as proxy, serving(answer(OK)) as server:
        for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"):
            monkeypatch.setenv(name, proxy.url)
        netrc = tmp_path / "netrc"
        netrc.write_text("machine 127.0.0.1 login evil password evil\n")
        monkeypatch.setenv("NETRC", str(netrc))
        monkeypatch.setenv("SSL_CERT_FILE", "/nowhere")
        assert isinstance(await refresh(server.url), Issued)
        assert proxy.connections == 0
        assert "authorization" not in server.peers[0].head


def seen(server: RawServer) -> int:
    """How many requests a server read."""
    return len(server.peers)


@pytest.mark.row("F15")
async def test_never_repeated_by_itself() -> None:
    """A lost answer is one request: the HTTP layer repeats nothing."""
    async with serving(reset) as server:
        await refresh(server.url)
        assert seen(server) == 1


# --- a process that stood still before the first byte


def answers(*words: bool) -> Callable[[], bool]:
    """Of whoever is asked whether it may be sent, one after the other."""
    left = iter(words)
    return lambda: next(left)


@pytest.mark.row("F97")
@pytest.mark.parametrize("ask", ["refresh", "exchange_for_key"])
@pytest.mark.parametrize("words", [(False,), (True, False)], ids=["before the head", "before the body"])
async def test_it_may_not_be_sent_any_more(ask: str, words: tuple[bool, ...]) -> None:
    """Asked when the connection is up: no token leaves, and before the head not one byte; the socket is closed."""
    heard: list[bytes] = []

    async def listen(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heard.append(await reader.read())
        writer.close()

    async with await asyncio.start_server(listen, "127.0.0.1", 0) as server:
        endpoint = HttpTokenEndpoint(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", TIMING)
        found = await getattr(endpoint, ask)(APP, APP.secrets[0], Secret("r0"), answers(*words))
        async with asyncio.timeout(5):
            while not heard:
                await asyncio.sleep(0.01)
    assert isinstance(found, TooLate)
    assert isinstance(found, NotSent)
    assert b"r0" not in heard[0]
    assert (heard == [b""]) == (words == (False,))


@pytest.mark.row("F97")
async def test_it_is_asked_when_the_connection_is_up() -> None:
    """Not before: a handshake that takes long counts."""
    async with serving(answer(OK)) as server:
        asked: list[int] = []

        def may_send() -> bool:
            asked.append(server.connections)
            return True

        endpoint = HttpTokenEndpoint(server.url, TIMING)
        assert isinstance(await endpoint.refresh(APP, APP.secrets[0], Secret("r0"), may_send), Issued)
        assert len(asked) == 2

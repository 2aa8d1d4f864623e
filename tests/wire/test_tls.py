"""TLS: an unverified server never reads a request."""

from __future__ import annotations

import asyncio
import json
import ssl
from pathlib import Path

import pytest
from tests.wire.certificates import Authority
from tests.wire.rawserver import answer, serving

from cloudbeds_auth.rules.model import App
from cloudbeds_auth.rules.refresh import Timing
from cloudbeds_auth.rules.secret import Secret
from cloudbeds_auth.rules.token_response import Ambiguous, Answer, Issued, NotSent
from cloudbeds_auth.wire import http_client
from cloudbeds_auth.wire.http_client import at_any_time
from cloudbeds_auth.wire.token_endpoint import HttpTokenEndpoint

APP = App("default", "c", (Secret("s"),), "https://app.example.com/callback")
OK = answer(json.dumps({"access_token": "a1", "refresh_token": "r1"}))


@pytest.fixture
def authority(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Authority:
    """An authority that our policy trusts for the length of a test."""
    made = Authority(tmp_path)
    context = http_client.tls.__wrapped__()
    context.load_verify_locations(made.path)
    monkeypatch.setattr(http_client, "tls", lambda: context)
    return made


async def refresh(url: str, timing: Timing | None = None) -> Answer:
    """One refresh."""
    return await HttpTokenEndpoint(url, timing or Timing.of(20.0)).refresh(
        APP, APP.secrets[0], Secret("r0"), at_any_time
    )


async def test_trusted(authority: Authority) -> None:
    """A valid certificate for the right address: the pair arrives."""
    async with serving(OK, tls=authority.server("127.0.0.1")) as server:
        assert isinstance(await refresh(server.url), Issued)


@pytest.mark.row("A55", "A31", "F14")
@pytest.mark.parametrize("case", ["expired", "another address", "another name"])
async def test_refused_certificates(authority: Authority, case: str) -> None:
    """An expired certificate, or one of another host, ends the handshake: nothing was sent."""
    name = {"expired": "127.0.0.1", "another address": "127.0.0.2", "another name": "api.cloudbeds.com"}[case]
    async with serving(OK, tls=authority.server(name, expired=case == "expired")) as server:
        assert isinstance(await refresh(server.url), NotSent)
        assert server.peers == []


@pytest.mark.row("A55", "F14")
async def test_unknown_authority(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A certificate of an authority nobody trusts is refused, also when SSL_CERT_FILE names that authority."""
    unknown = Authority(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(unknown.path))
    http_client.tls.cache_clear()
    async with serving(OK, tls=unknown.server("127.0.0.1")) as server:
        assert isinstance(await refresh(server.url), NotSent)
        assert server.peers == []


@pytest.mark.row("A55")
async def test_old_tls(authority: Authority) -> None:
    """A server that speaks nothing newer than TLS 1.1 is refused."""
    context = authority.server("127.0.0.1")
    context.set_ciphers("ALL:@SECLEVEL=0")
    with pytest.warns(DeprecationWarning, match="deprecated"):
        context.minimum_version = ssl.TLSVersion.TLSv1
    with pytest.warns(DeprecationWarning, match="deprecated"):
        context.maximum_version = ssl.TLSVersion.TLSv1_1
    async with serving(OK, tls=context) as server:
        assert isinstance(await refresh(server.url), NotSent)
        assert server.peers == []


def test_policy_verifies() -> None:
    """Certificates and host names are always checked."""
    context = http_client.tls()
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.check_hostname
    assert context.minimum_version is ssl.TLSVersion.TLSv1_2


async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Read the handshake, say nothing, notice the end."""
    try:
        while await reader.read(65536):
            pass
    finally:
        writer.close()


@pytest.mark.row("F14")
async def test_silent_handshake() -> None:
    """A server that never finishes the handshake is given up after the connect timeout."""
    server = await asyncio.start_server(silent, "127.0.0.1", 0)
    async with server:
        url = f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        assert await refresh(url, Timing.of(0.8)) == NotSent("no connection (ConnectTimeout)")


@pytest.mark.parametrize("how", ["cancelled", "deadline"])
async def test_socket_of_a_cancelled_handshake(how: str) -> None:
    """Cancelled, or out of time, in the middle of the handshake: the socket is closed all the same."""
    begun, ended = asyncio.Event(), asyncio.Event()

    async def watching(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        begun.set()
        await silent(reader, writer)
        ended.set()

    server = await asyncio.start_server(watching, "127.0.0.1", 0)
    async with server, asyncio.timeout(10):
        url = f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        timing = Timing(connect=20.0, deadline=0.3) if how == "deadline" else Timing()
        task = asyncio.create_task(refresh(url, timing))
        await begun.wait()
        if how == "cancelled":
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
        else:
            assert isinstance(await task, Ambiguous)
        await ended.wait()

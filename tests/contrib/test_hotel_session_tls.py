"""The session that is lent in Flask and Django, over TLS: whom it trusts, and what is said after a failed handshake."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from requests.adapters import HTTPAdapter
from tests.wire.certificates import Authority
from tests.wire.rawserver import RawServer, answer, serving
from urllib3 import Retry

from cloudbeds_auth import OutcomeUnknown, UpstreamFailed
from cloudbeds_auth.contrib.hotel_session import HotelSessions
from cloudbeds_auth.rules.model import AccessToken
from cloudbeds_auth.rules.secret import Secret
from cloudbeds_auth.settings import Settings
from cloudbeds_auth.wire import http_client
from cloudbeds_auth.wire.lender import Lender

OK = answer("{}")


@dataclass
class Lending:
    """A vault that lends one token for ever; there is no database."""

    settings: Settings

    @property
    def base_url(self) -> str:
        """Where the token is for."""
        return self.settings.base_url

    def lender(self, identifier: str) -> Lender:
        """Nothing is refreshed, and nothing noted."""
        token = AccessToken(Secret("a1"), datetime.now(UTC), 1, grant_id="grant", lifetime=3600.0)

        async def fetch(rejected: AccessToken | None) -> AccessToken:
            return token

        return Lender(fetch, lambda rejected: token, lambda *call: None)


def sessions_at(server: RawServer, folder: Path) -> HotelSessions:
    """As an application has them."""
    database = f"sqlite:///{folder}/unused.sqlite3"
    settings = Settings(client_id="c", client_secret=Secret("s"), base_url=server.url, database_url=database)
    vault: Any = Lending(settings)
    return HotelSessions(vault)


async def posted(sessions: HotelSessions, **how: Any) -> int:
    """The status that a POST is answered with."""

    def post() -> int:
        with sessions.session("100001") as session:
            return int(session.post("postReservationNote", data={"note": "a"}, **how).status_code)

    return await asyncio.to_thread(post)


@pytest.fixture
def authority(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Authority:
    """An authority that our policy trusts for the length of a test, besides the system's."""
    made = Authority(tmp_path)
    usual = http_client.tls.__wrapped__

    def tls() -> Any:
        context = usual()
        context.load_verify_locations(made.path)
        return context

    monkeypatch.setattr(http_client, "tls", tls)
    return made


async def test_whom_the_vault_trusts_is_trusted(authority: Authority, tmp_path: Path) -> None:
    """A certificate of an authority that is not in the list of requests: the POST is answered."""
    async with serving(OK, tls=authority.server("127.0.0.1")) as server:
        assert await posted(sessions_at(server, tmp_path)) == 200


async def test_the_list_of_requests_is_not_trusted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An authority that only that list has: the vault would not connect, and neither does a session."""
    theirs = Authority(tmp_path)
    monkeypatch.setattr("requests.adapters.DEFAULT_CA_BUNDLE_PATH", str(theirs.path))
    async with serving(OK, tls=theirs.server("127.0.0.1")) as server:
        with pytest.raises(UpstreamFailed, match="nothing was sent"):
            await posted(sessions_at(server, tmp_path))
        assert server.peers == []


@pytest.mark.parametrize("case", ["expired", "another address", "another name"])
async def test_a_refused_certificate_means_that_nothing_was_sent(
    authority: Authority, tmp_path: Path, case: str
) -> None:
    """Also for a write: the handshake ended before the request."""
    name = {"expired": "127.0.0.1", "another address": "127.0.0.2", "another name": "api.cloudbeds.com"}[case]
    async with serving(OK, tls=authority.server(name, expired=case == "expired")) as server:
        with pytest.raises(UpstreamFailed, match="nothing was sent"):
            await posted(sessions_at(server, tmp_path))
        assert server.peers == []


async def test_another_failure_of_tls_leaves_a_write_in_doubt(authority: Authority, tmp_path: Path) -> None:
    """What is no TLS at all, for one: at which moment that was noticed is not known."""

    async def babble(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 this is a mail server\r\n" * 10)
        with suppress(OSError):
            await reader.read()
        writer.close()
        hung_up.set()

    hung_up = asyncio.Event()
    plain = await asyncio.start_server(babble, "127.0.0.1", 0)
    async with plain:
        found = RawServer(plain.sockets[0].getsockname()[1], "https")
        with pytest.raises(OutcomeUnknown):
            await posted(sessions_at(found, tmp_path))
        await hung_up.wait()


async def test_the_last_of_several_sendings_says_nothing_of_the_first(tmp_path: Path) -> None:
    """A caller's own `Retry`: the DELETE arrived, and its repeat found nobody. It may have been carried out."""

    async def takes_it(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        arrived.append(writer)
        listening.close()
        writer.transport.abort()

    arrived: list[asyncio.StreamWriter] = []
    listening = await asyncio.start_server(takes_it, "127.0.0.1", 0)
    found = RawServer(listening.sockets[0].getsockname()[1], "http")
    sessions = sessions_at(found, tmp_path)

    def delete() -> None:
        with sessions.session("100001") as session:
            session.mount(found.url, HTTPAdapter(max_retries=Retry(3)))
            session.delete("deleteReservationNote")

    with pytest.raises(OutcomeUnknown):
        await asyncio.to_thread(delete)
    assert len(arrived) == 1


async def test_certificates_that_the_caller_names_are_for_that_call(tmp_path: Path) -> None:
    """`verify=` still does what requests says, and the other calls over the same pool trust nobody more for it."""
    theirs = Authority(tmp_path)
    async with serving(OK, tls=theirs.server("127.0.0.1")) as server:
        sessions = sessions_at(server, tmp_path)
        for how in ({"verify": str(theirs.path)}, {}, {"verify": str(theirs.path)}):
            if how:
                assert await posted(sessions, **how) == 200
            else:
                with pytest.raises(UpstreamFailed, match="nothing was sent"):
                    await posted(sessions)


def test_a_pool_does_not_share_the_vaults_context(tmp_path: Path) -> None:
    """urllib3 writes to a context that it is given, and the vault connects with its own."""
    pool = HotelSessions(Lending(Settings(client_id="c", database_url=f"sqlite:///{tmp_path}/x")))._pool  # type: ignore[arg-type]
    assert pool._trusting is not http_client.tls()
    assert pool._trusting is pool._trusting

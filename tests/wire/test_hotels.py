"""Clients for one hotel each, over one pool."""

from __future__ import annotations

from pathlib import Path

import httpx2
import pytest
from tests.support.simulator import vendor

from cloudbeds_auth import ForeignOrigin, InvalidRequest, OutcomeUnknown, TokenVault, UpstreamFailed
from cloudbeds_auth.wire.hotel_client import HotelClients

ECHO = "/api/v1.3/echo"


async def test_a_client_that_is_closed_leaves_the_connections(tmp_path: Path) -> None:
    """Two clients after one another, the first closed: one TCP connection, which the other goes on with."""
    async with vendor() as sim, TokenVault.open(sim.settings(tmp_path)) as vault:
        connection = await sim.connect(vault)
        hotels = HotelClients(vault.base_url, vault.engine.world.timing)
        ports = []
        for identifier, named in ((connection.id, []), ("100001", ["100001"])):
            async with hotels.client(vault.auth(identifier)) as http:
                answer = await http.get(ECHO)
                ports.append(answer.extensions["network_stream"].get_extra_info("client_addr")[1])
                sent = [value for name, value in answer.json()["headers"] if name.lower() == "x-property-id"]
                assert sent == named
        await hotels.aclose()
        assert len(set(ports)) == 1


async def test_what_the_network_does_is_said_in_our_words(tmp_path: Path) -> None:
    """Cut off after it was sent: reading failed, a write may have happened. Another origin, or no text: not sent."""
    async with vendor() as sim, TokenVault.open(sim.settings(tmp_path)) as vault:
        hotels = HotelClients(vault.base_url, vault.engine.world.timing)
        http = hotels.client(vault.auth((await sim.connect(vault)).id))
        sim.fault("reset_before", "echo", times=2)
        with pytest.raises(UpstreamFailed):
            await http.get(ECHO)
        with pytest.raises(OutcomeUnknown):
            await http.post(ECHO, json={"a": 1})
        sim.fault("truncate", "echo", at=5)
        with pytest.raises(UpstreamFailed):
            await http.get(ECHO)
        sim.fault("truncate", "echo", at=5)
        with pytest.raises(httpx2.HTTPError):
            async with http.stream("GET", ECHO) as answer:
                await answer.aread()
        with pytest.raises(ForeignOrigin):
            await http.get("http://127.0.0.1:1/")
        with pytest.raises(InvalidRequest):
            await vault.call("100001", "GET", ECHO, params={"half a character": "\ud800"})
        with pytest.raises(UnicodeEncodeError):  # the caller's own, in the middle of what is sent
            await vault.call("100001", "POST", ECHO, content=(text.encode("ascii") for text in ("first", "Zo\xeb")))
        await hotels.aclose()
        await http.aclose()

"""The journey against another implementation of the vendor's endpoints: nothing here knows our simulator."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.acceptance.processes import CLIENT_ID, CLIENT_SECRET, Http, Process, Vendor, World
from tests.support.ports import free_port

STUB = Path(__file__).with_name("stub_vendor.py")


@pytest.fixture
def stubbed(tmp_path: Path) -> Iterator[World]:
    """The stub and a world that points at it."""
    process = Process("tests.acceptance.stub_vendor", CLIENT_ID, CLIENT_SECRET, env={}, cwd=STUB.parents[2])
    port = free_port()
    base = process.wait_for(r"listening on (http://\S+)")[1]
    made = World(tmp_path, Vendor(base, process), port, {})
    try:
        yield made
    finally:
        for service in made.services:
            service.stop()
        process.stop()


def test_the_whole_journey_works_unchanged(stubbed: World) -> None:
    """Approve, exchange, call, rotate, call again, restart, call again, with only CLOUDBEDS_BASE_URL changed."""
    service = stubbed.start()
    connection = stubbed.connect(query="?reference=tenant-7")
    shown = stubbed.admin.get(f"/api/v1/connections/{connection}").json
    assert (shown["state"], shown["reference"], shown["property_ids"]) == ("fresh", "tenant-7", ["4711"])
    assert shown["authorizing_user"] == {"id": "77", "name": "Grace H", "email": "g@example.com"}
    userinfo = f"/api/v1/connections/{connection}/userinfo"
    assert stubbed.admin.get(userinfo).json["first_name"] == "Grace"
    Http(stubbed.vendor.base).get("/expire")
    assert stubbed.admin.get(userinfo).status == 200
    assert stubbed.admin.get("/proxy/4711/api/v1.3/getHotels").json["data"][0]["propertyName"] == "Stub Inn"
    assert service.stop() == 0
    stubbed.start()
    assert stubbed.admin.get(userinfo).status == 200
    told = Http(stubbed.vendor.base).get("/told").json
    assert [entry for entry in told if entry in {"authorization_code", "refresh_token"}] == [
        "authorization_code",
        "refresh_token",
    ]

"""Five hundred hotels of an old script, against a real simulator: killed in the middle, and run again."""

from __future__ import annotations

import asyncio
import csv
import json
import signal
import sys
from collections import Counter
from pathlib import Path

import pytest
from tests.support.simulator import CLIENT, SECRET, Vendor, vendor

from cloudbeds_auth import Handover, InvalidRequest, Outcome, Secret, sync
from cloudbeds_auth.child_process import bare_environment
from cloudbeds_auth.cli.import_command import AT_ONCE
from cloudbeds_auth.settings import Settings
from cloudbeds_auth.vault import TokenVault
from cloudbeds_simulator import faults
from cloudbeds_simulator.records import Hotel, HotelUser
from cloudbeds_simulator.vendor_model import VendorModel

pytestmark = pytest.mark.long  # processes that live for seconds

CALLBACK = "http://localhost:7000/callback"
ADMIN_TOKEN = "an-admin-token-of-more-than-32-characters"
SCOPES = ("read:hotel",)
ENOUGH = 120.0  # seconds for anything here, on a busy machine


def of_an_old_script(cloud: Vendor, hotels: int) -> dict[str, str]:
    """So many hotels that approved long ago: property to refresh token, the access tokens used and expired."""
    model, now = cloud.simulator.model, cloud.simulator.clock.now()
    return {str(one): approved_long_ago(model, str(one), now) for one in range(700_001, 700_001 + hotels)}


def approved_long_ago(model: VendorModel, property_id: str, now: float) -> str:
    """A hotel whose refresh token is all that is left; that token."""
    model.add_hotel(Hotel(property_id, f"Hotel {property_id}", HotelUser(property_id, "Ada", "L", "ada@hotel.example")))
    code = model.authorize(CLIENT, CALLBACK, [property_id], SCOPES, now)
    tokens = model.exchange(CLIENT, code, CALLBACK, now)
    model.resource(tokens.pair.access_token, now)  # type: ignore[union-attr]
    tokens.grant.rotation.expire(now)  # type: ignore[union-attr]
    return tokens.pair.refresh_token  # type: ignore[union-attr]


def as_csv(hotels: dict[str, str], file: Path) -> Path:
    with file.open("w", newline="") as opened:
        rows = csv.writer(opened)
        rows.writerow(("reference", "property", "refresh_token"))
        rows.writerows((f"tenant-{one}", one, token) for one, token in hotels.items())
    return file


class Import:
    """The command as a process."""

    def __init__(self, cloud: Vendor, file: Path, database: str, keys: str) -> None:
        self.cloud, self.file = cloud, file
        self.environment = bare_environment(
            file.parent,
            CLOUDBEDS_CLIENT_ID=CLIENT,
            CLOUDBEDS_CLIENT_SECRET=SECRET,
            CLOUDBEDS_BASE_URL=cloud.base,
            CLOUDBEDS_SCOPES=" ".join(SCOPES),
            CLOUDBEDS_AUTH_DATABASE_URL=database,
            CLOUDBEDS_AUTH_RATE_LIMIT="0",
            CLOUDBEDS_AUTH_TOKEN_TIMEOUT="5",
            **({"CLOUDBEDS_AUTH_ENCRYPTION_KEYS": keys, "CLOUDBEDS_AUTH_ADMIN_TOKEN": ADMIN_TOKEN} if keys else {}),
        )

    async def begin(self) -> asyncio.subprocess.Process:
        return await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "cloudbeds_auth", "connections", "import", str(self.file), "--yes", "--json"),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=self.environment,
            cwd=self.file.parent,
        )

    async def killed(self, after: int, how: signal.Signals = signal.SIGKILL) -> int:
        """Begun, and ended in the middle, without warning or by Ctrl-C; its exit status.

        After so many tokens were issued the vendor holds its answers back until the signal was sent; and then again, so
        that a process which has not heard of it yet does not come to its end.
        """
        simulator = self.cloud.simulator
        held = faults.parse({"kind": "hang_after", "target": "token", "times": None, "skip": after})
        simulator.faults.rules.append(held)
        process = await self.begin()
        ended = asyncio.create_task(process.communicate())
        async with asyncio.timeout(ENOUGH):
            while issued(self.cloud) <= after:
                change = asyncio.create_task(simulator.journal.change.wait())
                await asyncio.wait([ended, change], return_when=asyncio.FIRST_COMPLETED)
                change.cancel()
                assert not ended.done(), f"it ended before it was killed: {ended.result()}"
        process.send_signal(how)
        while not ended.done():
            simulator.faults.clear()
            simulator.faults.rules.append(held)
            await asyncio.wait([ended], timeout=0.1)
        simulator.faults.clear()
        return process.returncode or 0

    async def done(self) -> tuple[int, dict[str, object]]:
        """Its exit status and its document."""
        process = await self.begin()
        async with asyncio.timeout(ENOUGH):
            out, err = await process.communicate()
        assert out, err.decode()
        assert process.returncode is not None
        return process.returncode, json.loads(out)


def issued(cloud: Vendor) -> int:
    return sum(one.outcome == "issued" for one in cloud.token_requests())


async def taken_over(cloud: Vendor, hotels: dict[str, str], one: Import) -> None:
    """Kill it after a third, run it again, and once more: what must be so."""
    await one.killed(len(hotels) // 3)
    before = len(cloud.token_requests())
    assert before < len(hotels)
    status, told = await one.done()
    assert (status, told["counts"]) == (0, {**dict.fromkeys(told["counts"], 0), "connected": len(hotels)})  # type: ignore[call-overload]
    sent = Counter(entry.refresh_token for entry in cloud.token_requests())
    assert {sent[token] >= 1 for token in hotels.values()} == {True}
    # Those whose answers the killed process had not stored are asked for again; whatever was stored is not.
    assert sum(sent[token] > 1 for token in hotels.values()) <= AT_ONCE
    assert max(sent.values()) <= 2
    again = len(cloud.token_requests())
    assert (await one.done())[0] == 0
    assert len(cloud.token_requests()) == again


async def every_hotel_works(cloud: Vendor, hotels: dict[str, str], settings: Settings) -> None:
    """Each has one connection, under its own name, whose stored token Cloudbeds accepts; none was lost."""
    model, now = cloud.simulator.model, cloud.simulator.clock.now()
    async with TokenVault.open(settings) as vault:
        for property_id in hotels:
            connection = await vault.connection(await vault.resolve(property_id))
            assert (connection.state, connection.reference) == ("fresh", f"tenant-{property_id}")
            assert connection.property_ids == (property_id,)
            token = await vault.access_token(connection.id)
            assert model.find(token.reveal(), now).approval.property_ids == (property_id,)  # type: ignore[union-attr]


async def test_five_hundred_hotels(tmp_path: Path) -> None:
    """Killed in the middle and run again, over SQLite: none is lost, and none is sent again once it was stored."""
    async with vendor() as cloud:
        hotels = of_an_old_script(cloud, 500)
        one = Import(cloud, as_csv(hotels, tmp_path / "hotels.csv"), f"sqlite:///{tmp_path / 'vault.sqlite3'}", "")
        await taken_over(cloud, hotels, one)
        await every_hotel_works(cloud, hotels, cloud.settings(tmp_path))


async def test_interrupted_by_hand(tmp_path: Path) -> None:
    """Ctrl-C lets what is under way come back and be stored: run again, it sends no token twice, not even one."""
    async with vendor() as cloud:
        hotels = of_an_old_script(cloud, 60)
        one = Import(cloud, as_csv(hotels, tmp_path / "hotels.csv"), f"sqlite:///{tmp_path / 'vault.sqlite3'}", "")
        assert await one.killed(10, signal.SIGINT) == 130
        assert len(cloud.token_requests()) < len(hotels)
        assert (await one.done())[0] == 0
        assert Counter(entry.refresh_token for entry in cloud.token_requests()) == dict.fromkeys(hotels.values(), 1)


@pytest.mark.parametrize("variant", ["V0/n", "V3/n"])
async def test_hotels_into_postgresql(tmp_path: Path, postgres_url: str, variant: str) -> None:
    """The same over PostgreSQL and under other readings of the rotation, with fewer hotels."""
    keys = "2UL2SIZXjYdHMS42jtktn2sqjUVVbw+STiRE/pEdFa8="
    async with vendor(variant) as cloud:
        hotels = of_an_old_script(cloud, 30)
        one = Import(cloud, as_csv(hotels, tmp_path / "hotels.csv"), postgres_url, keys)
        await taken_over(cloud, hotels, one)
        given = {"database_url": postgres_url, "encryption_keys": keys, "admin_token": ADMIN_TOKEN}
        await every_hotel_works(cloud, hotels, cloud.settings(tmp_path, **given))


def one_day(vault: sync.TokenVault, property_id: str, token: str) -> None:
    """Import one hotel, look, leave, forget: by the blocking vault."""
    hotel = Handover(property_id, Secret(token), reference="tenant-7", scopes=("read:hotel",))
    told = vault.import_hotel(hotel)
    assert told.outcome is vault.import_hotel(hotel).outcome is Outcome.CONNECTED
    assert vault.missing_scopes(told.connection.id) == ("write:reservation",)
    (listed,) = vault.connections(lacking_scopes=True).connections
    assert listed.id == told.connection.id
    assert listed.connect_url
    with pytest.raises(InvalidRequest, match="still connected"):
        vault.forget(told.connection.id)
    assert vault.disconnect(told.connection.id).authorizing_user is not None
    assert vault.forget(told.connection.id).authorizing_user is None


async def test_one_hotel_by_the_blocking_vault(tmp_path: Path) -> None:
    """The same operations as the asynchronous one's."""
    async with vendor() as cloud:
        ((property_id, token),) = of_an_old_script(cloud, 1).items()
        settings = cloud.settings(tmp_path, scopes="read:hotel write:reservation")

        def day() -> None:
            with sync.TokenVault.open(settings) as vault:
                one_day(vault, property_id, token)

        await asyncio.to_thread(day)


async def test_one_hotel_by_the_asynchronous_vault(tmp_path: Path) -> None:
    """Taken over with the scopes that it granted, found among those that lack one, disconnected, forgotten."""
    async with vendor() as cloud, TokenVault.open(cloud.settings(tmp_path, scopes="read:hotel")) as vault:
        ((property_id, token),) = of_an_old_script(cloud, 1).items()
        told = await vault.import_hotel(Handover(property_id, Secret(token), scopes=("read:guest",)))
        assert await vault.missing_scopes(told.connection.id) == ("read:hotel",)
        assert len((await vault.connections(lacking_scopes=True)).connections) == 1
        await vault.disconnect(told.connection.id)
        assert (await vault.forget(told.connection.id)).authorizing_user is None

"""Any story over the public API: Hypothesis draws the steps, a small model of its own says what may be answered.

`TokenVault` over a real SQLite file, in virtual time, against the simulator's model beneath the real HTTP clients: two
processes of ours, two hotels, every reading of the rotation rules that loses no hotel by itself. What must hold is in
`story`, whose bystander knows little: who approved, what the hotel and the operator did, and the vendor's own book.

A failing story is printed as the steps that lead to it. `STORIES=500` tells more of them.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import httpx2
import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import initialize, precondition, rule
from tests.engine.story import HOTELS, Bystander, Known
from tests.support.cloud import TARGETS, WEATHER, Cloud
from tests.support.fakes import Notebook
from tests.support.vaults import House
from tests.support.virtual import BEGAN, WALL

from cloudbeds_auth.errors import (
    AuthorizationExpired,
    ClientRefused,
    Error,
    RefreshInDoubt,
    StateMismatch,
    TryAgain,
)
from cloudbeds_auth.rules.lifecycle import State
from cloudbeds_auth.rules.model import Connection
from cloudbeds_auth.vault import TokenVault
from cloudbeds_simulator.rotation import VARIANTS

LIFETIME = 3600.0
FORGIVING = [label for label in VARIANTS if label[:2] not in {"V3", "V7"}]
hotels, processes = st.sampled_from(HOTELS), st.sampled_from(["one", "two"])


class Hotels(Bystander):
    """Two hotels, two processes, one vendor."""

    # --- beginnings

    @initialize(variant=st.sampled_from(FORGIVING))
    def one_hotel_is_connected(self, variant: str) -> None:
        async def opened() -> dict[str, TokenVault]:
            cloud = Cloud(lambda: WALL + self.loop.time() - BEGAN, variant, HOTELS, LIFETIME)
            self.house = House(Path(self.folder.name) / "vault.sqlite3", self.clock, cloud, Notebook())
            return {"one": await self.house.open(), "two": await self.house.open()}

        self.vaults = self.run(opened())
        self.begins_to_connect("1000", "one")
        self.comes_back_approved("one", 0)

    @rule(hotel=hotels, process=processes)
    def begins_to_connect(self, hotel: str, process: str) -> None:
        """Somebody clicks Connect; a hotel that is connected already does so from its own link."""
        connection = self.known[hotel].connection
        begun = self.run(self.vaults[process].begin_authorization(connection_id=connection))
        self.begun.append((hotel, begun, self.loop.time()))

    @precondition(lambda self: self.begun)
    @rule(process=processes, before=st.integers(0, 2))
    def comes_back_approved(self, process: str, before: int) -> None:
        """The hotel approves and the browser comes back, to either process: now or too late, once or twice.

        `before`: of those begun the last one, or the one before it, …
        """
        hotel, begun, since = self.begun[-1 - before % len(self.begun)]
        code, state = self.house.cloud.approve(begun.url, hotel)
        known, troubled = self.known[hotel], self.house.cloud.met
        try:
            found = self.run(self.vaults[process].finish_authorization(code=code, state=state))
        except StateMismatch:
            assert self.house.cloud.exchanges[code] == 0
        except AuthorizationExpired:
            assert self.loop.time() - since > 600.0 or self.house.cloud.exchanges[code]
        except ClientRefused:
            assert not self.our_secret_is_good()
        except TryAgain:
            assert self.house.cloud.met > troubled
            self.trouble()
        else:
            self._connected(hotel, known, found)
        if self.house.cloud.met > troubled:
            self.trouble()

    def _connected(self, hotel: str, known: Known, found: Connection) -> None:
        assert known.connection in {None, found.id}, "a hotel that comes back keeps its connection"
        known.connection, known.connected, known.disconnected = found.id, True, False

    # --- using

    @rule(hotel=hotels, process=processes, min_valid=st.sampled_from([0.0, 60.0, 1e6]))
    def asks_for_a_token(self, hotel: str, process: str, min_valid: float) -> None:
        self._lend(hotel, process, min_valid=min_valid)

    @rule(hotel=hotels, process=processes)
    def says_that_the_last_token_was_rejected(self, hotel: str, process: str) -> None:
        """Rightly or not: a token that still works comes back proven, and costs no refresh."""
        last = self.known[hotel].last
        if last is not None:
            self._lend(hotel, process, rejected=last)

    def _lend(self, hotel: str, process: str, **asked: Any) -> None:
        known = self.known[hotel]
        if known.connection is None:
            return
        try:
            known.last = self.run(self.vaults[process].access_token(known.connection, **asked))
        except Error as error:
            self.judge(hotel, error)

    @rule(hotel=hotels, process=processes)
    def calls(self, hotel: str, process: str) -> None:
        """A protected call with `auth=`: a living hotel's is served, whatever expired or was refreshed elsewhere."""
        known = self.known[hotel]
        if known.connection is None:
            return
        troubled = self.house.cloud.met
        try:
            status = self.run(self.house.call(self.vaults[process], known.connection))
        except Error as error:
            self.judge(hotel, error)
        except httpx2.HTTPError:
            assert self.house.cloud.met > troubled  # the call's own answer was lost
        else:
            assert status == 200 or not self.served_without_doubt(hotel), f"HTTP {status}"

    @rule(hotel=hotels, process=processes)
    def an_operator_refreshes(self, hotel: str, process: str) -> None:
        known = self.known[hotel]
        if known.connection is None:
            return
        try:
            found = self.run(self.vaults[process].refresh(known.connection))
        except Error as error:
            # Said of a hotel that is served, too: a request that was lost may still arrive.
            if not isinstance(error, RefreshInDoubt) or self.loop.time() - self.house.cloud.met_at > 700.0:
                self.judge(hotel, error)
        else:
            assert (found.generation or 0) > known.generation or not known.calm

    @rule(process=processes)
    def upkeep_looks(self, process: str) -> None:
        jobs = {job.name: job for job in self.vaults[process].engine.jobs._jobs}
        self.run(jobs["upkeep"].tick())

    # --- leaving

    @rule(hotel=hotels, process=processes, forget=st.booleans())
    def an_operator_disconnects(self, hotel: str, process: str, forget: bool) -> None:
        known = self.known[hotel]
        if known.connection is None:
            return
        try:
            found = self.run(self.vaults[process].disconnect(known.connection, forget=forget))
        except Error as error:
            assert not forget, "it insisted"
            self.judge(hotel, error)
            self.trouble()  # the vendor may have taken note all the same
        else:
            assert found.state is State.DISCONNECTED
            known.disconnected = True

    @rule(hotel=hotels)
    def the_hotel_removes_the_app(self, hotel: str) -> None:
        self.house.cloud.revoke(hotel)

    # --- weather

    @rule(hotel=hotels)
    def the_access_token_expires_at_the_vendor(self, hotel: str) -> None:
        self.house.cloud.expire(hotel)

    @rule(befalls=st.sampled_from(TARGETS), weather=st.lists(st.sampled_from(WEATHER), min_size=1, max_size=3))
    def bad_weather_ahead(self, befalls: str, weather: list[str]) -> None:
        self.house.cloud.weather[befalls] += weather
        self.trouble()

    @precondition(lambda self: self.our_secret_is_good())
    @rule()
    def the_client_secret_is_reset_at_the_vendor(self) -> None:
        self.house.cloud.register(f"{self.house.cloud.secret}x")
        self.trouble()

    @precondition(lambda self: not self.our_secret_is_good())
    @rule()
    def the_operator_mends_the_settings(self) -> None:
        self.house.secret = self.house.cloud.secret

    @rule(seconds=st.sampled_from([1.0, 25.0, 70.0, 700.0, LIFETIME * 0.92, LIFETIME + 100.0, 30 * 86400.0]))
    def time_passes(self, seconds: float) -> None:
        self.run(self.clock.sleep(seconds))

    @rule(process=processes)
    def a_process_stops_and_starts_again(self, process: str) -> None:
        async def again() -> TokenVault:
            await self.vaults[process].aclose()
            return await self.house.open()

        self.vaults[process] = self.run(again())

    @rule()
    def the_sky_clears(self) -> None:
        self.clear_the_sky()


TestHotels = pytest.mark.timeout(600)(Hotels.TestCase)
TestHotels.settings = settings(
    max_examples=int(os.environ.get("STORIES", "25")), stateful_step_count=30, deadline=None,
    suppress_health_check=list(HealthCheck), phases=(Phase.explicit, Phase.reuse, Phase.generate, Phase.shrink),
)  # fmt: skip

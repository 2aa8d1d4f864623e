"""A bystander of a story: what it knows of two hotels, what may be said to callers, what holds after every step."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Any, TypeVar

from hypothesis.stateful import RuleBasedStateMachine
from tests.engine.history import told
from tests.support.vaults import House
from tests.support.virtual import VirtualClock, VirtualLoop, settle

from cloudbeds_auth.errors import ClientRefused, ConnectionDisconnected, Error, ReauthorizationRequired, TryAgain
from cloudbeds_auth.rules.lifecycle import State
from cloudbeds_auth.rules.model import AccessToken, AuthorizationRequest
from cloudbeds_auth.transactions.candidates import read_candidate
from cloudbeds_auth.transactions.grants import read_grant
from cloudbeds_auth.vault import TokenVault

T = TypeVar("T")
HOTELS = ("1000", "1001")
BUSY = (State.FRESH, State.STALE, State.REFRESHING, State.IN_DOUBT, State.BACKING_OFF)
HEALED_WITHIN = 20  # looks of twenty seconds: the lease, the backoff's cap, the interval between two refusals


@dataclass
class Known:
    """What a bystander knows of one hotel. `proven`: one of its approvals was seen to work. `calm`: nothing went wrong
    since it was last seen to be served.
    """

    connection: str | None = None
    connected: bool = False
    disconnected: bool = False
    proven: bool = False
    generation: int = 0
    calm: bool = True
    last: AccessToken | None = None


class Bystander(RuleBasedStateMachine):
    """Two hotels, two processes, one vendor; the rules are told by whoever tells the story."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.loop = VirtualLoop()
        self.clock = VirtualClock()
        self.vaults: dict[str, TokenVault] = {}
        self.known = {hotel: Known() for hotel in HOTELS}
        self.begun: list[tuple[str, AuthorizationRequest, float]] = []
        self.faultless = True
        self.house: House

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Do it, then let everything run that can without time passing."""

        async def whole() -> T:
            result = await work
            await settle()
            return result

        return self.loop.run_until_complete(whole())

    # --- what a bystander knows

    def lives(self, hotel: str) -> bool:
        """Whether the vendor accepts something of what we last received for this hotel, and nobody left."""
        grant, known = self.house.cloud.received.get(hotel), self.known[hotel]
        return known.connected and not known.disconnected and grant is not None and not grant.rotation.revoked

    def left(self, hotel: str) -> bool:
        """Whether an operator said goodbye, or the hotel took its approval back before that was seen to work."""
        known = self.known[hotel]
        return known.disconnected or not (known.proven or self.lives(hotel))

    def served_without_doubt(self, hotel: str) -> bool:
        """Whether there is no excuse."""
        return self.lives(hotel) and self.known[hotel].calm and self.our_secret_is_good()

    def our_secret_is_good(self) -> bool:
        return self.house.secret == self.house.cloud.secret

    def trouble(self) -> None:
        """Something went wrong: until a hotel is served again, it may have to wait."""
        self.faultless = False
        for known in self.known.values():
            known.calm = False

    def judge(self, hotel: str, error: Error) -> None:
        """What may be said to whoever asks for this hotel."""
        assert not self.served_without_doubt(hotel), f"a living hotel is not served: {error!r}"
        match error:
            case ReauthorizationRequired():
                assert not self.lives(hotel), "asked to reconnect, and the vendor accepts what we hold"
            case ConnectionDisconnected():
                assert self.left(hotel)
            case ClientRefused():
                assert not self.our_secret_is_good()
            case _:
                assert isinstance(error, TryAgain), error
                assert error.next_step

    # --- what holds after every step

    def check_invariants(self, *_: Any, **__: Any) -> None:
        """After every step, and without a line in the story: an `@invariant` would print one between any two steps."""
        for hotel, known in self.known.items():
            if known.connection is not None:
                self.run(self._look(hotel, known))

    async def _look(self, hotel: str, known: Known) -> None:
        vault = self.vaults["one"]
        assert known.connection is not None
        seen = await vault.connection(known.connection)
        # A newer approval that waits may prove to be of no use, and what it would have brought is gone with it.
        if seen.connected_at is not None and await vault.engine.world.db.read(read_candidate(known.connection)) is None:
            assert (seen.generation or 0) >= known.generation, "generations never fall"
            known.generation = seen.generation or 0
        known.proven = seen.connected_at is not None
        if seen.state is State.DISCONNECTED:
            assert self.left(hotel)
        elif seen.state is State.REAUTHORIZATION_REQUIRED:
            assert not self.lives(hotel), "reconnect is asked of a hotel whose tokens the vendor accepts"
            assert seen.problem
            assert seen.next_step
            assert seen.connect_url
        elif seen.state is State.CLIENT_REFUSED:
            assert not self.faultless
        else:
            assert seen.state in BUSY
        if seen.generation is None:
            assert self.left(hotel), "nothing speaks for it any more"
            return
        assert seen.property_ids == (hotel,)
        story = told(await vault.events(known.connection, limit=200))
        assert story.generation == seen.generation
        if seen.state not in {State.CLIENT_REFUSED, State.STALE}:
            assert seen.state == story.state, f"history says {story.state}"
        if self.lives(hotel):
            await self._holds_what_lives(hotel, vault, story.grant_id)

    async def _holds_what_lives(self, hotel: str, vault: TokenVault, grant_id: str) -> None:
        """I2: of a living hotel a token rests that the vendor accepts. I4: nothing was asked for twice in vain."""
        candidate = await vault.engine.world.db.read(read_candidate(self.known[hotel].connection or ""))
        active = await vault.engine.world.db.read(read_grant(grant_id))
        stored = {token.value.reveal() for row in (active, candidate) if row for token in row.tokens}
        rotation = self.house.cloud.received[hotel].rotation
        assert stored & set(rotation.accepted), f"lost: {stored} of ours, {rotation.accepted} of theirs"
        if self.faultless:
            assert self.house.cloud.refreshes[self.house.cloud.received[hotel].number] == len(rotation.pairs) - 1
            assert active is not None
            assert rotation.pairs[-1].access_token == active.access.reveal(), "every pair that was issued was committed"
        assert max(self.house.cloud.exchanges.values()) == 1, "one exchange for a code"

    # --- the end of every story

    def clear_the_sky(self) -> None:
        """No more faults: every living hotel is served by both processes, and looks healthy again."""
        self.house.cloud.weather.clear()
        self.house.secret = self.house.cloud.secret
        for hotel in HOTELS:
            for process in self.vaults:
                if self.lives(hotel):
                    self.run(self._served(hotel, self.vaults[process]))
                    self.known[hotel].calm = True

    async def _served(self, hotel: str, vault: TokenVault) -> None:
        connection = self.known[hotel].connection
        assert connection is not None
        problem: object = None
        for _ in range(HEALED_WITHIN):
            try:
                problem = await self.house.call(vault, connection)
            except TryAgain as error:
                problem = error
            except ClientRefused as error:
                problem = error
            if problem == 200:
                break
            await self.clock.sleep(20.0)
        assert problem == 200, f"hotel {hotel} does not heal: {problem!r}"
        assert (await vault.connection(connection)).state in {*BUSY}

    def teardown(self) -> None:
        try:
            if self.vaults and sys.exc_info()[0] is None:  # what was found on the way says more
                self.clear_the_sky()
        finally:
            for vault in self.vaults.values():
                self.loop.run_until_complete(vault.aclose())
            self.loop.run_until_complete(self.loop.shutdown_asyncgens())
            self.loop.close()
            self.folder.cleanup()

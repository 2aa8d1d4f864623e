"""Every reading of the vendor's rules in virtual time: the simulator's pure model behind the ports, answers lost.

The steps are drawn by Hypothesis. After every one of them: what rests is accepted by the vendor (I2), nothing was used
before its commit (I1), nobody is asked to reconnect (I7); once the faults stop, every hotel serves (I10).
"""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack, suppress
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.support.quiet_hotels import QuietHotels
from tests.support.stage import Process, Stage
from tests.support.stage import stage as staged
from tests.support.virtual import VirtualLoop

from cloudbeds_auth.errors import ReauthorizationRequired, TryAgain
from cloudbeds_auth.ports import AppState, Listed, MaySend, Turn
from cloudbeds_auth.rules.api_errors import DeadToken, Inconclusive, Proof, Verdict
from cloudbeds_auth.rules.model import App, Pair
from cloudbeds_auth.rules.secret import Secret
from cloudbeds_auth.rules.token_response import Ambiguous, Answer, Issued, KeyAnswer, NotSent, Refused
from cloudbeds_auth.transactions.history import read_history
from cloudbeds_simulator.rotation import VARIANTS, Rotation
from cloudbeds_simulator.rotation import IssuedPair as Given
from cloudbeds_simulator.rotation import RefreshRefusal as Dead

LIFETIME = 3600.0
FORGIVING = [label for label in VARIANTS if not label.startswith("V7")]


class Cloudbeds(QuietHotels):
    """TokenEndpoint and Vendor over one grant's rotation; `weather` says what befalls the next requests."""

    lists_properties = True

    def __init__(self, variant: str, now: Callable[[], float]) -> None:
        self._now = now
        self._numbers = 0
        self.rotation = Rotation(VARIANTS[variant], self._mint, now(), LIFETIME)
        self.weather: list[str] = []
        self.committed: set[str] = set()  # every access token that ever rested
        self.look: Callable[[], Awaitable[None]]
        self.sent: list[str] = []
        self.issued = 0
        self.late: list[str] = []

    def _mint(self, kind: str) -> str:
        self._numbers += 1
        return f"{kind}-{self._numbers}"

    def _next(self) -> str:
        return self.weather.pop(0) if self.weather else "fair"

    async def exchange(self, app: App, secret: Secret, code: str) -> Answer:
        raise NotImplementedError

    async def exchange_for_key(self, app: App, secret: Secret, token: Secret, may_send: MaySend) -> KeyAnswer:
        raise NotImplementedError

    async def refresh(self, app: App, secret: Secret, token: Secret, may_send: MaySend) -> Answer:
        await self.look()
        value, weather = token.reveal(), self._next()
        self.sent.append(value)
        if weather == "unsent":
            return NotSent("no route")
        if weather == "never arrives":
            return Ambiguous("lost")
        if weather == "arrives late":
            self.late.append(value)
            return Ambiguous("lost")
        outcome = self.rotation.present(value, self._now())
        self.issued += isinstance(outcome, Given)
        if weather == "duplicate":
            self.late.append(value)
        if weather == "answer lost":
            return Ambiguous("lost")
        if isinstance(outcome, Dead):
            return Refused(outcome.reason)
        left = max(60.0, outcome.pair.expires_at - self._now())
        return Issued(Pair(Secret(outcome.pair.access_token), Secret(outcome.pair.refresh_token), left))

    def deliver_late(self) -> None:
        """What the network held back arrives now."""
        for value in self.late:
            self.rotation.present(value, self._now())
        self.late.clear()

    async def about_to_use(self, access: str) -> None:
        """I1: what is used rests, or rested."""
        await self.look()
        assert access in self.committed, "used before it was committed"

    def authorization_url(self, app: App, state: str) -> str:
        raise NotImplementedError

    async def userinfo(self, access: Secret) -> Verdict:
        await self.about_to_use(access.reveal())
        weather = self._next()
        if weather in {"unsent", "never arrives", "arrives late"}:
            return Inconclusive("no route")
        if weather == "duplicate":  # a rate limit: reached the vendor, said nothing
            self.rotation.use(access.reveal(), self._now(), successful=False)
            return Inconclusive("HTTP 429")
        alive = self.rotation.use(access.reveal(), self._now())
        if weather == "answer lost":
            return Inconclusive("lost")
        return Proof() if alive else DeadToken()

    async def properties(self, access: Secret, turn: Turn, /) -> Listed:
        return Listed(("1000",))

    async def app_state(self, access: Secret, property_id: str | None) -> AppState:
        return AppState("enabled")

    async def disable_app(self, access: Secret, property_ids: tuple[str, ...]) -> bool:
        return True


class Story:
    """Two processes, one hotel, one vendor."""

    def __init__(self, stage: Stage, cloudbeds: Cloudbeds) -> None:
        self.stage, self.cloudbeds = stage, cloudbeds
        self.processes: list[Process] = []
        self.grant_id = self.connection_id = ""

    async def begin(self) -> None:
        first = self.cloudbeds.rotation.current
        grant = await self.stage.connected(
            Pair(Secret(first.access_token), Secret(first.refresh_token), LIFETIME, ("1000",))
        )
        self.grant_id, self.connection_id = grant.id, grant.connection_id
        self.cloudbeds.look = self._look
        self.processes = [await self._process(), await self._process()]

    async def _look(self) -> None:
        self.cloudbeds.committed.add((await self.stage.row(self.grant_id)).access.reveal())

    async def _process(self) -> Process:
        return await self.stage.process(endpoint=self.cloudbeds, vendor=self.cloudbeds)

    async def step(self, action: str, which: int, weather: list[str]) -> None:
        """One step of the story, and the invariants after it."""
        process = self.processes[which]
        self.cloudbeds.weather = list(weather)
        if action == "call":
            await self._call(process)
        elif action == "both call":
            await asyncio.gather(*(self._call(one) for one in self.processes))
        elif action == "expire":
            self.cloudbeds.rotation.expire(self.stage.clock.wall())
        elif action == "time":
            await self.stage.clock.sleep(70.0)
        elif action == "a day":
            await self.stage.clock.sleep(LIFETIME + 100.0)
        elif action == "late arrivals":
            self.cloudbeds.deliver_late()
        elif action == "kill":
            asking = asyncio.create_task(self._call(process))
            for _ in range(7 * len(weather)):
                await asyncio.sleep(0)
            await self.stage.kill(process)
            asking.cancel()
            await asyncio.gather(asking, return_exceptions=True)
            self.processes[which] = await self._process()
        self.cloudbeds.weather = []
        await self.check()

    async def _call(self, process: Process) -> bool:
        """One call, healed by hand as rule 9 says; whether it was served."""
        try:
            token = await process.access.access_token(self.connection_id)
            for _ in range(3):
                await self.cloudbeds.about_to_use(token.reveal())
                if self.cloudbeds.rotation.use(token.reveal(), self.stage.clock.wall()):
                    return True
                newer = await process.access.access_token(self.connection_id, rejected=token)
                if newer.is_same(token):
                    return False
                token = newer
        except TryAgain:
            pass
        return False

    async def check(self) -> None:
        """I1, I2, I7."""
        row = await self.stage.row(self.grant_id)
        stored = {token.value.reveal() for token in row.tokens}
        accepted = set(self.cloudbeds.rotation.accepted)
        assert stored & accepted, f"lost: {stored} of ours, {accepted} of theirs"
        assert row.reauth is None
        events = await self.stage.one.store.read(read_history(self.connection_id, limit=10_000))
        committed = 1 + sum(event.kind == "pair_committed" for event in events)
        assert row.generation == committed
        assert len(row.tokens) <= 12

    async def end(self) -> None:
        """The weather is fair from now on: it serves within a minute or two (I10)."""
        self.cloudbeds.deliver_late()
        await self.check()
        for _ in range(12):
            if await self._call(self.processes[0]):
                break
            await self.stage.clock.sleep(20.0)
        else:
            raise AssertionError("it does not heal")
        assert await self._call(self.processes[1])
        await self.check()


WEATHER = st.sampled_from(["fair", "fair", "answer lost", "never arrives", "unsent", "duplicate", "arrives late"])
ACTIONS = st.sampled_from(["call", "call", "both call", "expire", "expire", "time", "a day", "kill", "late arrivals"])
STEPS = st.lists(st.tuples(ACTIONS, st.integers(0, 1), st.lists(WEATHER, max_size=4)), min_size=1, max_size=12)


def play(variant: str, steps: list[tuple[str, int, list[str]]], end: Callable[[Story], Awaitable[None]]) -> None:
    """A whole story on a loop of its own."""

    async def story() -> None:
        async with AsyncExitStack() as stack:
            folder = stack.enter_context(tempfile.TemporaryDirectory())
            stage = await stack.enter_async_context(staged(Path(folder)))
            told = Story(stage, Cloudbeds(variant, stage.clock.wall))
            await told.begin()
            for step in steps:
                await told.step(*step)
            await end(told)

    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        runner.run(story())


@pytest.mark.timeout(60)
@pytest.mark.parametrize("variant", [label for label in FORGIVING if not label.startswith("V3")])
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(STEPS)
def test_no_hotel_is_lost(variant: str, steps: list[tuple[str, int, list[str]]]) -> None:
    """Whatever is lost, delayed, doubled or killed: a stored token is accepted, and it heals."""
    play(variant, steps, Story.end)


HARMLESS = st.sampled_from(["fair", "answer lost", "never arrives", "unsent"])
PUNCTUAL = st.lists(
    st.tuples(
        st.sampled_from(["call", "both call", "expire", "time", "a day", "kill"]),
        st.integers(0, 1), st.lists(HARMLESS, max_size=4),
    ),
    min_size=1, max_size=12,
)  # fmt: skip


@pytest.mark.timeout(60)
@pytest.mark.parametrize("variant", ["V3/n", "V3/y"])
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(PUNCTUAL)
def test_v3_without_delayed_requests(variant: str, steps: list[tuple[str, int, list[str]]]) -> None:
    """Under V3 a request delayed past a first use revokes the grant whatever a client does; nothing else does."""
    play(variant, steps, Story.end)


CALM: st.SearchStrategy[list[tuple[str, int, list[str]]]] = st.lists(
    st.tuples(st.sampled_from(["call", "both call", "expire", "time", "a day"]), st.integers(0, 1), st.just([])),
    min_size=1, max_size=12,
)  # fmt: skip


@pytest.mark.timeout(60)
@pytest.mark.parametrize("variant", list(VARIANTS))
@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(CALM)
def test_one_refresh_per_generation(variant: str, steps: list[tuple[str, int, list[str]]]) -> None:
    """Without faults, two machines and every variant, V7 too: never a second request for a generation (I4)."""

    async def asked_once(told: Story) -> None:
        for process in told.processes:
            await process.idle()
        row = await told.stage.row(told.grant_id)
        assert len(told.cloudbeds.sent) == row.generation - 1
        assert told.cloudbeds.issued == row.generation - 1

    play(variant, steps, asked_once)


@pytest.mark.parametrize("variant", ["V7/n", "V7/y"])
def test_v7_is_lost_by_a_lost_answer(variant: str) -> None:
    """The residual: R died when it was spent. The hotel is asked to reconnect after two passes, and not sooner."""

    async def story() -> None:
        async with AsyncExitStack() as stack:
            folder = stack.enter_context(tempfile.TemporaryDirectory())
            stage = await stack.enter_async_context(staged(Path(folder)))
            told = Story(stage, Cloudbeds(variant, stage.clock.wall))
            await told.begin()
            told.cloudbeds.rotation.expire(stage.clock.wall())
            told.cloudbeds.weather = ["fair", "answer lost"]
            began = stage.clock.steady()

            async def call_until_told() -> None:
                while True:
                    await told._call(told.processes[0])
                    await stage.clock.sleep(5.0)

            with pytest.raises(ReauthorizationRequired):
                await call_until_told()
            assert stage.clock.steady() - began >= stage.timing.refusal_interval
            assert len(told.cloudbeds.sent) == 3

    with asyncio.Runner(loop_factory=VirtualLoop) as runner, suppress(asyncio.CancelledError):
        runner.run(story())

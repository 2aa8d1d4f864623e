"""Wrong credentials slow their address down and lock no caller out; forwarded addresses count from trusted proxies."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from contextlib import AsyncExitStack

import pytest
from tests.app.callers import GUARD, connected, elsewhere, head, trickling
from tests.app.operators import FROM_HERE, Operator, code
from tests.app.running import AS_ADMIN, Running, Vendor, a_service
from tests.app.vaults import ADMIN_TOKEN, HandClock, RealVault, given

from cloudbeds_auth.app import checks
from cloudbeds_auth.app.checks import CredentialChecks
from cloudbeds_auth.app.limits import Limits
from cloudbeds_auth.errors import StoreUnavailable
from cloudbeds_auth.rules.caller_keys import write
from cloudbeds_auth.system import SystemClock

PATH = "/api/v1/connections"
FEW = Limits(guesses=3, report_every=60.0)


class StoppedClock(SystemClock):
    """A clock that moves only when a test moves it; `waiting`: how many sleep."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.waiting = 0
        self._moved = asyncio.Condition()

    def steady(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        until = self.now + seconds
        self.waiting += 1
        try:
            async with self._moved:
                await self._moved.wait_for(lambda: self.now >= until)
        finally:
            self.waiting -= 1

    async def move(self, seconds: float) -> None:
        """Let time pass."""
        async with self._moved:
            self.now += seconds
            self._moved.notify_all()

    async def has(self, waiting: int) -> None:
        """Return when so many sleep."""
        async with asyncio.timeout(GUARD):
            while self.waiting != waiting:
                await asyncio.sleep(0.01)


@pytest.fixture
def clock() -> StoppedClock:
    """The vault's."""
    return StoppedClock()


@pytest.fixture
async def vault(vendor: Vendor, clock: StoppedClock) -> RealVault:
    """By that clock."""
    return RealVault(given(base_url=vendor.base_url), clock=clock)


async def ask(service: Running[RealVault], credential: str, forwarded: str | None = None) -> int:
    """The status of one call with this credential."""
    headers = {"X-API-Key": credential}
    if forwarded is not None:
        headers["X-Forwarded-For"] = forwarded
    async with service.http.get(service.url + PATH, headers=headers) as answer:
        await answer.read()
        return answer.status


def begun(service: Running[RealVault], credentials: Iterable[str]) -> list[asyncio.Task[int]]:
    """Calls with these, at once."""
    return [asyncio.create_task(ask(service, one)) for one in credentials]


@pytest.mark.row("A23")
async def test_guesses_are_slowed_down(vault: RealVault, clock: StoppedClock) -> None:
    """After a few, a guess is not checked before its time, whatever address it claims to come from."""
    async with a_service(vault, limits=FEW) as service:
        for number in range(3):
            assert await ask(service, f"guess-{number}", f"203.0.113.{number}") == 401
        guess = asyncio.create_task(ask(service, "guess-4", "203.0.113.99"))
        await clock.has(1)
        assert not guess.done()
        await clock.move(0.9)
        await clock.has(1)
        await clock.move(0.1)
        assert await guess == 401
    assert [facts for what, facts in vault.observer.seen if what == "credential_refused"] == [
        {"address": "127.0.0.1", "times": 1},
        {"address": "127.0.0.1", "times": 3},
    ]


@pytest.mark.row("A23")
async def test_a_right_credential_gets_in(vendor: Vendor, vault: RealVault, clock: StoppedClock) -> None:
    """At once from another address and where it was right before; from one that is slowed down, after its wait."""
    async with a_service(vault, limits=FEW) as service, elsewhere() as http:
        assert await ask(service, ADMIN_TOKEN) == 200
        guessing = begun(service, [f"guess-{number}" for number in range(40)])
        async with http.get(service.url + PATH, headers=AS_ADMIN) as answer:
            assert answer.status == 200
        assert await ask(service, ADMIN_TOKEN) == 200
        await clock.move(Limits().guess_wait)
        assert set(await asyncio.gather(*guessing)) == {401}
    again = RealVault(given(base_url=vendor.base_url), clock=clock)
    async with a_service(again, limits=FEW) as service:  # which does not know yet that it is right
        for number in range(3):
            assert await ask(service, f"guess-{number}") == 401
        [first] = begun(service, [ADMIN_TOKEN])
        await clock.has(1)
        await clock.move(1.0)
        assert await first == 200
        assert await ask(service, ADMIN_TOKEN) == 200


@pytest.mark.row("A23")
async def test_hanging_up_ends_the_wait_and_reveals_nothing(vault: RealVault, clock: StoppedClock) -> None:
    """The guess was not checked, and nothing of it is left."""
    async with a_service(vault, limits=FEW) as service:
        for number in range(3):
            assert await ask(service, f"guess-{number}") == 401
        for _ in range(5):
            async with connected(service, head(PATH, f"X-API-Key: {ADMIN_TOKEN}".encode(), method="GET")):
                await clock.has(1)
            await clock.has(0)
    assert not [facts for what, facts in vault.observer.seen if facts.get("status") == 200]


@pytest.mark.row("A71", "A23")
async def test_who_waits_makes_room(vault: RealVault, clock: StoppedClock) -> None:
    """Guesses that wait hold no connection that another caller needs."""
    limits = Limits(guesses=1, connections=3)
    async with a_service(vault, limits=limits) as service:
        assert await ask(service, "guess") == 401
        guess = head(PATH, b"X-API-Key: guess", method="GET")
        async with trickling(service, guess, b""), trickling(service, guess, b""), trickling(service, guess, b""):
            await clock.has(3)
            async with elsewhere() as http, http.get(service.url + "/healthz") as answer:
                assert answer.status == 200


@pytest.mark.row("A23")
async def test_a_right_credential_is_not_driven_out(vault: RealVault, clock: StoppedClock) -> None:
    """Once it waits it is checked, however many come after it from the same address, which are told to come again."""
    limits = Limits(guesses=1, guesses_waiting=4, connections_per_address=8)
    guess = head(PATH, b"X-API-Key: guess", method="GET")
    async with a_service(vault, limits=limits) as service, AsyncExitStack() as stack:
        assert await ask(service, "guess") == 401
        right = asyncio.create_task(ask(service, ADMIN_TOKEN))
        await clock.has(1)
        for number in range(20):
            reader, _ = await stack.enter_async_context(connected(service, guess))
            if number < limits.guesses_waiting - 1:
                await clock.has(number + 2)
                continue
            refusal = await reader.readuntil(b"\r\n\r\n")
            assert refusal.startswith(b"HTTP/1.1 503 ")
            assert b"x-cloudbeds-auth-code: rate_limited\r\n" in refusal.lower()
            assert b"retry-after: 1\r\n" in refusal.lower()
        await clock.move(Limits().guess_wait)
        assert await right == 200
        await clock.has(0)
        late = asyncio.create_task(ask(service, "guess"))
        await clock.has(1)
        await clock.move(Limits().guess_wait)
        assert await late == 401, "there is room again"


@pytest.mark.row("A23")
async def test_behind_a_trusted_proxy(vendor: Vendor) -> None:
    """By the address that it forwards; what a caller wrote in front of that counts for nothing."""
    clock = StoppedClock()
    vault = RealVault(given(base_url=vendor.base_url, trusted_proxies=("127.0.0.1",)), clock=clock)
    async with a_service(vault, limits=FEW) as service:
        for number in range(3):
            assert await ask(service, "guess", f"198.51.100.{number}, 203.0.113.9") == 401
        for other in ("203.0.113.10", "2001:db8::1"):
            assert await ask(service, "guess", other) == 401
        slow = asyncio.create_task(ask(service, "guess", "198.51.100.9, 203.0.113.9"))
        await clock.has(1)
        assert await ask(service, ADMIN_TOKEN, "203.0.113.10") == 200
        await clock.move(Limits().guess_wait)
        assert await slow == 401
        for host in (1, 2, 3):
            assert await ask(service, "guess", f"2001:db8:1:1::{host}") == 401
        slow = asyncio.create_task(ask(service, "guess", "2001:db8:1:1:ffff::4"))
        await clock.has(1)
        await clock.move(Limits().guess_wait)
        assert await slow == 401
    reported = [facts["address"] for what, facts in vault.observer.seen if what == "credential_refused"]
    assert set(reported) == {"203.0.113.9", "203.0.113.10", "2001:db8::/64", "2001:db8:1:1::/64"}


@pytest.mark.row("A23")
async def test_every_line_says_where_it_came_from(vendor: Vendor) -> None:
    """What is told about a request, refused or relayed, names the address that a trusted proxy forwards."""
    vault = RealVault(given(base_url=vendor.base_url, trusted_proxies=("127.0.0.1",)))
    async with a_service(vault) as service:
        assert await ask(service, "guess", "203.0.113.9") == 401
        assert await ask(service, ADMIN_TOKEN, "203.0.113.9") == 200
        headers = {**AS_ADMIN, "X-Forwarded-For": "203.0.113.9"}
        async with service.http.get(service.url + "/proxy/con_1/api/x", headers=headers) as answer:
            assert answer.status == 200
    told = [(what, facts.get("address")) for what, facts in vault.observer.seen if what != "credential_refused"]
    assert told == [("request", "203.0.113.9"), ("request", "203.0.113.9"), ("proxied", "203.0.113.9")]


@pytest.mark.row("A23")
async def test_guesses_in_the_form_to_sign_in(vault: RealVault, clock: StoppedClock) -> None:
    """Count as any other, whatever address they claim to come from; a right code waits, and gets in."""
    async with a_service(vault, limits=FEW) as service:
        for number in range(3):
            sent = await Operator(service).send(
                "/session", {"X-Forwarded-For": f"203.0.113.{number}"}, credential="guess"
            )
            assert sent[0] == 401
        right = asyncio.create_task(Operator(service).sign_in(await code(service)))
        guess = asyncio.create_task(Operator(service).sign_in("guess"))
        [other] = begun(service, ["guess"])
        await clock.has(3)
        await clock.move(Limits().guess_wait)
        assert [(await right)[0], (await guess)[0], await other] == [303, 401, 401]
    undefended = RealVault(given(base_url=vault.base_url), clock=clock)
    async with a_service(undefended, limits=Limits(guesses=10_000)) as service:
        for _ in range(20):
            assert (await Operator(service).sign_in("guess"))[0] == 401, "at once"


@pytest.mark.row("A71", "A23")
async def test_who_waits_to_sign_in_makes_room(vault: RealVault, clock: StoppedClock) -> None:
    """As any credential that waits; nothing of it is an error of ours."""
    async with a_service(vault, limits=Limits(guesses=1, connections=2)) as service:
        assert (await Operator(service).sign_in("guess"))[0] == 401
        lines = [f"{name}: {value}".encode() for name, value in FROM_HERE.items()]
        body = b"credential=guess"
        form = head("/session", *lines, b"Content-Length: %d" % len(body)) + body
        async with connected(service, form), connected(service, form):
            await clock.has(2)
            async with elsewhere() as http, http.get(service.url + "/healthz") as answer:
                assert answer.status == 200
            await clock.has(1)
        await clock.move(Limits().guess_wait)
    statuses = [facts["status"] for what, facts in vault.observer.seen if what == "request"]
    assert 500 not in statuses


@pytest.mark.row("A23")
async def test_no_credential_is_no_guess(vault: RealVault, clock: StoppedClock) -> None:
    """A request with none, or with none that could be one, is answered at once, always."""
    async with a_service(vault, limits=FEW) as service:
        for headers in ({}, {"Authorization": "Basic x"}, {"Authorization": "Bearer x", "X-API-Key": "y"}) * 5:
            async with service.http.get(service.url + PATH, headers=headers) as answer:
                assert answer.status == 401
    assert clock.waiting == 0


@pytest.mark.row("A23")
def test_ten_thousand_tries() -> None:
    """One after the other they take hours, and a right one waits five seconds at most."""
    clock = HandClock()
    limits = Limits()
    tries = CredentialChecks(limits, clock)
    begun = clock.now
    for number in range(10_000):
        wait = tries.wait("203.0.113.9", b"guess-%d" % number)
        assert wait <= limits.guess_wait
        clock.now += wait
        tries.wrong("203.0.113.9", b"guess-%d" % number)
    assert clock.now - begun > 9_000
    assert tries.wait("203.0.113.9", b"right") <= limits.guess_wait
    assert tries.wait("203.0.113.10", b"right") == 0.0
    clock.now += 60.0
    assert tries.wait("203.0.113.9", b"right") == 0.0, "forgiven when no guess came for a while"


@pytest.mark.row("A23")
def test_many_at_once() -> None:
    """Connections by the hundred make guesses hardly faster: each waits as long as a guess may."""
    clock = HandClock()
    limits = Limits()
    tries = CredentialChecks(limits, clock)
    for number in range(10_000):
        tries.wrong("203.0.113.9", b"guess-%d" % number)
    assert tries.wait("203.0.113.9", b"guess") == limits.guess_wait
    clock.now += limits.guess_wait
    assert tries.wait("203.0.113.9", b"guess") > 0.0


@pytest.mark.row("A23")
def test_a_credential_that_was_right_once() -> None:
    """When it is revoked, it is a guess like any other."""
    clock = HandClock()
    tries = CredentialChecks(Limits(guesses=1), clock)
    tries.right("203.0.113.9", b"key")
    tries.wrong("203.0.113.9", b"guess")
    assert tries.wait("203.0.113.9", b"key") == 0.0
    tries.wrong("203.0.113.9", b"key")
    assert tries.wait("203.0.113.9", b"key") > 0.0


@pytest.mark.row("A79")
async def test_made_up_keys_while_the_store_is_away(
    vault: RealVault, clock: StoppedClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Are guesses, though nobody can say that they are wrong."""

    async def away(body: object) -> None:
        raise StoreUnavailable

    async with a_service(vault, limits=FEW) as service:
        monkeypatch.setattr(vault.store, "read", away)
        for number in range(3):
            assert await ask(service, write("key_01J9Z3NDEKTSV4RRFFQ69G5FAV", f"{number}")) == 503
        slow = asyncio.create_task(ask(service, write("key_01J9Z3NDEKTSV4RRFFQ69G5FAV", "x")))
        await clock.has(1)
        await clock.move(Limits().guess_wait)
        assert await slow == 503


@pytest.mark.row("A79")
def test_a_credential_that_is_checked() -> None:
    """Is a guess until it is found to be right: whoever hangs up on the check has guessed. Once, however many ask."""
    tries, address = CredentialChecks(Limits(guesses=1), HandClock()), "203.0.113.9"
    with tries.checking(address, b"key") as counted:
        assert counted
        assert tries.wait(address, b"other") == 1.0
        with tries.checking(address, b"key") as again:
            assert not again
        assert tries.wait(address, b"other") == 1.0
    assert tries.wait(address, b"other") == 1.0
    tries.right(address, b"key", counted=True)
    assert tries.wait(address, b"other") == 0.0
    with tries.checking(address, b"key") as counted:
        assert not counted


@pytest.mark.row("A23")
def test_what_is_remembered_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """A guess from each of more addresses than are remembered: the oldest are forgotten."""
    monkeypatch.setattr(checks, "MOST_REMEMBERED", 10)
    clock = HandClock()
    tries = CredentialChecks(Limits(guesses=1), clock)
    for number in range(20):
        tries.wrong(f"203.0.113.{number}", b"guess")
        tries.right(f"203.0.113.{number}", b"right")
    assert [number for number in range(20) if tries.wait(f"203.0.113.{number}", b"x")] == [*range(10, 20)]
    assert [number for number in range(20) if not tries.wait(f"203.0.113.{number}", b"right")] == [*range(20)]

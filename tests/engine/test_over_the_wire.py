"""The whole vault over real HTTP against the simulator, under every reading of the vendor's rules.

Real time, scaled: a token exchange may take `DEADLINE` seconds, and what is held back after a lost answer follows. What
a busy machine could miss (to connect, to be waited for by its caller) is not scaled.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx2
import pytest
from tests.support.simulator import Vendor, vendor

from cloudbeds_auth.engine.context import current_grant
from cloudbeds_auth.errors import Error, ReauthorizationRequired, RefreshInDoubt, TryAgain
from cloudbeds_auth.rules.lifecycle import State
from cloudbeds_auth.rules.refresh import Timing
from cloudbeds_auth.vault import TokenVault
from cloudbeds_simulator.rotation import VARIANTS

DEADLINE = 0.6  # seconds
UNHURRIED = 20.0  # seconds, where no answer is lost and so nothing is held back for as long
USERINFO, HOTELS = "/api/v1.3/userinfo", "/api/v1.3/getHotels"
ALL = sorted(VARIANTS)
LOSES_LOST_ANSWERS = {"V7/n", "V7/y"}  # R dies when it is spent: a lost answer is a lost grant whatever a client does


@pytest.fixture(autouse=True)
def scaled(monkeypatch: pytest.MonkeyPatch) -> None:
    """No test waits for rule 12's minute either."""
    monkeypatch.setattr(
        Timing,
        "of",
        lambda deadline: replace(Timing.scaled(deadline / 20.0), connect=5.0, wait=25.0, refusal_interval=0.3),
    )


@asynccontextmanager
async def both(folder: Path, variant: str, deadline: float = DEADLINE) -> AsyncIterator[tuple[Vendor, TokenVault]]:
    """A simulator of this variant and a vault connected to nothing yet."""
    async with AsyncExitStack() as stack:
        sim = await stack.enter_async_context(vendor(variant))
        vault = await stack.enter_async_context(TokenVault.open(sim.settings(folder, token_timeout=deadline)))
        yield sim, vault


async def served(
    vault: TokenVault, connection_id: str, path: str = USERINFO, *, patience: int = 200, pause: float = 0.05
) -> httpx2.Response:
    """Call until nothing is in the way any more; only errors that promise to heal are waited out."""
    for _ in range(patience):
        try:
            return await vault.call(connection_id, "GET", path)
        except TryAgain:
            await asyncio.sleep(pause)
    raise AssertionError("it did not heal")


def holds(sim: Vendor, rows: list[str]) -> bool:
    """I2, as the vendor sees it: some stored refresh token is accepted."""
    return bool(sim.accepted() & set(rows))


async def proofs_are_in(vault: TokenVault) -> None:
    """Callers are served while the new pair is proven; until that is done."""
    while flights := [flight.task for flight in vault.engine.refresher.flights._flights.values()]:
        await asyncio.wait(flights)


async def stored(vault: TokenVault, connection_id: str) -> list[str]:
    """The refresh tokens that rest."""
    row = await current_grant(vault.engine.world.db, connection_id)
    assert row is not None
    return [token.value.reveal() for token in row.tokens]


@pytest.mark.parametrize("variant", ALL)
async def test_a_hotels_life(tmp_path: Path, variant: str) -> None:
    """Connect, call, and five generations of expiry: each call is served, one refresh per generation, no 401 seen."""
    async with both(tmp_path, variant, UNHURRIED) as (sim, vault):
        connection = await sim.connect(vault)
        assert (connection.state, connection.property_ids) == (State.FRESH, ("100001",))
        for generation in range(1, 6):
            reply = await vault.call(connection.id, "GET", USERINFO)
            assert (reply.status_code, reply.json()["user_id"]) == (200, "9001")
            assert (await vault.connection(connection.id)).generation == generation
            assert holds(sim, await stored(vault, connection.id))
            await proofs_are_in(vault)
            sim.expire()
        assert len(sim.token_requests()) == 4
        assert len(await stored(vault, connection.id)) == 1, "every generation was proven"


@pytest.mark.row("F13")
@pytest.mark.parametrize("kind", ["reset_after", "reset_before", "truncate"])
@pytest.mark.parametrize("variant", [one for one in ALL if one not in LOSES_LOST_ANSWERS])
async def test_a_lost_answer_heals(tmp_path: Path, variant: str, kind: str) -> None:
    """The answer of a refresh is lost: 503 and nothing is marked; the next pass heals, nobody reconnects."""
    async with both(tmp_path, variant) as (sim, vault):
        connection = await sim.connect(vault)
        await vault.call(connection.id, "GET", USERINFO)
        sim.expire()
        sim.fault(kind, grant_type="refresh_token")
        with pytest.raises(RefreshInDoubt):
            await vault.call(connection.id, "GET", USERINFO)
        assert holds(sim, await stored(vault, connection.id))
        assert (await vault.connection(connection.id)).state is State.IN_DOUBT
        assert (await served(vault, connection.id)).status_code == 200
        after = await vault.connection(connection.id)
        assert (after.state, after.problem) == (State.FRESH, None)
        events = [event.kind for event in await vault.events(connection.id)]
        assert "answer_lost" in events
        assert "reauthorization_required" not in events
        assert holds(sim, await stored(vault, connection.id))


@pytest.mark.long
@pytest.mark.parametrize("variant", [one for one in ALL if one not in LOSES_LOST_ANSWERS])
async def test_lost_answers_and_lost_proofs_in_a_row(tmp_path: Path, variant: str) -> None:
    """Three refreshes in a row whose answer or proof is lost: the kept tokens pile up, and it heals."""
    async with both(tmp_path, variant) as (sim, vault):
        connection = await sim.connect(vault)
        for kind, target, skip in (("reset_after", "token", 0), ("status", "userinfo", 1), ("reset_after", "token", 0)):
            sim.expire()
            sim.fault(kind, target, skip=skip)  # of the two `/userinfo` calls, the first asks about the dead token
            assert (await served(vault, connection.id, HOTELS)).status_code == 200
            assert holds(sim, await stored(vault, connection.id))
        assert (await vault.connection(connection.id)).state is State.FRESH


@pytest.mark.parametrize("variant", sorted(LOSES_LOST_ANSWERS))
async def test_v7_loses_the_grant_and_says_so(tmp_path: Path, variant: str) -> None:
    """The residual, stated honestly: after a lost answer the hotel has to reconnect, and is told after two passes."""
    async with both(tmp_path, variant) as (sim, vault):
        connection = await sim.connect(vault)
        sim.expire()
        sim.fault("reset_after", grant_type="refresh_token")
        with pytest.raises(ReauthorizationRequired):
            await served(vault, connection.id, patience=1000, pause=0.02)
        assert (await vault.connection(connection.id)).state is State.REAUTHORIZATION_REQUIRED
        again = await sim.connect(vault)
        assert (again.id, again.state) == (connection.id, State.FRESH)


@pytest.mark.row("F15")
async def test_an_answer_that_does_not_come(tmp_path: Path) -> None:
    """The endpoint rotates and hangs: the deadline ends it, its socket is closed before the parent is sent again."""
    async with both(tmp_path, "V2/n") as (sim, vault):
        connection = await sim.connect(vault)
        sim.expire()
        sim.fault("hang_after", grant_type="refresh_token")
        with pytest.raises(RefreshInDoubt, match="no complete answer"):
            await vault.call(connection.id, "GET", USERINFO)
        assert (await served(vault, connection.id)).status_code == 200
        sent = [one.refresh_token for one in sim.token_requests()]
        assert len(sent) >= 2
        assert len(set(sent)) == 1


GZIPPED = "H4sIAAAAAAAAA6uuBQBDv6ajAgAAAA=="  # {}
WRONG_TYPES = (
    '{"access_token": 7, "refresh_token": "r"}',
    '{"access_token": null, "refresh_token": "r"}',
    '{"access_token": "", "refresh_token": "r"}',
    '["access_token"]',
    '{"access_token": "a", "refresh_token": ["r"]}',
    "[" * 10_000,
    '{"a":' * 10_000,
    '{"access_token": "a", "access_token": "b", "refresh_token": "r"}',
    '{"access_token": "a", "refresh_token": "r", "expires_in": NaN}',
    '{"access_token": "a", "refresh_token": "r", "expires_in": 1e400}',
    '{"access_token": "a", "refresh_token": "r", "expires_in": ' + "9" * 5000 + "}",
)
UNFIT_TOKENS = (r'"a\r\nX-Evil: 1"', '"a b"', r'"a\u0000b"', '"\u00e9"', '"' + "a" * 64_000 + '"')
STRANGE_BYTES: tuple[dict[str, object], ...] = (
    {"body_base64": "gIGC/w=="},
    {"body_base64": "77u/e30="},
    {"body_base64": "//57AH0A"},
    {"body": "{}", "content_type": "application/json; charset=klingon"},
    {"body_base64": GZIPPED, "headers": {"Content-Encoding": "gzip"}},
)


def bodies() -> list[Any]:
    """Answers that are none, each with the row it belongs to."""
    rules: list[tuple[str, str, dict[str, object]]] = [
        ("F19", f"{status}-{when}", {"kind": "status", "status": status, "when": when})
        for status in (500, 502, 503, 504)
        for when in ("before", "after")
    ]
    rules += [("F22", f"cut-{at}", {"kind": "truncate", "at": at}) for at in (0, 1, 20, 60)]
    rules += [("F23", "portal", {"kind": "html", "status": 200, "when": "after"})]
    rules += [("F24", f"type-{at}", {"kind": "body", "body": body}) for at, body in enumerate(WRONG_TYPES)]
    rules += [("F28", f"bytes-{at}", {"kind": "body", **rule}) for at, rule in enumerate(STRANGE_BYTES)]
    rules += [
        ("F30", f"token-{at}", {"kind": "body", "body": f'{{"access_token": {token}, "refresh_token": "r"}}'})
        for at, token in enumerate(UNFIT_TOKENS)
    ]
    rules += [("F29", "oversized", {"kind": "oversized"}), ("F23", "empty", {"kind": "empty"})]
    return [pytest.param(rule, id=f"{row}-{name}", marks=pytest.mark.row(row)) for row, name, rule in rules]


@pytest.mark.long
@pytest.mark.parametrize("rule", bodies())
async def test_an_answer_that_is_none(tmp_path: Path, rule: dict[str, object]) -> None:
    """Ambiguous: the parent is kept, nothing of it is stored, nobody is marked, and the next pass heals."""
    async with both(tmp_path, "V2/n") as (sim, vault):
        connection = await sim.connect(vault)
        before = await stored(vault, connection.id)
        sim.expire()
        sim.fault(target="token", **{"grant_type": "refresh_token", **rule})  # type: ignore[arg-type]
        with pytest.raises(RefreshInDoubt):
            await vault.call(connection.id, "GET", USERINFO)
        assert await stored(vault, connection.id) == before
        assert (await vault.connection(connection.id)).generation == 1
        assert (await served(vault, connection.id)).status_code == 200
        kinds = [event.kind for event in await vault.events(connection.id)]
        assert "answer_lost" in kinds
        assert "pass_refused" not in kinds


async def test_no_refresh_token_in_the_answer(tmp_path: Path) -> None:
    """The one that was sent is kept; the next refresh works with it (V6, where it does)."""
    async with both(tmp_path, "V6/n") as (sim, vault):
        connection = await sim.connect(vault)
        before = await stored(vault, connection.id)
        sim.simulator.model.configure({"refresh_token": "absent"})
        for _ in range(3):
            sim.expire()
            assert (await vault.call(connection.id, "GET", USERINFO)).status_code == 200
            await proofs_are_in(vault)
        assert await stored(vault, connection.id) == before
        told = [event.data for event in await vault.events(connection.id) if event.kind == "pair_committed"]
        assert [one["refresh_token_named"] for one in told] == [False] * 3


@pytest.mark.row("F26")
async def test_the_same_refresh_token_again(tmp_path: Path) -> None:
    """V6: accepted, the next generation, stored once, no trouble told."""
    async with both(tmp_path, "V6/n") as (sim, vault):
        connection = await sim.connect(vault)
        before = await stored(vault, connection.id)
        for generation in (2, 3, 4):
            sim.expire()
            assert (await vault.call(connection.id, "GET", USERINFO)).status_code == 200
            await proofs_are_in(vault)
            after = await vault.connection(connection.id)
            assert (after.generation, after.problem) == (generation, None)
        assert await stored(vault, connection.id) == before


@pytest.mark.row("F27")
@pytest.mark.parametrize(
    "given", ["", ',"expires_in":0', ',"expires_in":-5', ',"expires_in":"3600"', ',"expires_in":1e12']
)
async def test_a_strange_lifetime(tmp_path: Path, given: str) -> None:
    """Missing, 0, negative, a string, absurd: defaulted or clamped, A usable, no refresh without end."""
    async with both(tmp_path, "V2/n") as (sim, vault):
        connection = await sim.connect(vault)
        sim.expire()
        grant = sim.simulator.model.grants[0]
        row = await current_grant(vault.engine.world.db, connection.id)
        assert row is not None
        issued = sim.simulator.model.refresh("simulated-app", row.tokens[-1].value.reveal(), sim.simulator.clock.now())
        assert grant.rotation.current.ordinal == 1, issued
        pair = grant.rotation.current
        body = f'{{"access_token":"{pair.access_token}","refresh_token":"{pair.refresh_token}"{given}}}'
        sim.fault("body", grant_type="refresh_token", body=body, when="before")
        for _ in range(5):
            assert (await vault.call(connection.id, "GET", USERINFO)).status_code == 200
        assert len(sim.token_requests()) == 1
        ends = (await vault.access_token(connection.id)).expires_at
        assert ends is not None
        left = ends.timestamp() - vault.engine.world.clock.wall()
        assert 59 < left < 367 * 86400


@pytest.mark.row("F32")
async def test_the_child_is_refused(tmp_path: Path) -> None:
    """A delayed duplicate made the child a stranger: refused, the parent is taken, the caller is served."""
    async with both(tmp_path, "V2/n") as (sim, vault):
        connection = await sim.connect(vault)
        sim.expire()
        sim.fault("status", "userinfo", skip=1)
        sim.fault("duplicate", seconds=0.0, grant_type="refresh_token")
        await vault.access_token(connection.id, rejected=1)
        while len(sim.token_requests()) < 2 or sim.token_requests()[-1].outcome != "issued":
            await asyncio.sleep(0.01)
        assert len(await stored(vault, connection.id)) == 2
        assert (await served(vault, connection.id, HOTELS)).status_code == 200
        outcomes = [one.outcome for one in sim.token_requests()]
        assert outcomes.count("refused") == 1
        assert (await vault.connection(connection.id)).state is State.FRESH


@pytest.mark.row("F37")
async def test_the_hotel_revokes(tmp_path: Path) -> None:
    """Every token refused, twice: reconnect, told once, no storm; a new approval mends it under the same id."""
    async with both(tmp_path, "V2/n", UNHURRIED) as (sim, vault):
        connection = await sim.connect(vault)
        await vault.call(connection.id, "GET", USERINFO)
        sim.simulator.model.end(sim.simulator.model.grants[0], "revoked")
        with pytest.raises(ReauthorizationRequired):
            await served(vault, connection.id, patience=1000, pause=0.02)
        sent = len(sim.token_requests())
        assert sent <= 3
        for _ in range(10):
            with pytest.raises(ReauthorizationRequired):
                await vault.access_token(connection.id)
        assert len(sim.token_requests()) == sent
        kinds = [event.kind for event in await vault.events(connection.id)]
        assert kinds.count("reauthorization_required") == 1
        again = await sim.connect(vault)
        assert (again.id, again.state) == (connection.id, State.FRESH)
        assert (await vault.call(connection.id, "GET", USERINFO)).status_code == 200


async def test_an_endpoint_that_refuses_a_good_token(tmp_path: Path) -> None:
    """401 for lack of a permission: `/userinfo` is 2xx, the endpoint's own 401 is passed on, nothing is refreshed."""
    async with both(tmp_path, "V2/n") as (sim, vault):
        connection = await sim.connect(vault)
        body = '{"error":"access_denied","message":"The resource owner or authorization server denied the request."}'
        sim.fault("body", "getHotels", body=body, status=401, when="before", times=None)
        for _ in range(3):
            assert (await vault.call(connection.id, "GET", HOTELS)).status_code == 401
        assert sim.token_requests() == []


@pytest.mark.row("F41")
@pytest.mark.parametrize("variant", ALL)
async def test_killed_while_calls_are_in_flight(tmp_path: Path, variant: str) -> None:
    """Twenty calls when A dies: each heals by itself, one refresh, no 401 seen."""
    async with both(tmp_path, variant, UNHURRIED) as (sim, vault):
        connection = await sim.connect(vault)
        await vault.access_token(connection.id)
        sim.expire()
        replies = await asyncio.gather(*(vault.call(connection.id, "GET", USERINFO) for _ in range(20)))
        assert {reply.status_code for reply in replies} == {200}
        assert len(sim.token_requests()) == 1


async def test_a_vendor_that_is_not_there(tmp_path: Path) -> None:
    """No connection comes about: 503, nothing in doubt, and it heals when the vendor is back."""
    async with both(tmp_path, "V2/n") as (sim, vault):
        connection = await sim.connect(vault)
        settings = sim.settings(tmp_path, base_url="http://127.0.0.1:9", token_timeout=DEADLINE)
        sim.expire()
        row = await current_grant(vault.engine.world.db, connection.id)
        assert row is not None
        async with TokenVault.open(settings) as elsewhere:
            with pytest.raises(Error):
                await elsewhere.refresh(connection.id)
        row = await current_grant(vault.engine.world.db, connection.id)
        assert row is not None
        assert (row.intent, row.reauth) == (None, None)
        assert (await served(vault, connection.id)).status_code == 200


async def test_two_vaults_on_one_database(tmp_path: Path) -> None:
    """Two processes' worth of callers at expiry: one refresh, everybody is served."""
    async with both(tmp_path, "V2/n", UNHURRIED) as (sim, vault):
        connection = await sim.connect(vault)
        async with TokenVault.open(sim.settings(tmp_path, token_timeout=UNHURRIED)) as other:
            for _ in range(3):
                sim.expire()
                before = len(sim.token_requests())
                replies = await asyncio.gather(
                    *(one.call(connection.id, "GET", USERINFO) for one in [vault, other] * 5)
                )
                assert {reply.status_code for reply in replies} == {200}
                assert len(sim.token_requests()) == before + 1

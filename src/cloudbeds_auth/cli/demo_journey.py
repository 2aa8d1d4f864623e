"""The demo's journey: each step does one thing, checks that it held, and describes in a sentence what was seen."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from cloudbeds_auth import errors
from cloudbeds_auth.cli.demo_stage import APP_NAME, TOKEN_TIMEOUT, Stage, Surprise, browser, checked, press
from cloudbeds_auth.rules.model import Event
from cloudbeds_auth.rules.timeline import Ending, PairLine, pairs

if TYPE_CHECKING:
    import httpx2

USERINFO = "/api/v1.3/userinfo"
WRITTEN_BEHIND = 15.0  # seconds within which calls appear in the history


@dataclass(frozen=True, slots=True)
class Step:
    """One step and whether it held."""

    name: str
    ok: bool
    detail: str


def expect(held: bool, otherwise: str) -> None:
    """Raise Surprise unless it held."""
    if not held:
        raise Surprise(otherwise)


class Journey:
    """From two unconnected processes to a picture of everything that happened."""

    def __init__(self, stage: Stage, variant: str) -> None:
        self.stage: Final = stage
        self.variant: Final = variant
        self.connection_id: str = ""
        self.lines: list[PairLine] = []
        self.steps: Sequence[tuple[str, Callable[[], Awaitable[str]]]] = (
            ("the simulator plays Cloudbeds", self._simulator),
            ("the service runs", self._service),
            ("a hotel approves in its browser", self._approval),
            ("the hotel is connected", self._connected),
            ("a protected call answers", self._call),
            ("the same call through the proxy", self._proxied),
            ("the access token dies at Cloudbeds; the next call heals itself", self._rotation),
            ("the service is killed in mid-refresh", self._crash),
            ("started again: nothing is lost", self._recovery),
            ("counted on Cloudbeds' side", self._counted),
            ("the history tells it all", self._history),
        )

    async def run(self, took: Callable[[Step], None]) -> bool:
        """Go through all steps until one does not hold; `took` is called with each as it ends."""
        import httpx2

        for name, act in self.steps:
            try:
                step = Step(name, True, await act())
            except errors.Error as error:
                step = Step(name, False, error.detail)
            except (httpx2.HTTPError, LookupError, ValueError) as error:
                step = Step(name, False, f"{type(error).__name__}: {error}")
            took(step)
            if not step.ok:
                return False
        return True

    async def look_back(self) -> None:
        """Read the history once more, if the service still answers: for the picture of a journey that failed."""
        import httpx2

        if self.connection_id:
            with suppress(errors.Error, httpx2.HTTPError):
                self.lines = pairs(await self._events())

    async def _simulator(self) -> str:
        return f"{await self.stage.start_simulator()}, rotation rule {self.variant}"

    async def _service(self) -> str:
        url = await self.stage.start_service()
        health = await self.stage.answer_of("/healthz")
        expect(health.get("status") == "ok", f"/healthz says {health}")
        return (
            f"{url}, a process of its own, on an empty database; a token exchange may take {TOKEN_TIMEOUT:g} s here"
            " (20 s by default), so that the crash below needs no long wait"
        )

    async def _approval(self) -> str:
        async with browser() as http:
            page = checked(await http.get(f"{self.stage.service_url}/connect?reference=demo-hotel"), "/connect")
            expect(APP_NAME in page.text, "the consent page does not name the app")
            end = checked(await press(http, page, ("decision", "approve")), "the callback")
        expect(str(end.url).startswith(self.stage.service_url), f"the browser ended at {end.url}")
        expect("code=" not in str(end.url), "the browser ended on an address with the code in it")
        way = " > ".join(str(one.url).partition("?")[0] for one in (*page.history, page, *end.history, end))
        way = way.replace(self.stage.service_url, "service").replace(self.stage.simulator_url, "Cloudbeds")
        return f"read the consent page, pressed Approve: {way}"

    async def _connected(self) -> str:
        found = (await self.stage.answer_of("/api/v1/connections"))["connections"]
        expect(len(found) == 1, f"{len(found)} connections instead of one")
        one = found[0]
        self.connection_id = one["id"]
        expect(one["state"] in {"fresh", "in_doubt"}, f"its state is {one['state']}")
        return f"{one['id']}, property {', '.join(one['property_ids'])}, state {one['state']}"

    async def _call(self) -> str:
        return f"userinfo says: {_person(await self._userinfo(), 'userinfo')}"

    async def _proxied(self) -> str:
        path = f"/proxy/{self.connection_id}{USERINFO}"
        person = _person(await self.stage.ask(path), "the proxy")
        return f"GET {self.stage.service_url}{path} says: {person}"

    async def _rotation(self) -> str:
        before = await self.stage.refreshes()
        await self.stage.control("POST", "expire")
        for _ in range(2):
            _person(await self._userinfo(), "the call after the expiry")
        made = await self.stage.refreshes() - before
        expect(made == 1, f"Cloudbeds saw {made} refreshes instead of exactly one")
        await self._calls_written()
        return "two calls, both answered 200; Cloudbeds saw exactly one refresh"

    async def _crash(self) -> str:
        """Kill the service after a refresh took effect at Cloudbeds, but before its answer is sent."""
        stage = self.stage
        begin = (await stage.control("GET", "requests"))["last"]
        await stage.control("POST", "expire")
        await stage.control("POST", "faults", {"target": "token", "kind": "hang_after", "grant_type": "refresh_token"})
        call = asyncio.create_task(self._userinfo())
        try:
            confirmed = await self._served_unanswered(begin)
            expect(not call.done(), "the call ended before the kill fell")
            assert stage.service is not None  # noqa: S101 - started two steps ago
            pid = stage.service.pid
            await asyncio.to_thread(stage.service.kill)
        finally:
            answer = (await asyncio.gather(call, return_exceptions=True))[0]
        expect(isinstance(answer, Exception), "the call was answered although the service was killed")
        still = await stage.control("GET", "requests", after=str(confirmed["n"] - 1))
        expect(still["requests"][0]["answered"] is False, "the simulator answered the refresh after all")
        return (
            f"kill -9 of pid {pid}: Cloudbeds had issued pair {confirmed['ordinal'] + 1},"
            " its answer never left, and the service never saw it"
        )

    async def _served_unanswered(self, begin: int) -> Mapping[str, Any]:
        """The simulator's confirmation that a refresh took effect and was not answered."""
        wanted = {"target": "token", "grant_type": "refresh_token", "outcome": "issued", "answered": "false"}
        entry: Mapping[str, Any] | None = (
            await self.stage.control("GET", "wait", after=str(begin), timeout="20", **wanted)
        )["entry"]
        if entry is None:
            raise Surprise("no refresh reached the simulator within 20 s")
        return entry

    async def _recovery(self) -> str:
        await self.stage.start_service()
        answer, waits = await self.stage.ask_patiently(f"/api/v1/connections/{self.connection_id}/userinfo")
        person = _person(answer, "the call after the restart")
        waited = f"after {waits} times 503 with Retry-After, " if waits else ""
        return f"{waited}userinfo says: {person}; no hotel had to do anything"

    async def _counted(self) -> str:
        counts = (await self.stage.control("GET", "counts"))["token"]
        codes, refreshes = counts.get("authorization_code", {}), counts.get("refresh_token", {})
        expect(codes == {"issued": 1}, f"code exchanges: {codes} instead of one")
        expect(refreshes == {"issued": 3}, f"refreshes: {refreshes} instead of three issued")
        return "1 code exchange, 3 refreshes: one for the expiry, one whose answer died with the service, one after it"

    async def _history(self) -> str:
        await self._calls_written()
        expect(len(self.lines) == 3, f"{len(self.lines)} token pairs in the history instead of three")
        endings = [line.ending for line in self.lines]
        expect(endings == [Ending.REFRESH, Ending.REFRESH, Ending.LIVING], f"the pairs ended by {endings}")
        expect(self.lines[-1].proven, "the living pair was not seen to work")
        troubles = sum(len(line.troubles) for line in self.lines)
        expect(troubles == 1, f"{troubles} refreshes without an answer in the history instead of one")
        return "3 token pairs, 1 refresh that was cut off; the newest pair is proven and lives"

    # --- what the steps share

    async def _userinfo(self) -> httpx2.Response:
        return await self.stage.ask(f"/api/v1/connections/{self.connection_id}/userinfo")

    async def _calls_written(self) -> None:
        """Read the history, waiting briefly for the newest pair's calls: they are counted and written with a delay."""
        clock = self.stage.clock
        deadline = clock.steady() + WRITTEN_BEHIND
        while True:
            self.lines = pairs(await self._events())
            if (self.lines and self.lines[-1].calls) or clock.steady() > deadline:
                return
            await clock.sleep(0.2)

    async def _events(self) -> list[Event]:
        path, events = f"/api/v1/connections/{self.connection_id}/events", []
        query: str | None = ""
        while query is not None:
            page = await self.stage.answer_of(path + query)
            events += [read_event(one) for one in page["events"]]
            query = f"?cursor={page['next']}" if page.get("next") else None
        return events


def read_event(document: Mapping[str, Any]) -> Event:
    """An event as the HTTP API shows it."""
    return Event(**{**document, "at": datetime.fromisoformat(document["at"])})


def _person(answer: httpx2.Response, what: str) -> str:
    """The user in a userinfo answer; `what` names the endpoint that answered."""
    user = checked(answer, what).json()
    expect("email" in user, f"no user in {str(user)[:200]}")
    return f"{user['first_name']} {user['last_name']} <{user['email']}>"

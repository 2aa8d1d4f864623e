"""Requests in words: what was asked, what became of it, what was made to go wrong."""

from __future__ import annotations

from typing import Any

import pytest
from tests.simulator.driver import Driver

from cloudbeds_simulator.faults import KINDS, parse
from cloudbeds_simulator.journal import JournalEntry
from cloudbeds_simulator.request_views import FAULTS, RequestView, request_view, rule_in_words


def seen(**fields: Any) -> RequestView:
    """An entry with these fields."""
    entry = JournalEntry(1, 0.0, **{"target": "token", "method": "POST", "path": "/x", **fields})
    return request_view(entry, None, 0.0)


@pytest.mark.parametrize(
    ("fields", "word", "sentence"),
    [
        ({"grant_type": "refresh_token", "refresh_token": "abcdefghij", "outcome": "issued", "ordinal": 1},
         "Done", "00:00:00: Refresh, with the token abcdef…. Gave pair 2."),
        ({"grant_type": "authorization_code", "outcome": "issued", "ordinal": 0, "repeated": True},
         "Done", "00:00:00: A code for tokens. Gave pair 1 again."),
        ({"grant_type": "refresh_token_exchange", "outcome": "issued"}, "Done", "Gave an API key."),
        ({"outcome": "issued", "ordinal": 1, "fault": "reset_after"}, "Answer lost",
         "Gave pair 2. The answer was lost. Fault: acted upon, and cut before the answer."),
        ({"outcome": "refused", "status": 400, "detail": "dead"}, "Refused",
         "Refused with 400: this refresh token is not accepted any more."),
        ({"outcome": "invalid", "status": 400, "detail": "code"}, "Refused", "this is no valid request (code)."),
        ({"outcome": "pending", "fault": "hang_before"}, "Waiting", "Not acted upon yet."),
        ({"outcome": "pending", "fault": "reset_before"}, "Not done", "Nothing was done."),
        ({"outcome": "not_acted", "status": 500, "fault": "status"}, "Not done", "with 500, and nothing was done."),
        ({"outcome": "401", "status": 401, "detail": "superseded", "target": "resource", "path": "/p" * 50}, "Refused",
         "POST " + "/p" * 30 + "…. Refused with 401: a refresh replaced this access token."),
        ({"outcome": "approved", "target": "oauth"}, "Done", "Approval page. The hotel approved."),
    ],
)  # fmt: skip
def test_a_request_in_words(fields: dict[str, Any], word: str, sentence: str) -> None:
    """A word for its badge, and a sentence for who hears it."""
    found = seen(**fields)
    assert found.word == word
    assert sentence in found.sentence


@pytest.mark.parametrize(
    ("rule", "words"),
    [
        ({"target": "token", "grant_type": "refresh_token"}, "The next refresh will be answered late."),
        ({"target": "any", "times": None}, "Every request will be answered late."),
        ({"target": "userinfo", "times": 3}, "3 times, a call of userinfo will be answered late."),
        ({"target": "getHotels", "skip": 2}, "The next call of getHotels, once 2 have passed, will be answered late."),
    ],
)
def test_a_fault_that_waits_in_words(rule: dict[str, object], words: str) -> None:
    """What it waits for, how often, and what it does."""
    assert rule_in_words(parse({"kind": "delay", **rule})) == words


def test_every_kind_of_fault_has_words() -> None:
    """One that has none would break the page that shows it."""
    assert FAULTS.keys() == KINDS.keys()


async def test_every_outcome_has_words(sim: Driver) -> None:
    """Whatever is asked, right or wrong, is shown."""
    told = await sim.connect()
    await sim.api("GET", "userinfo", told["access_token"])
    await sim.api("GET", "userinfo", "nobody's")
    await sim.api("GET", "getHotels")
    await sim.api("GET", "getNothing", told["access_token"])
    await sim.refresh("nobody's")
    await sim.token(client_secret="wrong", grant_type="refresh_token", refresh_token="x")
    await sim.token(grant_type="nothing")
    await sim.token()
    await sim.ask("GET", "/api/v1.3/access_token")
    await sim.ask("GET", "/nothing")
    await sim.ask("GET", "/api/v1.3/oauth")
    await sim.control("POST", "settings", auto_approve=False)
    asked = "client_id=simulated-app&redirect_uri=http://localhost:7000/callback&response_type=code"
    await sim.ask("GET", f"/api/v1.3/oauth?{asked}")
    fields = dict(part.split("=", 1) for part in asked.split("&"))
    await sim.ask("POST", "/api/v1.3/oauth", data={**fields, "decision": "deny"})
    await sim.ask("POST", "/api/v1.3/oauth", data={**fields, "decision": "approve"})
    await sim.fault("status", target="any")
    await sim.ask("GET", "/nothing")
    await sim.control("POST", "revoke", grant=1, face="not_available")
    await sim.api("GET", "getHotels", told["access_token"])
    outcomes = {entry["outcome"] for entry in (await sim.control("GET", "requests"))["requests"]}
    assert outcomes == {
        "approved", "issued", "accepted", "401", "unknown_method", "refused", "client_refused", "invalid", "not_found",
        "shown", "denied", "not_acted", "dead",
    }  # fmt: skip
    assert (await sim.ask("GET", "/glass-box")).status == 200

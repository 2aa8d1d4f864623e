"""`connections migrate-to-api-key`: whom it moves, what it says of each, and when it stops."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from tests.cli.fakes import ADA, FakeVault, invoke

from cloudbeds_auth import Page, errors
from cloudbeds_auth.rules.lifecycle import State
from cloudbeds_auth.transactions.runner import DoesNotOpen

COMMAND = ("connections", "migrate-to-api-key")
BOB, CAT = replace(ADA, id="con_BOB"), replace(ADA, id="con_CAT")
KEYED = replace(ADA, id="con_KEY", credential="api_key", expires_at=None)
LEFT = replace(ADA, id="con_LEFT", state=State.DISCONNECTED)


@pytest.fixture
def fleet(vault: FakeVault) -> FakeVault:
    """Three hotels to move on two pages, and two that are left alone."""
    vault.pages = [Page((ADA, KEYED), "con_KEY"), Page((LEFT, BOB, CAT), None)]
    return vault


def moves(vault: FakeVault) -> list[tuple[Any, ...]]:
    """What it was asked to move."""
    return [asked[1:] for asked in vault.asked if asked[0] == "migrate"]


def outcomes(out: str) -> list[tuple[str, str]]:
    """Hotel and outcome of a JSON report."""
    return [(one["id"], one["outcome"]) for one in json.loads(out)["hotels"]]


def test_one_hotel(vault: FakeVault) -> None:
    """By its property id; the registration that makes the exchange is passed on."""
    result = invoke(*COMMAND, "100001", "--yes", "--app", "keys")
    assert (result.status, moves(vault)) == (0, [("con_ADA", "keys")])
    assert "con_ADA: moved" in result.out
    assert "1 moved" in result.out


def test_all_hotels_of_oauth(fleet: FakeVault) -> None:
    """On every page; those with a key and those that left are not asked about."""
    result = invoke(*COMMAND, "--all", "--yes", "--json")
    assert (result.status, moves(fleet)) == (0, [("con_ADA", None), ("con_BOB", None), ("con_CAT", None)])
    assert json.loads(result.out)["outcomes"] == {"moved": 3}


def test_a_dry_run_sends_nothing(fleet: FakeVault) -> None:
    """And asks nobody."""
    result = invoke(*COMMAND, "--all", "--dry-run", "--json")
    assert (result.status, moves(fleet)) == (0, [])
    assert outcomes(result.out) == [(one, "would be moved") for one in ("con_ADA", "con_BOB", "con_CAT")]


@pytest.mark.parametrize(
    ("shown", "status", "outcome"), [(KEYED, 0, "has a key already"), (LEFT, 1, "not moved")], ids=["key", "left"]
)
def test_a_named_hotel_that_is_left_alone(vault: FakeVault, shown: Any, status: int, outcome: str) -> None:
    """It is in the report; a dry run says the same as the run."""
    vault.shown = shown
    result = invoke(*COMMAND, "con_ADA", "--dry-run", "--json")
    assert (result.status, outcomes(result.out)) == (status, [("con_ADA", outcome)])


def test_nothing_to_move(vault: FakeVault) -> None:
    """Said so, without a question."""
    vault.pages = [Page((KEYED,), None)]
    result = invoke(*COMMAND, "--all")
    assert (result.status, result.out) == (0, "no hotel is connected by OAuth\n")


@pytest.mark.parametrize("words", [(), ("con_ADA", "--all")])
def test_whom_to_move_must_be_said(vault: FakeVault, words: tuple[str, ...]) -> None:
    """Some, or all; never both, never nobody."""
    assert invoke(*COMMAND, *words, "--yes").status == 2
    assert moves(vault) == []


def test_nobody_can_be_asked(vault: FakeVault) -> None:
    """In a pipe `--yes` is needed."""
    result = invoke(*COMMAND, "con_ADA")
    assert (result.status, moves(vault)) == (2, [])
    assert "--yes" in result.err


def test_what_comes_later(fleet: FakeVault) -> None:
    """An answer of one hotel's refresh was lost: it is in the report with what to do, and the others are moved."""
    fleet.failures["con_ADA"] = errors.RefreshInDoubt("the answer of a refresh was lost")
    result = invoke(*COMMAND, "--all", "--yes")
    assert (result.status, len(moves(fleet))) == (1, 3)
    assert "con_ADA: not moved yet: run this again" in result.out
    assert "the answer of a refresh was lost" in result.out
    assert "next: " in result.out


@pytest.mark.parametrize("failure", [errors.MigrationRefused(), errors.ClientRefused(), errors.StoreUnavailable()])
def test_what_would_hit_all_of_them_stops_the_run(fleet: FakeVault, failure: errors.Error) -> None:
    """The first hotel shows it; the others are not latched for nothing."""
    fleet.failures["con_ADA"] = failure
    result = invoke(*COMMAND, "--all", "--yes", "--json")
    assert (result.status, len(moves(fleet))) == (1, 1)
    assert [outcome for _, outcome in outcomes(result.out)][1:] == ["not tried"] * 2
    assert json.loads(result.out)["hotels"][0]["code"] == failure.code


@pytest.mark.parametrize(
    "failure",
    [
        errors.RateLimited(), errors.TokenEndpointUnavailable(), errors.MigrationRefused(),
        errors.RefreshInDoubt("the exchange had no usable answer"),
    ],
    ids=["no turn", "not reached", "not offered", "lost"],
)  # fmt: skip
def test_a_vendor_that_has_no_answer_stops_the_run(fleet: FakeVault, failure: errors.Error) -> None:
    """Whatever was moved before: the next hotel would be latched, and asked for in vain, too."""
    fleet.failures["con_BOB"] = failure
    fleet.shown = replace(ADA, moving_under="client-2" if isinstance(failure, errors.RefreshInDoubt) else None)
    result = invoke(*COMMAND, "--all", "--yes", "--json")
    assert [outcome for _, outcome in outcomes(result.out)][0::2] == ["moved", "not tried"]
    assert (result.status, len(moves(fleet))) == (1, 2)


@pytest.mark.parametrize("failure", [errors.ClientRefused(), DoesNotOpen()], ids=["client", "row"])
def test_trouble_of_one_hotel_alone(fleet: FakeVault, failure: errors.Error) -> None:
    """Its tokens may be of another registration, or its row does not open: once a hotel was moved, all are tried."""
    fleet.failures["con_BOB"] = failure
    assert invoke(*COMMAND, "--all", "--yes").status == 1
    assert len(moves(fleet)) == 3


def test_tokens_that_are_refused_stop_the_run_at_the_first_hotel_only(fleet: FakeVault) -> None:
    """Refused at once it may be the client; after a hotel that was moved it is this hotel's own trouble."""
    fleet.failures["con_BOB"] = errors.RefreshInDoubt("refused once")
    fleet.problems["con_BOB"] = "migration_refused"
    result = invoke(*COMMAND, "--all", "--yes", "--json")
    assert [outcome for _, outcome in outcomes(result.out)] == ["moved", "not moved yet: run this again", "moved"]
    fleet.asked.clear()
    fleet.pages = [Page((BOB, CAT), None)]
    result = invoke(*COMMAND, "--all", "--yes")
    assert (result.status, moves(fleet)) == (1, [("con_BOB", None)])
    assert "the other hotels were not tried" in result.out


def test_a_key_is_shown_as_one(vault: FakeVault) -> None:
    """What people read of a connection with a key."""
    vault.shown = KEYED
    assert "API key" in invoke("connections", "show", "con_ADA").out

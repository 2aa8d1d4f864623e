"""A payload of the vendor's webhook, in every spelling that was seen or guessed."""

from __future__ import annotations

import json

import pytest

from cloudbeds_auth.rules.webhooks import Hint, hint_of


def told(**payload: object) -> Hint | None:
    """What this payload hints at."""
    return hint_of(json.dumps(payload).encode())


@pytest.mark.parametrize("state", ["newState", "app_state", "state"])
@pytest.mark.parametrize("name", ["propertyID", "propertyId", "propertyID_str", "propertyId_str"])
@pytest.mark.parametrize("number", [1000, "1000"])
def test_every_spelling_is_read(state: str, name: str, number: object) -> None:
    """Ids are strings and integers; the client id may be missing."""
    assert told(**{state: "Disabled", name: number}) == Hint("1000", "")
    assert told(**{state: "disabled", name: number, "clientID": "app"}) == Hint("1000", "app")


@pytest.mark.row("F95")
@pytest.mark.parametrize(
    "payload",
    [
        {"status": "disabled"},
        {"appState": "disabled"},
        {"newState": "disabled", "event": "reservation/status_changed"},
        {"data": {"newState": "disabled"}},
    ],
)
def test_another_objects_state(payload: dict[str, object]) -> None:
    """A `status` is a reservation's as well as an app's, and another event's payload is about something else."""
    assert told(propertyID="1000", **payload) is None
    assert told(propertyID="1000", newState="disabled", event="integration/appstate_changed") == Hint("1000", "")


def test_the_string_is_preferred() -> None:
    """An id of 64 bits may have lost its last digits as a number."""
    hint = told(newState="disabled", propertyID=2326925352181000000, propertyID_str="2326925352181000001")
    assert hint == Hint("2326925352181000001", "")


@pytest.mark.parametrize("state", ["enabled", "pending", "installing", "", None, 7, True, ["disabled"]])
def test_only_disabled_acts(state: object) -> None:
    """Whatever else comes while a hotel connects is no disconnect; nor is the old state."""
    assert told(newState=state, oldState="disabled", propertyID="1000") is None


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"disabled",
        b"[]",
        b'{"newState": "disabled"}',
        b'{"newState": "disabled", "propertyID": {"id": 1}}',
        b'{"newState": "disabled", "newState": "enabled", "propertyID": 1}',
        b"\xff\xfe",
        b"[" * 100_000,
    ],
)
def test_what_cannot_be_read_hints_at_nothing(body: bytes) -> None:
    """No property, no JSON, no end."""
    assert hint_of(body) is None

"""The documents of the public contract: moments, connections, events, tokens."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.drawing import CALM

from cloudbeds_auth.app.schemas import AccessTokenShape, ConnectionShape, EventShape
from cloudbeds_auth.rules.audit import AuditEntry
from cloudbeds_auth.rules.caller_keys import CallerKey
from cloudbeds_auth.rules.documents import (
    access_token_document,
    app_document,
    audit_document,
    connection_document,
    event_document,
    key_document,
    precise,
    stamp,
)
from cloudbeds_auth.rules.lifecycle import State
from cloudbeds_auth.rules.model import AccessToken, App, Connection, Event, Page, User, moment
from cloudbeds_auth.rules.permissions import Bounds, Scope
from cloudbeds_auth.rules.secret import Secret
from cloudbeds_auth.rules.subscriptions import Subscription

AT = datetime(2026, 11, 24, 7, 0, 0, 123_999, tzinfo=UTC)

ADA = Connection(
    "con_1", "default", None, State.FRESH, "oauth", ("1000",), User("1000", "Ada Hotelier", "ada@example.com"),
    ("read:hotel",), 3, AT, AT + timedelta(hours=8), AT, None,
)  # fmt: skip
EVENT = Event(7, AT, "proved", "vault", "gra_1", 3, {"n": 1})


@pytest.mark.parametrize("at", [AT, AT.astimezone(timezone(timedelta(hours=-3)))], ids=["UTC", "elsewhere"])
def test_moments(at: datetime) -> None:
    """UTC with a Z whatever the zone; cut to seconds, or to milliseconds where much happens in a second."""
    assert stamp(at) == "2026-11-24T07:00:00Z"
    assert precise(at) == "2026-11-24T07:00:00.123Z"


def test_moments_have_one_width() -> None:
    """A whole second has its milliseconds too, and reads back as the same moment."""
    whole = AT.replace(microsecond=0)
    assert precise(whole) == "2026-11-24T07:00:00.000Z"
    assert datetime.fromisoformat(str(precise(whole))) == whole


@CALM
@given(st.datetimes(datetime(1970, 1, 2), datetime(9998, 1, 1), timezones=st.timezones()))
def test_any_moment(at: datetime) -> None:
    """Reads back as the second, and the millisecond, that it lies in."""
    for text, unit in ((stamp(at), timedelta(seconds=1)), (precise(at), timedelta(milliseconds=1))):
        assert timedelta() <= at.astimezone(UTC) - datetime.fromisoformat(str(text)) < unit


def test_no_moment() -> None:
    """What never happened is null."""
    assert stamp(None) is None
    assert precise(None) is None


def test_a_connection_literally() -> None:
    """Field by field as the public contract writes it, in its order."""
    assert json.dumps(connection_document(ADA)) == json.dumps(
        {
            "id": "con_1",
            "state": "fresh",
            "app": "default",
            "reference": None,
            "credential": "oauth",
            "property_ids": ["1000"],
            "authorizing_user": {"id": "1000", "name": "Ada Hotelier", "email": "ada@example.com"},
            "scopes": ["read:hotel"],
            "generation": 3,
            "connected_at": "2026-11-24T07:00:00Z",
            "expires_at": "2026-11-24T15:00:00Z",
            "refreshed_at": "2026-11-24T07:00:00Z",
            "used_at": None,
            "problem": None,
            "next_step": None,
            "waits_for": None,
            "connect_url": None,
            "subscriptions": [],
        }
    )


@pytest.mark.parametrize(
    ("state", "waits_for"),
    [
        (State.REAUTHORIZATION_REQUIRED, "the hotel"), (State.CLIENT_REFUSED, "the operator"), (State.IN_DOUBT, None),
        (State.SUPERSEDED, None),
    ],
)  # fmt: skip
def test_whom_it_waits_for(state: State, waits_for: str | None) -> None:
    """Programs tell the hotel, or the operator, without reading sentences."""
    assert connection_document(replace(ADA, state=state))["waits_for"] == waits_for


def test_subscriptions_by_event_and_state() -> None:
    """Properties together that have the same; one that Cloudbeds refused says why, one not made yet that it is not."""
    subscriptions = tuple(
        Subscription(one, event, "e", "h", number, problem=problem)
        for one, event, number, problem in [
            ("1000", "guest/created", "7", None), ("1001", "guest/created", "8", None),
            ("1000", "reservation/created", "", "missing_scope"), ("1001", "reservation/created", "", None),
        ]
    )  # fmt: skip
    assert connection_document(replace(ADA, subscriptions=subscriptions))["subscriptions"] == [
        {"event": "guest/created", "state": "subscribed", "property_ids": ["1000", "1001"]},
        {"event": "reservation/created", "state": "missing_scope", "property_ids": ["1000"]},
        {"event": "reservation/created", "state": "pending", "property_ids": ["1001"]},
    ]


def test_a_link_that_mends() -> None:
    """It is part of the connection."""
    assert connection_document(replace(ADA, connect_url="https://x/connect/y"))["connect_url"] == "https://x/connect/y"


def test_an_event() -> None:
    """With its grant and its milliseconds."""
    assert event_document(EVENT) == {
        "sequence": 7,
        "at": "2026-11-24T07:00:00.123Z",
        "kind": "proved",
        "actor": "vault",
        "grant_id": "gra_1",
        "generation": 3,
        "data": {"n": 1},
    }


def test_an_entry_of_the_audit_literally() -> None:
    """Who did what to what, from where; its moment has milliseconds."""
    entry = AuditEntry("aud_1", moment(1_764_000_000.0), "key_revoked", "admin", "key_1", "192.0.2.7", {"times": 2})
    assert audit_document(entry) == {
        "id": "aud_1", "at": "2025-11-24T16:00:00.000Z", "action": "key_revoked", "actor": "admin", "subject": "key_1",
        "address": "192.0.2.7", "data": {"times": 2},
    }  # fmt: skip


def test_a_key_for_callers_literally() -> None:
    """As the public contract shows it; what is no list there has no bound."""
    reach = Bounds(properties=frozenset({"1001", "1000"}))
    scopes = frozenset({Scope.READ, Scope.PROXY})
    made = moment(1_764_000_000)
    bound = CallerKey(
        "key_1", "a job", scopes, reach, True, frozenset({"gethotels"}), "key_0", "key_0", made, made, None, None, None
    )
    free = CallerKey("key_2", "all", scopes, None, False, None, None, "admin", made, None, made, made, "192.0.2.7")
    assert key_document(bound) == {
        "id": "key_1", "name": "a job", "scopes": ["proxy", "read"], "connections": [], "properties": ["1000", "1001"],
        "references": [], "read_only": True, "methods": ["gethotels"], "rate": None,
        "parent": "key_0", "created_by": "key_0",
        "created_at": "2025-11-24T16:00:00Z", "expires_at": "2025-11-24T16:00:00Z", "revoked_at": None,
        "used_at": None, "used_from": None,
    }  # fmt: skip
    shown = key_document(free)
    assert [shown[name] for name in ("connections", "properties", "references", "methods")] == [None] * 4
    assert (shown["revoked_at"], shown["used_from"]) == ("2025-11-24T16:00:00Z", "192.0.2.7")


def test_the_models_are_the_documents() -> None:
    """What FastAPI describes and sends has exactly the fields of the documents, in their order."""
    token = AccessToken(Secret("a-token"), AT, 3)
    for shape, document in (
        (ConnectionShape.of(ADA), connection_document(ADA)),
        (EventShape.of(EVENT), event_document(EVENT)),
        (AccessTokenShape.of(token), access_token_document(token)),
    ):
        assert json.dumps(shape.model_dump()) == json.dumps(document)


def test_a_registration_without_its_secrets() -> None:
    """Whether there are any, and never which; moments only where there are some."""
    app = App(
        "aurora", "client-2", (Secret("canary-1"), Secret("canary-2")), "https://a.example/callback/aurora",
        ("read:hotel",), "property", created_at=AT, rotated_at=AT, issuer="https://vendor.example",
    )  # fmt: skip
    document = app_document(app)
    assert document == {
        "name": "aurora", "client_id": "client-2", "level": "property", "scopes": ["read:hotel"],
        "redirect_uri": "https://a.example/callback/aurora", "credential": "oauth", "secret": True,
        "origin": "https://vendor.example",
        "previous_secret": True, "created_at": stamp(AT), "secret_rotated_at": stamp(AT),
    }  # fmt: skip
    bare = app_document(replace(app, secrets=(), created_at=None, rotated_at=None))
    assert (bare["secret"], bare["previous_secret"], bare["created_at"]) == (False, False, None)


def test_a_page_is_what_it_holds() -> None:
    """It is iterated and has a length; an empty one is false, whether there is a next one or not."""
    two = Page((ADA, replace(ADA, id="con_2")), "con_2")
    assert [one.id for one in two] == [ADA.id, "con_2"]
    assert (len(two), bool(two)) == (2, True)
    assert (len(Page((), "con_2")), bool(Page((), "con_2"))) == (0, False)

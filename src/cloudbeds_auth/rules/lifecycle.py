"""The lifecycle of a grant, as one table: state and event give the next state.

A combination that is not in the table raises `IllegalMove`, which names both, and changes nothing. The store calls
`move` for every write that changes what a grant is; the documentation draws its picture from `TABLE`.

`stale`, `client_refused` and `read_only` are never stored: a stored state is *shown* as one of them, because time has
passed, the app's circuit is open, or the database is a copy (`seen`).
"""

from __future__ import annotations

from enum import StrEnum


class State(StrEnum):
    """The states of the public contract; `presentation` has the words that people read."""

    FRESH = "fresh"
    STALE = "stale"
    REFRESHING = "refreshing"
    IN_DOUBT = "in_doubt"
    BACKING_OFF = "backing_off"
    REAUTHORIZATION_REQUIRED = "reauthorization_required"
    CLIENT_REFUSED = "client_refused"
    PARKED = "parked"
    DISCONNECTED = "disconnected"
    SUPERSEDED = "superseded"
    READ_ONLY = "read_only"


class LifecycleEvent(StrEnum):
    """What can happen to a grant; the same words are the kinds of its history."""

    INTENT_WRITTEN = "intent_written"
    PAIR_COMMITTED = "pair_committed"
    KEY_RECEIVED = "key_received"
    TOKEN_REFUSED = "token_refused"
    ANSWER_LOST = "answer_lost"
    NOTHING_SENT = "nothing_sent"
    CLIENT_REFUSED = "client_refused"
    PASS_REFUSED = "pass_refused"
    REAUTHORIZATION_REQUIRED = "reauthorization_required"
    DISABLED = "disabled_at_cloudbeds"
    PROVED = "proved"
    PROMOTED = "promoted"
    CLAIMED = "claimed"
    SET_ASIDE = "set_aside"
    SUPERSEDED = "superseded"
    DISCONNECTED = "disconnected"


NEWER_APPROVAL, MOVED_TO_KEY, NEWER_KEY = "a newer approval", "moved to an API key", "a newer API key"
"""Why a grant that worked was superseded, in the words of its history."""


class IllegalMove(Exception):
    """An event that the table does not allow in this state: a bug in this product, never a hotel's fault."""

    def __init__(self, state: State, event: LifecycleEvent) -> None:
        super().__init__(f"a grant that is {state.value} cannot have {event.value}")
        self.state = state
        self.event = event


S, E = State, LifecycleEvent
_SERVING = (S.FRESH, S.IN_DOUBT, S.BACKING_OFF)
_MARKED = (S.REAUTHORIZATION_REQUIRED, S.DISCONNECTED)
_LIVING = (*_SERVING, S.REFRESHING, *_MARKED)
_ATTEMPT = (E.INTENT_WRITTEN, E.TOKEN_REFUSED, E.ANSWER_LOST, E.NOTHING_SENT, E.CLIENT_REFUSED, E.PASS_REFUSED)
_OUTCOME = (E.PAIR_COMMITTED, E.PROVED, E.REAUTHORIZATION_REQUIRED)

TABLE: dict[tuple[State, LifecycleEvent], State] = {
    # An attempt begins from any living state.
    **{(state, E.INTENT_WRITTEN): S.REFRESHING for state in (*_SERVING, S.REFRESHING)},
    # How an attempt ends.
    (S.REFRESHING, E.TOKEN_REFUSED): S.REFRESHING,
    (S.REFRESHING, E.ANSWER_LOST): S.IN_DOUBT,
    (S.REFRESHING, E.NOTHING_SENT): S.BACKING_OFF,
    (S.REFRESHING, E.CLIENT_REFUSED): S.BACKING_OFF,
    # A pair may arrive late: after a paused process lost its lease, after a new grant took over.
    **{(state, E.PAIR_COMMITTED): S.FRESH for state in (*_SERVING, S.REFRESHING)},
    (S.SUPERSEDED, E.PAIR_COMMITTED): S.SUPERSEDED,
    # The exchange for an API key was answered: the key is a grant of its own, and this one serves until it is proven.
    **{(state, E.KEY_RECEIVED): S.FRESH for state in (*_SERVING, S.REFRESHING)},
    (S.SUPERSEDED, E.KEY_RECEIVED): S.SUPERSEDED,  # late: another key of the same move took over
    # A marked grant is tried again from time to time (rule-12). Only a proof ends the mark, never a pair alone.
    **{(state, event): state for state in _MARKED for event in (*_ATTEMPT, E.PAIR_COMMITTED, E.KEY_RECEIVED)},
    # A whole pass was refused: the first is counted; a second, late enough, sets the mark (rule-12). `/userinfo` may
    # name a dead grant although no refresh token was sent, so this can begin in any living state.
    **{(state, E.PASS_REFUSED): S.BACKING_OFF for state in (*_SERVING, S.REFRESHING)},
    **{(state, E.REAUTHORIZATION_REQUIRED): S.REAUTHORIZATION_REQUIRED for state in (*_SERVING, S.REFRESHING)},
    # The same, when Cloudbeds reported that the hotel disabled the app.
    **{(state, E.DISABLED): S.DISCONNECTED for state in (*_SERVING, S.REFRESHING)},
    # The access token was seen to work: every doubt is settled. An attempt that is running continues.
    **{(state, E.PROVED): S.FRESH for state in (*_SERVING, *_MARKED)},
    (S.REFRESHING, E.PROVED): S.REFRESHING,
    (S.SUPERSEDED, E.PROVED): S.SUPERSEDED,
    # A candidate that worked becomes the connection's grant.
    **{(state, E.PROMOTED): S.FRESH for state in (*_SERVING, *_MARKED)},
    (S.REFRESHING, E.PROMOTED): S.REFRESHING,
    # A grant from the Marketplace is claimed: not seen to work yet, like any grant that was just received.
    (S.PARKED, E.CLAIMED): S.IN_DOUBT,
    # A grant belongs to another hotel than expected, and no connection covers that hotel: it waits to be claimed, too,
    # and is kept alive meanwhile.
    **{(state, E.SET_ASIDE): S.PARKED for state in _LIVING},
    **{(S.PARKED, event): S.PARKED for event in (*_ATTEMPT, *_OUTCOME)},
    # The end. A parked grant that is claimed for a connection which exists already leaves its own connection.
    **{(state, E.SUPERSEDED): S.SUPERSEDED for state in (*_LIVING, S.SUPERSEDED, S.PARKED)},
    **{(state, E.DISCONNECTED): S.DISCONNECTED for state in (*_LIVING, S.SUPERSEDED, S.PARKED)},
}


def move(state: State, event: LifecycleEvent) -> State:
    """The state after `event`; raises IllegalMove if the table has no such row."""
    try:
        return TABLE[state, event]
    except KeyError:
        raise IllegalMove(state, event) from None


def seen(stored: State, *, stale: bool, circuit_open: bool, read_only: bool) -> State:
    """The state as it is shown now. A dead or ended connection is shown as such even if something else is wrong."""
    if stored in {S.DISCONNECTED, S.SUPERSEDED, S.PARKED, S.REAUTHORIZATION_REQUIRED}:
        return stored
    if read_only:
        return S.READ_ONLY
    if circuit_open:
        return S.CLIENT_REFUSED
    if stored is S.FRESH and stale:
        return S.STALE
    return stored


# Further lines of a history, which change no state.
CALL_REFUSED = "call_refused"  # Cloudbeds refused a call although the token works
RECOVERED = "recovered"  # a proof ended the mark of a dead grant
REPRIEVED = "reprieved"  # every refresh token is refused, and the access token works
PAIR_DENIED = "pair_denied"  # the proof of a new pair was answered 401
MARK_DELAYED = "mark_delayed"  # several hotels of one app would be marked at once
DISABLED_SAID = "disabled_said"  # Cloudbeds reported that the app is disabled
DISABLED_WITHDRAWN = "disabled_withdrawn"  # … and the token nevertheless works
REFERENCE_CHANGED = "reference_changed"  # by a link, or by a caller
REFERENCE_NOT_TAKEN = "reference_not_taken"  # an anonymous approval asked for another reference
PROPERTIES_CHANGED = "properties_changed"  # the connection covers other properties than before
RISK_FOUND = "risk_found"  # what may end or cripple a connection that works
RISK_OVER = "risk_over"
SUBSCRIPTIONS_CHANGED = "subscriptions_changed"  # at Cloudbeds, for its webhooks
PROPERTY_ELSEWHERE = "property_elsewhere"  # Cloudbeds names a property that another connection covers
MIGRATION_BEGUN = "migration_begun"  # the grant is latched, and as healthy as before
MIGRATION_ENDED = "migration_ended"  # … and is refreshed again
FORGOTTEN = "forgotten"  # personal data was deleted
ORIGIN_MOVED = "origin_moved"  # an operator declared Cloudbeds' new origin
ACCEPTED = "accepted"  # an operator accepted rows that were altered behind the service

# Problems that a connection shows, other than lines of the history and reasons of `api_errors`.
HOTEL_SCOPE_MISSING = "hotel_scope_missing"  # so Cloudbeds names no property
ALTERED = "altered"  # behind the service: what links the hotel to its tokens is not what was stored
MIGRATION_UNDER_WAY = "migration_under_way"  # the hotel is served, but its tokens are not refreshed
MIGRATION_CLIENT_UNKNOWN = "migration_client_unknown"  # … and no registration here has the client id of the move

# Lines of the history that are problems, too.
PROPERTY_MISMATCH = "property_mismatch"  # the approval was begun with another property expected
PROPERTY_UNKNOWN = "property_unknown"  # the token works, but Cloudbeds names no property for it
UNRECOGNIZED = "unrecognized_refusal"  # for a day the token was refused in words that are in no table
UNAUTHORIZED_CLIENT = "unauthorized_client"  # the client was refused, for this grant alone

UNRECOGNIZED_FOR = 86400.0  # seconds, with the access token expired

"""How people see a connection: words for its state, a badge, what to do next, and who has to do it.

`presentation` decides all of it, from the state and the problem of the connection. Pages, the command line, the API,
webhooks and `doctor` show its result. The text of a next step that an error names, too, is in `errors`; those of
refused calls and of risks are in `api_errors` and `risks`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from cloudbeds_auth.errors import (
    ClientRefused,
    ConnectionDisconnected,
    ReauthorizationRequired,
    StoreReadOnly,
    Unclaimed,
)
from cloudbeds_auth.rules.api_errors import DISABLED, REVOKED, USER_INACTIVE
from cloudbeds_auth.rules.api_errors import NEXT_STEP as OF_REFUSED_CALL
from cloudbeds_auth.rules.lifecycle import (
    ALTERED,
    HOTEL_SCOPE_MISSING,
    MIGRATION_CLIENT_UNKNOWN,
    MIGRATION_UNDER_WAY,
    PROPERTY_MISMATCH,
    PROPERTY_UNKNOWN,
    UNAUTHORIZED_CLIENT,
    UNRECOGNIZED,
    State,
)
from cloudbeds_auth.rules.model import App, Connection
from cloudbeds_auth.rules.risks import (
    APPROVER_NO_OWNER,
    CALLS_LACK_SCOPE,
    NOT_RENEWABLE,
    SCOPE_NOT_APPROVED,
    SUBSCRIPTION_LACKS_SCOPE,
)
from cloudbeds_auth.rules.risks import NEXT_STEP as OF_RISK
from cloudbeds_auth.rules.subscriptions import SUBSCRIPTION_REFUSED


class Badge(StrEnum):
    """How much attention a connection needs, at a glance."""

    HEALTHY = "healthy"
    RECOVERING = "recovering"  # by itself
    ATTENTION = "attention"  # a person has to act, at once or in time
    ENDED = "ended"


class Responsible(StrEnum):
    """Who has to act."""

    HOTEL = "the hotel"
    OPERATOR = "the operator"
    NOBODY = "nobody"


@dataclass(frozen=True, slots=True)
class NextStep:
    """What to do next, and who does it. A step of the hotel is shown to the operator, who asks the hotel for it."""

    text: str
    by: Responsible


@dataclass(frozen=True, slots=True)
class Presentation:
    """A connection as people see it; `next_step` is None if there is nothing to say."""

    words: str
    badge: Badge
    next_step: str | None
    by: Responsible

    @property
    def label(self) -> str:
        """The text of the badge: the words, and a note that a person has to act if the words alone do not say so."""
        return f"{self.words}, but needs attention" if self._runs_but else self.words

    @property
    def _runs_but(self) -> bool:
        return self.badge is Badge.ATTENTION and self.words in RUNNING


@dataclass(frozen=True, slots=True)
class StateRow:
    """How a state is shown if no problem says more."""

    words: str
    badge: Badge
    step: NextStep | None = None


def _by_hotel(text: str) -> NextStep:
    return NextStep(text, Responsible.HOTEL)


def _by_operator(text: str) -> NextStep:
    return NextStep(text, Responsible.OPERATOR)


def _by_itself(text: str) -> NextStep:
    return NextStep(text, Responsible.NOBODY)


UNSETTLED = (
    "nothing to do, and nothing is lost: an answer of Cloudbeds is missing, and the next attempt settles it by itself"
)
STATES = {
    State.FRESH: StateRow("healthy", Badge.HEALTHY),
    State.STALE: StateRow("healthy", Badge.HEALTHY),
    State.REFRESHING: StateRow("healthy", Badge.HEALTHY),
    State.IN_DOUBT: StateRow("healthy, recovering", Badge.RECOVERING, _by_itself(UNSETTLED)),
    State.BACKING_OFF: StateRow(
        "healthy, recovering", Badge.RECOVERING, _by_itself("nothing to do: it is tried again by itself")
    ),
    State.REAUTHORIZATION_REQUIRED: StateRow(
        "reconnect needed", Badge.ATTENTION, _by_hotel(ReauthorizationRequired.next_step_default)
    ),
    State.CLIENT_REFUSED: StateRow(
        "our credentials are refused", Badge.ATTENTION, _by_operator(ClientRefused.next_step_default)
    ),
    State.PARKED: StateRow("waiting to be claimed", Badge.ATTENTION, _by_operator(Unclaimed.next_step_default)),
    State.DISCONNECTED: StateRow("disconnected", Badge.ENDED, _by_hotel(ConnectionDisconnected.next_step_default)),
    State.SUPERSEDED: StateRow("replaced", Badge.ENDED),
    State.READ_ONLY: StateRow(
        "a copy, or moved elsewhere", Badge.ATTENTION, _by_operator(StoreReadOnly.next_step_default)
    ),
}
"""Every state of the public contract."""

LOOK = (
    "the operator looks at the database: `cloudbeds-auth database check` names what was altered, and `cloudbeds-auth "
    "database accept` takes it as it is; where tokens or properties were moved, connecting the hotel again mends it"
)
PASTE = (
    "the hotel makes a new API key at Cloudbeds; paste a new one: `cloudbeds-auth connections add-key`, or POST "
    "/api/v1/connections"
)
_KEY_WITH_SCOPE = (
    "the hotel makes a new API key with this scope at Cloudbeds, and pastes it: the scopes of a key cannot be changed"
)
OF_PASTED_KEYS: dict[str, NextStep] = {
    CALLS_LACK_SCOPE: _by_hotel(_KEY_WITH_SCOPE),
    SUBSCRIPTION_LACKS_SCOPE: _by_hotel(_KEY_WITH_SCOPE),
    State.REAUTHORIZATION_REQUIRED: _by_hotel(PASTE),
    State.DISCONNECTED: _by_hotel("the hotel also deletes its API key at Cloudbeds: that cannot be done from here"),
}
"""Next steps of a connection with an API key that the hotel made itself, by state, and by problem while it serves. The
key came from no approval, and the service cannot change it at Cloudbeds.
"""

NO_APP_STATE = _by_hotel(
    "the hotel also disconnects the app in Cloudbeds: a property-level client cannot do it from here"
)

RISKS = {
    NOT_RENEWABLE: _by_hotel(OF_RISK[NOT_RENEWABLE]),
    CALLS_LACK_SCOPE: _by_operator(OF_RISK[CALLS_LACK_SCOPE]),
    SCOPE_NOT_APPROVED: _by_hotel(OF_RISK[SCOPE_NOT_APPROVED]),
    SUBSCRIPTION_LACKS_SCOPE: _by_operator(OF_RISK[SUBSCRIPTION_LACKS_SCOPE]),
    APPROVER_NO_OWNER: _by_hotel(OF_RISK[APPROVER_NO_OWNER]),
}
_REFUSED_ONCE = (
    "nothing to do yet: Cloudbeds refused to renew the token, and is asked again by itself within minutes; only when "
    "it refuses again does the hotel have to approve again"
)
RECOVERING = dict.fromkeys((REVOKED, USER_INACTIVE), _by_itself(_REFUSED_ONCE))
"""Next steps of a connection that recovers, by the problem that it has if Cloudbeds refuses again."""
WAITING: dict[str, NextStep] = {
    **RISKS,
    UNRECOGNIZED: _by_operator(
        "Cloudbeds refuses the refresh in words that nobody has documented: ask its support, with the history; the "
        "connect link mends it if the hotel did disconnect"
    ),
    UNAUTHORIZED_CLIENT: _by_operator(
        "this hotel's tokens may be of another registration: check the client id; it is tried again"
    ),
    PROPERTY_MISMATCH: _by_operator(
        "another hotel approved than was expected; no hurry, it is kept alive: `cloudbeds-auth connections claim` "
        "where that hotel is yours, else `cloudbeds-auth connections forget`"
    ),
    # Why a candidate waits although its token works: its property is not known yet.
    PROPERTY_UNKNOWN: _by_itself(
        "nothing to do: Cloudbeds did not say yet which property it is of, and is asked again by itself"
    ),
    HOTEL_SCOPE_MISSING: _by_operator(
        "ask for the scope read:hotel (in CLOUDBEDS_SCOPES, and of the app), then send the hotel a connect link to "
        "approve again: without it Cloudbeds does not say which property this is"
    ),
    MIGRATION_CLIENT_UNKNOWN: _by_operator(
        "run `cloudbeds-auth connections migrate-to-api-key` for it again, with the client id and secret that it was "
        "begun with: the service does not know them, and once the access token ends the hotel is not served"
    ),
}
"""Next steps by problem, before that of the state, of a connection that serves, recovers or waits to be claimed."""
SERVING: dict[str, NextStep] = {
    **{problem: _by_operator(text) for problem, text in OF_REFUSED_CALL.items()},
    "property_disconnected": _by_operator(
        "a property of this approval disconnected the app at Cloudbeds: stop calling for it"
    ),
    SUBSCRIPTION_REFUSED: _by_operator(
        "the history has Cloudbeds' words: correct CLOUDBEDS_AUTH_SUBSCRIPTIONS, or ask its support"
    ),
    MIGRATION_UNDER_WAY: _by_itself(
        "upkeep resumes it under the client id that began it; or `cloudbeds-auth connections migrate-to-api-key`, with "
        "that client id"
    ),
}
"""Next steps by problem, if the state has none: refused calls of a healthy hotel, and what is under way for it."""
BY_ITSELF = (Badge.HEALTHY, Badge.RECOVERING)
RUNNING = frozenset(row.words for row in STATES.values() if row.badge in BY_ITSELF)
MENDED_BY_LINK = frozenset({HOTEL_SCOPE_MISSING, UNRECOGNIZED, *OF_RISK})
"""Problems of a connection without a mark that the hotel's next approval mends."""


def presentation(connection: Connection, *, app: App | None = None, remedy: str | None = None) -> Presentation:
    """How this connection is shown. Its own `next_step`, if set, takes precedence: it was decided with more knowledge.

    `app`: its registration, if known. `remedy`: what mends refused credentials, if not a correction of the settings.
    """
    row, step = STATES[connection.state], _step(connection, app, remedy)
    by = Responsible.NOBODY if step is None else step.by
    text = connection.next_step or (None if step is None else step.text)
    return Presentation(row.words, _badge(row.badge, by), text, by)


def mended_by_link(one: Connection) -> bool:
    """Whether the hotel has to approve again, or may have to: the connection is then shown with its connect link."""
    by_link = one.problem in MENDED_BY_LINK and not one.pasted
    return by_link or one.state is State.REAUTHORIZATION_REQUIRED


def _badge(of_state: Badge, by: Responsible) -> Badge:
    """The badge of a state, corrected by who has to act: the problem may require a person, or rule that out."""
    if of_state is Badge.ENDED:
        return of_state
    if by is not Responsible.NOBODY:
        return Badge.ATTENTION
    return Badge.RECOVERING if of_state is Badge.ATTENTION else of_state


def _step(one: Connection, app: App | None, remedy: str | None) -> NextStep | None:
    row, problem = STATES[one.state], one.problem or ""
    runs = row.badge in BY_ITSELF
    if problem == ALTERED:
        return _by_operator(LOOK)
    if one.state is State.CLIENT_REFUSED and remedy is not None:
        return _by_operator(remedy)
    if one.pasted and (step := OF_PASTED_KEYS.get(problem if runs else one.state)):
        return step
    if one.state is State.DISCONNECTED and app is not None and app.level == "property":
        return NO_APP_STATE
    if runs and problem in RECOVERING:
        return RECOVERING[problem]
    says_more = WAITING.get(problem) if runs or one.state is State.PARKED else None
    return says_more or row.step or SERVING.get(problem)


def has_tokens(one: Connection) -> bool:
    """Whether a credential is stored that can be tried. An operator's disconnect deletes the tokens; a connection that
    only Cloudbeds reports as disconnected still has them.
    """
    return one.state is not State.SUPERSEDED and (one.state is not State.DISCONNECTED or one.problem == DISABLED)


def lacking(scopes: Sequence[str]) -> str:
    """The next step for a hotel whose approval lacks these scopes, which the app now asks for."""
    return f"send the hotel its connect link: its approval lacks {' '.join(scopes)}"


def remedy_of(name: str, registered: App | None = None) -> str:
    """The next step for a further app that cannot be used: a new secret, or adding it again if it is not registered."""
    if registered is None:
        return f"`cloudbeds-auth apps add {name}` with the client id that it had; no hotel is at fault"
    return f"`cloudbeds-auth apps rotate-secret {name}` with the secret that Cloudbeds shows; no hotel is at fault"

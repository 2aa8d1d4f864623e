"""Every event that logs and metrics show, one member each: its name, level, facts, meaning and metric.

Logs, metrics and the table in docs/observing.md are derived from it. Names, levels, facts and metrics are public: none
of them may change.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from enum import IntEnum, StrEnum, unique
from typing import get_args

from cloudbeds_auth.errors import by_code
from cloudbeds_auth.rules.api_errors import Verdict
from cloudbeds_auth.rules.token_response import Answer, KeyAnswer


class LogLevel(IntEnum):
    """How much attention an event needs, numbered as in `logging`. WARNING: a person should look into it."""

    DEBUG = 10
    INFO = 20
    WARNING = 30


@dataclass(frozen=True, slots=True, eq=False)
class Label:
    """A label of a metric. Its value is the fact named `fact`, or the event's name if `fact` is None.

    `known`: values that are exported from the start, so that a rate covers their first event.
    """

    name: str
    fact: str | None = None
    known: Callable[[], Iterable[str]] = tuple


@dataclass(frozen=True, slots=True, eq=False)
class EventMetric:
    """A counter: `cloudbeds_auth_NAME_total{LABEL=…}`. An event whose fact `only_with` is None is not counted."""

    name: str
    help: str
    labels: tuple[Label, ...]
    only_with: str | None = None


@dataclass(frozen=True, slots=True, eq=False)
class EventHistogram:
    """A histogram of durations: `cloudbeds_auth_NAME_seconds` observes the fact named `fact`."""

    name: str
    help: str
    fact: str = "seconds"
    labels: tuple[Label, ...] = ()


def _names_of(*unions: object) -> Callable[[], Iterable[str]]:
    """The names of the classes in these unions."""
    return lambda: (kind.__name__ for union in unions for kind in get_args(union))


ROUTES = (
    "/proxy", "/api/v1", "/connect", "/callback", "/paste-key", "/add-app", "/claim", "/hooks", "/metrics", "/readyz",
    "other",
)  # fmt: skip
"""Values of the label `route`: the beginning of a request's path; `other` stands for every other path."""
OPERATIONS = ("read", "write")
STORE_REASONS = ("disk_full", "unreachable", "busy", "read_only", "io", "other")

INFO, WARNING, DEBUG = LogLevel.INFO, LogLevel.WARNING, LogLevel.DEBUG
EVERY_EVENT = EventMetric("happenings", "Everything that happened, by name", (Label("what"),))
REFRESHES = EventMetric("refreshes", "Refreshes by how they ended", (Label("outcome"),))
TOKEN_REQUESTS = EventMetric(
    "token_requests", "Requests to the token endpoint by what the answer meant",
    (Label("outcome", "answer", _names_of(Answer, KeyAnswer)),),
)  # fmt: skip
PROOFS = EventMetric("proofs", "Proof calls by verdict", (Label("verdict", "verdict", _names_of(Verdict)),))
PROXIED = EventMetric(
    "proxied_requests", "Proxied requests by class of status",
    (Label("status", "status", lambda: (f"{first}xx" for first in range(1, 6))),),
)  # fmt: skip
REFUSALS = EventMetric(
    "refusals", "Requests that the service itself refused, by code and by where they went",
    (Label("code", "code", by_code), Label("route", "route", lambda: ROUTES)), only_with="code",
)  # fmt: skip
STORE_ERRORS = EventMetric(
    "store_errors", "Transactions that the database could not do, by reason",
    (Label("reason", "reason", lambda: STORE_REASONS),),
)  # fmt: skip
WEBHOOKS = EventMetric("webhooks", "Attempts to deliver a message by how they ended", (Label("outcome"),))

TOKEN_SECONDS = EventHistogram("token_request", "Answers of the token endpoint")
PROOF_SECONDS = EventHistogram("proof", "Answers of `/userinfo` to proof calls")
PROXIED_SECONDS = EventHistogram("proxied_request", "Proxied requests as a whole, the answer's body included")
TURN_SECONDS = EventHistogram("proxied_turn", "What of it was waited for turns under the rate limit", "turn_seconds")
VENDOR_SECONDS = EventHistogram("proxied_vendor", "What of it Cloudbeds took until it answered", "vendor_seconds")
STORE_SECONDS = EventHistogram(
    "store", "Transactions, from when they are asked for", labels=(Label("operation", "operation", lambda: OPERATIONS),)
)


@unique
class Happening(StrEnum):
    """An event. As a string it is its name in logs and metrics, which observers receive.

    A member has a name, a level, the names of its facts, a meaning, and possibly a metric that counts it in addition to
    `EVERY_EVENT`. `warns_of`: values of a fact that make it a warning; `timed`: the histograms of its durations.
    """

    level: LogLevel
    facts: tuple[str, ...]
    meaning: str
    metric: EventMetric | None
    warns_of: tuple[str, ...]
    timed: tuple[EventHistogram, ...]

    def __new__(
        cls, name: str, level: LogLevel, facts: str, meaning: str, metric: EventMetric | None = None,
        warns_of: str = "", timed: tuple[EventHistogram, ...] = (),
    ) -> Happening:  # fmt: skip
        """`facts` and `warns_of` are words separated by spaces."""
        member = str.__new__(cls, name)
        member._value_ = name
        member.level, member.meaning, member.metric = level, meaning, metric
        member.facts, member.warns_of, member.timed = tuple(facts.split()), tuple(warns_of.split()), timed
        return member

    def level_of(self, facts: Mapping[str, object]) -> LogLevel:
        """The level of this event with these facts."""
        warns = self.warns_of and any(value in self.warns_of for value in facts.values())
        return WARNING if warns else self.level

    # fmt: off
    # Tokens
    REFRESHED = "refreshed", INFO, "connection_id generation", "a new token pair is stored and in use", REFRESHES
    REFRESH_FAILED = ("refresh_failed", WARNING, "connection_id error",
        "a refresh ended without a new token pair", REFRESHES)
    REAUTHORIZATION_REQUIRED = ("reauthorization_required", WARNING, "connection_id reason",
        "the grant was found dead twice: the hotel has to approve again", REFRESHES)
    RECOVERED = ("recovered", INFO, "connection_id reason",
        "a connection that was marked for reauthorization was seen to work: the mark is gone", REFRESHES)
    CLIENT_REFUSED = "client_refused", WARNING, "app", "Cloudbeds refused the app's client secret", REFRESHES
    TOKEN_ANSWER = ("token_answer", INFO, "connection_id grant_type answer seconds", "the token endpoint was asked",
        TOKEN_REQUESTS, "Ambiguous Refused RefusedClient", (TOKEN_SECONDS,))
    PROOF = ("proof", INFO, "connection_id verdict seconds", "`/userinfo` was asked whether an access token works",
        PROOFS, "DeadGrant DeadToken", (PROOF_SECONDS,))
    REPRIEVED = ("reprieved", INFO, "connection_id hold",
        "every refresh token was refused and the access token works: no mark, and the next attempt after `hold`")
    MARK_DELAYED = ("mark_delayed", WARNING, "connection_id app",
        "several connections of the app would be marked at once: this mark waits")
    UNRECOGNIZED_REFUSAL = ("unrecognized_refusal", WARNING, "connection_id answer",
        "for a day the token endpoint has refused in words that are in no table")
    COMMIT_WAITS = ("commit_waits", WARNING, "connection_id failures error",
        "tokens that were received could not be stored yet; it is tried until they are")
    LONG_TOKEN_LIST = ("long_token_list", INFO, "connection_id length",
        "a connection has more than ten refresh tokens after a refresh")
    SOURCE_REFUSED = ("source_refused", WARNING, "app why",
        "a credential belongs to another origin or client than this process uses: it is not sent")

    LINK_ALTERED = ("link_altered", WARNING, "connection_id",
        "the rows of a connection were altered behind the service: nothing of it is sent")

    # Connections
    CONNECTED = "connected", INFO, "connection_id", "an approval was seen to work and is in use"
    CAME_BACK = ("came_back", INFO, "connection_id",
        "an approval belongs to a hotel that has a connection already, and is moved there")
    PROPERTY_MISMATCH = ("property_mismatch", WARNING, "connection_id",
        "an approval is for another property than expected: its tokens wait in this connection")
    CLAIMED = "claimed", INFO, "connection_id", "an approval from the Marketplace was claimed"
    ARRIVAL_DISCARDED = ("arrival_discarded", INFO, "connection_id",
        "an approval from the Marketplace was not claimed in time: its tokens are deleted")
    CANDIDATE_SUPERSEDED = ("candidate_superseded", INFO, "connection_id",
        "an approval was replaced by a newer one before it was seen to work")
    DISCONNECTED = "disconnected", INFO, "connection_id", "a connection was disconnected by a caller or an operator"
    DISABLED_SAID = ("disabled_said", INFO, "connection_id",
        "Cloudbeds said that the hotel disabled the app; the tokens are tried before that is believed")
    KEY_RECEIVED = ("key_received", INFO, "connection_id",
        "an API key came in exchange for a refresh token, and is stored")
    MIGRATED = "migrated", INFO, "connection_id", "a connection that moves to an API key was seen to work with it"
    PROPERTY_UNKNOWN = ("property_unknown", INFO, "connection_id reason",
        "Cloudbeds does not say which property an approval covers: it waits")
    PROPERTIES_CHANGED = ("properties_changed", INFO, "connection_id added dropped",
        "the properties of a connection changed, by these counts")
    PROPERTY_ELSEWHERE = ("property_elsewhere", INFO, "connection_id property",
        "a property that Cloudbeds lists for this connection belongs to another one")
    ORIGIN_MOVED = ("origin_moved", INFO, "app former origin grants",
        "an operator said that what came from the former origin is valid at this one")
    APP_ADDED = "app_added", INFO, "app", "a further app was registered"
    APP_SECRET_ROTATED = "app_secret_rotated", INFO, "app", "a further app has a new client secret"
    KEY_CREATED = "key_created", INFO, "key actor", "a key for callers was made"
    KEY_REVOKED = "key_revoked", INFO, "key actor", "a key for callers was revoked"
    SIGNED_IN = "signed_in", INFO, "session how address", "an operator signed in: by a link, or by the admin token"
    SIGNED_OUT = "signed_out", INFO, "session address", "an operator signed out"
    SIGN_IN_FAILED = ("sign_in_failed", WARNING, "address times",
        "what was entered to sign in was no code and not the admin token, this often")
    SESSIONS_ENDED = "sessions_ended", INFO, "sessions actor", "all operators were signed out"
    KEY_ALTERED = ("key_altered", WARNING, "key",
        "a key for callers was altered behind the service: it opens nothing")
    APP_REMOVED = "app_removed", INFO, "app", "a further app was removed"

    # Calls to Cloudbeds
    GRANT_SUSPECTED = ("grant_suspected", INFO, "connection_id reason",
        "a call was refused as if the grant were dead: its tokens are tried")
    CALL_REFUSED = "call_refused", WARNING, "connection_id reason", "Cloudbeds refused a call although the token works"
    RATE_LIMITED = ("rate_limited", INFO, "app wait",
        "a request found no turn under the rate limit of an app, or of a key for callers")
    RATE_EXCEEDED = "rate_exceeded", INFO, "app wait", "a request was above a rate limit that is only observed"
    VENDOR_RATE_LIMITED = ("vendor_rate_limited", INFO, "app pause",
        "Cloudbeds answered 429: no request of this client id is sent for `pause`")
    WENT_ALONE = ("went_alone", INFO, "app connection_id",
        "the database does not answer, and a call was made at this process's own slow pace")
    STORE_UNAVAILABLE = ("store_unavailable", WARNING, "connection_id",
        "the database cannot be read: the access token in memory is used while it lasts")

    # The service
    PROXIED = ("proxied", INFO,
        ("connection_id method path caller status sends complete address vendor_request_id"
         " seconds turn_seconds vendor_seconds"),
        "a call was proxied", PROXIED, "", (PROXIED_SECONDS, TURN_SECONDS, VENDOR_SECONDS))
    PROXY_REFUSED = ("proxy_refused", WARNING, "connection_id method route path caller status code reason address",
        "the proxy itself refused a call", REFUSALS)
    CALLER_GONE = ("caller_gone", INFO, "connection_id method path caller address",
        "a caller hung up before its call was answered")
    REQUEST = ("request", INFO, "connection_id method route path caller status code reason address seconds",
        "any other request was answered; `code` and `reason` where it was refused", REFUSALS)
    CONNECTION_REFUSED = ("connection_refused", WARNING, "address why times",
        "connections of an address were closed or not taken, this often")
    CREDENTIAL_REFUSED = "credential_refused", WARNING, "address times", "credentials were wrong, this often"
    SETTINGS_FROM_FILE = ("settings_from_file", INFO, "file variables",
        "the service started, and these variables came from this file")
    ADMIN_TOKEN = "admin_token", INFO, "file", "the service started with the admin token in this file"
    DRAINING = ("draining", INFO, "seconds",
        "the service was told to stop: `/readyz` says so, and new connections are taken for so long")

    READ_ONLY = ("read_only", WARNING, "",
        "a copy of another installation's database, or one whose hotels were moved elsewhere: it is not written to")
    TRANSACTION = ("transaction", DEBUG, "operation seconds", "the database did what it was asked for",
        None, "", (STORE_SECONDS,))
    STORE_FAILED = ("store_failed", WARNING, "operation reason error",
        "the database could not do what it was asked for: nothing was written", STORE_ERRORS)

    # Webhooks, and asking Cloudbeds by itself
    WEBHOOK_DELIVERED = ("webhook_delivered", INFO, "message type connection_id attempts",
        "a message was taken", WEBHOOKS)
    WEBHOOK_FAILED = ("webhook_failed", WARNING, "message type connection_id attempts problem again_in",
        "a message was not taken, and is sent again after `again_in`", WEBHOOKS)
    WEBHOOK_GIVEN_UP = ("webhook_given_up", WARNING, "message type connection_id attempts problem again_in",
        "a message was not taken, and is not sent again", WEBHOOKS)
    HINT_RECEIVED = "hint_received", INFO, "property", "a webhook of Cloudbeds came: the connection is checked"
    HINT_IGNORED = ("hint_ignored", INFO, "",
        "a webhook of Cloudbeds came that says nothing of a disconnect, or came to a read-only copy")
    HINT_DROPPED = "hint_dropped", INFO, "", "a webhook of Cloudbeds came while too many waited"
    APP_STATE_FAILED = ("app_state_failed", WARNING, "connection_id error",
        "Cloudbeds could not be asked whether the app is still enabled; it is asked again later")
    LISTING_FAILED = ("listing_failed", WARNING, "connection_id error",
        "Cloudbeds could not be asked for a connection's properties; it is asked again later")
    AT_RISK = "at_risk", WARNING, "connection_id risk", "a connection works, and something may end or cripple it"
    RISK_OVER = "risk_over", INFO, "connection_id risk", "a risk that was reported is over"
    SUBSCRIPTIONS_CHANGED = ("subscriptions_changed", INFO, "connection_id property made ended",
        "subscriptions to Cloudbeds' webhooks were made or ended, this many")
    SUBSCRIPTION_FAILED = ("subscription_failed", WARNING, "connection_id error",
        "Cloudbeds could not be asked for a subscription to its webhooks, or refused one; it is tried again later")

    # The program itself
    SETTINGS_WARNING = ("settings_warning", WARNING, "warning",
        "a setting is not known, or weaker than it should be; the start goes on, and `doctor` says so, too")

    # Upkeep
    SWEPT = "swept", INFO, "rows", "rows older than the retention time were deleted"
    UPKEEP_DONE = "upkeep_done", INFO, "connection_id grant", "upkeep of one grant went well"
    UPKEEP_FAILED = ("upkeep_failed", WARNING, "connection_id grant error",
        "upkeep of one grant failed; it is tried again later")
    BACKGROUND_FAILED = "background_failed", WARNING, "error", "background work failed; it is tried again later"
    OBSERVER_FAILED = "observer_failed", WARNING, "observer", "an observer raised an exception, which is swallowed"
    # fmt: on

"""Everything that can go wrong, as one tree.

    Error
    ├── ConfigurationError          a setting, key or database stops the start
    ├── Unauthenticated             the caller sent no valid credential of this service
    ├── Forbidden                   … or one without the permission
    ├── InvalidRequest              the request itself cannot be served
    │   ├── InvalidReturnTo         `return_to` names an origin that is not listed
    │   ├── StateMismatch           the callback's `state` was not issued to this browser
    │   ├── AuthorizationDenied     the hotel denied the approval
    │   ├── AuthorizationExpired    the code or the state is spent or too old
    │   └── KeyRefused              Cloudbeds does not accept the API key that was given
    ├── UnknownConnection           nothing is connected under this id
    ├── AmbiguousProperty           several connections cover this property
    ├── PropertyMismatch            an approval, or an API key, is for another property than expected
    ├── ConnectionUnusable          a person has to act first
    │   ├── ReauthorizationRequired the vendor refuses every stored refresh token
    │   ├── ConnectionDisconnected  the hotel was disconnected, here or at Cloudbeds
    │   ├── Unclaimed               parked until it is claimed
    │   ├── NotRefreshable          an API key, or a hotel that was moved to one
    │   └── MigrationRefused        Cloudbeds exchanges no refresh token of this client for API keys
    ├── TryAgain                    nothing is lost; try again later
    │   ├── TokenEndpointUnavailable
    │   ├── StoreUnavailable
    │   ├── StoreReadOnly
    │   ├── RateLimited
    │   ├── RefreshPending
    │   ├── RefreshInDoubt
    │   └── BodyNotReplayable
    ├── ClientRefused               the app's own client id or secret is refused, or is not this grant's
    ├── VaultClosed                 the vault was closed before the call, or before it answered
    ├── UpstreamError               the vendor's side of a proxied call
    │   ├── UpstreamFailed
    │   └── OutcomeUnknown
    └── ForeignOrigin               a ValueError, too: the credential was about to be sent to another host

Each class carries the stable `code` and HTTP `status` of the public contract, and `diagnosis()` says what happened,
whether anything is lost, and what to do next. The first line of a class's docstring is its title, and the rest its
meaning: `GET /errors/{code}` shows both, and `docs/errors.md` is drawn from them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, NamedTuple


class Diagnosis(NamedTuple):
    """What happened, whether anything is lost, and what to do next; each a sentence for people."""

    what: str
    lost: str
    next_step: str

    def __str__(self) -> str:
        """Three lines, as the command line prints them."""
        return f"{self.what}\n  lost: {self.lost}\n  next: {self.next_step}"


class Error(Exception):
    """Something about a connection or a request failed

    `return_to`: where the browser is redirected, with `error={code}`, when the error ended an approval that was begun
    with a `return_to`. It is for the service only, and appears in no problem document.
    """

    code: ClassVar[str] = "error"
    status: ClassVar[int] = 500
    lost: ClassVar[str] = "nothing; stored tokens are unchanged"
    next_step_default: ClassVar[str] = "run `cloudbeds-auth doctor`"
    retry_after_default: ClassVar[float | None] = None

    def __init__(
        self,
        detail: str = "",
        *,
        connection_id: str | None = None,
        next_step: str | None = None,
        connect_url: str | None = None,
        retry_after: float | None = None,
        return_to: str | None = None,
    ) -> None:
        super().__init__(detail or self.title())
        self.detail: str = detail or self.title()
        self.connection_id = connection_id
        self.next_step: str = next_step or self.next_step_default
        self.connect_url = connect_url
        self.retry_after: float | None = self.retry_after_default if retry_after is None else retry_after
        self.return_to = return_to
        self.add_note(f"Next: {self.next_step}")  # below a traceback

    @classmethod
    def title(cls) -> str:
        """The first line of the class's docstring: one sentence for people."""
        return (cls.__doc__ or cls.__name__).strip().splitlines()[0]

    @classmethod
    def meaning(cls) -> str:
        """The rest of the docstring, as one paragraph; code is between backticks."""
        return " ".join((cls.__doc__ or "").strip().partition("\n")[2].split())

    def diagnosis(self) -> Diagnosis:
        """What happened, whether anything is lost, what to do next."""
        return Diagnosis(self.detail, self.lost, self.next_step)


class ConfigurationError(Error):
    """The settings, the keys or the database do not allow a start

    The detail names each problem. The service never answers with this code.
    """

    code = "invalid_configuration"
    lost = "nothing; nothing was sent and nothing was written"
    next_step_default = "correct what is named above, then run `cloudbeds-auth doctor`"

    def __init__(self, detail: str = "", *, problems: tuple[str, ...] = (), next_step: str | None = None) -> None:
        super().__init__(detail or "\n".join(problems), next_step=next_step)
        self.problems: tuple[str, ...] = problems or (self.detail,)


class Unauthenticated(Error):
    """A credential of this service is required

    It is missing or unknown, or two different ones were sent. This is never Cloudbeds' 401, which has no
    `X-Cloudbeds-Auth-Code`. After many wrong credentials from one address, answers are up to five seconds late.
    """

    code = "unauthenticated"
    status = 401
    next_step_default = "send `Authorization: Bearer` with the admin token or an API key of this service"


class Forbidden(Error):
    """This credential may not do that

    The credential is valid but lacks the permission, or `/connect` was requested without a one-time link where only
    such links start a connection. Also for what the proxy relays to no caller: the token endpoint, the approval page,
    and whatever is not Cloudbeds' API; and for a form that was not sent from a page of the operator's session.
    """

    code = "forbidden"
    status = 403
    next_step_default = "use a credential that holds the scope named above"


class InvalidRequest(Error):
    """The request cannot be served as it is

    The status is 404, 405, 408, 411, 413, 414, 421 or 431 where HTTP has a status of its own for the case: an unknown
    path or method, a body or header that is too large or too slow, a host name that is not the service's. Also, over
    HTTP, `min_valid` above half the token's lifetime, a number or reference that is too large, and an unknown app.
    """

    code = "invalid_request"
    status = 400
    next_step_default = "change the request as the detail says"


class InvalidReturnTo(InvalidRequest):
    """`return_to` is neither a path of this service nor on a listed origin

    It has to be a path of the service, or an absolute URL on an origin that the operator listed.
    """

    code = "invalid_return_to"
    next_step_default = "list the origin in CLOUDBEDS_AUTH_RETURN_ORIGINS"


AS_BEFORE = "nothing; what was connected before stays connected"  # hotels read it, and know of no tokens


class StateMismatch(InvalidRequest):
    """This approval was not started in this browser, or was started too long ago

    The callback's `state` is missing or unknown, was used with another code, or was issued to another browser. No
    code is exchanged. The same browser with the same code is shown the outcome of its first callback.
    """

    code = "state_mismatch"
    lost = AS_BEFORE
    next_step_default = "start again from the Connect link"


class AuthorizationDenied(InvalidRequest):
    """The hotel did not approve

    The hotel pressed *Deny*, or Cloudbeds sent the browser back without a code.
    """

    code = "authorization_denied"
    lost = AS_BEFORE
    next_step_default = "start again when the hotel is ready to approve"


class AuthorizationExpired(InvalidRequest):
    """The authorization code is spent or older than ten minutes

    Or the approval took longer than ten minutes, or the connect link was used or is too old. Also when a callback is
    repeated whose code was exchanged but led to no connection: a process that died with the new tokens in memory lost
    them, and what the hotel had before still works.
    """

    code = "authorization_expired"
    lost = AS_BEFORE
    next_step_default = "start again: only the hotel can get a new code"


class KeyRefused(InvalidRequest):
    """Cloudbeds does not accept this API key

    It was mistyped or revoked, or it ended after 30 days without use; or it works, but Cloudbeds names no property for
    it, because it lacks a scope. Nothing was stored.
    """

    code = "key_refused"
    lost = "nothing; the key was not stored, and what was connected before stays connected"
    next_step_default = "the hotel makes a new API key at Cloudbeds: Account, Apps & Marketplace, API Credentials"


class UnknownConnection(Error):
    """Nothing is connected under this id

    No connection has this connection id, and none covers this property id.
    """

    code = "unknown_connection"
    status = 404
    next_step_default = "`cloudbeds-auth connections` lists what is connected"


class AmbiguousProperty(Error):
    """Several connections cover this property

    The property id alone does not say which of them is meant.
    """

    code = "ambiguous_property"
    status = 409
    next_step_default = "use the connection id (con_…) instead of the property id"


class PropertyMismatch(Error):
    """This is for another property than expected

    Cloudbeds names none of the properties that were expected, or that the connection or its reference is for. An
    approval is kept nevertheless: a connection of this app that covers the property takes it over, or else it is kept
    alive until it is claimed, and `cloudbeds-auth connections list --state parked` shows it. A pasted API key is not
    stored, nor is one that does not cover all that its connection serves. No reference changes; no link is used up.
    """

    code = "property_mismatch"
    status = 409
    lost = AS_BEFORE
    next_step_default = "start again from the Connect link, signed in at Cloudbeds as the hotel that was meant"

    def __init__(
        self, detail: str = "", *, expected: Sequence[str] = (), found: Sequence[str] = (), **about: Any
    ) -> None:
        named = f"Cloudbeds names property {', '.join(found)}, not {' or '.join(expected)}" if found else ""
        super().__init__(detail or named, **about)
        self.expected: tuple[str, ...] = tuple(expected)
        self.found: tuple[str, ...] = tuple(found)


class ConnectionUnusable(Error):
    """A person has to act before this connection can be used"""

    status = 409


class ReauthorizationRequired(ConnectionUnusable):
    """The hotel has to approve again: Cloudbeds refuses every stored refresh token

    It refused each of them twice, far enough apart, or its `userinfo` said twice that the grant is dead. `problem` of
    the connection says why, for example `revoked` or `user_inactive`. Or the approval lacks the scope `read:hotel`, and
    Cloudbeds does not say which property it is for (`hotel_scope_missing`). A late success still clears the mark.
    `GET /api/v1/connections/{id}` has the link (`connect_url`); `cloudbeds-auth connect --connection ID` makes one.
    """

    code = "reauthorization_required"
    lost = "the approval; its tokens stay sealed until a new approval replaces them"
    next_step_default = "send the hotel its connect link; the stored tokens are also retried"


class ConnectionDisconnected(ConnectionUnusable):
    """This hotel was disconnected

    An operator ended the connection, which deleted its tokens; or the hotel disconnected the app at Cloudbeds: then
    they stay sealed and are retried automatically, in case Cloudbeds was wrong.
    """

    code = "connection_disconnected"
    lost = "the approval; its tokens were deleted, or stay sealed where the hotel disconnected the app at Cloudbeds"
    next_step_default = "connect the hotel again if it wishes"


class Unclaimed(ConnectionUnusable):
    """This connection waits to be claimed

    A hotel began it in Cloudbeds' Marketplace: it is deleted after a day. Or another hotel was expected: it is kept.
    """

    code = "unclaimed"
    next_step_default = (
        "claim it (one from the Marketplace within a day): `cloudbeds-auth connections claim`, or POST "
        "/api/v1/connections/{id}/claim"
    )


class NotRefreshable(ConnectionUnusable):
    """This credential is never refreshed

    It is an API key; or the hotel is being moved to one, its last access token no longer works, and `cloudbeds-auth
    connections migrate-to-api-key` continues the move.
    """

    code = "not_refreshable"
    next_step_default = "use it as it is; an API key does not expire while it is used"


class MigrationRefused(ConnectionUnusable):
    """Cloudbeds does not exchange this client's refresh tokens for API keys; the hotel was not moved

    Cloudbeds allows the move of a hotel to a key by arrangement only.
    """

    code = "migration_refused"
    lost = "nothing; the hotel keeps its OAuth tokens"
    next_step_default = "arrange the move with Cloudbeds, which issues a client that may make it"


class TryAgain(Error):
    """Not now; nothing is lost, and a later call can succeed"""

    status = 503
    next_step_default = "try again in a moment"
    retry_after: float  # seconds; never None here
    retry_after_default: ClassVar[float | None] = 1.0


class TokenEndpointUnavailable(TryAgain):
    """Cloudbeds' token endpoint gave no usable answer

    Cloudbeds could not be reached, did not acknowledge a disconnect, or could not be asked about an API key. If this
    happens in the callback, the code may be spent: start again from the Connect link.
    """

    code = "token_endpoint_unavailable"


class StoreUnavailable(TryAgain):
    """The database cannot be written at the moment

    The disk is full, the database is locked too long, its file is gone or replaced, a stored token of this connection
    cannot be decrypted, or the encryption key is used up. No refresh token is sent while its answer cannot be stored.
    """

    code = "store_unavailable"
    next_step_default = "repair the database (space, permissions, locks); calls then succeed again"


class StoreReadOnly(TryAgain):
    """A copy of another installation's database, or one whose hotels were moved elsewhere: it never refreshes

    It was copied, restored from a backup, or moved by `database copy`. Unexpired access tokens are still lent; nothing
    is refreshed, connected or written. Use the other database; if that is gone, adopt this one and restart.
    """

    code = "store_read_only"
    retry_after_default: ClassVar[float | None] = 60.0  # a person has to adopt it, or to go to the original
    next_step_default = "use the other database; `cloudbeds-auth database adopt` when that is gone for good"


class RateLimited(TryAgain):
    """Too many requests at once

    `CLOUDBEDS_AUTH_RATE_LIMIT` (a tenth of it while the database does not answer) leaves no room for this call within
    five seconds, Cloudbeds answered another call 429, or there are too many calls of one key in the proxy (fifty with
    its children), connections, or unfinished approvals. Nothing was sent. Cloudbeds' own 429s come without this code.
    """

    code = "rate_limited"


class RefreshPending(TryAgain):
    """A refresh is running and did not finish in time for this call

    The refresh runs here or in another process, and continues without the caller.
    """

    code = "refresh_pending"


class RefreshInDoubt(TryAgain):
    """An answer was lost, or a refresh was refused once; the next attempt is not due yet

    An answer of the token endpoint was lost or unusable, every stored refresh token was refused once, or Cloudbeds
    has not said yet whether a new approval works, or which property it is for. Every refresh token is kept.
    """

    code = "refresh_in_doubt"
    next_step_default = "it recovers by itself: try again in a moment"


class BodyNotReplayable(TryAgain):
    """The token was refreshed during the call, and the body could not be sent a second time

    Cloudbeds answered 401 before it acted, and the body was a stream that can be read only once.
    """

    code = "body_not_replayable"
    next_step_default = "send the request again"


class ClientRefused(Error):
    """The app's client id or secret is refused, or is not the one that this hotel's grant came from

    Or no client id is set, the app is no longer registered here, its stored secret cannot be decrypted, or the hotel's
    rows were altered (`problem` is `altered`); then nothing was sent. If the detail names two origins or two client
    ids, the hotel's grant or the app's secret came from another one than the settings name: neither tokens nor secret
    were sent. No hotel is at fault, and none is marked. For the settings' own app, correct the id, the secret or
    `CLOUDBEDS_BASE_URL`, and restart if it is in the environment; during a reset keep the former secret in
    `CLOUDBEDS_CLIENT_SECRET_PREVIOUS`. For another app, `cloudbeds-auth apps rotate-secret NAME`, or `apps add NAME`
    with its former client id. If the vendor really moved, run `cloudbeds-auth apps move-origin`.
    """

    code = "client_refused"
    status = 503
    next_step_default = "the operator checks CLOUDBEDS_CLIENT_ID and CLOUDBEDS_CLIENT_SECRET; no hotel is at fault"


class VaultClosed(Error):
    """This vault was closed

    It was called after it was closed, or was closed before it answered. What a call had begun to send is finished and
    stored; notes about calls (`note_call`, `note_refusal`, `note_pause`) are dropped without an error.
    """

    code = "vault_closed"
    status = 503
    next_step_default = "keep the vault open for as long as it is used, and close it last"


class UpstreamError(Error):
    """Cloudbeds did not answer this call"""

    status = 502


class UpstreamFailed(UpstreamError):
    """Cloudbeds' answer was unusable

    Or no connection to Cloudbeds could be made. Nothing was changed.
    """

    code = "upstream_failed"
    next_step_default = "call again"


class OutcomeUnknown(UpstreamError):
    """The write was sent and no answer came; it is not repeated

    A PUT or DELETE is not repeated either, nor is a write whose redirect led the client to a 401.
    """

    code = "outcome_unknown"
    lost = "the answer; whether the write happened is not known"
    next_step_default = "check at Cloudbeds whether it happened before sending it again"


class ForeignOrigin(Error, ValueError):
    """The request was for an origin other than Cloudbeds', so the credential was not sent

    A client with the credential was about to send a request to an origin other than that of `vault.base_url`, directly
    or by a redirect. Nothing was sent there. Python only; also a `ValueError`.
    """

    code = "foreign_origin"
    next_step_default = "use the client for `vault.base_url` only; redirects are not followed with the credential"


def by_code() -> Mapping[str, type[Error]]:
    """The first class of the tree that has each code: what the code means."""
    found: dict[str, type[Error]] = {}
    waiting = [Error]
    while waiting:
        kind = waiting.pop(0)
        waiting += kind.__subclasses__()
        if kind.code != Error.code:
            found.setdefault(kind.code, kind)
    return found

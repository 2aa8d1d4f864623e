"""Everything that can go wrong, as one tree.

    Error
    ├── ConfigurationError          a setting, key or database stops the start
    ├── Unauthenticated             the caller brought no valid credential of ours
    ├── Forbidden                   … or one that may not do this
    ├── InvalidRequest              the request itself cannot be served
    │   ├── InvalidReturnTo         `return_to` names an origin that is not listed
    │   ├── StateMismatch           the callback's `state` is not one of this browser's
    │   ├── AuthorizationDenied     the hotel said no
    │   └── AuthorizationExpired    the code or the state is spent or too old
    ├── UnknownConnection           nothing is connected under this id
    ├── AmbiguousProperty           several connections cover this property
    ├── ConnectionUnusable          a person has to act first
    │   ├── ReauthorizationRequired the vendor refuses every stored refresh token
    │   ├── ConnectionDisconnected  the tokens were given back
    │   ├── Unclaimed               parked until somebody claims it
    │   ├── NotRefreshable          an API key, or a hotel that was moved to one
    │   └── MigrationRefused        Cloudbeds exchanges no refresh token of this client for API keys
    ├── TryAgain                    nothing is lost; a later call heals
    │   ├── TokenEndpointUnavailable
    │   ├── StoreUnavailable
    │   ├── StoreReadOnly
    │   ├── RateLimited
    │   ├── RefreshPending
    │   ├── RefreshInDoubt
    │   └── BodyNotReplayable
    ├── ClientRefused               the app's own client id or secret is refused, or is not this grant's
    └── UpstreamError               the vendor's side of a proxied call
        ├── UpstreamFailed
        └── OutcomeUnknown
    ForeignOrigin                   a ValueError too: the credential was about to leave for another host

Each class carries the stable `code` and HTTP `status` of the public contract, and `diagnosis()` answers the three
questions of whoever reads it: what happened, is anything lost, what to do next. The title is the docstring's first
line.
"""

from __future__ import annotations

from typing import ClassVar, NamedTuple


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

    `return_to` is where a browser goes with `error={code}`, when this ended an approval that was begun with one; it is
    for the service only, and in no problem document.
    """

    code: ClassVar[str] = "error"
    status: ClassVar[int] = 500
    lost: ClassVar[str] = "nothing; stored tokens are unchanged"
    next_step_default: ClassVar[str] = "run `cloudbeds-auth doctor`"

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
        self.detail = detail or self.title()
        self.connection_id = connection_id
        self.next_step = next_step or self.next_step_default
        self.connect_url = connect_url
        self.retry_after = retry_after
        self.return_to = return_to

    @classmethod
    def title(cls) -> str:
        """The first line of the class's docstring: one sentence for people."""
        return (cls.__doc__ or cls.__name__).strip().splitlines()[0]

    def diagnosis(self) -> Diagnosis:
        """What happened, whether anything is lost, what to do next."""
        return Diagnosis(self.detail, self.lost, self.next_step)


class ConfigurationError(Error):
    """The settings, the keys or the database do not allow a start"""

    code = "invalid_configuration"
    lost = "nothing; nothing was sent and nothing was written"
    next_step_default = "mend what is named above, then run `cloudbeds-auth doctor`"

    def __init__(self, detail: str = "", *, problems: tuple[str, ...] = (), next_step: str | None = None) -> None:
        super().__init__(detail or "\n".join(problems), next_step=next_step)
        self.problems = problems or (self.detail,)


class Unauthenticated(Error):
    """A credential of ours is needed here"""

    code = "unauthenticated"
    status = 401
    next_step_default = "send `Authorization: Bearer` with the admin token or an API key of this service"


class Forbidden(Error):
    """This credential may not do that"""

    code = "forbidden"
    status = 403
    next_step_default = "use a credential that holds the scope named above"


class InvalidRequest(Error):
    """The request cannot be served as it is"""

    code = "invalid_request"
    status = 400
    next_step_default = "change the request as the detail says"


class InvalidReturnTo(InvalidRequest):
    """`return_to` is neither a path of ours nor a listed origin"""

    code = "invalid_return_to"
    next_step_default = "list the origin in CLOUDBEDS_AUTH_RETURN_ORIGINS"


AS_BEFORE = "nothing; what was connected before stays connected"  # on a hotel's page nobody knows of tokens


class StateMismatch(InvalidRequest):
    """This approval was not started in this browser, or was started too long ago"""

    code = "state_mismatch"
    lost = AS_BEFORE
    next_step_default = "start again from the Connect link"


class AuthorizationDenied(InvalidRequest):
    """The hotel did not approve"""

    code = "authorization_denied"
    lost = AS_BEFORE
    next_step_default = "start again when the hotel is ready to approve"


class AuthorizationExpired(InvalidRequest):
    """The authorization code is spent or older than ten minutes"""

    code = "authorization_expired"
    lost = AS_BEFORE
    next_step_default = "start again: only the hotel can get a new code"


class UnknownConnection(Error):
    """Nothing is connected under this id"""

    code = "unknown_connection"
    status = 404
    next_step_default = "`cloudbeds-auth connections` lists what is connected"


class AmbiguousProperty(Error):
    """Several connections cover this property"""

    code = "ambiguous_property"
    status = 409
    next_step_default = "use the connection id (con_…) instead of the property id"


class ConnectionUnusable(Error):
    """A person has to act before this connection can be used"""

    status = 409


class ReauthorizationRequired(ConnectionUnusable):
    """The hotel has to approve again: Cloudbeds refuses every stored refresh token"""

    code = "reauthorization_required"
    lost = "the approval; its tokens stay sealed until a new approval replaces them"
    next_step_default = "send the hotel its connect link"


class ConnectionDisconnected(ConnectionUnusable):
    """This hotel was disconnected"""

    code = "connection_disconnected"
    lost = "the approval; its tokens were deleted, or stay sealed where the hotel disconnected the app at Cloudbeds"
    next_step_default = "connect the hotel again if it wants to be"


class Unclaimed(ConnectionUnusable):
    """This connection waits to be claimed"""

    code = "unclaimed"
    next_step_default = "claim it: `cloudbeds-auth connections claim`, or POST /api/v1/connections/{id}/claim"


class NotRefreshable(ConnectionUnusable):
    """This credential is never refreshed"""

    code = "not_refreshable"
    next_step_default = "use it as it is; an API key does not expire while it is used"


class MigrationRefused(ConnectionUnusable):
    """Cloudbeds does not exchange this client's refresh tokens for API keys; the hotel was not moved"""

    code = "migration_refused"
    lost = "nothing; the hotel goes on with its OAuth tokens"
    next_step_default = "arrange the move with Cloudbeds, which gives out a client that may make it"


class TryAgain(Error):
    """Not now; nothing is lost and a later call heals"""

    status = 503
    next_step_default = "call again after `Retry-After`"


class TokenEndpointUnavailable(TryAgain):
    """Cloudbeds' token endpoint gave no usable answer"""

    code = "token_endpoint_unavailable"


class StoreUnavailable(TryAgain):
    """The database cannot be written at the moment"""

    code = "store_unavailable"
    next_step_default = "mend the database (space, permissions, locks); calls heal by themselves"


class StoreReadOnly(TryAgain):
    """This is a copy of another installation's database: it reads but never refreshes"""

    code = "store_read_only"
    next_step_default = "`cloudbeds-auth database adopt` when the other installation is gone for good"


class RateLimited(TryAgain):
    """Too much was asked for at once"""

    code = "rate_limited"


class RefreshPending(TryAgain):
    """A refresh is running and did not finish in time for this call"""

    code = "refresh_pending"


class RefreshInDoubt(TryAgain):
    """An answer was lost or refused once; the next attempt waits for its time"""

    code = "refresh_in_doubt"


class BodyNotReplayable(TryAgain):
    """The token was renewed under way and the body could not be sent a second time"""

    code = "body_not_replayable"
    next_step_default = "send the request again"


class ClientRefused(Error):
    """The app's client id or secret is refused, or is not the one that this hotel's grant came from"""

    code = "client_refused"
    status = 503
    next_step_default = "the operator checks CLOUDBEDS_CLIENT_ID and CLOUDBEDS_CLIENT_SECRET; no hotel is at fault"


class UpstreamError(Error):
    """Cloudbeds did not answer this call"""

    status = 502


class UpstreamFailed(UpstreamError):
    """Cloudbeds' answer was unusable"""

    code = "upstream_failed"
    next_step_default = "call again"


class OutcomeUnknown(UpstreamError):
    """The write was sent and no answer came; it is not repeated"""

    code = "outcome_unknown"
    next_step_default = "read back at Cloudbeds whether it happened before sending it again"


class ForeignOrigin(Error, ValueError):
    """The credential was asked for another origin than Cloudbeds' and was not sent"""

    code = "foreign_origin"
    next_step_default = "use the client for `vault.base_url` only; redirects are not followed with the credential"

"""What the blocking clients of other libraries share: the one generator driven, and the one origin that is served."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol
from urllib.parse import urljoin

from cloudbeds_auth.rules.api_errors import PassingBody, Refusal
from cloudbeds_auth.rules.auth_flow import Answered, Flow, PassOn, Send, require_origin
from cloudbeds_auth.rules.model import AccessToken
from cloudbeds_auth.rules.redirects import origin_of
from cloudbeds_auth.settings import Settings
from cloudbeds_auth.wire.lender import Lender

REDIRECTS = frozenset({301, 302, 303, 307, 308})


class Vault(Protocol):
    """`cloudbeds_auth.sync.TokenVault`; or `cloudbeds_auth.TokenVault`, from another thread than its own."""

    @property
    def settings(self) -> Settings:
        """The settings."""

    @property
    def base_url(self) -> str:
        """Scheme and host of the vendor."""

    def lender(self, connection_id: str) -> Lender:
        """Where tokens come from."""


def missing(module: str, extra: str) -> str:
    """What an ImportError of ours says."""
    return f"{module} needs what the library alone does not: pip install 'cloudbeds-auth[{extra}]'"


def to_sending(flow: Flow, lender: Lender) -> AccessToken:
    """Drive the flow from its beginning to the first sending; the token to send with."""
    step = next(flow)
    while not isinstance(step, Send | PassOn):
        step = flow.send(lender.perform_blocking(step))
    return step.token


def from_sending(flow: Flow, lender: Lender, sent: Answered, send: Callable[[AccessToken], Answered]) -> PassOn:
    """Drive the flow from its first answer to the one that is passed on."""
    step = flow.send(sent)
    while not isinstance(step, PassOn):
        step = flow.send(send(step.token) if isinstance(step, Send) else lender.perform_blocking(step))
    return step


def look_at(status: int, headers: Mapping[str, str], body: bytes) -> Refusal | None:
    """What an answer refuses whose body was read and unpacked already; `headers` is case-insensitive."""
    passing = PassingBody(status, headers.get("Content-Type") or "")
    passing.see(body)
    return passing.refusal()


def must_be_ours(url: str, base_url: str) -> None:
    """Raises ForeignOrigin unless the address clearly has `base_url`'s origin; one with a user name in it is not."""
    require_origin(origin_of(url), base_url)


def must_stay_ours(status: int, url: str, location: str | None, base_url: str) -> None:
    """Raises ForeignOrigin where an answer of `url` redirects to another origin."""
    if status in REDIRECTS and location is not None:
        must_be_ours(urljoin(url, location), base_url)

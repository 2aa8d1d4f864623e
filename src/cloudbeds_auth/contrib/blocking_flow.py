"""What the blocking clients of other libraries share: the one generator driven, and the one origin that is served."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Protocol
from urllib.parse import urljoin

from cloudbeds_auth.errors import ForeignOrigin
from cloudbeds_auth.rules.api_errors import Refusal
from cloudbeds_auth.rules.auth_flow import Answered, Fetch, heal
from cloudbeds_auth.rules.glance import Glance
from cloudbeds_auth.rules.model import AccessToken
from cloudbeds_auth.rules.redirects import origin_of
from cloudbeds_auth.settings import Settings
from cloudbeds_auth.wire.httpx_auth import Lender

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


def healed(fetch: Callable[[AccessToken | None], AccessToken], send: Callable[[AccessToken], Answered]) -> None:
    """Drive `rules.auth_flow` for a blocking client. At most three sends."""
    flow = heal()
    step = next(flow)
    with suppress(StopIteration):
        while True:
            step = flow.send(fetch(step.rejected) if isinstance(step, Fetch) else send(step.token))


def look_at(status: int, headers: Mapping[str, str], body: bytes) -> Refusal | None:
    """What an answer refuses whose body was read and unpacked already; `headers` are found whatever their case."""
    glance = Glance(status, headers.get("Content-Type") or "")
    glance.see(body)
    return glance.refusal()


def must_be_ours(url: str, base_url: str) -> None:
    """Raises ForeignOrigin unless the address is plainly of `base_url`'s origin; one with a user name in it is not."""
    asked = origin_of(url)
    if asked is None or asked != origin_of(base_url):
        raise ForeignOrigin(f"the credential is for {base_url} and was asked for {asked or 'no plain web address'}")


def must_stay_ours(status: int, url: str, location: str | None, base_url: str) -> None:
    """Raises ForeignOrigin where an answer of `url` redirects to another origin."""
    if status in REDIRECTS and location is not None:
        must_be_ours(urljoin(url, location), base_url)

"""The ports that the vault acts through, in one hand."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from cloudbeds_auth.core.answers import Answer
from cloudbeds_auth.core.budget import Limit
from cloudbeds_auth.core.nouns import App
from cloudbeds_auth.core.refresh import Timing
from cloudbeds_auth.errors import InvalidRequest
from cloudbeds_auth.ports.clock import Clock
from cloudbeds_auth.ports.entropy import Entropy
from cloudbeds_auth.ports.observer import Observer
from cloudbeds_auth.ports.store import Store
from cloudbeds_auth.ports.token_endpoint import TokenEndpoint
from cloudbeds_auth.ports.vendor import Vendor
from cloudbeds_auth.ports.wakeups import Wakeups
from cloudbeds_auth.vault.streams import Streams


@dataclass(frozen=True, slots=True)
class World:
    """Everything outside the rules.

    `owner` names this process in leases; `public_url` is where our service answers; `reread_apps` brings `apps` up to
    date with the settings, which an operator may have mended while we run. `limit`: the vendor's rate for each client
    id, over all processes; None: it is not kept. `wakeups`: how other processes are heard of; None: the row is looked
    at now and then. `streams` are this process's own.
    """

    clock: Clock
    entropy: Entropy
    store: Store
    token_endpoint: TokenEndpoint
    vendor: Vendor
    observer: Observer
    timing: Timing
    apps: Mapping[str, App]
    owner: str
    public_url: str = ""
    reread_apps: Callable[[], None] = lambda: None
    limit: Limit | None = None
    wakeups: Wakeups | None = None
    streams: Streams = field(default_factory=Streams)

    def app(self, name: str) -> App:
        """The registration of this name; raises InvalidRequest when there is none."""
        try:
            return self.apps[name]
        except KeyError:
            raise InvalidRequest(f"there is no app named {name!r}") from None

    def link_url(self, token: str) -> str:
        """The address of a connect link."""
        return f"{self.public_url.rstrip('/')}/connect/{token}"

    def claim_url(self, connection_id: str) -> str:
        """The address where an approval from the Marketplace is claimed."""
        return f"{self.public_url.rstrip('/')}/claim/{connection_id}"

    def told_answer(self, grant_type: str, answer: Answer, begun: float) -> None:
        """Tell the observer how the token endpoint answered, and in how many seconds since `begun`."""
        seconds = self.clock.steady() - begun
        self.observer.happened("token_answer", grant_type=grant_type, answer=type(answer).__name__, seconds=seconds)

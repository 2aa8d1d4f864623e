"""One process of ours: the engine over the simulated disk, clock and network."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from functools import partial
from itertools import count
from typing import NoReturn

import httpx2
from tests.simulation.driver import SimDriver
from tests.simulation.network import Network, SimTransport
from tests.simulation.trace import Trace
from tests.simulation.vendor import CALLBACK, CLIENT, SCOPES

from cloudbeds_auth.database.sealing import AesGcmSealer
from cloudbeds_auth.engine.context import World
from cloudbeds_auth.engine.wiring import Engine
from cloudbeds_auth.ports import Clock, Fact
from cloudbeds_auth.rules.happenings import Happening
from cloudbeds_auth.rules.model import AccessToken, App
from cloudbeds_auth.rules.rate_limit import Limit, rate_within
from cloudbeds_auth.rules.refresh import Timing
from cloudbeds_auth.rules.secret import Secret
from cloudbeds_auth.transactions.runner import Database
from cloudbeds_auth.wire import http_client
from cloudbeds_auth.wire.cloudbeds_api import HttpVendor
from cloudbeds_auth.wire.httpx_auth import CloudbedsAuth
from cloudbeds_auth.wire.lender import Lender
from cloudbeds_auth.wire.token_endpoint import HttpTokenEndpoint

BASE = "https://hotels.example"
VERSION = "v1.3"


class Dice:
    """ports.Entropy from the seed."""

    def __init__(self, dice: random.Random) -> None:
        self._dice = dice
        self._numbers = count(1)

    def token(self) -> str:
        return f"{self._dice.getrandbits(256):064x}"

    def identifier(self, prefix: str) -> str:
        return f"{prefix}{next(self._numbers)}"

    def unit(self) -> float:
        return self._dice.random()


BUGS = {"TypeError", "AttributeError", "NameError", "KeyError", "AssertionError", "UnboundLocalError"}
"""No fault raises these: the code under test, or a control's patch of it, is wrong."""


class Teller:
    """ports.Observer that writes into the trace, and looks for secrets in what it is told (I9).

    `alone(name)` is called when a request of this machine goes without a turn of the store's.
    """

    def __init__(self, trace: Trace, name: str, alone: Callable[[str], None]) -> None:
        self._trace, self._name, self._alone = trace, name, alone

    def happened(self, what: Happening, /, **facts: Fact) -> None:
        told = " ".join(f"{key}={value}" for key, value in sorted(facts.items()) if not isinstance(value, float))
        if any(mark in told for mark in ("access-", "refresh-", "cbat_", "secret-sim")):
            self._trace.violate("I9", f"a secret is told: {what}")
        if what not in {Happening.PROOF, Happening.TOKEN_ANSWER} or facts.get("answer") != "Issued":
            self._trace.say(self._name, f"{what} {told}")
        self._trace.count(f"told {what}")
        if what is Happening.COMMIT_WAITS and facts.get("error") in BUGS:
            self._trace.violate("harness", f"what stores a pair cannot run: {told}")
        if what is Happening.BACKGROUND_FAILED and facts.get("error") in BUGS:
            self._trace.violate("harness", f"a job cannot run: {told}")
        if what is Happening.WENT_ALONE:
            self._alone(self._name)


class Machine(Engine):
    """A running process. `name` is its own: a restart is another machine."""

    def __init__(self, world: World, name: str, driver: SimDriver, http: httpx2.AsyncClient) -> None:
        super().__init__(world, _never, retention_days=400)
        self.name = name
        self.driver = driver
        self.http = http
        self._auths: dict[str, CloudbedsAuth] = {}

    def auth(self, connection_id: str) -> CloudbedsAuth:
        """`auth=` for the callers of this process, as the vault makes it."""
        if connection_id in self._auths:
            return self._auths[connection_id]

        async def fetch(rejected: AccessToken | None) -> AccessToken:
            return await self.access.access_token(connection_id, rejected=rejected)

        turn, note_pause = partial(self.access.turn, connection_id), partial(self.access.note_pause, connection_id)
        lender = Lender(
            fetch,
            _never,
            self.calls.note,
            note_refusal=self.refused_calls.note_refusal,
            turn=turn,
            note_pause=note_pause,
        )
        made = CloudbedsAuth(BASE, lender, replay_limit=65536)
        self._auths[connection_id] = made
        return made


def start(
    name: str,
    *,
    clock: Clock,
    entropy: Dice,
    driver: SimDriver,
    sealer: AesGcmSealer,
    network: Network,
    timing: Timing,
    secrets: tuple[str, ...],
    limit: float = 0.0,
    is_dead: Callable[[str, str], bool],
    alone: Callable[[str], None] = lambda name: None,
    client: str = CLIENT,
    base: str = BASE,
) -> Machine:
    """As `runtime.build`."""
    transport = SimTransport(network)
    api = f"{base}/api/{VERSION}"
    app = App("default", client, tuple(map(Secret, secrets)), CALLBACK, SCOPES)
    apps: Mapping[str, App] = {"default": app}
    world = World(
        clock=clock,
        entropy=entropy,
        db=Database(driver, sealer, is_dead),
        token_endpoint=HttpTokenEndpoint(f"{api}/access_token", timing, transport),
        vendor=HttpVendor(base, VERSION, f"{base}/oauth", timing, transport),
        observer=Teller(network.trace, name, alone),
        timing=timing,
        apps=apps,
        owner=name,
        issuer=base,
        limit=Limit(rate_within(limit)) if limit else None,
    )
    http = http_client.client(timing, transport, keep_alive=4)
    return Machine(world, name, driver, http)


def _never(*args: object, **given: object) -> NoReturn:
    raise AssertionError("no blocking client and no further app here")

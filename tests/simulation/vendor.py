"""S (docs/rotation.md#invariants): the vendor, which is the simulator's own pure model, and a ledger of what it did.

Requests are put to `cloudbeds_simulator.endpoints.act`, so bodies and rules are the simulator's. The ledger is what the
invariants compare the store with: which pair was issued for which refresh token, what was refused, which access tokens
were truly seen to work.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from urllib.parse import parse_qs, urlsplit

from tests.simulation.trace import Trace

from cloudbeds_simulator import endpoints
from cloudbeds_simulator.answers import SimulatedAnswer
from cloudbeds_simulator.endpoints import Visit
from cloudbeds_simulator.journal import JournalEntry, ReceivedCall
from cloudbeds_simulator.records import Hotel, HotelUser, VendorApp, VendorGrant
from cloudbeds_simulator.switches import SimulatedClock, SimulatorSettings
from cloudbeds_simulator.vendor_model import KEY_PREFIX, VendorModel

CLIENT, SECRET, CALLBACK = "client-sim", "secret-sim-0", "http://localhost:7000/callback"
SCOPES = ("read:hotel", "write:reservation")
OTHER, OTHERS_SECRET = "client-of-another-app", "secret-of-another-app"


@dataclass(frozen=True, slots=True)
class Issue:
    """A pair given in answer to `sent`, a refresh token or a code; `exchange` is the number of the request."""

    exchange: int
    sent: str
    access: str
    refresh: str


@dataclass(slots=True)
class Ledger:
    """What the vendor did. `proofs`: access tokens and keys that were shown a 2xx; `deaths`: (moment, access) of dead
    bodies, and of keys that were denied. `refusals`: those that were shown, also by mistake.
    """

    issues: list[Issue] = field(default_factory=list)
    refusals: list[tuple[float, str]] = field(default_factory=list)
    proofs: set[str] = field(default_factory=set)
    deaths: list[tuple[float, str]] = field(default_factory=list)
    rotated: dict[int, float] = field(default_factory=dict)
    lied: bool = False  # it refused refresh tokens that live
    version: int = 0


class Vendor:
    """The server. `now()` is its own clock; it does not jump when ours does."""

    def __init__(
        self, trace: Trace, dice: random.Random, now: Callable[[], float], variant: str, lifetime: float, hotels: int
    ) -> None:
        self.trace = trace
        self.ledger = Ledger()
        self._dice = dice
        self._now = now
        self._clock = SimulatedClock(read=now)
        self._entries = 0
        self.outcome = ""  # of the last token request
        self.killed: set[str] = set()  # keys that the last request ended, which was a refresh
        self.given: dict[str, int] = {}  # by key, the number of the request that it was first given for
        self.model = VendorModel(self._mint, SimulatorSettings(variant=variant, expires_in=lifetime))
        self.reset_secret(SECRET)
        self.model.add_app(VendorApp(OTHER, OTHERS_SECRET, "Another", frozenset({CALLBACK}), SCOPES))
        for number in range(1, hotels + 1):
            user = HotelUser(str(number), "Ada", f"Hotel{number}", f"ada{number}@hotel.example")
            self.model.add_hotel(Hotel(str(1000 + number), f"Hotel {number}", user))

    def reset_secret(self, secret: str) -> None:
        """The client secret is this one now."""
        self.model.add_app(VendorApp(CLIENT, secret, "Simulated", frozenset({CALLBACK}), SCOPES))

    def approve(self, url: str, property_id: str) -> tuple[str, str]:
        """What the hotel does at `url`: code and state that come back."""
        wanted = parse_qs(urlsplit(url).query)
        code = self.model.authorize(CLIENT, wanted["redirect_uri"][0], [property_id], SCOPES, self._now())
        self.trace.name(code, f"code{len(self.model.codes)}")
        return code, wanted["state"][0]

    def grant_of(self, refresh: str) -> VendorGrant | None:
        """The grant that this refresh token belongs to."""
        return self.model._by_refresh.get(refresh)

    def grant_behind(self, call: ReceivedCall) -> VendorGrant | None:
        """The grant of the access token or key that a call shows."""
        return next((grant for grant in self.model.grants for shown in call.credentials
                     if self.model._by_access.get(shown) is grant or shown in {key.value for key in grant.keys}),
                    None)  # fmt: skip

    def accepted(self, refresh: str) -> tuple[str, ...]:
        """The refresh tokens that its grant accepts now."""
        grant = self.grant_of(refresh)
        return grant.rotation.accepted if grant else ()

    def act(self, number: int, call: ReceivedCall, shown: int | None) -> SimulatedAnswer:
        """Do what a request asks. `shown` is the status of the answer that a fault shows instead of this one."""
        visit = self._visit(call)
        revoked = [grant.number for grant in self.model.grants if grant.rotation.revoked]
        living = self._living_keys()
        answer = endpoints.act(visit, shown)
        self.killed = {key for key, ended in living.items() if ended() == "refreshed"}
        entry = visit.entry
        if entry.target == "token":
            self.outcome = entry.outcome
            self._note_token(number, call, entry)
        else:
            self._note_use(call, entry, proves=shown is None and _succeeds(answer))
        for grant in self.model.grants:
            if grant.rotation.revoked and grant.number not in revoked:
                self.trace.say("server", f"REVOKES grant {grant.number} ({grant.ended})")
                self.trace.count("revoked at the vendor")
        self.ledger.version += 1
        return answer

    def refuse_unacted(self, call: ReceivedCall, status: int) -> None:
        """A gateway answers in the method's place; under V4 even that is a use of the token."""
        endpoints.answered_unacted(self._visit(call), status)
        self.ledger.version += 1

    def refuse_by_mistake(self, call: ReceivedCall) -> None:
        """A refresh token is refused, whatever is true of it."""
        self.ledger.refusals.append((self._now(), call.field("refresh_token")))
        self.ledger.version += 1

    def lives(self, credential: str) -> bool:
        """Whether this access token or key works now."""
        return isinstance(self.model.find(credential, self._now()), VendorGrant)

    def _living_keys(self) -> dict[str, Callable[[], str | None]]:
        keys = [key for grant in self.model.grants for key in grant.keys if key.ended is None]
        return {key.value: partial(getattr, key, "ended") for key in keys}

    def _visit(self, call: ReceivedCall) -> Visit:
        self._entries += 1
        entry = JournalEntry(self._entries, self._now(), endpoints.target_of(call), call.method, call.path)
        return Visit(call, self.model, entry, self._clock)

    def _note_use(self, call: ReceivedCall, entry: JournalEntry, *, proves: bool) -> None:
        for credential in call.credentials:
            if entry.outcome == "accepted" and proves:
                self.ledger.proofs.add(credential)
            elif entry.outcome == "dead" or (entry.outcome == "401" and credential.startswith(KEY_PREFIX)):
                self.ledger.deaths.append((self._now(), credential))

    def _note_token(self, number: int, call: ReceivedCall, entry: JournalEntry) -> None:
        sent = call.field("refresh_token") or call.field("code")
        if entry.outcome == "issued" and entry.grant is not None and entry.ordinal is None:
            key = self.model.grants[entry.grant - 1].keys[-1].value
            self.given.setdefault(key, number)
            self.trace.name(key, f"K{entry.grant}.{len(self.model.grants[entry.grant - 1].keys)}")
            again = " again" if entry.repeated else ""
            self.trace.say("server", f"#{number} {self.trace.called(sent)} -> {self.trace.called(key)}{again}")
            return
        if entry.outcome == "issued" and entry.grant is not None and entry.ordinal is not None:
            pair = self.model.grants[entry.grant - 1].rotation.pairs[entry.ordinal]
            self.trace.name(pair.access_token, f"A{entry.grant}.{entry.ordinal}")
            self.trace.name(pair.refresh_token, f"R{entry.grant}.{entry.ordinal}")
            self.ledger.issues.append(Issue(number, sent, pair.access_token, pair.refresh_token))
            self.ledger.rotated[entry.grant] = self._now()
            again = " again" if entry.repeated else ""
            called = f"{self.trace.called(pair.access_token)}, {self.trace.called(pair.refresh_token)}"
            self.trace.say("server", f"#{number} {self.trace.called(sent)} -> ({called}){again}")
        else:
            if entry.outcome == "refused":
                self.ledger.refusals.append((self._now(), sent))
            self.trace.say("server", f"#{number} {self.trace.called(sent)} -> {entry.outcome} {entry.detail}")

    def _mint(self, kind: str) -> str:
        return f"{kind}-{self._dice.getrandbits(128):032x}"


def _succeeds(answer: SimulatedAnswer) -> bool:
    return 200 <= answer.status < 300 and b'"success": false' not in answer.body


def call_of(method: str, raw_path: str, headers: Mapping[str, str], body: bytes) -> ReceivedCall:
    """A request as the simulator reads it."""
    form: dict[str, list[str]] = {}
    if headers.get("content-type", "").startswith("application/x-www-form-urlencoded"):
        form = parse_qs(body.decode(), keep_blank_values=True)
    titled = {name.title(): value for name, value in headers.items()}
    return ReceivedCall(method, raw_path, titled, body, form)

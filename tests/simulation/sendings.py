"""The invariants at the moment of a sending: I1, I4, I8, I11 to I13, I16, and that an intent came first."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from tests.simulation.invariants import Invariants
from tests.simulation.loop import SimLoop
from tests.simulation.network import Exchange
from tests.simulation.pace import Pace
from tests.simulation.trace import Trace

from cloudbeds_auth.transactions.statements import Statement


@dataclass(slots=True)
class Intent:
    """A committed intent of one machine, not yet spent by a sending."""

    grant: str
    generation: int
    refresh: str
    at: float


class Driver(Protocol):
    """A machine's way to its store."""

    @property
    def in_transaction(self) -> bool:
        """Whether a transaction is open right now."""


class Sendings:
    """Told of every commit and of every request about to leave. `moving(machine)`: it moves a hotel to a key;
    `lies(target)`: the vendor answers something untrue there.
    """

    def __init__(
        self,
        trace: Trace,
        invariants: Invariants,
        drivers: Mapping[str, Driver],
        loop: SimLoop,
        faultless: bool,
        pace: Pace,
        moving: Callable[[str], bool],
        lies: Callable[[str], bool],
    ) -> None:
        self._lies = lies
        self._braked: dict[str, list[float]] = {}  # by grant: when a 401 that is a lie had it refreshed
        self.trace, self.invariants, self._pace, self._moving = trace, invariants, pace, moving
        self._drivers, self._loop, self._faultless = drivers, loop, faultless
        self._intents: dict[tuple[str, str], Intent] = {}  # by machine and grant: the newest one that is not spent
        self._of_call: dict[str, list[Exchange]] = {}
        self._of_code: dict[str, list[Exchange]] = {}
        self._of_grant: dict[str, list[Exchange]] = {}
        self._used: set[str] = set()  # access tokens that were sent to a resource or to `/userinfo`
        self.booted = 0.0  # when the host last started: what was held back before is not known any more
        self.strangers: set[tuple[str, object]] = set()  # (grant, epoch) of leases that no refresh took
        self._sends: dict[tuple[str, int], int] = {}

    def committed(self, machine: str, statements: list[Statement]) -> None:
        """A transaction of this machine is durable."""
        self._sealed(machine, statements)
        names = [statement.name for statement in statements]
        wrote = [name for name in names if name in TOLD]
        if wrote:
            self.trace.say(machine, "committed " + ", ".join(wrote))
        for statement in statements:
            if statement.name == "write_intent":
                self._intended(machine, statement)
            elif statement.name == "release_lease" and (
                (str(statement.parameters["grant_id"]), statement.parameters["epoch"]) not in self.strangers
            ):
                self._released(machine, str(statement.parameters["grant_id"]))

    def _sealed(self, machine: str, statements: list[Statement]) -> None:
        """I9: no secret is written in plain text."""
        self.trace.count("checks")
        for statement in statements:
            for value in statement.parameters.values():
                written = value if isinstance(value, bytes) else str(value).encode()
                if SECRET.search(written):
                    self.trace.violate("I9", f"{machine} writes a secret in plain text ({statement.name})")

    def _intended(self, machine: str, statement: Statement) -> None:
        grant_id, position = str(statement.parameters["grant_id"]), statement.parameters["position"]
        stored = self.invariants.rest.grants().get(grant_id)
        if stored is None or stored.intent != position:
            return  # not durable: the sending will be found out
        value = dict(stored.tokens).get(stored.intent or 0, "")
        self._intents[machine, grant_id] = Intent(grant_id, stored.generation, value, self._loop.now)

    def _released(self, machine: str, grant_id: str) -> None:
        """I6: a pair in hand is dropped only when the generation moved; it may be the only living one."""
        if self._moving(machine):
            return  # its own lease may be what is given back
        stored = self.invariants.rest.grants().get(grant_id)
        for exchange in self._of_grant.get(grant_id, []):
            ours = exchange.machine == machine and exchange.access and exchange.read and not exchange.judged
            if not ours or stored is None or stored.role not in {"active", "candidate"}:
                continue
            exchange.judged = True
            if stored.generation == exchange.generation and stored.access != exchange.access:
                told = self.trace.called(exchange.access)
                self.trace.violate("I6", f"{told} was in hand of {machine} and is dropped")

    def drained(self, machine: str) -> None:
        """This process says that it may end: nothing that it sent is under way, and no pair is in hand (F78)."""
        for grant_id, exchanges in self._of_grant.items():
            for exchange in exchanges:
                if exchange.machine == machine and exchange.flying:
                    self.trace.violate("I6", f"{machine} says it may end, and #{exchange.number} is under way")
            self._released(machine, grant_id)

    def leaving(self, exchange: Exchange) -> None:
        """A request is about to be sent."""
        self.invariants.check()
        self.trace.count("checks", 3)
        driver = self._drivers.get(exchange.machine)
        if driver is not None and driver.in_transaction:
            self.trace.violate("I8", f"{exchange.machine} sends #{exchange.number} inside a transaction")
        self._pace.leaving(exchange.machine, exchange.number)
        if exchange.target == "token":
            if exchange.exchanged:
                self._for_key(exchange)
            elif exchange.refresh:
                self._refresh(exchange)
            else:
                self._code(exchange)
        else:
            self._protected(exchange)

    def _protected(self, exchange: Exchange) -> None:
        for credential in exchange.call.credentials:
            if credential not in self.invariants.ever_access:
                self.trace.violate("I1", f"{self.trace.called(credential)} is sent before it is durable")
            self._used_alone(credential, exchange)
        if exchange.call_id:
            before = self._of_call.setdefault(exchange.call_id, [])
            for earlier in before:
                if earlier.answered != 401:
                    self.trace.violate("I13", f"call {exchange.call_id} is sent again though #{earlier.number} "
                                       f"was answered {earlier.answered}")  # fmt: skip
            before.append(exchange)

    def _used_alone(self, access: str, use: Exchange) -> None:
        """I4: a new access token is not used beside a request of its generation that may still arrive (rule 7)."""
        if access in self._used:
            return
        self._used.add(access)
        for exchanges in self._of_grant.values():
            asked_at = [one.generation for one in exchanges if one.access == access]
            for other in exchanges:
                if other.generation in asked_at and other.access != access and self._may_arrive(other):
                    self.trace.violate(
                        "I4",
                        f"{self.trace.called(access)} is used in #{use.number}, and #{other.number}, sent "
                        f"{self._loop.now - other.at:.1f} s before, may still be acted on",
                    )

    def _may_arrive(self, earlier: Exchange) -> bool:
        """Whether this request has no definitive answer, and its deadline, which runs from its intent, is not over."""
        begun = earlier.at if earlier.intended is None else earlier.intended
        unknown = earlier.sent and not earlier.settles and earlier.at > self.booted
        return unknown and self._loop.now - begun < HELD

    def _code(self, exchange: Exchange) -> None:
        before = self._of_code.setdefault(exchange.code, [])
        for earlier in before:
            if earlier.sent and not earlier.refused_client:
                self.trace.violate("I12", f"a code is exchanged twice: #{earlier.number} and #{exchange.number}")
        before.append(exchange)

    def _refresh(self, exchange: Exchange) -> None:
        self.trace.count("refreshes")
        intent = self._intended_before(exchange)
        if self.invariants.rest.grants()[intent.grant].latched and not self._stood_still(exchange, intent):
            self.trace.violate("I16", f"{self.trace.called(exchange.refresh)} is sent, and {intent.grant} is latched")
        self._needed(intent, exchange)
        key = (intent.grant, intent.generation)
        self._sends[key] = self._sends.get(key, 0) + 1
        if self._sends[key] == 1:
            self._brakes(intent, exchange)
        if self._faultless and self._sends[key] > 1:
            self.trace.violate("I4", f"{intent.grant} is refreshed twice at generation {intent.generation}")

    def _for_key(self, exchange: Exchange) -> None:
        """I16: latched before any exchange is sent; apart from that it is an attempt like a refresh."""
        self.trace.count("exchanges for a key")
        intent = self._intended_before(exchange)
        if not self.invariants.rest.grants()[intent.grant].latched and not self._stood_still(exchange, intent):
            told = self.trace.called(exchange.exchanged)
            self.trace.violate("I16", f"{told} is exchanged for a key, and {intent.grant} is not latched")

    def _intended_before(self, exchange: Exchange) -> Intent:
        """I1, I4: a durable intent came first, nothing else is under way, and newer tokens were refused."""
        intent = next(
            (one for (machine, _), one in self._intents.items()
             if machine == exchange.machine and one.refresh == exchange.token), None
        )  # fmt: skip
        if intent is None:
            self.trace.violate("I1", f"{self.trace.called(exchange.token)} is sent without a durable intent")
        assert intent is not None
        del self._intents[exchange.machine, intent.grant]
        exchange.generation, exchange.grant, exchange.intended = intent.generation, intent.grant, intent.at
        exchange.disturbed |= self._stood_still(exchange, intent)  # its lease may have run out meanwhile
        before = self._of_grant.setdefault(intent.grant, [])
        for earlier in before:
            if earlier.flying:
                self._together(earlier, exchange, intent)
        self._held_back(intent, exchange, before)
        self._newer_ones_refused(intent, exchange, before)
        before.append(exchange)
        return intent

    def _held_back(self, intent: Intent, exchange: Exchange, before: list[Exchange]) -> None:
        """I4: what got no definitive answer holds the next request of its generation back until it must be over."""
        for earlier in before:
            waited = self._loop.now - earlier.at
            unknown = earlier.sent and not earlier.settles and earlier.generation == intent.generation
            unknown = unknown and earlier.at > self.booted
            if unknown and waited < HELD and not (earlier.disturbed or exchange.disturbed):
                self.trace.violate(
                    "I4",
                    f"#{exchange.number} is sent {waited:.1f} s after #{earlier.number}, which may still be acted on",
                )

    def _stood_still(self, exchange: Exchange, intent: Intent) -> bool:
        """Between its intent and now: the fence may have moved meanwhile."""
        return self._loop.stood_still_until(exchange.machine) > intent.at

    def _newer_ones_refused(self, intent: Intent, exchange: Exchange, before: list[Exchange]) -> None:
        """I4: child first, and only a definitive refusal moves on to an older R (rules 4 and 5)."""
        stored = self.invariants.rest.grants()[intent.grant]
        if stored.generation != intent.generation or exchange.token not in stored.values:
            return  # it stood still between its intent and now
        since = self.invariants.changed_at(intent.grant)
        for newer in stored.values[stored.values.index(exchange.token) + 1 :]:
            if not any(one.token == newer and one.refused and one.read and one.at >= since for one in before):
                told, unsent = self.trace.called(exchange.token), self.trace.called(newer)
                self.trace.violate("I4", f"{told} is sent, and {unsent} was not refused")

    def _needed(self, intent: Intent, exchange: Exchange) -> None:
        """I4: without faults no grant is refreshed whose access token works and is not nearly over."""
        if self._faultless and self._is_young(intent, exchange):
            access = self.invariants.rest.grants()[intent.grant].access
            self.trace.violate("I4", f"{intent.grant} is refreshed though {self.trace.called(access)} works")

    def _is_young(self, intent: Intent, exchange: Exchange) -> bool:
        """Whether the stored access token works, and will for a while."""
        theirs = self.invariants.vendor.grant_of(exchange.refresh)
        if theirs is None:
            return False
        stored, now = self.invariants.rest.grants()[intent.grant], self.invariants.vendor._now()
        young = now < theirs.rotation.current.issued_at + 0.8 * theirs.rotation.lifetime
        return young and theirs.rotation.alive(stored.access, now)

    def _brakes(self, intent: Intent, exchange: Exchange) -> None:
        """Rule 11: an hour in which all answers are 401 costs a grant at most eight refreshes of young tokens.

        Of a generation the first request counts; while the token endpoint lies too, it is rule 12 that sends them.
        """
        if self._lies("token") or not self._lies("userinfo") or not self._is_young(intent, exchange):
            return
        moments = self._braked.setdefault(intent.grant, [])
        moments[:] = [*(at for at in moments if at > self._loop.now - 3600.0), self._loop.now]
        if len(moments) > BRAKED:
            self.trace.violate("I4", f"{intent.grant} is refreshed {len(moments)} times in an hour of 401s")

    def _together(self, earlier: Exchange, exchange: Exchange, intent: Intent) -> None:
        """Two requests under way: of one process never, of two only when one stood still or lost its lease."""
        stood_still = self._stood_still(exchange, intent)
        disturbed = earlier.disturbed or stood_still or not self._loop.alive(earlier.machine)
        if disturbed and earlier.machine != exchange.machine:
            return
        self.trace.violate("I4", f"#{exchange.number} is sent while #{earlier.number} is under way")


BRAKED = 8  # refreshes an hour
HELD = 19.0  # seconds; the deadline of a token request is 20, and its clock began a moment before
SECRETS = (b"access-", b"refresh-", b"cbat_key", b"secret-sim")
"""What every secret of the simulated vendor begins with."""
SECRET = re.compile(b"|".join(map(re.escape, SECRETS)))
TOLD = frozenset(
    {"take_lease", "write_intent", "settle", "commit_pair", "confirm", "count_first", "hold", "mark", "add_grant"}
    | {"move_pointer", "set_role", "open_circuit", "close_circuit", "forget_access", "rebase"}
    | {"begin_migration", "end_migration"}
)

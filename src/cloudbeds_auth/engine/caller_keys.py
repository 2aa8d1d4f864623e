"""Keys for callers of the service: created, listed, revoked, and recognized, a thousand times a second if need be.

A key that was found good stays good for a second without another read, so a revoked key is refused everywhere within a
second; while the store cannot be read, within a minute (A25). What a connection covers is remembered while the store is
away: to act there a caller needs a token in memory, which expires.
"""

from __future__ import annotations

import asyncio
import hmac
from collections import OrderedDict
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

from cloudbeds_auth.engine.context import World
from cloudbeds_auth.engine.outage import Outage
from cloudbeds_auth.engine.rate_limiter import CALL
from cloudbeds_auth.errors import InvalidRequest, RateLimited, StoreReadOnly, StoreUnavailable, Unauthenticated
from cloudbeds_auth.ports import ACTING
from cloudbeds_auth.rules.caller_keys import (
    ID_PREFIX,
    LONGEST_NAME,
    MOST_CHILDREN,
    MOST_NAMED,
    PREFIX,
    CallerKey,
    NewKey,
    checked_key,
    hash_of_key,
    id_of,
    write,
)
from cloudbeds_auth.rules.happenings import Happening
from cloudbeds_auth.rules.inputs import LONGEST_REFERENCE, checked_cursor, checked_seconds, checked_text, is_text
from cloudbeds_auth.rules.model import moment
from cloudbeds_auth.rules.permissions import Bounds, Caller, OfConnection, Scope, of_connection
from cloudbeds_auth.rules.rate_limit import TurnLine, rate_of
from cloudbeds_auth.rules.secret import Secret
from cloudbeds_auth.transactions.caller_keys import (
    AlteredKey,
    GoodKey,
    add_caller_key,
    end_caller_key,
    find_caller,
    note_uses,
    read_caller_key,
    read_caller_keys,
)
from cloudbeds_auth.transactions.connections import read_connection

FOR = 1.0  # seconds for which a key that was good is taken to be good
AWAY = 60.0  # … while the store cannot be read
HOTEL_FOR = 60.0  # seconds for which what a connection covers is remembered
MOST = 10_000  # keys, and hotels, that are remembered
EVERY = 30.0  # seconds between two writes of uses
LEAST_RATE, MOST_RATE = 0.01, 100.0  # requests a second
V = TypeVar("V")
LIST = "`cloudbeds-auth keys` lists the known ones"
SCOPES = ", ".join(Scope)


@dataclass(frozen=True, slots=True)
class CreatedKey:
    """A new key and its text, which is shown this once only."""

    key: CallerKey
    secret: Secret


@dataclass(frozen=True, slots=True)
class _Seen:
    known: GoodKey | None
    at: float  # by the steady clock, before the read: a later change is found by the next read

    def holds(self, now: float) -> bool:
        """Whether it may still be relied on while the store is away."""
        left = None if self.known is None else self.known.left
        return now < self.at + (AWAY if left is None else min(AWAY, left))


class CallerKeys:
    """Creates, lists and revokes keys, and says whose key a request has."""

    def __init__(self, world: World, outage: Outage) -> None:
        self._world = world
        self._outage = outage
        self._unseen = asyncio.Lock()  # anyone can make up ids: they are looked up one at a time, and briefly
        self._seen: OrderedDict[str, _Seen] = OrderedDict()
        self._hotels: OrderedDict[str, tuple[OfConnection, float]] = OrderedDict()
        self._uses: dict[str, tuple[float, str]] = {}

    async def create(
        self,
        name: str,
        *,
        scopes: Collection[str],
        connections: Collection[str] | None = None,
        properties: Collection[str] | None = None,
        references: Collection[str] | None = None,
        read_only: bool = False,
        methods: Collection[str] | None = None,
        expires_in: float | None = None,
        rate: float | None = None,
        parent: Caller | None = None,
    ) -> CreatedKey:
        """A new key. `scopes`: what it may do; the three lists: for which hotels, those in any list; without lists all.

        `read_only`: at Cloudbeds only GET, HEAD and OPTIONS; `methods`: at Cloudbeds only methods of these names.
        `expires_in`: seconds; by default never. `rate`: requests per second to Cloudbeds over all processes, those of
        its children included; by default as the client id allows. `parent`: limits the key further, and ends it when it
        ends. Raises InvalidRequest, Forbidden, StoreUnavailable.
        """
        if not name or len(name) > LONGEST_NAME or not is_text(name):
            raise InvalidRequest(f"a key has a name of 1 to {LONGEST_NAME} characters, for people")
        if expires_in is not None:
            checked_seconds("expires_in", expires_in, least=1.0)
        if rate is not None and not LEAST_RATE <= rate <= MOST_RATE:
            raise InvalidRequest(f"a key's rate is {LEAST_RATE:g} to {MOST_RATE:g} requests a second")
        reach = _reach(connections=connections, properties=properties, references=references)
        names = None if methods is None else frozenset(one.lower() for one in _names("methods", methods))
        new = checked_key(NewKey(name, _scopes(scopes), reach, read_only, names, expires_in, rate), parent)
        world, above = self._world, None if parent is None else parent.name
        key_id = world.entropy.identifier(ID_PREFIX)
        text = write(key_id, world.entropy.token())
        key = await world.db.write(add_caller_key(key_id, hash_of_key(text), new, parent=above))
        if key is None:
            raise InvalidRequest(f"this key has {MOST_CHILDREN} children already, or ended", next_step="revoke some")
        world.observer.happened(Happening.KEY_CREATED, key=key.id, actor=key.created_by)
        return CreatedKey(key, Secret(text))

    async def list(
        self, *, parent: str | None = None, cursor: str | None = None, limit: int = 100
    ) -> Sequence[CallerKey]:
        """Keys, newest first, ended ones included. `cursor`: the last id of the previous page. Raises
        InvalidRequest.
        """
        above, before = checked_text("the parent", parent), checked_cursor(cursor, ID_PREFIX)
        return await self._world.db.read(read_caller_keys(parent=above, before=before, limit=limit))

    async def left_by(self, key_id: str) -> Sequence[CallerKey]:
        """The good keys that this key made and that do not end with it: those made with the scope `admin`."""
        found: list[CallerKey] = []
        cursor, now = None, moment(self._world.clock.wall())
        while page := await self.list(cursor=cursor):
            made = (key for key in page if key.created_by == key_id and key.parent is None and key.ended_at is None)
            found.extend(key for key in made if key.expires_at is None or now < key.expires_at)
            cursor = page[-1].id
        return found

    async def get(self, key_id: str) -> CallerKey:
        """The key of this id; raises InvalidRequest if there is none."""
        found = await self._world.db.read(read_caller_key(key_id)) if is_text(key_id) else None
        if found is None:
            raise unknown_key(key_id)
        return found

    async def revoke(self, key_id: str) -> CallerKey:
        """End a key and its children: refused everywhere within a second. Raises InvalidRequest if there is none."""
        ended = await self._world.db.write(end_caller_key(key_id)) if is_text(key_id) else None
        self._seen.clear()  # its children, too
        if ended is None:
            raise unknown_key(key_id)
        self._world.observer.happened(Happening.KEY_REVOKED, key=key_id, actor=ACTING.get().name)
        return ended

    async def authenticate(self, text: str, address: str) -> Caller | None:
        """The caller with this key, used from this address; None: unknown or ended. Raises StoreUnavailable."""
        key_id = id_of(text)
        if key_id is None:
            return None
        known = await self._known(key_id)
        if known is None or not hmac.compare_digest(hash_of_key(text), known.hash):
            return None
        self._uses[key_id] = self._world.clock.wall(), address
        return known.caller

    async def require_good(self, caller: Caller) -> None:
        """Raises Unauthenticated if this caller's key ended since it was recognized; other callers have no key."""
        if caller.name.startswith(ID_PREFIX) and await self._known(caller.name) is None:
            raise Unauthenticated("this credential is no longer valid")

    async def turn(self, caller: Caller, connection_id: str) -> None:
        """Wait until this caller may make one call, if its key, or the key's parent, has a rate; callers that share a
        rate take turns. While the store gives no turns, only the client id's rate counts. Raises RateLimited.
        """
        rate = caller.root.rate
        if rate is None:
            return
        limiter = self._world.key_limiter(caller.root.name, rate_of(rate))
        try:
            await limiter.spend(CALL, TurnLine(caller.name, connection_id))
        except RateLimited as error:
            detail = f"this key is for {rate:g} requests a second"
            raise RateLimited(detail, retry_after=error.retry_after, connection_id=connection_id) from None
        except (StoreUnavailable, StoreReadOnly):
            return

    async def _known(self, key_id: str) -> GoodKey | None:
        clock = self._world.clock
        seen = self._seen.get(key_id)
        if seen is None:
            async with self._unseen:
                seen = await self._look(key_id)
        elif clock.steady() >= seen.at + FOR:
            try:
                seen = await self._look(key_id)
            except StoreUnavailable:
                if clock.steady() >= seen.at + AWAY:
                    raise
        known = seen.known
        over = known is not None and known.left is not None and clock.steady() >= seen.at + known.left
        return None if over else known

    async def _look(self, key_id: str) -> _Seen:
        return await self._outage.read_briefly(f"find {key_id}", partial(self._find, key_id))

    async def _find(self, key_id: str) -> _Seen:
        at = self._world.clock.steady()
        known = await self._world.db.read(find_caller(key_id))
        if isinstance(known, AlteredKey):
            self._world.observer.happened(Happening.KEY_ALTERED, key=known.id)
            known = None
        found = _Seen(known, at)
        if found.known is None:
            self._seen.pop(key_id, None)
        else:
            now = self._world.clock.steady()
            while self._seen and not (oldest := next(iter(self._seen.items())))[1].holds(now):
                del self._seen[oldest[0]]
            _remember(self._seen, key_id, found)
        return found

    async def hotel(self, connection_id: str, caller: Caller) -> OfConnection:
        """What decides whether this caller may use this connection, as read within a minute, or before the store went
        away.
        """
        if caller.for_all:
            return OfConnection(connection_id)
        known = self._hotels.get(connection_id)
        if known is not None and self._world.clock.steady() < known[1] + HOTEL_FOR:
            return known[0]
        look = self._world.tasks.share if known is None else self._outage.read_briefly
        try:
            return await look(f"judge by {connection_id}", partial(self._read_hotel, connection_id))
        except StoreUnavailable:
            if known is None:
                raise
            return known[0]

    async def _read_hotel(self, connection_id: str) -> OfConnection:
        at = self._world.clock.steady()
        connection = await self._world.db.read(read_connection(connection_id))
        if connection is None:
            self._hotels.pop(connection_id, None)
            return OfConnection(connection_id)
        hotel = of_connection(connection)
        _remember(self._hotels, connection_id, (hotel, at))
        return hotel

    async def tick(self) -> float:
        """Write when keys were last used; returns the seconds until the next write."""
        uses, self._uses = self._uses, {}
        try:
            if uses and not self._world.db.read_only:
                await self._world.db.write(note_uses(uses))
        except StoreUnavailable:
            self._uses = uses | self._uses
        return EVERY


def _remember(remembered: OrderedDict[str, V], key: str, value: V) -> None:
    remembered[key] = value
    remembered.move_to_end(key)
    if len(remembered) > MOST:
        remembered.popitem(last=False)


def _scopes(given: Collection[str]) -> frozenset[Scope]:
    """These scopes, checked; raises InvalidRequest for anything else."""
    if isinstance(given, str) or not set(given) <= set(Scope):
        raise InvalidRequest("a key's scopes are a list", next_step=f"of {SCOPES}")
    return frozenset(Scope(one) for one in given)


def _reach(**kinds: Collection[str] | None) -> Bounds | None:
    """The lists that are given, checked; None if none is. A list that is given but empty names no hotel."""
    if all(given is None for given in kinds.values()):
        return None
    return Bounds(**{kind: _names(kind, () if given is None else given) for kind, given in kinds.items()})


def _names(kind: str, given: Collection[str]) -> frozenset[str]:
    """What a list of a key names; raises InvalidRequest for what is not a list of texts that can be stored."""
    if isinstance(given, str) or not all(0 < len(one) <= LONGEST_REFERENCE and is_text(one) for one in given):
        raise InvalidRequest(f"{kind} of a key are a list, each a text of 1 to {LONGEST_REFERENCE} characters")
    if len(given) > MOST_NAMED:
        raise InvalidRequest(f"a key names at most {MOST_NAMED} {kind}")
    return frozenset(given)


def unknown_key(key_id: str) -> InvalidRequest:
    """The error for an id that no key has; if a key was given instead of an id, the error does not repeat it."""
    named = f"with the id {PREFIX}…: an id begins with {ID_PREFIX}" if PREFIX in key_id else repr(key_id[:64])
    return InvalidRequest(f"there is no key {named}", next_step=LIST)

"""Subscriptions of properties to Cloudbeds' webhooks: which are wanted, and the changes that lead there.

Cloudbeds deletes a hotel's subscriptions when it disconnects (cloudbeds-facts.md section 7), so the wanted ones are
compared with those that Cloudbeds lists: missing ones are made, and ones made here that are no longer wanted are ended.
Those made by others are left alone. Every change follows a new list, so a lost answer, after which a subscription may
or may not exist, leads to no duplicate.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

from cloudbeds_auth.rules.secret import Secret

APP_STATE = "integration/appstate_changed"
EVERY = 86400.0  # seconds between two comparisons, less a part that differs from grant to grant
FIRST_OF_ALL = -EVERY  # seconds from now: ahead of every comparison that became due within the last day
UNDECIDED = "-"  # prefix of the fingerprint of settings that do not say which events a program wants
LEFT = EVERY + 3600.0  # seconds that a comparison has to be late before a process with older settings does it
HOLD = 600.0  # seconds until a comparison that could not be finished is repeated
SUBSCRIBED = "subscribed"
PENDING = "pending"
SUBSCRIPTION_REFUSED = "subscription_refused"  # the problem if `api_errors` has none for Cloudbeds' words
SCOPES = {"reservation": "read:reservation", "guest": "read:guest"}
"""The scope that a subscription needs, by its event's object; documented for these (cloudbeds-facts.md section 8)."""


@dataclass(frozen=True, slots=True)
class Hook:
    """Where Cloudbeds posts, and the header that it sends with each webhook."""

    url: str = field(repr=False)
    header: str
    value: Secret


@dataclass(frozen=True, slots=True)
class Wanted:
    """An event, `object/action`, that Cloudbeds is to post to `hook` for every property."""

    event: str
    hook: Hook

    @property
    def endpoint(self) -> str:
        """Identifies the address without revealing it, because it may contain a secret."""
        return _fingerprint(self.hook.url)

    @property
    def header(self) -> str:
        """Identifies the header's name and value without revealing them."""
        return _fingerprint(f"{self.hook.header}\0{self.hook.value.reveal()}")

    def veiled(self, said: str) -> str:
        """Cloudbeds' words about it, without the address and the header's value, which they may repeat."""
        return said.replace(self.hook.url, "[the address]").replace(self.hook.value.reveal(), "[the header]")


@dataclass(frozen=True, slots=True)
class VendorSubscription:
    """A subscription as Cloudbeds lists it."""

    id: str
    event: str
    url: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Subscription:
    """One property's subscription to one event, as it is stored.

    `endpoint` and `header`: as in `Wanted`. `id`: Cloudbeds' id; empty: not known to exist. `made`: it was made here,
    or is about to be. `problem` and `said`: why Cloudbeds refused it, and its words.
    """

    property_id: str
    event: str
    endpoint: str = field(repr=False)
    header: str = field(repr=False)
    id: str = field(default="", repr=False)
    made: bool = field(default=False, repr=False)
    problem: str | None = None
    said: str = ""

    @property
    def state(self) -> str:
        """`subscribed`, `pending`, or the problem."""
        return self.problem or (SUBSCRIBED if self.id else PENDING)

    @property
    def is_there(self) -> bool:
        """Whether Cloudbeds has accepted it."""
        return self.state == SUBSCRIBED

    @property
    def place(self) -> tuple[str, str]:
        """Identifies it among the subscriptions of a property."""
        return self.event, self.endpoint

    def taken(self, wanted: Wanted, identity: str) -> Subscription:
        """The same after Cloudbeds accepted it. An id that was not listed before shows that it was made here."""
        made = self.made or self.id != identity
        return replace(self, id=identity, header=wanted.header, made=made, problem=None, said="")

    def refused(self, problem: str, said: str) -> Subscription:
        """The same after Cloudbeds refused it."""
        return replace(self, problem=problem, said=said)


@dataclass(frozen=True, slots=True)
class Comparison:
    """What a list leads to. `stored`, which includes `make` and `end`, is written before any of `make` is sent."""

    stored: tuple[Subscription, ...]
    make: tuple[tuple[Subscription, Wanted], ...]
    end: tuple[Subscription, ...]


def settings_of(wanted: Iterable[Wanted], *, decided: bool) -> str:
    """A fingerprint of what the settings want; equal settings have equal fingerprints."""
    named = _fingerprint("\n".join(sorted(f"{one.event} {one.endpoint} {one.header}" for one in wanted)))
    return named if decided else f"{UNDECIDED}{named}"


def takes_over(former: str | None, settings: str) -> bool:
    """Whether a process that starts with these settings does the comparisons from now on. Settings that do not say
    which events a program wants leave them to a process whose settings do.
    """
    if former is None:
        return True
    return former != settings and (former.startswith(UNDECIDED) or not settings.startswith(UNDECIDED))


def problem_in(subscriptions: Iterable[Subscription]) -> str | None:
    """The problem of their connection: that of the first subscription that has one; None if none has."""
    return next((one.problem for one in subscriptions if one.problem), None)


def compare(
    property_id: str,
    wanted: Sequence[Wanted],
    stored: Iterable[Subscription],
    found: Iterable[VendorSubscription],
    *,
    decided: bool = True,
) -> Comparison:
    """Compare the subscriptions of one property: `stored` is what is known, `found` what Cloudbeds lists. Unless the
    settings are `decided`, `wanted` says nothing about other events: their subscriptions stay.

    A listed subscription whose header is not the settings' is made again, which replaces the header. A listed one that
    was never stored was made by others: it is used, and never ended. One with the id of a stored one is the same, even
    if Cloudbeds writes its address differently.
    """
    known = {one.place: one for one in stored}
    ids = {one.id for one in found}
    there = {place: one.id for place, one in known.items() if one.id in ids}
    there |= {(one.event, _fingerprint(one.url)): one.id for one in found}
    kept: list[Subscription] = []
    make: list[tuple[Subscription, Wanted]] = []
    for one in wanted:
        identity, former = there.get((one.event, one.endpoint), ""), known.pop((one.event, one.endpoint), None)
        now = former or Subscription(property_id, one.event, one.endpoint, "", made=not identity)
        if not identity:  # not listed: it is made here, with this header, whoever made it before
            now = replace(now, id="", header=one.header, made=True)
        else:
            now = replace(now, id=identity, problem=None, said="")
        kept.append(now)
        if not identity or now.header != one.header:
            make.append((now, one))
    own = {one.event for one in wanted}
    left = [place for place, one in known.items() if not decided and one.event not in own]
    kept += [replace(known.pop(place), id=there.get(place, "")) for place in left]
    end = tuple(replace(one, id=there[place]) for place, one in known.items() if one.made and place in there)
    return Comparison((*kept, *end), tuple(make), end)


def unlisted(
    property_id: str, wanted: Iterable[Wanted], stored: Iterable[Subscription], problem: str, said: str
) -> tuple[Subscription, ...]:
    """The subscriptions of a property that Cloudbeds refuses to list: wanted ones are refused, others stay."""
    known = {one.place: one for one in stored}
    for one in wanted:
        former = known.get((one.event, one.endpoint)) or Subscription(property_id, one.event, one.endpoint, "")
        known[former.place] = former.refused(problem, said)
    return tuple(known.values())


@dataclass(frozen=True, slots=True)
class SubscriptionChanges:
    """Changes of one property's subscriptions, by event; for refused ones, the problem and Cloudbeds' words."""

    made: tuple[str, ...]
    ended: tuple[str, ...]
    refused: dict[str, str]

    def __bool__(self) -> bool:
        return bool(self.made or self.ended or self.refused)


def changes(before: Sequence[Subscription], after: Sequence[Subscription]) -> SubscriptionChanges:
    """The changes from `before` to `after`."""
    former = {one.place: one for one in before}
    there = {one.place for one in before if one.id}
    now = {one.place for one in after if one.id}
    news = [one for one in after if one.problem and getattr(former.get(one.place), "problem", None) != one.problem]
    return SubscriptionChanges(
        tuple(event for event, _ in sorted(now - there)),
        tuple(event for event, _ in sorted(there - now)),
        {one.event: f"{one.problem}: {one.said}" if one.said else str(one.problem) for one in news},
    )


def unasked_scopes(events: Iterable[str], scopes: Sequence[str]) -> dict[str, str]:
    """By event, the scope that it needs but the app does not ask for. An app that names no scopes asks for all."""
    needed = {event: SCOPES.get(event.partition("/")[0], "") for event in events}
    return {event: scope for event, scope in needed.items() if scope and scopes and scope not in scopes}


def _fingerprint(text: str) -> str:
    """64 bits of the SHA-256 hash, in hex."""
    return hashlib.sha256(text.encode()).hexdigest()[:16]

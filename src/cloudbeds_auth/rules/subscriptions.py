"""Which webhooks of Cloudbeds a property should be subscribed to, and what makes it so.

Cloudbeds deletes a hotel's subscriptions when it disconnects (cloudbeds-facts.md section 7), so what is wanted is
compared with what Cloudbeds lists: what is missing is made, and what we made and nobody wants any more is ended. What
somebody else made is left alone. Nothing is sent without a list that came before it, so that a lost answer, after
which a subscription may be there or not, makes none twice.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

from cloudbeds_auth.rules.secret import Secret

APP_STATE = "integration/appstate_changed"
EVERY = 86400.0  # seconds between two comparisons, less a part that differs from grant to grant
FIRST_OF_ALL = -EVERY  # seconds until a comparison that comes before those which were due at any moment of the last day
UNDECIDED = "-"  # before the fingerprint of settings that do not say which events a program wants
LEFT = EVERY + 3600.0  # seconds that a comparison is late before a process does it whose settings are not the newest
HOLD = 600.0  # seconds until a comparison that could not be finished is tried again
SUBSCRIBED = "subscribed"
PENDING = "pending"
SUBSCRIPTION_REFUSED = "subscription_refused"  # a problem, where `api_errors` has none for Cloudbeds' words
SCOPES = {"reservation": "read:reservation", "guest": "read:guest"}
"""The scope that a subscription needs is that of its object, documented for these (cloudbeds-facts.md section 8)."""


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
        """Identifies the address without revealing it: it may hold a secret."""
        return _fingerprint(self.hook.url)

    @property
    def header(self) -> str:
        """Identifies the header's name and value without revealing them."""
        return _fingerprint(f"{self.hook.header}\0{self.hook.value.reveal()}")

    def veiled(self, said: str) -> str:
        """Words of Cloudbeds' about it, which may repeat what it was sent, without the address and the header."""
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

    `endpoint` and `header` are those of `Wanted`. `id` is Cloudbeds'; empty: not known to be there. `made`: by us, or
    about to be. `problem` and `said`: why Cloudbeds refused it, and in which words.
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
        """Whether Cloudbeds took it."""
        return self.state == SUBSCRIBED

    @property
    def place(self) -> tuple[str, str]:
        """What makes it the same subscription of a property."""
        return self.event, self.endpoint

    def taken(self, wanted: Wanted, identity: str) -> Subscription:
        """Cloudbeds took it. Where that is another one than was there, it is ours."""
        made = self.made or self.id != identity
        return replace(self, id=identity, header=wanted.header, made=made, problem=None, said="")

    def refused(self, problem: str, said: str) -> Subscription:
        """Cloudbeds refused it."""
        return replace(self, problem=problem, said=said)


@dataclass(frozen=True, slots=True)
class Comparison:
    """What a list leads to. `stored` is written down before anything is sent: each of `make` and `end` is in it."""

    stored: tuple[Subscription, ...]
    make: tuple[tuple[Subscription, Wanted], ...]
    end: tuple[Subscription, ...]


def settings_of(wanted: Iterable[Wanted], *, decided: bool) -> str:
    """Identifies what the settings want: processes with the same settings have the same."""
    named = _fingerprint("\n".join(sorted(f"{one.event} {one.endpoint} {one.header}" for one in wanted)))
    return named if decided else f"{UNDECIDED}{named}"


def takes_over(former: str | None, settings: str) -> bool:
    """Whether a process that starts with these settings is the one that compares from now on. Settings that do not say
    which events a program wants leave it to a process whose settings do.
    """
    if former is None:
        return True
    return former != settings and (former.startswith(UNDECIDED) or not settings.startswith(UNDECIDED))


def problem_in(subscriptions: Iterable[Subscription]) -> str | None:
    """The problem of their connection: that of the first one that Cloudbeds refused."""
    return next((one.problem for one in subscriptions if one.problem), None)


def compare(
    property_id: str,
    wanted: Sequence[Wanted],
    stored: Iterable[Subscription],
    found: Iterable[VendorSubscription],
    *,
    decided: bool = True,
) -> Comparison:
    """Of one property: `stored` is what was known of it, `found` what Cloudbeds lists. Unless the settings are
    `decided`, `wanted` says nothing of other events: their subscriptions stay.

    One that is there with another header than the settings' is made again, which replaces the header. One that is there
    and was never stored is somebody else's: it is used, and never ended. One that has the id of a stored one is that
    one, also where Cloudbeds writes its address in another way.
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
        if not identity:  # whoever made it before, it is ours from now on; and it is made with the header
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
    """Of one property that Cloudbeds refuses to list: what is wanted counts as refused, and what is ours stays so."""
    known = {one.place: one for one in stored}
    for one in wanted:
        former = known.get((one.event, one.endpoint)) or Subscription(property_id, one.event, one.endpoint, "")
        known[former.place] = former.refused(problem, said)
    return tuple(known.values())


@dataclass(frozen=True, slots=True)
class SubscriptionChanges:
    """What became of one property's subscriptions: events, and of the refused ones the problems and words."""

    made: tuple[str, ...]
    ended: tuple[str, ...]
    refused: dict[str, str]

    def __bool__(self) -> bool:
        return bool(self.made or self.ended or self.refused)


def changes(before: Sequence[Subscription], after: Sequence[Subscription]) -> SubscriptionChanges:
    """What is new in `after`."""
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
    """By event, the scope that it needs and the app does not ask for. An app that names no scopes asks for all."""
    needed = {event: SCOPES.get(event.partition("/")[0], "") for event in events}
    return {event: scope for event, scope in needed.items() if scope and scopes and scope not in scopes}


def _fingerprint(text: str) -> str:
    """64 bits of a hash."""
    return hashlib.sha256(text.encode()).hexdigest()[:16]

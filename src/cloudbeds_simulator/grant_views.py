"""One approval as the glass box shows it: which of its tokens are accepted now, and why. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from cloudbeds_simulator.journal import JournalEntry
from cloudbeds_simulator.records import VendorGrant
from cloudbeds_simulator.rotation import FirstUse, Repeat, TokenPair, WhyRefused

SHOWN = 6  # characters of a token that are shown
PAIRS = 6  # newest pairs of an approval that are shown
REFUSED = {
    WhyRefused.FIRST_USE: "a newer access token was used then",
    WhyRefused.OLDER_PRESENTED: "an older refresh token was presented again, and only the newest pair counts",
    WhyRefused.NEWER_PRESENTED: "a newer refresh token was presented, which ends those before it",
    WhyRefused.SPENT: "it was presented then, and each counts once",
}
UNUSED = {
    FirstUse.AUTHENTICATED: "has not been used yet",
    FirstUse.ANY: "has not been used yet",
    FirstUse.SUCCESSFUL: "has not been used with success yet",
}
REPEATED = {
    Repeat.SAME_PAIR: "Presenting it gives the pair after it once more.",
    Repeat.SIBLINGS: "Presenting it gives one more pair, beside the others.",
    Repeat.NEWEST_ONLY: "Presenting it gives one more pair, in the place of the newest.",
}
DELAYED = frozenset({"delay", "slow", "hang_before"})
"""Faults after which the right answer still arrives."""
WITHHELD = frozenset({"hang_after", "late", "duplicate"})
"""Faults whose answer is the right one, if any arrives."""


@dataclass(frozen=True, slots=True)
class TokenView:
    """A token: its first characters, whether it is accepted now, and why."""

    shown: str
    accepted: bool
    why: str


@dataclass(frozen=True, slots=True)
class PairView:
    """A pair as one row; ``number`` counts from 1."""

    number: int
    access: TokenView
    refresh: TokenView
    issued: str
    first_used: str


@dataclass(frozen=True, slots=True)
class GrantView:
    """An approval: who gave it, how it is doing, and its newest pairs, newest first. ``tone`` is a badge's class."""

    number: int
    hotels: str
    app: str
    tone: str
    badge: str
    how: str
    last_used: str
    pairs: Sequence[PairView]
    older: int
    keys: Sequence[TokenView]


def shortened(token: str) -> str:
    """Enough of a token to tell it from others, but too little to use it."""
    return f"{token[:SHOWN]}…"


def moment(at: float, now: float) -> str:
    """A time of day by the simulator's clock, in UTC, with the date if that is not today's."""
    try:
        then, today = datetime.fromtimestamp(at, UTC), datetime.fromtimestamp(now, UTC)
    except (OverflowError, ValueError):  # a life of a million years may be set
        return "the end of time"
    return f"{then:%H:%M:%S}" if then.date() == today.date() else f"{then:%Y-%m-%d %H:%M:%S}"


def view(grant: VendorGrant, hotels: str, app: str, entries: Iterable[JournalEntry], now: float) -> GrantView:
    """The approval at this moment; ``entries`` are the latest of the log, for any approval."""
    rotation = grant.rotation
    tone, badge, how = _how(grant, [one for one in entries if one.grant == grant.number], now)
    shown = [
        PairView(
            pair.ordinal + 1,
            access(grant, pair, now),
            refresh(grant, pair, now),
            moment(pair.issued_at, now),
            "Not yet" if pair.first_used_at is None else moment(pair.first_used_at, now),
        )
        for pair in reversed(rotation.pairs[-PAIRS:])
    ]
    older = max(0, len(rotation.pairs) - PAIRS)
    keys = [_key(grant, key.value, key.ended) for key in grant.keys]
    used = moment(grant.last_used_at, now)
    return GrantView(grant.number, hotels, app, tone, badge, how, used, shown, older, keys)


def access(grant: VendorGrant, pair: TokenPair, now: float) -> TokenView:
    """The access token of a pair."""
    rotation = grant.rotation
    if rotation.alive(pair.access_token, now):
        return TokenView(shortened(pair.access_token), True, f"Until {moment(pair.expires_at, now)}.")
    if rotation.revoked:
        why = _ended(grant)
    elif pair.superseded_at is not None:
        why = f"A refresh replaced it at {moment(pair.superseded_at, now)}."
    else:
        why = f"It ran out at {moment(pair.expires_at, now)}."
    return TokenView(shortened(pair.access_token), False, why)


def refresh(grant: VendorGrant, pair: TokenPair, now: float) -> TokenView:
    """The refresh token of a pair."""
    token, rotation = pair.refresh_token, grant.rotation
    accepted = token in rotation.accepted
    why = _why_accepted(grant, token) if accepted else _why_refused(grant, token, now)
    return TokenView(shortened(token), accepted, why)


def lost(entry: JournalEntry) -> bool:
    """Whether a pair was issued that its answer did not deliver: the answer was cut off, withheld, or replaced."""
    if entry.outcome != "issued" or entry.ordinal is None or entry.fault in {None, *DELAYED}:
        return False
    return not (entry.answered and entry.fault in WITHHELD)


def _why_accepted(grant: VendorGrant, token: str) -> str:
    rotation = grant.rotation
    variant, newest = rotation.variant, rotation.current
    if variant.repeat is Repeat.SAME_REFRESH_TOKEN:
        return "It never changes under this rule."
    if token == newest.refresh_token:
        return "It is the newest."
    unused = f"Still accepted: the new access token, of pair {newest.ordinal + 1}, {UNUSED[variant.first_use]}."
    return f"{unused} {REPEATED.get(variant.repeat, '')}".rstrip()


def _why_refused(grant: VendorGrant, token: str, now: float) -> str:
    rotation = grant.rotation
    if rotation.revoked:
        return _ended(grant)
    why, at = rotation.refused[token]
    said = f"Since {moment(at, now)}: {REFUSED[why]}."
    return f"{said} Presenting it ends the whole approval." if rotation.would_revoke(token) else said


def _ended(grant: VendorGrant) -> str:
    return f"The approval has ended ({grant.ended or 'revoked'})."


def _key(grant: VendorGrant, value: str, ended: str | None) -> TokenView:
    if grant.rotation.revoked:
        return TokenView(shortened(value), False, _ended(grant))
    return TokenView(shortened(value), ended is None, f"It has ended ({ended})." if ended else "It does not run out.")


def _how(grant: VendorGrant, entries: Sequence[JournalEntry], now: float) -> tuple[str, str, str]:
    """A badge's class and word, and how the approval is doing, in a sentence or two."""
    rotation = grant.rotation
    if rotation.revoked:
        return "attention", "Ended", f"{_ended(grant)} Nothing of it is accepted: the hotel has to approve again."
    if not rotation.pairs:
        return "healthy", "Connected", "This approval has an API key and no pair of tokens."
    current, answers = rotation.current, [(one.ordinal, lost(one)) for one in entries if one.outcome == "issued"]
    last = dict(answers)  # by pair: it may have been given more than once
    if current.first_used_at is None and last.get(current.ordinal):
        return "recovering", "Answer lost", _after_a_loss(grant)
    if current.first_used_at is None:
        return "recovering", "New pair", f"Pair {current.ordinal + 1} was given, and its access token is not used yet."
    if healed := [at for at, was_lost in answers if was_lost and at is not None and not _used_since(grant, at)]:
        return "healthy", "Healed", _after_healing(healed[-1] + 1, current.ordinal + 1)
    if not rotation.alive(current.access_token, now):
        return "recovering", "Ran out", "The access token ran out. The refresh token brings the next one."
    return "healthy", "Connected", f"Pair {current.ordinal + 1} is in use."


def _after_a_loss(grant: VendorGrant) -> str:
    rotation = grant.rotation
    newest, older = rotation.current.ordinal + 1, len(rotation.accepted) > 1
    said = f"Pair {newest} was given, and the answer was lost: the program does not know it."
    if rotation.variant.repeat is Repeat.SAME_REFRESH_TOKEN:
        return f"{said} The refresh token is the same as before, and brings another."
    if not older:
        return f"{said} Under this rule nothing else is accepted: the hotel has to approve again."
    return f"{said} The refresh token before it is still accepted, so that asking again heals it."


def _after_healing(lost_pair: int, current: int) -> str:
    said = f"The answer with pair {lost_pair} was lost."
    if lost_pair == current:
        return f"{said} It was given once more, and is in use."
    return f"{said} Pair {current} took its place, and is in use: the hotel noticed nothing."


def _used_since(grant: VendorGrant, ordinal: int) -> bool:
    """Whether an access token of this pair, or of a later one before the current pair, was used."""
    pairs = grant.rotation.pairs[ordinal : grant.rotation.current.ordinal]
    return any(pair.first_used_at is not None for pair in pairs)

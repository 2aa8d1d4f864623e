"""Requests as the glass box shows them: what was requested, what became of it, and which fault hit it. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from cloudbeds_simulator.endpoints import CODE_FOR_KEY, EXCHANGE
from cloudbeds_simulator.faults import FaultRule
from cloudbeds_simulator.grant_views import lost, moment, shortened
from cloudbeds_simulator.journal import JournalEntry
from cloudbeds_simulator.records import VendorGrant

LONGEST = 60  # characters of a path that are shown
EXCHANGES = {
    "authorization_code": "A code for tokens",
    CODE_FOR_KEY: "A code for an API key",
    "refresh_token": "Refresh",
    EXCHANGE: "A refresh token for an API key",
}
REASONS = {
    "dead": "this refresh token is not accepted any more",
    "reuse": "this refresh token had died, and presenting it ended the approval",
    "revoked": "the approval has ended",
    "idle": "the approval ended, unused for too long",
    "unknown": "nobody was given this token",
    "superseded": "a refresh replaced this access token",
    "expired": "this access token ran out",
    "unknown_client": "no app is registered under this client id",
    "redirect_uri": "this address is not registered for the app",
}
"""The log's words in ``detail``; any other text is shown as it is."""
OUTCOMES = {
    "pending": "Not acted upon yet.",
    "client_refused": "Refused: client id or secret is wrong.",
    "shown": "The page was shown.",
    "approved": "The hotel approved.",
    "denied": "The hotel did not approve.",
    "unknown_method": "There is no such method.",
    "not_found": "There is no such page.",
}
FAULTS = {
    "hang_before": "left without an answer, and nothing is done",
    "hang_after": "acted upon, and left without an answer",
    "reset_before": "cut before anything is done",
    "reset_after": "acted upon, and cut before the answer",
    "late": "cut, and acted upon later",
    "duplicate": "acted upon twice",
    "delay": "answered late",
    "status": "answered with an error",
    "html": "answered with a web page",
    "redirect": "sent elsewhere",
    "rate_limited": "turned away as one too many",
    "success_false": "answered with a failure",
    "refused": "answered with a refusal",
    "empty": "answered with nothing",
    "body": "answered with something else",
    "oversized": "answered at far too great length",
    "truncate": "answered in half",
    "slow": "answered byte by byte",
}
"""What a fault does to a request, by its kind."""
SUBJECTS = {
    "token": "token request",
    "userinfo": "call of userinfo",
    "resource": "call",
    "oauth": "visit of the approval page",
    "any": "request",
}
"""What a fault waits for, by its target; a method or a path is named as it is."""
GOOD = frozenset({"issued", "accepted", "approved", "shown", "pending"})


@dataclass(frozen=True, slots=True)
class RequestView:
    """A request as one row. ``tone`` is a badge's class, ``word`` its text."""

    number: int
    at: str
    asked: str
    grant: int | None
    tone: str
    word: str
    outcome: str
    fault: str

    @property
    def sentence(self) -> str:
        """The whole row as text, for screen readers."""
        harm = f" Fault: {self.fault}." if self.fault else ""
        return f"{self.at}: {self.asked}. {self.outcome}{harm}"


def request_view(entry: JournalEntry, grant: VendorGrant | None, now: float) -> RequestView:
    """An entry of the log as a row; ``grant`` is the one that the entry is about."""
    tone, word = ("healthy", "Done") if entry.outcome in GOOD else ("attention", "Refused")
    if entry.outcome == "pending":
        tone, word = "recovering", "Waiting"
    if entry.outcome == "not_acted" or _cut_off(entry):
        tone, word = "attention", "Not done"
    if lost(entry):
        tone, word = "attention", "Answer lost"
    fault = FAULTS[entry.fault] if entry.fault else ""
    asked = _asked(entry, grant)
    return RequestView(entry.n, moment(entry.at, now), asked, entry.grant, tone, word, _outcome(entry), fault)


def rule_in_words(rule: FaultRule) -> str:
    """A waiting fault: the request that it waits for, and what it does."""
    subject = SUBJECTS.get(rule.target, f"call of {rule.target}")
    if rule.grant_type is not None:
        subject = EXCHANGES.get(rule.grant_type, rule.grant_type).lower()
    left = None if rule.times is None else rule.times - rule.hits
    which = f"Every {subject}" if left is None else f"The next {subject}" if left == 1 else f"{left} times, a {subject}"
    passed = f", once {rule.skip} have passed," if rule.skip else ""
    return f"{which}{passed} will be {FAULTS[rule.kind]}."


def _asked(entry: JournalEntry, grant: VendorGrant | None) -> str:
    if entry.target == "oauth":
        return "Approval page"
    if entry.target == "token":
        asked = EXCHANGES.get(entry.grant_type or "", "Token request")
        return f"{asked}, with {_presented(entry.refresh_token, grant)}" if entry.refresh_token else asked
    path = entry.path if len(entry.path) <= LONGEST else f"{entry.path[:LONGEST]}…"
    return f"{entry.method} {path}"


def _presented(token: str, grant: VendorGrant | None) -> str:
    """A refresh token, and the pair that it came with."""
    pairs = reversed(grant.rotation.pairs) if grant else ()
    number = next((pair.ordinal + 1 for pair in pairs if pair.refresh_token == token), None)
    return f"the token {shortened(token)}" if number is None else f"the token {shortened(token)} of pair {number}"


def _cut_off(entry: JournalEntry) -> bool:
    return entry.outcome == "pending" and entry.fault == "reset_before"


def _outcome(entry: JournalEntry) -> str:
    match entry.outcome:
        case "pending" if _cut_off(entry):
            return "Nothing was done."
        case "issued":
            given = "an API key" if entry.ordinal is None else f"pair {entry.ordinal + 1}"
            return f"Gave {given}{' again' if entry.repeated else ''}.{' The answer was lost.' if lost(entry) else ''}"
        case "accepted":
            return f"Answered with {entry.status}."
        case "not_acted":
            return f"Answered with {entry.status}, and nothing was done."
        case "invalid":
            detail = REASONS.get(entry.detail, entry.detail or str(entry.status))
            return f"Refused: this is no valid request ({detail})."
        case "refused" | "401" | "dead":
            detail = REASONS.get(entry.detail, entry.detail)
            return f"Refused with {entry.status}: {detail}."
        case other:
            return OUTCOMES[other]

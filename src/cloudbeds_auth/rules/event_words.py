"""The lines of a history in words, for pages; the actor is in `audit.actor_words`.

Programs read kinds and data (`rules.documents.event_document`); nothing here is read back.
"""

from __future__ import annotations

from collections.abc import Mapping

from cloudbeds_auth.rules import lifecycle
from cloudbeds_auth.rules.inputs import one_line
from cloudbeds_auth.rules.lifecycle import LifecycleEvent
from cloudbeds_auth.rules.model import Event

MOST_DETAIL = 200  # characters of the detail in brackets
CALLS = "calls"
RECEIVED = "candidate_received"

KINDS: Mapping[str, str] = {
    # An attempt, and how it ends
    LifecycleEvent.INTENT_WRITTEN: "A refresh began",
    LifecycleEvent.PAIR_COMMITTED: "A new pair of tokens came, and is stored",
    LifecycleEvent.KEY_RECEIVED: "An API key came in exchange for the refresh token",
    LifecycleEvent.TOKEN_REFUSED: "Cloudbeds refused a refresh token",
    LifecycleEvent.ANSWER_LOST: "A refresh brought no answer that can be used",
    LifecycleEvent.NOTHING_SENT: "Cloudbeds could not be reached; nothing was sent",
    LifecycleEvent.CLIENT_REFUSED: "Cloudbeds refused our client id or secret",
    LifecycleEvent.PASS_REFUSED: "Cloudbeds refused every refresh token that is stored; it is asked once more later",
    LifecycleEvent.REAUTHORIZATION_REQUIRED: "The hotel has to approve again",
    LifecycleEvent.DISABLED: "The hotel disconnected the app at Cloudbeds",
    LifecycleEvent.PROVED: "The access token was seen to work",
    # How hotels come and go
    RECEIVED: "The hotel approved",
    "parked": "The hotel approved in Cloudbeds' Marketplace; the approval waits to be claimed",
    LifecycleEvent.PROMOTED: "The approval is in use from here on",
    LifecycleEvent.CLAIMED: "The approval was claimed",
    LifecycleEvent.SET_ASIDE: "Another hotel approved than was expected; its approval waits to be claimed",
    LifecycleEvent.SUPERSEDED: "An approval was replaced",
    LifecycleEvent.DISCONNECTED: "The hotel was disconnected, and its tokens were deleted",
    lifecycle.FORGOTTEN: "Personal data was deleted",
    # What calls run into, and what is found out
    CALLS: "Calls were made",
    lifecycle.CALL_REFUSED: "Cloudbeds refused a call, although the token works",
    lifecycle.RECOVERED: "It works again; the hotel need not approve",
    lifecycle.REPRIEVED: "Cloudbeds refuses every refresh token, and the access token works; it is tried again",
    lifecycle.PAIR_DENIED: "The new access token did not work at once; it is tried again",
    lifecycle.MARK_DELAYED: "Several hotels are refused at once, so this one is not given up yet",
    lifecycle.DISABLED_SAID: "Cloudbeds said that the hotel disconnected the app; the tokens are tried first",
    lifecycle.DISABLED_WITHDRAWN: "The token works after all: the app is not disconnected",
    lifecycle.UNRECOGNIZED: "For a day Cloudbeds has refused in words that nobody has documented",
    # What changed about the hotel
    lifecycle.REFERENCE_CHANGED: "Its reference was changed",
    lifecycle.REFERENCE_NOT_TAKEN: "Another reference was asked for, and not taken: nobody vouched for it",
    lifecycle.PROPERTIES_CHANGED: "The properties of the approval changed",
    lifecycle.PROPERTY_ELSEWHERE: "Cloudbeds names a property that another connection covers",
    lifecycle.PROPERTY_MISMATCH: "Another property approved than was expected",
    lifecycle.PROPERTY_UNKNOWN: "Cloudbeds does not say yet which property approved",
    lifecycle.RISK_FOUND: "Something may end or cripple the connection",
    lifecycle.RISK_OVER: "A risk is over",
    lifecycle.SUBSCRIPTIONS_CHANGED: "Subscriptions to Cloudbeds' webhooks changed",
    lifecycle.MIGRATION_BEGUN: "The move to an API key began",
    lifecycle.MIGRATION_ENDED: "The move to an API key was given up; refreshes go on",
    lifecycle.ORIGIN_MOVED: "Cloudbeds' address was changed",
    lifecycle.ACCEPTED: "What something else altered in the database was accepted as it is",
}
"""By kind. A kind that is not here is shown with spaces for its underscores."""
CAME_BY: Mapping[str, str] = {
    "imported": "Its tokens were taken over from another program",
    "exchanged": KINDS[LifecycleEvent.KEY_RECEIVED],
    "pasted": "An API key that the hotel made was taken in",
}
"""How a candidate was received if not by an approval, by the field of the data that says so."""
DETAILS = ("detail", "reason", "risk", "reference")
"""The first of these in the data is shown in brackets."""
CODES = frozenset({"reason", "risk"})  # their values are words with underscores


def event_words(event: Event) -> str:
    """What happened, in a sentence without its full stop."""
    data = event.data
    if event.kind == CALLS:
        count, refused = data.get("count", 0), data.get("refused", 0)
        return f"{_plural(count, 'call')}" + (f", {refused} of them answered 401" if refused else "")
    if event.kind == LifecycleEvent.INTENT_WRITTEN and data.get("exchange") is True:
        return "The exchange for an API key began"
    came = next((words for mark, words in CAME_BY.items() if event.kind == RECEIVED and data.get(mark) is True), None)
    said = came or KINDS.get(event.kind) or event.kind.replace("_", " ").capitalize()
    detail = _detail(data)
    return f"{said} ({detail})" if detail else said


def _detail(data: Mapping[str, object]) -> str:
    name = next((one for one in DETAILS if data.get(one)), "")
    text = one_line(data.get(name), MOST_DETAIL)
    return text.replace("_", " ") if name in CODES else text


def _plural(count: object, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"

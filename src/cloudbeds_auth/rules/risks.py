"""Risks: what may end or cripple a connection that works. Each has a condition and a next step that averts it.

A risk changes no state: the hotel is healthy, and its `problem` and `next_step` say what to do in time. The risks are
stored with the connection, so that each is reported once when it is found, and once when it is over.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from cloudbeds_auth.rules.api_errors import NEXT_STEP as OF_REFUSED_CALL
from cloudbeds_auth.rules.api_errors import SCOPE_REFUSED
from cloudbeds_auth.rules.lifecycle import State
from cloudbeds_auth.rules.model import App, Connection, CredentialKind
from cloudbeds_auth.rules.subscriptions import Subscription, unasked_scopes

NOT_RENEWABLE = "not_renewable"
SCOPE_NOT_APPROVED = "scope_not_approved"
CALLS_LACK_SCOPE = "missing_scope"  # the name in `api_errors`
SUBSCRIPTION_LACKS_SCOPE = "subscription_lacks_scope"
APPROVER_NO_OWNER = "approver_no_owner"
NEXT_STEP = {
    NOT_RENEWABLE: "send the hotel a connect link in time: it is served while its access token lasts, and no refresh "
    "token renews that",
    CALLS_LACK_SCOPE: OF_REFUSED_CALL[CALLS_LACK_SCOPE],
    SCOPE_NOT_APPROVED: "send the hotel a connect link: the app asks for scopes by now that its approval lacks "
    "(`cloudbeds-auth connections list --lacking-scopes`)",
    SUBSCRIPTION_LACKS_SCOPE: "ask for the scope (in CLOUDBEDS_SCOPES, and of the app), then send the hotel a connect "
    "link: until then Cloudbeds posts none of these events",
    APPROVER_NO_OWNER: "have an owner of the hotel approve, by a connect link: Cloudbeds ends the connection when the "
    "user who approved is deactivated",
}
"""By risk; the first one that applies is shown, because a connection has one problem."""
OWNERS = ("owner", "propriet", "propriét", "propiet", "dueñ", "inhaber", "eigentümer", "eigenaar")
"""The name of an owner's role contains one of these. Hotels name their roles, each in its own language: English,
Portuguese and Italian, French, Spanish, German, Dutch (inferred; cloudbeds-facts.md section 5).
"""
OVER_WITH_APPROVAL = (NOT_RENEWABLE, CALLS_LACK_SCOPE)  # the others are assessed again

Found = Mapping[str, str | None]
"""By risk, the reason for people; None: the risk is over. Risks that are not named stay as they are."""


def first_of(risks: Iterable[str]) -> str | None:
    """The risk that is shown; None if there is none."""
    there = {*risks}
    return next((risk for risk in NEXT_STEP if risk in there), None)


def after(risks: Mapping[str, str], found: Found) -> dict[str, str]:
    """The risks after these findings. A known risk keeps its reason, even if the new one is worded differently."""
    merged = {**risks, **{risk: why for risk, why in found.items() if risk not in risks}}
    return {risk: why for risk, why in merged.items() if why is not None and found.get(risk, why) is not None}


def unapproved_scopes(app: App | None, connection: Connection) -> tuple[str, ...]:
    """Scopes that the app asks for and this hotel did not grant; none unless the connection is in use, by OAuth."""
    over = connection.connected_at is None or connection.state is State.DISCONNECTED
    if app is None or over or connection.credential != CredentialKind.OAUTH:
        return ()
    return tuple(scope for scope in app.scopes if scope not in connection.scopes)


def lacking_scope(subscriptions: Iterable[Subscription], scopes: Sequence[str]) -> tuple[str, ...]:
    """Events without a subscription for lack of a scope: Cloudbeds said so, or the app does not ask for the scope that
    they need.
    """
    missed = [one for one in subscriptions if not one.is_there]
    unasked = unasked_scopes((one.event for one in missed), scopes)
    return tuple(sorted({one.event for one in missed if one.problem in SCOPE_REFUSED or one.event in unasked}))


def no_owner(roles: Sequence[str]) -> str | None:
    """The roles of the user who approved, if there are any and none is an owner's; else None."""
    named = ", ".join(roles)
    return named if named and not any(word in named.lower() for word in OWNERS) else None

"""Whether a living grant can be out for good, told by what is stored of it (ROTATION I15).

Once the causes are gone, every grant that is looked after serves again by itself. For that it needs a refresh token and
a moment at which the background, or a retry, comes to it: `out_of_reach` says which of the two is missing.
"""

from __future__ import annotations

from dataclasses import dataclass

from cloudbeds_auth.rules.model import CredentialKind, Role
from cloudbeds_auth.rules.schedule import KEEP_ALIVE, SLACK

LONG_LIST = 10  # refresh tokens of one grant; a simulated run has never needed more than five (ROTATION rule 2)


@dataclass(frozen=True, slots=True)
class Reach:
    """What decides it. Moments are unix seconds, None: never; `tokens` is how many refresh tokens are stored.

    `due_from` is when the moment was written down; `latched`: never to be refreshed; `moving`: a move to an API key is
    under way.
    """

    kind: CredentialKind
    role: Role
    tokens: int
    marked: bool
    due_at: float | None
    retry_at: float | None
    due_from: float | None
    latched: bool
    moving: bool


def out_of_reach(grant: Reach, now: float) -> str | None:
    """Why only a person brings this grant back, should its access token end now; None: it comes back by itself."""
    if grant.role not in {Role.ACTIVE, Role.CANDIDATE}:
        return None  # replaced, ended or parked: not looked after
    if grant.kind is CredentialKind.OAUTH and grant.tokens == 0:
        return "no refresh token of it is stored"
    if grant.kind is CredentialKind.OAUTH and grant.latched and not grant.moving:
        return "it may not be refreshed, and no move to an API key is under way"
    moment = grant.retry_at if grant.marked else grant.due_at
    if moment is None:
        return "it is marked, and no retry is planned" if grant.marked else "nothing is planned to look after it"
    if moment - max(now, grant.due_from or now) > KEEP_ALIVE + SLACK:
        return "it is looked after later than any grant should be"
    return None

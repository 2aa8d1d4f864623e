"""Checks of the connections: which hotels need a person, and what that person does."""

from __future__ import annotations

from collections.abc import Sequence

from cloudbeds_auth.doctor.findings import Check, Finding, Level, ok, warning
from cloudbeds_auth.doctor.subject import Subject
from cloudbeds_auth.rules.lifecycle import HOTEL_SCOPE_MISSING, LABELS, State
from cloudbeds_auth.rules.model import Connection
from cloudbeds_auth.rules.schedule import LONG_LIST

NEED_A_PERSON = (State.REAUTHORIZATION_REQUIRED, State.CLIENT_REFUSED)
HEALTHY = (State.FRESH, State.STALE)
MOST = 50
PAGE, MOST_PAGES = 200, 50


async def need_a_person(subject: Subject) -> Sequence[Finding]:
    """Connections that no machine can heal."""
    assert subject.vault is not None  # noqa: S101 - the registry skips us without a vault
    found: list[Finding] = []
    for state in NEED_A_PERSON:
        page = await subject.vault.connections(state=state.value, limit=MOST)
        shown = [one for one in page.connections if not one.foreign]  # those have one finding together
        found += map(_finding, shown)
        if page.next and shown:
            found.append(Finding(Level.PROBLEM, "and more", f"cloudbeds-auth connections list --state {state.value}"))
    page = await subject.vault.connections(state=State.IN_DOUBT.value, limit=PAGE)
    found += [_finding(one) for one in page.connections if one.problem == HOTEL_SCOPE_MISSING]
    return found or ok("no hotel needs a person")


def _finding(one: Connection, level: Level = Level.PROBLEM) -> Finding:
    named = f"{one.id} ({', '.join(one.property_ids)})" if one.property_ids else one.id
    why = f"{named}: {LABELS[one.state]}" + (f": {one.problem}" if one.problem else "")
    return Finding(level, why, one.next_step or one.connect_url or f"cloudbeds-auth connections show {one.id}")


async def calls_refused(subject: Subject) -> Sequence[Finding]:
    """Connected hotels whose calls run into what they did not allow; of very many, the newest."""
    assert subject.vault is not None  # noqa: S101 - the registry skips us without a vault
    found: list[Finding] = []
    for state in HEALTHY:
        cursor: str | None = None
        for _ in range(MOST_PAGES):
            page = await subject.vault.connections(state=state.value, limit=PAGE, cursor=cursor)
            found += [_finding(one, Level.WARNING) for one in page.connections if one.problem]
            cursor = page.next
            if cursor is None or len(found) >= MOST:
                break
    return found[:MOST] or ok("no calls are refused for their scope or property")


async def kept_tokens(subject: Subject) -> Sequence[Finding]:
    """The longest list of refresh tokens: each is one refresh whose token nobody has seen to work."""
    assert subject.vault is not None  # noqa: S101 - the registry skips us without a vault
    report = await subject.vault.store_report()
    length = int(report["longest_token_list"])
    if length <= LONG_LIST:
        return ok(f"a hotel has {length} refresh tokens at most")
    return warning(
        f"{report['longest_token_list_of']} has {length} refresh tokens: its new access tokens are never seen to work",
        f"cloudbeds-auth connections events {report['longest_token_list_of']}",
    )


CHECKS = (
    Check("hotels", need_a_person, needs_vault=True),
    Check("calls", calls_refused, needs_vault=True),
    Check("kept tokens", kept_tokens, needs_vault=True),
)

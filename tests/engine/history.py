"""What a history says by itself: the state and the generation of the grant in use, told from its events alone."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from cloudbeds_auth.rules.lifecycle import State
from cloudbeds_auth.rules.model import Event

MEANS = {
    "candidate_received": State.IN_DOUBT,
    "intent_written": State.REFRESHING,
    "token_refused": State.REFRESHING,
    "pair_committed": State.FRESH,
    "answer_lost": State.IN_DOUBT,
    "nothing_sent": State.BACKING_OFF,
    "client_refused": State.BACKING_OFF,
    "pass_refused": State.BACKING_OFF,
    "reauthorization_required": State.REAUTHORIZATION_REQUIRED,
    "proved": State.FRESH,
    "promoted": State.FRESH,
    "superseded": State.SUPERSEDED,
    "disconnected": State.DISCONNECTED,
}
GIVES_A_GENERATION = {"candidate_received", "pair_committed"}
ENDS_A_MARK = {"proved", "promoted", "superseded", "disconnected"}  # a retry that is refused leaves it


@dataclass(frozen=True, slots=True)
class Told:
    """The grant in use, what it looks like and its generation."""

    grant_id: str
    state: State
    generation: int


def told(events: Iterable[Event]) -> Told:
    """Read a whole history, newest first as the store gives it."""
    states: dict[str, State] = {}
    generations: dict[str, int] = {}
    waiting: dict[str, None] = {}
    pointed = first = ""
    for event in reversed(list(events)):
        grant = event.grant_id
        if grant is None or event.kind not in MEANS:
            continue
        first = first or grant
        proof_meanwhile = event.kind in {"proved", "promoted"} and states.get(grant) is State.REFRESHING
        marked = states.get(grant) is State.REAUTHORIZATION_REQUIRED and event.kind not in ENDS_A_MARK
        if not proof_meanwhile and not marked:  # else the attempt goes on, or the mark does
            states[grant] = MEANS[event.kind]
        if event.kind in GIVES_A_GENERATION and event.generation is not None:
            generations[grant] = event.generation
        if event.kind == "candidate_received":
            waiting[grant] = None
        elif event.kind in {"promoted", "superseded", "disconnected"}:
            waiting.pop(grant, None)
        if event.kind == "promoted":
            pointed = grant
    lasts = pointed and states[pointed] is not State.DISCONNECTED
    current = pointed if lasts else ([*waiting] or [pointed or first])[-1]
    return Told(current, states[current], generations[current])

"""Faults on demand: rules that name a target and what happens to the next requests for it."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Coroutine
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from cloudbeds_simulator.answers import REFUSALS

BEFORE, AFTER = "before", "after"

KINDS: dict[str, str] = {
    "hang_before": BEFORE,
    "hang_after": AFTER,
    "reset_before": BEFORE,
    "reset_after": AFTER,
    "late": BEFORE,
    "duplicate": AFTER,
    "delay": BEFORE,
    "status": BEFORE,
    "html": BEFORE,
    "redirect": BEFORE,
    "rate_limited": BEFORE,
    "success_false": BEFORE,
    "refused": BEFORE,
    "empty": AFTER,
    "body": AFTER,
    "oversized": AFTER,
    "truncate": AFTER,
    "slow": AFTER,
}
"""Every kind, and whether its place is before or after the request was acted upon unless the rule says otherwise."""

MOVABLE = frozenset(
    {"delay", "status", "html", "redirect", "rate_limited", "success_false", "refused", "empty", "body", "oversized"}
)
"""The kinds a rule may place itself; of the others the place is in the name, or they need the real answer."""

STATUS: dict[str, int] = {"status": 500, "html": 502, "redirect": 302, "rate_limited": 429}
"""The status a kind answers with unless the rule says otherwise; ``refused``: its face's own; 200 for every other kind.
"""


TYPES: dict[str, tuple[type, ...]] = {
    "times": (int, type(None)),
    "at": (int, type(None)),
    "skip": (int,),
    "status": (int,),
    "size": (int,),
    "seconds": (int, float),
    "headers": (dict,),
}
"""The types of the fields of a rule that are not text."""


@dataclass(slots=True)
class Rule:
    """One fault. Only ``kind`` and ``target`` are needed.

    ``target``: ``token``, ``userinfo``, ``resource``, ``oauth``, ``any``, a method name such as ``getHotels``, or a
    path that starts with ``/``. ``grant_type`` narrows ``token``. ``skip`` matching requests pass first, then
    ``times`` are hit (None: all). ``when`` is ``before`` (nothing was done) or ``after`` (a token was rotated, the
    answer is not the one). ``seconds``: the delay, the pause between two bytes of ``slow``, how long after its
    reset a ``late`` request is acted upon, or after its answer a ``duplicate`` one again. ``status``,
    ``content_type``, ``body``, ``location``, ``message``, ``retry_after``: of the answer given instead;
    ``body_base64`` for bytes that are no text, ``headers`` for any further ones. ``at``: bytes of the body
    ``truncate`` lets through (None: half). ``size``: bytes of ``oversized``. ``face``: which of ``answers.REFUSALS``
    a ``refused`` call is answered with.
    """

    target: str
    kind: str
    times: int | None = 1
    skip: int = 0
    when: str = ""
    grant_type: str | None = None
    seconds: float = 1.0
    status: int = 0
    content_type: str | None = None
    body: str = ""
    at: int | None = None
    size: int = 10 * 1024 * 1024
    location: str = "https://elsewhere.invalid/"
    message: str = "Something went wrong."
    face: str = "missing_scope"
    retry_after: str | None = None
    body_base64: str = ""
    headers: dict[str, str] = field(default_factory=dict)
    hits: int = 0

    def matches(self, target: str, path: str, name: str, grant_type: str | None) -> bool:
        """Whether a request is one of this rule's."""
        if self.grant_type not in (None, grant_type):
            return False
        return self.target in ("any", target, path, name)

    def content(self) -> bytes:
        """The bytes of ``body_base64``, or else of ``body``. Raises ValueError when that is no base64."""
        return base64.b64decode(self.body_base64, validate=True) if self.body_base64 else self.body.encode()

    def as_dict(self) -> dict[str, Any]:
        """The rule, ready for JSON."""
        return asdict(self)


def parse(content: object) -> Rule:
    """A rule from JSON. Raises ValueError naming what is wrong with it."""
    if not isinstance(content, dict):
        raise ValueError("a fault rule is a JSON object")
    known = {one.name for one in fields(Rule)} - {"hits"}
    unknown = sorted(set(content) - known)
    if unknown:
        raise ValueError(f"unknown fault field {unknown[0]!r}: expected {', '.join(sorted(known))}")
    if content.get("kind") not in KINDS:
        raise ValueError(f"unknown fault kind {content.get('kind')!r}: expected one of {', '.join(KINDS)}")
    if not isinstance(content.get("target"), str):
        raise ValueError("a fault rule needs a target")
    for name, value in content.items():
        if not isinstance(value, TYPES.get(name, (str, type(None)))) or isinstance(value, bool):
            raise ValueError(f"fault field {name} cannot be {value!r}")
    rule = Rule(**content)
    rule.content()
    if rule.when not in ("", BEFORE, AFTER):
        raise ValueError("when must be before or after")
    if not rule.when or rule.kind not in MOVABLE:
        rule.when = KINDS[rule.kind]
    rule.status = rule.status or _own_status(rule)
    return rule


def _own_status(rule: Rule) -> int:
    if rule.kind != "refused":
        return STATUS.get(rule.kind, 200)
    if rule.face not in REFUSALS:
        raise ValueError(f"unknown face {rule.face!r}: expected one of {', '.join(REFUSALS)}")
    return REFUSALS[rule.face].status


class Faults:
    """The queue of rules, first come first hit, and the switch that lets hanging requests go."""

    def __init__(self) -> None:
        self.rules: list[Rule] = []
        self._released = asyncio.Event()
        self._underway: set[asyncio.Task[None]] = set()

    def add(self, rules: list[Rule]) -> None:
        """Append rules to the queue."""
        self.rules.extend(rules)

    def take(self, target: str, path: str, name: str, grant_type: str | None) -> Rule | None:
        """The rule that hits this request, counted down; None when it goes unharmed."""
        for rule in self.rules:
            if not rule.matches(target, path, name, grant_type):
                continue
            if rule.skip > 0:
                rule.skip -= 1
                continue
            rule.hits += 1
            if rule.times is not None and rule.hits >= rule.times:
                self.rules.remove(rule)
            return rule
        return None

    def clear(self) -> int:
        """Drop all rules and let every hanging request go on as if nothing had happened; how many rules there were."""
        dropped = len(self.rules)
        self.rules.clear()
        self._released.set()
        self._released = asyncio.Event()
        return dropped

    def spawn(self, deed: Coroutine[Any, Any, None]) -> None:
        """Let something happen later that no connection waits for."""
        task = asyncio.get_running_loop().create_task(deed)
        self._underway.add(task)  # the loop alone would let it be collected
        task.add_done_callback(self._underway.discard)

    async def hang(self) -> None:
        """Wait until ``clear``; a connection that its client closes cancels this wait."""
        await self._released.wait()

"""Faults on demand: rules that name a target and what happens to its next requests, and their effect on the wire."""

from __future__ import annotations

import asyncio
import base64
import socket
import struct
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass, field, fields
from types import NoneType
from typing import Any, NamedTuple

from aiohttp import web

from cloudbeds_simulator import answers, endpoints
from cloudbeds_simulator.answers import REFUSALS, SimulatedAnswer
from cloudbeds_simulator.endpoints import Visit

BEFORE, AFTER = "before", "after"
CHUNK = 64 * 1024


class FaultKind(NamedTuple):
    """Whether it takes place before or after the request is acted upon, and the ``status`` that it answers with.

    A rule may set another status, and for a ``movable`` kind another place. The other kinds have their place in the
    name, or need the real answer.
    """

    when: str
    movable: bool = False
    status: int = 200


KINDS: dict[str, FaultKind] = {
    "hang_before": FaultKind(BEFORE),
    "hang_after": FaultKind(AFTER),
    "reset_before": FaultKind(BEFORE),
    "reset_after": FaultKind(AFTER),
    "late": FaultKind(BEFORE),
    "duplicate": FaultKind(AFTER),
    "delay": FaultKind(BEFORE, movable=True),
    "status": FaultKind(BEFORE, movable=True, status=500),
    "html": FaultKind(BEFORE, movable=True, status=502),
    "redirect": FaultKind(BEFORE, movable=True, status=302),
    "rate_limited": FaultKind(BEFORE, movable=True, status=429),
    "success_false": FaultKind(BEFORE, movable=True),
    "refused": FaultKind(BEFORE, movable=True),  # its status is its face's own
    "empty": FaultKind(AFTER, movable=True),
    "body": FaultKind(AFTER, movable=True),
    "oversized": FaultKind(AFTER, movable=True),
    "truncate": FaultKind(AFTER),
    "slow": FaultKind(AFTER),
}

TYPES = {"int": (int,), "int | None": (int, NoneType), "float": (int, float), "dict[str, str]": (dict,)}
"""The JSON types of a rule's field, by the field's type; text or null for any other."""


@dataclass(slots=True)
class FaultRule:
    """One fault. Only ``kind`` and ``target`` are required.

    ``target``: ``token``, ``userinfo``, ``resource``, ``oauth``, ``any``, a method name such as ``getHotels``, or a
    path that starts with ``/``. ``grant_type`` narrows ``token``. ``skip`` matching requests pass first, then ``times``
    are hit (None: all). ``when`` is ``before`` (nothing was done) or ``after`` (a token was rotated, but the answer is
    another). ``seconds``: the delay; the pause between two bytes of ``slow``; how long after its reset a ``late``
    request is acted upon, or after its answer a ``duplicate`` one again. ``status``, ``content_type``, ``body``,
    ``location``, ``message``, ``retry_after``: those of the answer that is given instead; ``body_base64`` is for bytes
    that are not text, ``headers`` for further headers. ``at``: how many bytes of the body ``truncate`` lets through
    (None: half). ``size``: bytes of ``oversized``. ``face``: the entry of ``answers.REFUSALS`` with which a ``refused``
    call is answered.
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

    def content(self) -> bytes:
        """The bytes of ``body_base64``, or else of ``body``. Raises ValueError if that is not base64."""
        return base64.b64decode(self.body_base64, validate=True) if self.body_base64 else self.body.encode()


def parse(content: object) -> FaultRule:
    """A rule from JSON. Raises ValueError that names what is wrong."""
    if not isinstance(content, dict):
        raise ValueError("a fault rule is a JSON object")
    types = {one.name: TYPES.get(str(one.type), (str, NoneType)) for one in fields(FaultRule) if one.name != "hits"}
    unknown = sorted(content.keys() - types)
    if unknown:
        raise ValueError(f"unknown fault field {unknown[0]!r}: expected {', '.join(sorted(types))}")
    if content.get("kind") not in KINDS:
        raise ValueError(f"unknown fault kind {content.get('kind')!r}: expected one of {', '.join(KINDS)}")
    if not isinstance(content.get("target"), str):
        raise ValueError("a fault rule needs a target")
    for name, value in content.items():
        if not isinstance(value, types[name]) or isinstance(value, bool):
            raise ValueError(f"fault field {name} cannot be {value!r}")
    rule, kind = FaultRule(**content), KINDS[content["kind"]]
    rule.content()
    if rule.when not in ("", BEFORE, AFTER):
        raise ValueError("when must be before or after")
    if not rule.when or not kind.movable:
        rule.when = kind.when
    if rule.kind == "refused" and rule.face not in REFUSALS:
        raise ValueError(f"unknown face {rule.face!r}: expected one of {', '.join(REFUSALS)}")
    rule.status = rule.status or (REFUSALS[rule.face].status if rule.kind == "refused" else kind.status)
    return rule


class Faults:
    """The queue of rules, of which the first match is used, and the switch that releases hanging requests."""

    def __init__(self) -> None:
        self.rules: list[FaultRule] = []
        self._released = asyncio.Event()
        self._underway: set[asyncio.Task[None]] = set()

    def take(self, target: str, path: str, name: str, grant_type: str | None) -> FaultRule | None:
        """The rule that hits this request, counted down; None: no rule does."""
        for rule in self.rules:
            if rule.grant_type not in (None, grant_type) or rule.target not in ("any", target, path, name):
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
        """Drop all rules, and let every hanging request resume as if nothing had happened. Returns how many rules there
        were.
        """
        dropped = len(self.rules)
        self.rules.clear()
        self._released.set()
        self._released = asyncio.Event()
        return dropped

    def spawn(self, deed: Coroutine[Any, Any, None]) -> None:
        """Run something in the background that no connection waits for."""
        task = asyncio.get_running_loop().create_task(deed)
        self._underway.add(task)  # the event loop keeps no strong reference to a task
        task.add_done_callback(self._underway.discard)

    async def hang(self) -> None:
        """Wait until ``clear``; the wait is cancelled if the client closes its connection."""
        await self._released.wait()


@dataclass(frozen=True, slots=True)
class WayBack:
    """The answer to one request. ``notify`` is called after every change of the log entry; ``again`` logs the same
    request once more.
    """

    request: web.BaseRequest
    visit: Visit
    faults: Faults
    sleep: Callable[[float], Awaitable[None]]
    notify: Callable[[], None]
    again: Callable[[], Visit]

    async def serve(self, rule: FaultRule | None) -> web.StreamResponse:
        """Act on the request and answer it, with the fault of this rule."""
        if rule is None:
            return await self.send(self.act())
        self.visit.entry.fault = rule.kind
        match rule.kind:
            case "hang_before" | "hang_after":
                return await self._waited_for(self.faults.hang(), rule)
            case "delay":
                return await self._waited_for(self.sleep(rule.seconds), rule)
            case "reset_before" | "reset_after":
                if rule.when != BEFORE:
                    self.act()
                return self.reset()
            case "late":
                self.faults.spawn(self._act_later(rule.seconds, self.visit))
                return self.reset()
            case "duplicate":
                response = await self.send(self.act())
                self.faults.spawn(self._act_later(rule.seconds, self.again()))
                return response
            case "truncate":
                return await self._truncate(rule)
            case "slow":
                return await self.send(self.act(), chunk=1, pause=rule.seconds)
            case _:
                return await self._instead(rule)

    def act(self, shown_status: int | None = None) -> SimulatedAnswer:
        """Do what is asked, in one step, and log it."""
        answer = endpoints.act(self.visit, shown_status)
        self.notify()
        return answer

    async def send(self, answer: SimulatedAnswer, chunk: int = CHUNK, pause: float | None = None) -> web.StreamResponse:
        """Send the whole answer in chunks of so many bytes, each followed by the pause; it is logged as ``answered``
        once the last byte is written.
        """
        response, body = await self._begin(answer)
        for at in range(0, len(body), chunk):
            await response.write(body[at : at + chunk])
            if pause is not None:
                await self.sleep(pause)
        await response.write_eof()
        self.visit.entry.answered = True
        self.notify()
        return response

    def reset(self) -> web.StreamResponse:
        """Cut the connection so that its other end sees a TCP reset."""
        transport = self.request.transport
        if transport is not None:
            sock = transport.get_extra_info("socket")
            # With a linger time of 0 the kernel sends RST; a plain close would send FIN.
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            transport.abort()
        return web.Response()

    async def _begin(self, answer: SimulatedAnswer) -> tuple[web.StreamResponse, bytes]:
        """Send the head, and return the body to send: none for HEAD, although its length is stated (RFC 9110 9.3.2)."""
        headers = {"Content-Type": answer.content_type, "X-Request-ID": self.visit.model.mint("request")}
        response = web.StreamResponse(status=answer.status, headers=headers | answer.headers)
        response.content_length = len(answer.body)
        await response.prepare(self.request)
        return response, b"" if self.request.method == "HEAD" else answer.body

    async def _act_later(self, seconds: float, visit: Visit) -> None:
        """Act on a request that the network delivers late: its answer is no longer awaited."""
        visit.entry.fault = self.visit.entry.fault
        await self.sleep(seconds)
        endpoints.act(visit)
        self.notify()

    async def _waited_for(self, waiting: Awaitable[None], rule: FaultRule) -> web.StreamResponse:
        answer = None if rule.when == BEFORE else self.act()
        self.notify()
        await waiting
        return await self.send(answer or self.act())

    async def _instead(self, rule: FaultRule) -> web.StreamResponse:
        if rule.when == BEFORE:
            endpoints.answered_unacted(self.visit, rule.status)
            self.notify()
        else:
            self.act(rule.status)
        return await self.send(replacement(rule))

    async def _truncate(self, rule: FaultRule) -> web.StreamResponse:
        """Announce the whole body, write its first bytes, close."""
        answer = self.act()
        response, body = await self._begin(answer)
        end = len(body) // 2 if rule.at is None else rule.at
        await response.write(body[:end])
        if self.request.transport is not None:
            self.request.transport.close()
        return response


def replacement(rule: FaultRule) -> SimulatedAnswer:
    """The answer that a rule gives in place of the real one."""
    match rule.kind:
        case "html":
            answer = answers.html_page(rule.status, f"{rule.status} from a gateway")
        case "redirect":
            answer = SimulatedAnswer(rule.status, b"", answers.HTML, {"Location": rule.location})
        case "rate_limited":
            headers = {"Retry-After": rule.retry_after} if rule.retry_after is not None else {}
            answer = SimulatedAnswer(rule.status, b'{"message": "Too many requests"}', answers.JSON, headers)
        case "refused":
            answer = REFUSALS[rule.face]
        case "success_false":
            answer = answers.failed(rule.message)
        case "oversized":
            frame = b'{"padding":"', b'"}'
            answer = SimulatedAnswer(rule.status, frame[0] + b"x" * max(0, rule.size - 14) + frame[1])
        case _:
            answer = SimulatedAnswer(rule.status, rule.content())
    content_type = rule.content_type or answer.content_type
    return SimulatedAnswer(rule.status, answer.body, content_type, answer.headers | rule.headers)

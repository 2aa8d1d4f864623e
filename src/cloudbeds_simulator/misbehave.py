"""How an answer reaches the wire, whole or as a fault wants it."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from aiohttp import web

from cloudbeds_simulator import answers, endpoints
from cloudbeds_simulator.answers import Answer
from cloudbeds_simulator.endpoints import Visit
from cloudbeds_simulator.faults import BEFORE, Faults, Rule

CHUNK = 64 * 1024


@dataclass(frozen=True, slots=True)
class Wire:
    """One request's way back. ``tell`` is called after every change of the log entry, ``again`` logs the
    same request once more.
    """

    request: web.BaseRequest
    visit: Visit
    faults: Faults
    sleep: Callable[[float], Awaitable[None]]
    tell: Callable[[], None]
    again: Callable[[], Visit]

    async def serve(self, rule: Rule | None) -> web.StreamResponse:
        """Act on the request and answer it, harmed as the rule says."""
        if rule is None:
            return await self.send(self.act())
        self.visit.entry.fault = rule.kind
        match rule.kind:
            case "hang_before" | "hang_after":
                return await self._hang(rule)
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
            case "delay":
                return await self._delay(rule)
            case "truncate":
                return await self._truncate(rule)
            case "slow":
                return await self._trickle(rule)
            case _:
                return await self._instead(rule)

    def act(self, shown_status: int | None = None) -> Answer:
        """Do what is asked, in one piece, and log it."""
        answer = endpoints.act(self.visit, shown_status)
        self.tell()
        return answer

    async def send(self, answer: Answer) -> web.StreamResponse:
        """The whole answer; the log says ``answered`` once its last byte is written."""
        response, body = await self._begin(answer)
        for at in range(0, len(body), CHUNK):
            await response.write(body[at : at + CHUNK])
        await response.write_eof()
        self._answered()
        return response

    def reset(self) -> web.StreamResponse:
        """Cut the connection so that its other end sees a TCP reset."""
        transport = self.request.transport
        if transport is not None:
            sock = transport.get_extra_info("socket")
            # Lingering for 0 seconds makes the kernel send RST where a plain close would send FIN.
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            transport.abort()
        return web.Response()

    async def _begin(self, answer: Answer) -> tuple[web.StreamResponse, bytes]:
        """Send the head; the body that follows it: none to a HEAD, although its length is there (RFC 9110 9.3.2)."""
        headers = {"Content-Type": answer.content_type, "X-Request-ID": self.visit.model.mint("request")}
        response = web.StreamResponse(status=answer.status, headers=headers | answer.headers)
        response.content_length = len(answer.body)
        await response.prepare(self.request)
        return response, b"" if self.request.method == "HEAD" else answer.body

    def _answered(self) -> None:
        self.visit.entry.answered = True
        self.tell()

    async def _act_later(self, seconds: float, visit: Visit) -> None:
        """The network delivers a request when nobody waits for its answer any more."""
        visit.entry.fault = self.visit.entry.fault
        await self.sleep(seconds)
        endpoints.act(visit)
        self.tell()

    async def _hang(self, rule: Rule) -> web.StreamResponse:
        answer = None if rule.when == BEFORE else self.act()
        self.tell()
        await self.faults.hang()
        return await self.send(answer or self.act())

    async def _delay(self, rule: Rule) -> web.StreamResponse:
        answer = None if rule.when == BEFORE else self.act()
        await self.sleep(rule.seconds)
        return await self.send(answer or self.act())

    async def _instead(self, rule: Rule) -> web.StreamResponse:
        if rule.when == BEFORE:
            endpoints.answered_unacted(self.visit, rule.status)
            self.tell()
        else:
            self.act(rule.status)
        return await self.send(replacement(rule))

    async def _truncate(self, rule: Rule) -> web.StreamResponse:
        """Promise the whole body, write its first bytes, close."""
        answer = self.act()
        response, body = await self._begin(answer)
        end = len(body) // 2 if rule.at is None else rule.at
        await response.write(body[:end])
        if self.request.transport is not None:
            self.request.transport.close()
        return response

    async def _trickle(self, rule: Rule) -> web.StreamResponse:
        answer = self.act()
        response, body = await self._begin(answer)
        for at in range(len(body)):
            await response.write(body[at : at + 1])
            await self.sleep(rule.seconds)
        await response.write_eof()
        self._answered()
        return response


def replacement(rule: Rule) -> Answer:
    """What a rule answers in place of the real answer."""
    match rule.kind:
        case "html":
            answer = answers.html_page(rule.status, f"{rule.status} from a gateway")
        case "redirect":
            answer = Answer(rule.status, b"", answers.HTML, {"Location": rule.location})
        case "rate_limited":
            headers = {"Retry-After": rule.retry_after} if rule.retry_after is not None else {}
            answer = Answer(rule.status, b'{"message": "Too many requests"}', answers.JSON, headers)
        case "refused":
            answer = answers.REFUSALS[rule.face]
        case "success_false":
            answer = answers.failed(rule.message)
        case "oversized":
            frame = b'{"padding":"', b'"}'
            answer = Answer(rule.status, frame[0] + b"x" * max(0, rule.size - 14) + frame[1])
        case _:
            answer = Answer(rule.status, rule.content())
    content_type = rule.content_type or answer.content_type
    return Answer(rule.status, answer.body, content_type, answer.headers | rule.headers)


async def until(changed: asyncio.Event, timeout: float) -> bool:
    """Wait for the event; false when the time in seconds ran out first."""
    try:
        await asyncio.wait_for(changed.wait(), timeout)
    except TimeoutError:
        return False
    return True

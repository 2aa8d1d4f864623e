"""The network between a machine and the vendor, beneath the real HTTP clients: loses, delays, duplicates, reorders.

`SimTransport` stands where sockets would. A request leaves at a moment of its own, reaches the vendor at another, also
when its sender has given up or was killed meanwhile, and what comes back may be lost, late, cut or not the vendor's.
Which of that happens to a request is its `Fate`, drawn by `fates`.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field

import httpx2
from tests.simulation.faces import with_lifetime
from tests.simulation.fates import Fate, Fates
from tests.simulation.loop import MACHINE, SimLoop, machine_context
from tests.simulation.sockets import Socket, Sockets
from tests.simulation.trace import Trace
from tests.simulation.vendor import CLIENT, Vendor, call_of

from cloudbeds_simulator.answers import SimulatedAnswer
from cloudbeds_simulator.endpoints import EXCHANGE
from cloudbeds_simulator.journal import ReceivedCall

FOR_EVER = 1e6
HOST = "hotels.example"
LEASE = 30.0  # seconds; the product's own number is not asked


@dataclass(slots=True)
class Exchange:
    """One request and what became of it. `answered` is the status that its sender was shown, None so far."""

    number: int
    machine: str
    target: str
    call: ReceivedCall
    at: float
    reply: asyncio.Future[SimulatedAnswer]
    fate: Fate = field(default_factory=Fate)
    flying: bool = True
    sent: bool = False
    answered: int | None = None
    refused_client: bool = False
    refused: bool = False  # the vendor refused its refresh token, and nothing hides that
    access: str = ""  # the access token that the vendor answered with
    read: bool = False  # its sender read the answer to its end
    generation: int | None = None
    grant: str | None = None
    intended: float | None = None  # when the intent to send its token was committed
    disturbed: bool = False
    judged: bool = False
    socket: Socket | None = None
    strayed: bool = False  # its sender was shown the copy of another request's answer

    @property
    def token(self) -> str:
        """The refresh token that it carries, to refresh with it or to have it exchanged for a key."""
        return self.call.field("refresh_token")

    @property
    def settles(self) -> bool:
        """Whether its sender knows what came of it: a pair, a key, or a refusal of the token or of the client."""
        return self.read and not self.strayed and (self.fate.answer is None or self.fate.kind == "lie")

    @property
    def refresh(self) -> str:
        """The refresh token that it spends."""
        return "" if self.call.field("grant_type") == EXCHANGE else self.token

    @property
    def exchanged(self) -> str:
        """The refresh token that it has exchanged for a key."""
        return self.token if self.call.field("grant_type") == EXCHANGE else ""

    @property
    def code(self) -> str:
        """The authorization code that it carries."""
        return self.call.field("code")

    @property
    def call_id(self) -> str:
        """Which call of a caller it belongs to."""
        return self.call.headers.get("X-Call", "")


class Network:
    """Carries requests. `leaving(exchange)` is told before anything is sent; `probe(machine, point)` may kill."""

    def __init__(
        self,
        loop: SimLoop,
        vendor: Vendor,
        trace: Trace,
        fates: Fates,
        leaving: Callable[[Exchange], None],
        probe: Callable[[str, str], None],
    ) -> None:
        self.loop, self.vendor, self.trace, self.fates = loop, vendor, trace, fates
        self._leaving, self._probe = leaving, probe
        self.sockets = Sockets()
        self.exchanges: list[Exchange] = []
        self._context = machine_context("net")

    def later(self, seconds: float, work: Callable[..., None], *args: object) -> None:
        """Do something that belongs to no machine."""
        self.loop.call_later(seconds, work, *args, context=self._context)

    async def send(self, machine: str, request: httpx2.Request) -> httpx2.Response:
        """One request, as a transport does it."""
        exchange = self._opened(machine, request, await request.aread())
        self._leaving(exchange)
        exchange.fate = fate = self.fates.draw(exchange.target)
        if fate.kind != "none":
            self.trace.say(machine, f"#{exchange.number} meets {fate}")
            self.trace.count(f"fault {fate.kind}")
        exchange.socket = self.sockets.take(exchange)
        try:
            await self._leave(exchange, fate, request)
            answer = await exchange.reply
        except BaseException:
            self.over(exchange)
            raise
        await self.at(machine, f"{exchange.target} answer half read")
        exchange.answered = answer.status
        headers = {"content-type": answer.content_type, **answer.headers}
        return httpx2.Response(
            answer.status, headers=headers, stream=Body(self, exchange, answer.body), request=request
        )

    def over(self, exchange: Exchange) -> None:
        """Nothing more of it is read; its connection is closed, or kept for another."""
        exchange.flying = False
        self.sockets.end(exchange)

    async def at(self, machine: str, point: str) -> None:
        """A point at which the machine may be killed."""
        self._probe(machine, point)
        if not self.loop.alive(machine):
            await self.loop.create_future()

    def _opened(self, machine: str, request: httpx2.Request, body: bytes) -> Exchange:
        if request.url.host != HOST:
            self.trace.violate("I9", f"{machine} sends to {request.url.host}, which is not the vendor")
        call = call_of(request.method, request.url.raw_path.decode(), request.headers, body)
        if call.field("refresh_token") and call.field("client_id") != CLIENT:
            self.trace.violate("I9", f"{machine} sends a hotel's token under the client id {call.field('client_id')}")
        target = {"access_token": "token", "userinfo": "userinfo"}.get(call.name, "resource")
        number = len(self.exchanges) + 1
        exchange = Exchange(number, machine, target, call, self.loop.now, self.loop.create_future())
        self.exchanges.append(exchange)
        told = self.trace.called(exchange.token or exchange.code or next(iter(call.credentials), ""))
        self.trace.say(machine, f"#{number} sends {'exchange' if exchange.exchanged else target} {told}")
        return exchange

    async def _leave(self, exchange: Exchange, fate: Fate, request: httpx2.Request) -> None:
        machine = exchange.machine
        await self.at(machine, f"{exchange.target} connecting")
        await asyncio.sleep(fate.connect)
        if fate.kind in {"connect", "down: refused"}:
            raise httpx2.ConnectError("simulated")
        if (trace := request.extensions.get("trace")) is not None:  # the connection is up: as a real transport tells it
            await trace("http11.send_request_headers.started", {"request": request})
        if exchange.intended is not None and self.loop.now - exchange.intended > LEASE:
            waited = f"{self.loop.now - exchange.intended:.0f} s after its intent"
            self.trace.violate("I4", f"#{exchange.number} leaves {waited}, which is past its lease")
        await self.at(machine, f"{exchange.target} half written")
        exchange.sent = True
        if fate.kind in {"lose request", "down: silent"}:
            self._end(exchange, fate.hangs)
        else:
            self.later(fate.there, self._arrive, exchange, True)
        if fate.again is not None:
            self.later(fate.again, self._arrive, exchange, False)
        await self.at(machine, f"{exchange.target} sent")

    def _end(self, exchange: Exchange, hangs: bool) -> None:
        """No answer comes: the connection is reset, or stays silent until the sender gives up."""
        if not hangs:
            self.later(0.05, self._fail, exchange)

    def _arrive(self, exchange: Exchange, first: bool) -> None:
        """The request reaches the vendor."""
        fate, number = exchange.fate, exchange.number
        if first and fate.answer is not None and not fate.acted:
            self.vendor.refuse_unacted(exchange.call, fate.answer.status)
            answer = fate.answer
            if fate.kind == "lie" and exchange.token:
                self.vendor.refuse_by_mistake(exchange.call)
                exchange.refused = True
        else:
            shown = fate.answer.status if first and fate.answer is not None else None
            answer = self.vendor.act(number, exchange.call, shown)
            self._note(exchange, answer, genuine=first and fate.answer is None)
            if first and fate.answer is not None:
                answer = fate.answer
            if fate.lifetime:
                answer = with_lifetime(answer, fate.lifetime[0])
        if not first:
            self.trace.say("net", f"#{number} arrived once more")
            return
        self._probe(exchange.machine, f"{exchange.target} acted")
        if fate.kind == "lose answer":
            self._end(exchange, fate.hangs)
        else:
            self.later(fate.back, self._reply, exchange, answer)

    def _note(self, exchange: Exchange, answer: SimulatedAnswer, *, genuine: bool) -> None:
        exchange.refused_client |= b"invalid_client" in answer.body
        for key in self.vendor.killed:
            self._killed(exchange, key)
        if exchange.target != "token" or not genuine:
            return
        exchange.refused = self.vendor.outcome == "refused"
        if self.vendor.outcome == "issued" and not exchange.exchanged:
            exchange.access = self.vendor.ledger.issues[-1].access

    def _killed(self, exchange: Exchange, key: str) -> None:
        """I16: no refresh ends a key. Stated: one that was sent before the exchange does, whatever a client does.

        The exchange is the one that gave the key: one that never left lifts the latch again, and refreshes go on.
        """
        if exchange.at < self.exchanges[self.vendor.given[key] - 1].at:
            self.trace.count("residual key")
            return
        self.trace.violate("I16", f"#{exchange.number} is a refresh, and ended {self.trace.called(key)}")

    def _reply(self, exchange: Exchange, answer: SimulatedAnswer) -> None:
        if exchange.reply.done():
            if exchange.strayed and exchange.socket is not None:
                self._stray(exchange, exchange.socket, answer)  # everything on this connection is one too late
            return
        exchange.reply.set_result(answer)
        if exchange.fate.copy is not None and exchange.socket is not None:
            self.later(exchange.fate.copy, self._stray, exchange, exchange.socket, answer)

    def _stray(self, exchange: Exchange, socket: Socket, answer: SimulatedAnswer) -> None:
        """A copy of an answer comes on the connection of the first."""
        met = self.sockets.stray(socket)
        self.trace.say("net", f"#{exchange.number}'s answer comes again" + (f", to #{met.number}" if met else ""))
        if met is not None and met is not exchange and not met.reply.done():
            met.strayed = True
            self.trace.count("strayed answers")
            met.reply.set_result(answer)

    def _fail(self, exchange: Exchange) -> None:
        if not exchange.reply.done():
            exchange.reply.set_exception(httpx2.ReadError("simulated reset"))


class Body(httpx2.AsyncByteStream):
    """An answer's body in two parts, or up to where it is cut."""

    def __init__(self, network: Network, exchange: Exchange, content: bytes) -> None:
        self._network, self._exchange, self._content = network, exchange, content

    async def __aiter__(self) -> AsyncIterator[bytes]:
        cut, mode = self._exchange.fate.cut, self._exchange.fate.cut_mode
        content = self._content if cut is None else self._content[:cut]
        half = len(content) // 2
        yield content[:half]
        await asyncio.sleep(0.01)
        yield content[half:]
        if cut is not None and mode == "reset":
            raise httpx2.ReadError("simulated cut")
        if cut is not None and mode == "hang":
            await asyncio.sleep(FOR_EVER)
        self._exchange.read = cut is None or len(content) == len(self._content)
        await self._network.at(self._exchange.machine, f"{self._exchange.target} answer read")

    async def aclose(self) -> None:
        self._network.over(self._exchange)


class SimTransport(httpx2.AsyncBaseTransport):
    """One machine's way out."""

    def __init__(self, network: Network) -> None:
        self._network = network

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        return await self._network.send(MACHINE.get(), request)

"""The HTTP shell: one handler that reads a request, logs it, lets a fault have its way, and answers."""

from __future__ import annotations

import ipaddress

from aiohttp import web

from cloudbeds_simulator import endpoints
from cloudbeds_simulator.calls import Call, read
from cloudbeds_simulator.delivery import Delivery
from cloudbeds_simulator.endpoints import Visit
from cloudbeds_simulator.faults import Faults
from cloudbeds_simulator.glass_box import GlassBox
from cloudbeds_simulator.journal import Entry, Journal
from cloudbeds_simulator.misbehave import Wire
from cloudbeds_simulator.model import Model
from cloudbeds_simulator.system import Clock

MAX_BODY = 512 * 1024 * 1024
MAX_FIELD = 64 * 1024  # tokens of several KB are possible, and callers may send long headers
CONTROL = "/_control/"


class Simulator:
    """The vendor behind one listening socket: its model, clock, faults and log."""

    def __init__(self, model: Model, clock: Clock | None = None) -> None:
        self.model = model
        self.clock = clock or Clock()
        self.faults = Faults()
        self.journal = Journal()
        self.delivery = Delivery(model.subscriptions, self.clock.sleep)
        self.glass_box = GlassBox(model, self.clock, self.faults, self.journal, self.delivery)

    def application(self) -> web.Application:
        """The aiohttp application: everything goes to one handler, which looks at the path byte for byte."""
        app = web.Application(client_max_size=MAX_BODY)
        app.router.add_route("*", "/{anything:.*}", self.handle)
        app.on_cleanup.append(self._close)
        return app

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Answer one request, and begin to post what it made due."""
        try:
            return await self._answer(request)
        finally:
            self.delivery.flush(self.model.settings.webhook_interval)

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        if request.raw_path.startswith(CONTROL):
            return await self._control(request)
        call = await read(request)
        entry = self._logged(call)
        rule = self.faults.take(entry.target, call.path, call.name, entry.grant_type)
        self.journal.changed()

        def again() -> Visit:
            return Visit(call, self.model, self._logged(call), self.clock)

        visit = Visit(call, self.model, entry, self.clock)
        wire = Wire(request, visit, self.faults, self.clock.sleep, self.journal.changed, again)
        return await wire.serve(rule)

    async def _close(self, _: web.Application) -> None:
        await self.delivery.close()

    def _logged(self, call: Call) -> Entry:
        entry = self.journal.open(self.clock.now(), endpoints.target_of(call), call.method, call.path)
        if entry.target == "token":
            entry.grant_type = call.field("grant_type") or None
            entry.client_id = call.field("client_id") or None
            entry.refresh_token = call.field("refresh_token") or None
        entry.access_token = next(iter(call.credentials), None)
        entry.key_header = "X-Api-Key" in call.headers
        return entry

    async def _control(self, request: web.Request) -> web.StreamResponse:
        if not _loopback(request.remote):
            return web.json_response({"error": "the control API answers loopback only"}, status=403)
        return await self.glass_box.handle(request)


def _loopback(remote: str | None) -> bool:
    try:
        return ipaddress.ip_address(remote or "").is_loopback
    except ValueError:
        return False


async def listen(simulator: Simulator, host: str = "127.0.0.1", port: int = 0) -> tuple[web.AppRunner, int]:
    """Serve on this address until the returned runner is cleaned up; the port it got, a free one for 0.

    Raises OSError when the port is taken.
    """
    runner = web.AppRunner(
        simulator.application(),
        handler_cancellation=True,  # a hanging request ends with its connection
        auto_decompress=False,  # bodies are told byte for byte
        max_line_size=MAX_FIELD,
        max_field_size=MAX_FIELD,
        access_log=None,
        shutdown_timeout=0.2,
        handle_signals=False,
    )
    await runner.setup()
    site = web.TCPSite(runner, host, port)
    try:
        await site.start()
    except OSError:
        await runner.cleanup()
        raise
    return runner, int(runner.addresses[0][1])

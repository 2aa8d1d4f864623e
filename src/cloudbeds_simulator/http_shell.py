"""The HTTP server around the vendor: one handler reads a request, logs it, applies a fault if one is due, and answers.

What belongs to the simulator and not to Cloudbeds (the control API, its pages and their assets) is neither logged nor
subject to faults.
"""

from __future__ import annotations

from functools import partial

from aiohttp import web

from cloudbeds_simulator import endpoints, pages
from cloudbeds_simulator.control_api import CONTROL, ControlApi
from cloudbeds_simulator.endpoints import Visit
from cloudbeds_simulator.faults import Faults, WayBack
from cloudbeds_simulator.glass_box import GlassBox
from cloudbeds_simulator.journal import Journal, JournalEntry, ReceivedCall, read
from cloudbeds_simulator.local_requests import why_not
from cloudbeds_simulator.switches import SimulatedClock
from cloudbeds_simulator.vendor_model import VendorModel
from cloudbeds_simulator.webhooks import WebhookPoster

MAX_BODY = 512 * 1024 * 1024
MAX_FIELD = 64 * 1024  # tokens may have several KB, and callers may send long headers


class SimulatorServer:
    """The vendor behind one listening socket: its model, clock, faults and log."""

    def __init__(self, model: VendorModel) -> None:
        self.model = model
        self.clock = SimulatedClock()
        self.faults = Faults()
        self.journal = Journal()
        self.delivery = WebhookPoster(self.clock.sleep)
        self.control = ControlApi(self)
        self.glass_box = GlassBox(self)

    def application(self) -> web.Application:
        """The aiohttp application: everything goes to one handler, which reads the path byte for byte."""
        app = web.Application(client_max_size=MAX_BODY)
        app.router.add_route("*", "/{anything:.*}", self.handle)
        app.on_cleanup.append(lambda _: self.delivery.close())
        return app

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Answer one request, and begin to post the webhooks that it made due."""
        try:
            return await self._answer(request)
        finally:
            self.delivery.flush(self.model.subscriptions, self.model.settings.webhook_interval)

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        path = request.raw_path.partition("?")[0]
        if path.startswith(pages.ASSETS):
            return pages.asset(path)
        if path.startswith(CONTROL) or GlassBox.has(path):
            if reason := why_not(request):
                return web.json_response({"error": reason}, status=403)
            return await (self.control if path.startswith(CONTROL) else self.glass_box).handle(request)
        call = await read(request)
        visit = self._logged(call)
        rule = self.faults.take(visit.entry.target, call.path, call.name, visit.entry.grant_type)
        self.journal.changed()
        again = partial(self._logged, call)
        return await WayBack(request, visit, self.faults, self.clock.sleep, self.journal.changed, again).serve(rule)

    def _logged(self, call: ReceivedCall) -> Visit:
        number, target = len(self.journal.entries) + 1, endpoints.target_of(call)
        entry = JournalEntry(number, self.clock.now(), target, call.method, call.path)
        if target == "token":
            entry.grant_type = call.field("grant_type") or None
            entry.client_id = call.field("client_id") or None
            entry.refresh_token = call.field("refresh_token") or None
        entry.access_token = next(iter(call.credentials), None)
        entry.key_header = "X-Api-Key" in call.headers
        self.journal.entries.append(entry)
        return Visit(call, self.model, entry, self.clock)


async def listen(simulator: SimulatorServer, host: str = "127.0.0.1", port: int = 0) -> tuple[web.AppRunner, int]:
    """Serve on this address until the returned runner is cleaned up. Returns the port, too: a free one for 0.

    Raises OSError if the port is taken.
    """
    runner = web.AppRunner(
        simulator.application(),
        handler_cancellation=True,  # a hanging request ends with its connection
        auto_decompress=False,  # `echo` reports a body byte for byte
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

"""`cloudbeds-auth serve`: the service under uvicorn, the sockets that it listens on, and the signals that stop it."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import gc
import logging
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import AsyncExitStack, ExitStack
from types import FrameType
from typing import TYPE_CHECKING, Any, Final

import uvicorn

from cloudbeds_auth import runtime
from cloudbeds_auth.app.application import Opener, Service, open_parts
from cloudbeds_auth.app.http_limits import BoundedProtocol
from cloudbeds_auth.app.workers import Workers, leave_listening
from cloudbeds_auth.errors import ConfigurationError
from cloudbeds_auth.os_files import holder_of, take_port
from cloudbeds_auth.system import keep_memory_private

if TYPE_CHECKING:
    from uvicorn.supervisors.basereload import BaseReload

    from cloudbeds_auth.settings import Settings

log: Final = logging.getLogger(__name__)

BACKLOG = 2048
FACTORY = "cloudbeds_auth.app.server:create"
GRACE = 30  # seconds for requests in flight at a stop; longer than one token exchange
KEEP_ALIVE = 30  # seconds between two requests on one connection


def create() -> Service:
    """The service with the settings of the environment; for our own workers."""
    keep_memory_private()
    return Service(open_parts(None), opened=freeze)


def freeze() -> None:
    """What is there when the service is open stays: the collector looks through it no more, which is 15 % of what the
    process spends on a proxied call.
    """
    gc.collect()
    gc.freeze()


def serve(settings: Settings, reload: bool = False, *, opener: Opener | None = None) -> None:
    """Listen as `settings` say until SIGTERM or SIGINT; then stop accepting, finish, drain, and return.

    Prints `listening on http://…` once it is true. With several workers, or with `reload`, each process reads the
    settings from its own environment. Raises ConfigurationError when the port is taken or the vault does not open.
    """
    opener = opener or open_parts(settings)
    sockets = bind(settings.host, settings.port)
    try:
        with ExitStack() as clean, _ended_by_signals():
            if reload or settings.workers > 1:
                clean.enter_context(runtime.shared_metrics())
                asyncio.run(_rehearse(opener))  # a worker that cannot start would only be started again
                _supervise(settings, sockets, reload=reload)
            else:
                _serve_here(Service(opener, report=False, opened=freeze), settings, sockets)
    finally:
        for one in sockets:
            one.close()


def configuration(app: Service | str, settings: Settings, *, reload: bool = False) -> uvicorn.Config:
    """Settings of uvicorn: bounded heads, forwarded headers of trusted proxies only, no banner, no query in a log."""
    trusted = list(settings.trusted_proxies)
    return uvicorn.Config(
        app,
        factory=isinstance(app, str),
        loop="uvloop",
        http=BoundedProtocol,
        ws="none",
        lifespan="on",
        workers=settings.workers,
        reload=reload,
        proxy_headers=bool(trusted),
        forwarded_allow_ips=trusted,
        server_header=False,
        date_header=True,
        access_log=False,  # it would write query strings; the gateway reports to the observer instead
        log_config=None,
        log_level="warning",
        backlog=BACKLOG,
        timeout_keep_alive=KEEP_ALIVE,
        timeout_graceful_shutdown=GRACE,
    )


class AnnouncingServer(uvicorn.Server):
    """Calls `announce` once it listens; it returns after a signal, which uvicorn's own raises once more when it is
    done: a drained stop is no failure.
    """

    def __init__(self, config: uvicorn.Config, announce: Callable[[], None]) -> None:
        super().__init__(config)
        self._announce = announce
        self._starting: asyncio.Task[Any] | None = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Open the service, listen, announce; a signal meanwhile ends it, as what is opened is closed with the loop."""
        self._starting = asyncio.current_task()
        try:
            await super().startup(sockets=sockets)
        except asyncio.CancelledError:
            if not self.should_exit:
                raise
        finally:
            self._starting = None
        if self.started:
            self._announce()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Stop; at a second Ctrl-C without what is in flight."""
        if self._starting is not None:
            self._starting.get_loop().call_soon_threadsafe(self._starting.cancel)
        self.force_exit: bool = self.force_exit or (self.should_exit and sig == signal.SIGINT)
        self.should_exit = True


def _serve_here(service: Service, settings: Settings, sockets: list[socket.socket]) -> None:
    server = AnnouncingServer(configuration(service, settings), lambda: _announce(sockets))
    try:
        server.run(sockets=sockets)
    except SystemExit:
        if service.failure is not None:
            raise service.failure from None
        raise


def _supervise(settings: Settings, sockets: list[socket.socket], *, reload: bool) -> None:
    """Several processes over the same sockets. They listen before the first worker is up: a request waits for it."""
    config = configuration(FACTORY, settings, reload=reload)
    for one in sockets:
        one.listen(BACKLOG)
    _announce(sockets)
    if reload:
        _reloaded(config, sockets).run()
        return
    workers = Workers(config, sockets=sockets)
    workers.run()
    if workers.none_started:
        raise ConfigurationError(
            "no worker could start",
            next_step="correct what the log says, or run `cloudbeds-auth doctor`; then start again",
        )


def _reloaded(config: uvicorn.Config, sockets: list[socket.socket]) -> BaseReload:
    """One process that is started again when code changes."""
    from uvicorn.supervisors import ChangeReload  # with what watches files

    class Reloaded(ChangeReload):  # type: ignore[valid-type, misc]  # uvicorn has it as a variable, of a class
        def shutdown(self) -> None:
            leave_listening(self.sockets)
            super().shutdown()

    return Reloaded(config, target=uvicorn.Server(config).run, sockets=sockets)


async def _rehearse(opener: Opener) -> None:
    """Open and close once: what is wrong with the settings or the database is raised here."""
    async with AsyncExitStack() as stack:
        await opener(stack)


@contextlib.contextmanager
def _ended_by_signals() -> Iterator[None]:
    """Leave the block at SIGTERM and SIGINT, which is no failure, until the server has handlers of its own."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    # Not whatever there was: a shell starts what is in the background with SIGINT ignored.
    handlers = {signal.SIGINT: signal.default_int_handler, signal.SIGTERM: _as_ctrl_c}
    before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
    try:
        with contextlib.suppress(KeyboardInterrupt):
            yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _as_ctrl_c(number: int, frame: FrameType | None) -> None:
    """Inside `asyncio.run`, cancel what runs, which closes what it opened; elsewhere raise KeyboardInterrupt."""
    handler = signal.getsignal(signal.SIGINT)
    if callable(handler):
        handler(number, frame)


def bind(host: str, port: int) -> list[socket.socket]:
    """Bound sockets for every address of `host`, for us and our workers; port 0: a free one, the same for all of them.

    Raises ConfigurationError naming who holds the port, where that can be found out.
    """
    try:
        bound = take_port(host, port)
    except socket.gaierror as error:
        raise _refused(f"CLOUDBEDS_AUTH_HOST={host} is no address of this machine ({error.strerror})") from None
    except OSError as error:
        raise _unavailable(host, port, error) from None
    for one in bound:
        one.set_inheritable(True)
    return bound


def address_of(sockets: Sequence[socket.socket]) -> str:
    """The address to show: `http://127.0.0.1:7000`."""
    name, port = sockets[0].getsockname()[:2]
    return f"http://[{name}]:{port}" if ":" in name else f"http://{name}:{port}"


def _unavailable(host: str, port: int, error: OSError) -> ConfigurationError:
    if error.errno != errno.EADDRINUSE:
        return _refused(f"cannot listen on {host}:{port}: {error.strerror}")
    holder = holder_of(port)
    return _refused(f"port {port} is in use" + (f" by {holder}" if holder else ""))


def _refused(detail: str) -> ConfigurationError:
    return ConfigurationError(
        detail,
        next_step="stop the other program, or set CLOUDBEDS_AUTH_PORT (CLOUDBEDS_AUTH_HOST) to move this one, and "
        "register a redirect URI with that port",
    )


def _announce(sockets: Sequence[socket.socket]) -> None:
    sys.stdout.write(f"listening on {address_of(sockets)}\n")
    sys.stdout.flush()

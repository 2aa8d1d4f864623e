"""What acceptance tests are made of: a simulator, a service as a process, and a browser that follows redirects."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from tests.support.ports import free_port
from tests.support.watch import configured, printed

from cloudbeds_simulator.__main__ import build, parser
from cloudbeds_simulator.http_shell import listen

CLIENT_ID, CLIENT_SECRET = "acceptance-app", "acceptance-secret-0123456789"
PATIENCE = 30.0  # seconds until a process that does not start is given up


class Process:
    """A child with its output collected; ended by its own pid, whatever happens."""

    def __init__(
        self, *arguments: str, env: dict[str, str], cwd: Path, command: Sequence[str] = (sys.executable, "-m"),
        own_group: bool = False,
    ) -> None:  # fmt: skip
        base = {name: os.environ[name] for name in ("PATH", "LANG", "TMPDIR") if name in os.environ}
        configured(env)
        self._arguments = arguments
        self.popen = subprocess.Popen(
            [*command, *arguments],
            env={**base, "HOME": str(cwd), "PYTHONUNBUFFERED": "1", **env},
            cwd=cwd,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=own_group,
        )
        self.lines: list[str] = []
        self._grown = threading.Condition()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.popen.stdout
        for line in self.popen.stdout:
            with self._grown:
                self.lines.append(line.rstrip("\n"))
                self._grown.notify_all()
        with self._grown:
            self._grown.notify_all()

    def wait_for(self, pattern: str) -> re.Match[str]:
        """The first line of output that matches; fails with the whole output when none comes."""
        until = time.monotonic() + PATIENCE
        with self._grown:
            while True:
                for line in self.lines:
                    if found := re.search(pattern, line):
                        return found
                gone = self.popen.poll() is not None and not self._reader.is_alive()
                waited = gone or not self._grown.wait(timeout=max(0.01, min(1.0, until - time.monotonic())))
                if gone or (waited and time.monotonic() > until):
                    raise AssertionError(f"no line {pattern!r} in:\n" + "\n".join(self.lines))

    @property
    def output(self) -> str:
        """Everything printed so far."""
        return "\n".join(self.lines)

    def stop(self, how: signal.Signals = signal.SIGTERM) -> int:
        """End it and wait; its exit status."""
        if self.popen.poll() is None:
            self.popen.send_signal(how)
        try:
            status = self.popen.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self.popen.kill()
            status = self.popen.wait()
        self._reader.join(5)
        for pipe in (self.popen.stdin, self.popen.stdout):
            if pipe:
                pipe.close()
        if self._arguments[:1] == ("cloudbeds_auth",):
            printed(self._arguments[1:], self.output)
        return status


@dataclass
class Answer:
    """An HTTP answer, read to its end."""

    status: int
    headers: Any
    body: bytes
    url: str

    @property
    def json(self) -> Any:
        """The body as JSON."""
        return json.loads(self.body)

    @property
    def text(self) -> str:
        """The body as text."""
        return self.body.decode("utf-8", "replace")


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *args: Any, **kwargs: Any) -> None:
        return None


@dataclass
class Http:
    """A client with a cookie jar that follows a redirect only when told to; as a browser seen from outside."""

    base: str = ""
    token: str | None = None
    cookies: dict[str, dict[str, str]] = field(default_factory=dict)

    def ask(self, method: str, url: str, *, data: bytes | None = None, headers: dict[str, str] | None = None,
            form: dict[str, str] | None = None, json_body: Any = None, follow: bool = False) -> Answer:  # fmt: skip
        """One request; `url` may be a path of `base`."""
        url = url if "://" in url else self.base + url
        given = dict(headers or {})
        if form is not None:
            data, given["Content-Type"] = urllib.parse.urlencode(form).encode(), "application/x-www-form-urlencoded"
        if json_body is not None:
            data, given["Content-Type"] = json.dumps(json_body).encode(), "application/json"
        if self.token:
            given.setdefault("Authorization", f"Bearer {self.token}")
        host = urllib.parse.urlsplit(url).hostname or ""
        if self.cookies.get(host):
            given["Cookie"] = "; ".join(f"{name}={value}" for name, value in self.cookies[host].items())
        request = urllib.request.Request(url, data=data, method=method, headers=given)
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), _NoRedirect)
        try:
            with opener.open(request, timeout=PATIENCE) as response:
                answer = Answer(response.status, response.headers, response.read(), url)
        except urllib.error.HTTPError as error:
            with error:
                answer = Answer(error.code, error.headers, error.read(), url)
        for cookie in answer.headers.get_all("Set-Cookie") or []:
            name, _, value = cookie.split(";", 1)[0].partition("=")
            self.cookies.setdefault(host, {})[name] = value
        if follow and answer.status in {301, 302, 303, 307, 308}:
            return self.ask("GET", urllib.parse.urljoin(url, answer.headers["Location"]), follow=True)
        return answer

    def get(self, url: str, **parts: Any) -> Answer:
        """GET."""
        return self.ask("GET", url, **parts)

    def start(self, url: str, **parts: Any) -> Answer:
        """Open a start: of a link the page, and then its button."""
        page = self.get(url, follow=True) if "/connect/" in url else self.get(url, **parts)
        action = page.text.partition('<form method="post" action="')[2].partition('"')[0]
        if "/connect/" not in action:
            return page
        return self.ask("POST", urllib.parse.urljoin(page.url, action), data=b"", **parts)

    def post(self, url: str, **parts: Any) -> Answer:
        """POST."""
        return self.ask("POST", url, **parts)


@dataclass
class Vendor:
    """The simulator, on a thread of this process or as one of its own."""

    base: str
    process: Process | None = None

    def control(self, what: str, method: str = "POST", **body: Any) -> Any:
        """One call of its control API."""
        answer = Http().ask(method, f"{self.base}/_control/{what}", json_body=body if method == "POST" else None)
        assert answer.status < 400, answer.text
        return answer.json

    def counts(self, grant_type: str = "refresh_token") -> dict[str, int]:
        """Token requests of this kind by outcome."""
        found: dict[str, int] = self.control("counts", "GET")["token"].get(grant_type, {})
        return found


@dataclass
class World:
    """A vendor, a folder, and the settings that point at them; `start` runs a service."""

    folder: Path
    vendor: Vendor
    port: int
    extra: dict[str, str]
    services: list[Process] = field(default_factory=list)

    @property
    def base(self) -> str:
        """Where the service answers."""
        return f"http://localhost:{self.port}"

    @property
    def settings(self) -> dict[str, str]:
        """The environment of every process of ours."""
        return {
            "CLOUDBEDS_CLIENT_ID": CLIENT_ID,
            "CLOUDBEDS_CLIENT_SECRET": CLIENT_SECRET,
            "CLOUDBEDS_BASE_URL": self.vendor.base,
            "CLOUDBEDS_REDIRECT_URI": f"{self.base}/callback",
            "CLOUDBEDS_AUTH_PORT": str(self.port),
            "CLOUDBEDS_AUTH_DATABASE_URL": f"sqlite:///{self.folder}/hotels.sqlite3",
            "CLOUDBEDS_AUTH_TOKEN_TIMEOUT": "2",
            "CLOUDBEDS_AUTH_RATE_LIMIT": "0",  # only tests about the rate have the time for one
            **self.extra,
        }

    def start(self, *arguments: str) -> Process:
        """Start the service and wait until it listens."""
        service = Process("cloudbeds_auth", "serve", *arguments, env=self.settings, cwd=self.folder)
        self.services.append(service)
        service.wait_for(r"listening on http")
        return service

    def run(self, *arguments: str, stdin: str | None = None) -> subprocess.CompletedProcess[str]:
        """Run one command of ours to its end."""
        base = {name: os.environ[name] for name in ("PATH", "LANG", "TMPDIR") if name in os.environ}
        configured(self.settings)
        done = subprocess.run(
            [sys.executable, "-m", "cloudbeds_auth", *arguments],
            env={**base, "HOME": str(self.folder), **self.settings},
            cwd=self.folder,
            capture_output=True,
            text=True,
            input=stdin,
            timeout=60,
            check=False,
        )
        printed(arguments, done.stdout + done.stderr)
        return done

    @property
    def admin(self) -> Http:
        """A caller with the admin token."""
        token = self.settings.get("CLOUDBEDS_AUTH_ADMIN_TOKEN")
        if token is None:
            token = (self.folder / "hotels.sqlite3.admin-token").read_text("utf-8").strip()
        return Http(self.base, token)

    def connect(self, browser: Http | None = None, query: str = "") -> str:
        """Approve as a browser would; the connection's id."""
        browser = browser or Http(self.base)
        answer = browser.get(f"/connect{query}", follow=True)
        assert answer.status == 200, answer.text
        connections = self.admin.get("/api/v1/connections").json["connections"]
        found: str = connections[0]["id"]
        return found


@contextmanager
def vendor_on_a_thread(*arguments: str, redirect_uri: str) -> Iterator[Vendor]:
    """A simulator for the time of a test, in this process: one of its own takes ten times as long to start."""
    simulator = build(parser().parse_args(_registered(redirect_uri, arguments)))
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="simulator", daemon=True)
    thread.start()
    runner, port = asyncio.run_coroutine_threadsafe(listen(simulator), loop).result()
    try:
        yield Vendor(f"http://127.0.0.1:{port}")
    finally:
        loop.call_soon_threadsafe(simulator.faults.clear)
        asyncio.run_coroutine_threadsafe(runner.cleanup(), loop).result()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


@contextmanager
def vendor_apart(folder: Path, *arguments: str, redirect_uri: str) -> Iterator[Vendor]:
    """The same as a process, which may be killed, and waits for nobody here."""
    given = _registered(redirect_uri, arguments)
    process = Process("cloudbeds_simulator", "--port", "0", "--with-parent", *given, env={}, cwd=folder)
    try:
        yield Vendor(process.wait_for(r"listening on (http://\S+)")[1], process)
    finally:
        process.stop()


def _registered(redirect_uri: str, arguments: Sequence[str]) -> list[str]:
    app = ["--client-id", CLIENT_ID, "--client-secret", CLIENT_SECRET, "--redirect-uri", redirect_uri]
    return [*app, *arguments]


def world(folder: Path, *arguments: str, callback: str = "/callback", **extra: str) -> AbstractContextManager[World]:
    """A simulator and everything a service needs; `arguments` are the simulator's."""
    return _world(folder, vendor_on_a_thread, arguments, callback, extra)


def world_apart(
    folder: Path, *arguments: str, callback: str = "/callback", **extra: str
) -> AbstractContextManager[World]:
    """The same, and the simulator is a process too."""
    return _world(folder, partial(vendor_apart, folder), arguments, callback, extra)


@contextmanager
def _world(
    folder: Path,
    vendor: Callable[..., AbstractContextManager[Vendor]],
    arguments: Sequence[str],
    callback: str,
    extra: dict[str, str],
) -> Iterator[World]:
    port = free_port()
    redirect_uri = f"http://localhost:{port}{callback}"
    with vendor(*arguments, redirect_uri=redirect_uri) as simulator:
        made = World(folder, simulator, port, {"CLOUDBEDS_REDIRECT_URI": redirect_uri, **extra})
        try:
            yield made
        finally:
            for service in made.services:
                service.stop()

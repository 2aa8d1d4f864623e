"""The demo's stage: a simulated Cloudbeds and the service, as real processes on free ports, and a hotel's browser."""

from __future__ import annotations

import asyncio
import socket
import sys
from collections.abc import Mapping
from contextlib import suppress
from html.parser import HTMLParser
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urljoin

from cloudbeds_auth import errors
from cloudbeds_auth.child_process import Child, bare_environment
from cloudbeds_auth.ports import Clock, Entropy

if TYPE_CHECKING:
    import httpx2

CLIENT_ID = "demo-app"
APP_NAME = "Demo App"
TOKEN_TIMEOUT = 2.0
CALL_SECONDS = 40.0
PATIENCE = 60.0
PORTS = range(20000, 32000)  # below the ports that systems use for outgoing connections
MOST_REDIRECTS = 10
PAGE_SECONDS = 30.0


class Surprise(errors.Error):
    """The demo saw something that it did not expect"""

    next_step_default = "read the logs of the simulator and the service"


def free_port(entropy: Entropy) -> int:
    """A port on which no process listens at this moment."""
    for _ in range(1000):
        port = PORTS[int(entropy.unit() * len(PORTS))]
        with socket.socket() as sock, suppress(OSError):
            sock.bind(("127.0.0.1", port))
            return port
    raise errors.ConfigurationError("no free port on 127.0.0.1", next_step="stop what uses ports 20000 to 31999")


async def start(child: Child, clock: Clock) -> str:
    """Start it, wait until it reports where it listens, and return that address. Raises ChildFailed."""
    child.launch()  # here and not on the thread: a caller that cancels the wait can still stop it
    return await asyncio.to_thread(child.address, clock)


class Stage:
    """Both processes, and how to talk to them. Always close it."""

    def __init__(self, folder: Path, variant: str, clock: Clock, entropy: Entropy) -> None:
        import httpx2

        self.folder: Final = folder
        self.clock: Final = clock
        self.port: Final = free_port(entropy)
        self.service_url: Final = f"http://127.0.0.1:{self.port}"
        self.redirect_uri: Final = f"{self.service_url}/callback"
        self.simulator_url: str = ""
        self.admin_token_path: Final = folder / "admin-token"
        self._admin_token = entropy.token()
        self._client_secret = entropy.token()
        self.http: Final = httpx2.AsyncClient(timeout=CALL_SECONDS, follow_redirects=False, trust_env=False)
        self.simulator: Final = self._simulator(variant)
        self.service: Child | None = None

    def _simulator(self, variant: str) -> Child:
        arguments = ["cloudbeds_simulator", "--host", "127.0.0.1", "--port", "0", "--variant", variant]
        arguments += ["--client-id", CLIENT_ID, "--app-name", APP_NAME, "--redirect-uri", self.redirect_uri]
        environment = bare_environment(self.folder, SIMULATOR_CLIENT_SECRET=self._client_secret)
        return Child("simulator", [*arguments, "--no-auto-approve", "--with-parent"], environment, self.folder)

    async def start_simulator(self) -> str:
        """Start the simulated Cloudbeds and return its address."""
        self.simulator_url = await start(self.simulator, self.clock)
        return self.simulator_url

    async def start_service(self) -> str:
        """Start the service, also again after a stop, and return its address. The database is the same each time."""
        from cloudbeds_auth.os_files import write_private

        write_private(self.admin_token_path, self._admin_token.encode(), exclusive=False)
        if self.service is None:
            arguments = ["cloudbeds_auth", "serve", "--with-parent"]
            self.service = Child("service", arguments, self._settings(), self.folder)
        return await start(self.service, self.clock)

    def _settings(self) -> Mapping[str, str]:
        """All of the service's settings: its environment has none of the user's own, and its folder no `.env`."""
        return bare_environment(
            self.folder,
            CLOUDBEDS_CLIENT_ID=CLIENT_ID,
            CLOUDBEDS_CLIENT_SECRET=self._client_secret,
            CLOUDBEDS_REDIRECT_URI=self.redirect_uri,
            CLOUDBEDS_BASE_URL=self.simulator_url,
            CLOUDBEDS_AUTH_PORT=str(self.port),
            CLOUDBEDS_AUTH_DATABASE_URL=f"sqlite:///{self.folder / 'demo.sqlite3'}",
            CLOUDBEDS_AUTH_ADMIN_TOKEN_FILE=str(self.admin_token_path),
            CLOUDBEDS_AUTH_TOKEN_TIMEOUT=f"{TOKEN_TIMEOUT:g}",
        )

    async def sign_in_link(self) -> str:
        """A one-time link to the dashboard, as printed by `sign-in`. Raises Surprise."""
        command = [sys.executable, "-m", "cloudbeds_auth", "sign-in"]
        pipe = asyncio.subprocess.PIPE
        running = await asyncio.create_subprocess_exec(
            *command, env=dict(self._settings()), cwd=self.folder, stdout=pipe, stderr=pipe
        )
        printed, complained = await running.communicate()
        if running.returncode != 0:
            raise Surprise(f"`cloudbeds-auth sign-in` failed: {complained.decode('utf-8', 'replace')[:300]}")
        return printed.decode().strip()

    async def close(self) -> None:
        """Stop both processes, however far the demo got."""
        try:
            if self.service is not None:
                await asyncio.to_thread(self.service.stop)
        finally:
            await asyncio.to_thread(self.simulator.stop)
            await self.http.aclose()

    # --- talking to the service, as a program with the admin token

    async def ask(self, path: str) -> httpx2.Response:
        """One request to the service."""
        headers = {"Authorization": f"Bearer {self._admin_token}"}
        return await self.http.get(f"{self.service_url}{path}", headers=headers)

    async def ask_patiently(self, path: str) -> tuple[httpx2.Response, int]:
        """Ask again after each 503, as its `Retry-After` says; returns the answer and the number of 503s."""
        deadline = self.clock.steady() + PATIENCE
        waits = 0
        while True:
            answer = await self.ask(path)
            if answer.status_code != 503 or self.clock.steady() > deadline:
                return answer, waits
            waits += 1
            await self.clock.sleep(min(5.0, float(answer.headers.get("retry-after", "1"))))

    async def answer_of(self, path: str) -> Any:
        """The JSON of a request that has to succeed."""
        return checked(await self.ask(path), path).json()

    # --- looking into the simulator

    async def control(self, method: str, name: str, body: object = None, **query: str) -> Any:
        """One request to the simulator's control API."""
        url = f"{self.simulator_url}/_control/{name}"
        answer = await self.http.request(method, url, json=body, params=query or None)
        return checked(answer, name).json()

    async def refreshes(self) -> int:
        """How many refreshes Cloudbeds' side has seen so far, whatever their outcome."""
        counts = await self.control("GET", "counts")
        return sum(counts["token"].get("refresh_token", {}).values())


def checked(answer: httpx2.Response, what: str) -> httpx2.Response:
    """The answer if it is a success. Raises Surprise with its status and the beginning of its body."""
    if answer.is_success:
        return answer
    raise Surprise(f"{what} answered {answer.status_code}: {answer.text[:300]}")


def browser() -> httpx2.AsyncClient:
    """A browser as a hotel's user has it: it keeps cookies and follows redirects, which are in a response's history."""
    import httpx2

    return httpx2.AsyncClient(
        timeout=PAGE_SECONDS, follow_redirects=True, max_redirects=MOST_REDIRECTS, trust_env=False
    )


async def press(http: httpx2.AsyncClient, page: httpx2.Response, button: tuple[str, str]) -> httpx2.Response:
    """Press a button (name, value) of the page's form; returns the page after all redirects. Raises Surprise."""
    form = Form(page.text)
    if button not in form.buttons:
        raise Surprise(f"the page has no button {button[1]!r}")
    return await http.post(urljoin(str(page.url), form.action), data={**form.fields, button[0]: button[1]})


class Form(HTMLParser):
    """The first form of a page: where it goes, its fields with their values, its buttons."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.action: str = ""
        self.fields: dict[str, str] = {}
        self.buttons: list[tuple[str, str]] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Collect forms, inputs and buttons."""
        given = {name: value or "" for name, value in attrs}
        if tag == "form" and not self.action:
            self.action = given.get("action", "")
        elif tag == "input" and (given.get("type") != "checkbox" or "checked" in given):
            self.fields[given.get("name", "")] = given.get("value", "")
        elif tag == "button":
            self.buttons.append((given.get("name", ""), given.get("value", "")))

"""The demo's stage: a folder, a simulated Cloudbeds and the service, as real processes on free ports."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cloudbeds_auth.child_process import bare_environment
from cloudbeds_auth.cli.demo_browser import Surprise
from cloudbeds_auth.cli.processes import WatchedChild, free_port
from cloudbeds_auth.ports import Clock, Entropy

if TYPE_CHECKING:
    import httpx2

CLIENT_ID = "demo-app"
APP_NAME = "Demo App"
TOKEN_TIMEOUT = 2.0
CALL_SECONDS = 40.0
PATIENCE = 60.0


class Stage:
    """Both processes, and how to talk to them. Close it whatever happens."""

    def __init__(self, folder: Path, variant: str, clock: Clock, entropy: Entropy) -> None:
        import httpx2

        self.folder, self.clock = folder, clock
        self.port = free_port(entropy)
        self.service_url = f"http://127.0.0.1:{self.port}"
        self.redirect_uri = f"{self.service_url}/callback"
        self.simulator_url = ""
        self.admin_token_path = folder / "admin-token"
        self._admin_token = entropy.token()
        self._client_secret = entropy.token()
        self.http = httpx2.AsyncClient(timeout=CALL_SECONDS, follow_redirects=False, trust_env=False)
        self.simulator = self._simulator(variant)
        self.service: WatchedChild | None = None

    def _simulator(self, variant: str) -> WatchedChild:
        arguments = ["cloudbeds_simulator", "--host", "127.0.0.1", "--port", "0", "--variant", variant]
        arguments += ["--client-id", CLIENT_ID, "--app-name", APP_NAME, "--redirect-uri", self.redirect_uri]
        environment = bare_environment(self.folder, SIMULATOR_CLIENT_SECRET=self._client_secret)
        return WatchedChild("simulator", [*arguments, "--no-auto-approve", "--with-parent"], environment, self.folder)

    async def start_simulator(self) -> str:
        """Start the simulated Cloudbeds; its address."""
        self.simulator_url = await self.simulator.start(self.clock)
        return self.simulator_url

    async def start_service(self) -> str:
        """Start the service, the first time or again; its address. The database is the same each time."""
        from cloudbeds_auth.os_files import write_private

        write_private(self.admin_token_path, self._admin_token.encode(), exclusive=False)
        if self.service is None:
            arguments = ["cloudbeds_auth", "serve", "--with-parent"]
            self.service = WatchedChild("service", arguments, self._settings(), self.folder)
        return await self.service.start(self.clock)

    def _settings(self) -> Mapping[str, str]:
        """All of the service's settings; the user's own are nowhere in its environment, nor a `.env` in its folder."""
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

    async def close(self) -> None:
        """End both processes, however far the demo came."""
        try:
            if self.service is not None:
                await self.service.stop()
        finally:
            await self.simulator.stop()
            await self.http.aclose()

    # --- talking to the service, as a program with the admin token

    async def ask(self, path: str) -> httpx2.Response:
        """One request to the service."""
        headers = {"Authorization": f"Bearer {self._admin_token}"}
        return await self.http.get(f"{self.service_url}{path}", headers=headers)

    async def ask_patiently(self, path: str) -> tuple[httpx2.Response, int]:
        """Ask again after each 503, as its `Retry-After` says; the answer, and how often it was 503."""
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
        answer = await self.ask(path)
        return checked(answer, path).json()

    # --- looking into the simulator

    async def control(self, method: str, name: str, body: object = None, **query: str) -> Any:
        """One request to the simulator's control API."""
        url = f"{self.simulator_url}/_control/{name}"
        answer = await self.http.request(method, url, json=body, params=query or None)
        return checked(answer, name).json()

    async def refreshes(self) -> Mapping[str, int]:
        """How many refreshes Cloudbeds' side has seen so far, by outcome."""
        counts = await self.control("GET", "counts")
        found: Mapping[str, int] = counts["token"].get("refresh_token", {})
        return found


def checked(answer: httpx2.Response, what: str) -> httpx2.Response:
    """The answer if it is a success. Raises Surprise with its status and the beginning of its body."""
    if answer.is_success:
        return answer
    raise Surprise(f"{what} answered {answer.status_code}: {answer.text[:300]}")

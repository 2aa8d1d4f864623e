"""The running simulator as a test sees it, and its process on a free port, which always ends with the tests."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from math import inf
from typing import TYPE_CHECKING, Any, Literal, Self
from urllib.parse import parse_qs, parse_qsl, urlsplit

if TYPE_CHECKING:
    from pathlib import Path

    import httpx2

CLIENT_ID = "tested-app"
HOTELS = 3
PATIENCE = 30.0  # seconds

Face = Literal["denied", "message", "hint", "problem", "not_available", "user_inactive"]


@dataclass(frozen=True, slots=True)
class Approval:
    """Where Cloudbeds sends the browser back: `url` is the complete address; after a denial `code` is empty."""

    url: str
    code: str
    state: str


class Simulator:
    """Every method is one request to the simulator's control API, and blocks until it is answered.

    That is short enough for asynchronous tests, except in `wait_for`: `await asyncio.to_thread(simulator.wait_for, …)`.
    If the simulator rejects a request, ValueError is raised with its message.
    """

    def __init__(self, url: str, client_secret: str) -> None:
        import httpx2

        self.url = url
        self.client_id = CLIENT_ID
        self.client_secret = client_secret
        self._http: httpx2.Client = httpx2.Client(base_url=url, trust_env=False, timeout=PATIENCE)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self._http.close()

    # --- what the hotel does

    def approve(self, url: str, *property_ids: str) -> Approval:
        """The hotel opens `url`, an authorization's approval page, and approves for these properties, or 100001."""
        return self._decide(url, "approve", property_ids or ("100001",))

    def deny(self, url: str) -> Approval:
        """The hotel opens `url` and denies the approval; returns where its browser is sent."""
        return self._decide(url, "deny", ())

    def revoke(self, property_id: str = "100001", face: Face = "denied") -> None:
        """Every approval that covers the hotel ends; `face` is how the API answers for the hotel from now on.

        A vault accepts this only after two refusals of the refresh token a minute apart: see the marker's
        `quick_refusals`. The app's state and its webhook subscriptions stay; a hotel that disconnects in Cloudbeds is
        `control("POST", "app-state", {"property": "100001", "state": "disabled"})`.
        """
        self.control("POST", "revoke", {"property": property_id, "face": face})

    # --- what goes wrong

    def expire(self) -> None:
        """Every access token expires at Cloudbeds now, which the vault does not know."""
        self.control("POST", "expire")

    def lose_answers(self, times: int | None = 1) -> None:
        """The next `times` refreshes (None: all) rotate the tokens at Cloudbeds, but their responses never arrive."""
        self.fault("reset_after", grant_type="refresh_token", times=times)

    def fault(self, kind: str, target: str = "token", *, times: int | None = 1, **fields: Any) -> None:
        """Arm one fault: the documentation's page on the simulator lists the kinds, targets and fields."""
        self.control("POST", "faults", {"kind": kind, "target": target, "times": times, **fields})

    def clear_faults(self) -> None:
        """Disarm all faults, and let hanging requests resume."""
        self.control("DELETE", "faults")

    def configure(self, **switches: Any) -> None:
        """Change switches from now on: `variant="V0/n"`, `expires_in=60.0`, `denied_face="hint"`, …"""
        self.control("POST", "settings", switches)

    def advance(self, seconds: float) -> None:
        """Move Cloudbeds' clock ahead, so that tokens expire without waiting; the vault's clock does not move."""
        self.control("POST", "advance", {"seconds": seconds})

    def add_hotel(self, property_id: str, name: str = "Hotel Added", group: str | None = None) -> None:
        """Add a hotel that may approve; hotels with the same `group` belong to one account."""
        user = {"user_id": f"9{property_id}", "first_name": "Noor", "last_name": "Added", "email": "noor@added.example"}
        self.control("POST", "hotels", {"property_id": property_id, "name": name, "group": group, "user": user})

    # --- what Cloudbeds saw

    def refreshes(self) -> int:
        """The number of refreshes that were answered with tokens."""
        return self.counts("refresh_token").get("issued", 0)

    def counts(self, grant_type: str) -> Mapping[str, int]:
        """The number of token requests of this kind (`refresh_token`, `authorization_code`) by outcome."""
        found: Mapping[str, int] = self.control("GET", "counts")["token"].get(grant_type, {})
        return found

    def requests(self, after: int = 0) -> Sequence[Mapping[str, Any]]:
        """The log of requests after number `after`, with their outcomes."""
        found: Sequence[Mapping[str, Any]] = self.control("GET", "requests", after=after)["requests"]
        return found

    def wait_for(self, *, after: int = 0, timeout: float = 20.0, **fields: Any) -> Mapping[str, Any] | None:
        """The first log entry with these fields, like `target="token", outcome="issued"`; None if none came in time."""
        asked = {name: str(value).lower() if isinstance(value, bool) else value for name, value in fields.items()}
        found: Mapping[str, Any] | None = self.control("GET", "wait", after=after, timeout=timeout, **asked)["entry"]
        return found

    def state(self) -> Mapping[str, Any]:
        """Everything that Cloudbeds knows: apps, hotels, switches, faults, and every grant with every pair."""
        found: Mapping[str, Any] = self.control("GET", "state")
        return found

    # --- the control API itself

    def control(self, method: str, what: str, body: object = None, **query: Any) -> Any:
        """Send one request to the control API and return the JSON of its response. Raises ValueError."""
        patience = PATIENCE + float(query.get("timeout", 0.0))
        answer = self._http.request(method, f"/_control/{what}", json=body, params=query or None, timeout=patience)
        if answer.status_code == 400:
            raise ValueError(answer.json()["error"])
        answer.raise_for_status()
        return answer.json()

    def reset(self, *, redirect_uri: str, **switches: Any) -> None:
        """Restore the initial state, with this redirect URI and these switches."""
        self.control("POST", "reset")
        self.control("POST", "apps", {"client_id": self.client_id, "redirect_uris": [redirect_uri]})
        if switches:
            self.configure(**switches)

    def _decide(self, url: str, decision: str, property_ids: Sequence[str]) -> Approval:
        asked = urlsplit(url)
        form = {**dict(parse_qsl(asked.query)), "decision": decision, "property": list(property_ids)}
        answer = self._http.post(asked.path, data=form)
        if answer.status_code != 302:
            raise ValueError(f"Cloudbeds shows a page instead of sending the browser back:\n{answer.text}")
        back = answer.headers["Location"]
        found = parse_qs(urlsplit(back).query)
        return Approval(back, found.get("code", [""])[0], found.get("state", [""])[0])


def ran_out(state: Mapping[str, Any], access_token: str) -> bool:
    """Whether this is the newest access token of an approval in this `state()`, and expired, if only by `expire()`."""
    current = [pair for grant in state["grants"] for pair in grant["pairs"] if pair["ordinal"] == grant["current"]]
    ends: dict[str, float] = {pair["access_token"]: pair["expires_at"] for pair in current}
    return ends.get(access_token, inf) <= float(state["now"])


@contextmanager
def running(folder: Path) -> Iterator[Simulator]:
    """A simulator for as long as the block lasts; its log is in `folder`. Raises ChildFailed, ConfigurationError."""
    from cloudbeds_auth.child_process import Child, bare_environment
    from cloudbeds_auth.errors import ConfigurationError
    from cloudbeds_auth.system import SystemClock, SystemEntropy

    if find_spec("aiohttp") is None:
        raise ConfigurationError("the simulator needs aiohttp", next_step="pip install 'cloudbeds-auth[pytest]'")
    secret = SystemEntropy().token()
    arguments = ["cloudbeds_simulator", "--port", "0", "--with-parent", "--hotels", str(HOTELS)]
    environment = bare_environment(folder, SIMULATOR_CLIENT_SECRET=secret)
    child = Child("simulator", [*arguments, "--client-id", CLIENT_ID], environment, folder)
    try:
        with Simulator(child.start(SystemClock()), secret) as simulator:
            yield simulator
    finally:
        child.stop()

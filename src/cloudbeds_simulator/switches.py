"""The parameters of a run: its settings, and the only sources of time, sleep and random values.

The settings cover everything that Cloudbeds' documentation leaves open, or that integrators saw differently.
"""

from __future__ import annotations

import asyncio
import math
import secrets
import string
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace

from cloudbeds_simulator.rotation import DEFAULT, variant_of

CHOICES: dict[str, tuple[str, ...]] = {
    "expires_in_form": ("int", "str", "absent"),
    "refresh_token": ("present", "absent"),
    "resources": ("list", "dict", "missing"),
    "refused_face": ("400", "401", "invalid_grant"),
    "denied_face": ("message", "hint", "problem"),
    "user_id": ("str", "int"),
    "disabling_ends": ("grant", "property"),
    "exchange": ("offered", "not_offered"),
    "repeated_exchange": ("same", "new", "refused"),
    "key_answer": ("bare", "dressed"),
    "subscribed_again": ("same", "new"),
}
"""The settings whose value is one of a few words."""

ALPHABET = string.ascii_letters + string.digits
LENGTHS = {"code": 32, "state": 28, "request": 24}
"""Characters per kind of value; documented examples show codes of 32 and tokens of 40 opaque characters."""


@dataclass(frozen=True, slots=True)
class SimulatorSettings:
    """All settings with their defaults. Numbers are in seconds.

    ``expires_in``: the lifetime of an access token (28800 published), ``expires_in_form``: how an answer shows it;
    ``refresh_token`` and ``resources``: the form of the token answer; ``refused_face``: the refusal of a refresh token,
    with status 400 or 401 and ``invalid_request``, or RFC 6749's ``invalid_grant``; ``denied_face``: the 401 of a
    resource; ``user_id``: its type in userinfo; ``disabling_ends``: what ``postAppState disabled`` ends for one of
    several properties of a grant: the whole session, as the documentation reads, or that property's part of it;
    ``code_lifetime``: 600 published; ``idle_lifetime``: 365 days without use end a grant; ``webhook_interval``: the
    time between two attempts to deliver a webhook; ``key_idle_lifetime``: 30 days without use end an API key;
    ``exchange``: whether ``refresh_token_exchange`` was arranged; ``repeated_exchange``: what a second exchange gives:
    the same key, a new one that ends the first, or a refusal; ``key_answer``: whether an answer with a key holds
    nothing else, as documented, or all that an answer with a pair has, too; ``subscribed_again``: what ``postWebhook``
    makes of a subscription that exists: the ``same``, as one integrator saw, or a ``new`` one; ``random_state``: the
    vendor adds a state of its own if none was sent; ``reauthorization_revokes``: exchanging a new code ends earlier
    grants of the same app and property (not known of Cloudbeds, so off).
    """

    variant: str = DEFAULT.label
    auto_approve: bool = False
    expires_in: float = 28800.0
    expires_in_form: str = "int"
    refresh_token: str = "present"
    resources: str = "list"
    refused_face: str = "400"
    denied_face: str = "message"
    user_id: str = "str"
    disabling_ends: str = "grant"
    code_lifetime: float = 600.0
    idle_lifetime: float = 365 * 86400.0
    webhook_interval: float = 60.0
    key_idle_lifetime: float = 30 * 86400.0
    exchange: str = "offered"
    repeated_exchange: str = "same"
    key_answer: str = "bare"
    subscribed_again: str = "same"
    random_state: bool = False
    reauthorization_revokes: bool = False

    def changed(self, changes: dict[str, object]) -> SimulatorSettings:
        """These settings with some replaced. Raises ValueError that names the first unknown or impossible one."""
        return replace(self, **{name: self._checked(name, value) for name, value in changes.items()})  # type: ignore[arg-type]

    def _checked(self, name: str, value: object) -> object:
        if name not in self.__dataclass_fields__:
            raise ValueError(f"unknown setting {name!r}")
        if name == "variant":
            return variant_of(str(value)).label
        if choices := CHOICES.get(name):
            if str(value) not in choices:
                raise ValueError(f"{name} must be one of {', '.join(choices)}")
            return str(value)
        if isinstance(getattr(self, name), bool):
            if not isinstance(value, bool):
                raise ValueError(f"{name} must be true or false")
            return value
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value) or value <= 0:
            raise ValueError(f"{name} must be a number of seconds above 0")
        return float(value)


@dataclass
class SimulatedClock:
    """The simulator's own time; ``advance`` moves it forward, so that lifetimes can pass without waiting."""

    read: Callable[[], float] = time.time
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    ahead: float = 0.0

    def now(self) -> float:
        """Unix seconds, including every advance."""
        return self.read() + self.ahead

    def advance(self, seconds: float) -> float:
        """Move forward by so many seconds, and return the new time. Raises ValueError if they are not a number of 0 or
        more.
        """
        if not (seconds >= 0 and math.isfinite(seconds)):
            raise ValueError("the clock only moves forward: seconds must be a number, 0 or more")
        self.ahead += seconds
        return self.now()


def mint(kind: str) -> str:
    """A fresh random value of a kind: ``access``, ``refresh``, ``code``, ``state`` or ``request``."""
    return "".join(secrets.choice(ALPHABET) for _ in range(LENGTHS.get(kind, 40)))

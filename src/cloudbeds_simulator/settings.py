"""The switches: everything Cloudbeds' documentation leaves open, or integrators saw differently."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields, replace

from cloudbeds_simulator import variants

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
}
"""The settings that are one word out of a few."""

SECONDS = ("expires_in", "code_lifetime", "idle_lifetime", "key_idle_lifetime", "webhook_interval")
SWITCHES = ("auto_approve", "random_state", "reauthorization_revokes")


@dataclass(frozen=True, slots=True)
class Settings:
    """All switches at their defaults.

    ``expires_in`` seconds of an access token (28800 published), ``expires_in_form`` how an answer shows them;
    ``refresh_token`` and ``resources`` shape the token answer; ``refused_face`` the refusal of a refresh token:
    status 400 or 401 with ``invalid_request``, or RFC 6749's ``invalid_grant``; ``denied_face`` the 401 of a
    resource; ``user_id`` its type in userinfo; ``disabling_ends`` what ``postAppState disabled`` for one of several
    properties of a grant ends: the whole session, as the documentation reads, or that property's part of it;
    ``code_lifetime`` (600 published) and ``idle_lifetime`` (365 days without use end a grant) in seconds;
    ``webhook_interval`` seconds lie between two attempts to deliver a webhook (a minute);
    ``key_idle_lifetime`` (30 days without use end an API key); ``exchange`` whether ``refresh_token_exchange`` was
    arranged, ``repeated_exchange`` what a second one gives: the same key, a new one that ends the first, or a refusal;
    ``key_answer`` whether an answer with a key holds nothing else, as documented, or what stands beside a pair too;
    ``random_state`` gives a state of the vendor's own when none was sent;
    ``reauthorization_revokes`` ends earlier grants of the same app and property when a new code is exchanged (unknown
    of the real one, so off).
    """

    variant: str = variants.DEFAULT.label
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
    random_state: bool = False
    reauthorization_revokes: bool = False

    def changed(self, changes: dict[str, object]) -> Settings:
        """These settings with some replaced. Raises ValueError naming the first one that is unknown or impossible."""
        return replace(self, **{name: _checked(name, value) for name, value in changes.items()})  # type: ignore[arg-type]

    def as_dict(self) -> dict[str, object]:
        """Every setting by name, ready for JSON."""
        return {field.name: getattr(self, field.name) for field in fields(self)}


def _checked(name: str, value: object) -> object:
    if name == "variant":
        return variants.parse(str(value)).label
    if name in SWITCHES:
        if not isinstance(value, bool):
            raise ValueError(f"{name} must be true or false")
        return value
    if name in SECONDS:
        return _seconds(name, value)
    if name in CHOICES:
        if str(value) not in CHOICES[name]:
            raise ValueError(f"{name} must be one of {', '.join(CHOICES[name])}")
        return str(value)
    raise ValueError(f"unknown setting {name!r}")


def _seconds(name: str, value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value) or value <= 0:
        raise ValueError(f"{name} must be a number of seconds above 0")
    return float(value)

"""What is shown to Cloudbeds: an access token or an API key, in exactly one header (cloudbeds-facts.md section 4).

A key is known by its prefix, wherever it comes from; nothing else about an answer says so. It never expires by time.
"""

from __future__ import annotations

import math
from collections.abc import MutableMapping
from enum import StrEnum
from typing import Any

from cloudbeds_auth.rules.model import AccessToken
from cloudbeds_auth.rules.secret import Secret

API_KEY_PREFIX = "cbat_"
FOREVER = math.inf  # seconds that a key lives; one that is not used for 30 days is disabled (rules.schedule)
AUTHORIZATION, X_API_KEY = "Authorization", "x-api-key"


class KeyHeader(StrEnum):
    """How a key travels; an access token is always a bearer (RFC 6750 section 2.1)."""

    BEARER = "bearer"
    X_API_KEY = "x-api-key"


class GrantType(StrEnum):
    """What the token endpoint is asked for (cloudbeds-facts.md section 2)."""

    CODE = "authorization_code"
    CODE_FOR_KEY = "urn:ietf:params:oauth:grant-type:api-key"
    REFRESH = "refresh_token"
    EXCHANGE = "refresh_token_exchange"


def is_api_key(value: str) -> bool:
    """Whether this is a key of Cloudbeds'."""
    return value.startswith(API_KEY_PREFIX)


def in_key_header(credential: Secret | AccessToken, keys: KeyHeader | str) -> bool:
    """Whether it travels in the header for keys alone; `keys` is the setting for keys."""
    return keys == KeyHeader.X_API_KEY and is_api_key(credential.reveal())


def header_of(credential: Secret | AccessToken, keys: KeyHeader | str) -> tuple[str, str]:
    """The one header, name and value, that carries it; `keys` is the setting for keys."""
    value = credential.reveal()
    return (X_API_KEY, value) if in_key_header(credential, keys) else (AUTHORIZATION, f"Bearer {value}")


def show(headers: MutableMapping[str, Any], credential: Secret | AccessToken, keys: KeyHeader | str) -> None:
    """Put it into these headers, and take every other credential out: a key may come where a token was before."""
    name, value = header_of(credential, keys)
    headers[name] = value
    other = AUTHORIZATION if name == X_API_KEY else X_API_KEY
    if other in headers:
        del headers[other]

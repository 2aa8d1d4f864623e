"""The credential of a call: an access token or an API key, in exactly one header (cloudbeds-facts.md section 4).

A key is recognized by its prefix alone, wherever it comes from. It has no expiry time.
"""

from __future__ import annotations

import math
from collections.abc import MutableMapping
from enum import StrEnum
from typing import Any

from cloudbeds_auth.rules.model import AccessToken
from cloudbeds_auth.rules.secret import Secret

API_KEY_PREFIX = "cbat_"
FOREVER = math.inf  # lifetime of a key in seconds; Cloudbeds disables a key unused for 30 days (rules.schedule)
AUTHORIZATION, X_API_KEY = "Authorization", "x-api-key"


class KeyHeader(StrEnum):
    """The header that carries a key; an access token is always a bearer token (RFC 6750 section 2.1)."""

    BEARER = "bearer"
    X_API_KEY = "x-api-key"


class GrantType(StrEnum):
    """The grant types of the token endpoint (cloudbeds-facts.md section 2)."""

    CODE = "authorization_code"
    CODE_FOR_KEY = "urn:ietf:params:oauth:grant-type:api-key"
    REFRESH = "refresh_token"
    EXCHANGE = "refresh_token_exchange"


def is_api_key(value: str) -> bool:
    """Whether this is an API key of Cloudbeds."""
    return value.startswith(API_KEY_PREFIX)


def in_key_header(credential: Secret | AccessToken, keys: KeyHeader | str) -> bool:
    """Whether the credential is sent in `x-api-key`; `keys` is the setting for API keys."""
    return keys == KeyHeader.X_API_KEY and is_api_key(credential.reveal())


def header_of(credential: Secret | AccessToken, keys: KeyHeader | str) -> tuple[str, str]:
    """The name and value of the one header that carries the credential; `keys` is the setting for API keys."""
    value = credential.reveal()
    return (X_API_KEY, value) if in_key_header(credential, keys) else (AUTHORIZATION, f"Bearer {value}")


def show(headers: MutableMapping[str, Any], credential: Secret | AccessToken, keys: KeyHeader | str) -> None:
    """Set the credential in these headers and remove any other one: a key may replace a token."""
    name, value = header_of(credential, keys)
    headers[name] = value
    other = AUTHORIZATION if name == X_API_KEY else X_API_KEY
    if other in headers:
        del headers[other]

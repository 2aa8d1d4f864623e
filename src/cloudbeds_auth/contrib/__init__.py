"""Integrations with HTTP clients and web frameworks: each needs the extra of its name.

Reading order: `httpx`; `blocking_flow` (shared by the blocking clients), `requests`, `sdk`; then the whole flow mounted
in an application: `web_flow` (shared by all frameworks) and `fastapi`; `blocking_pages`, `hotel_session` (the same over
a blocking vault), `flask` and `django`.
"""

from typing import TypeAlias

from cloudbeds_auth import sync, vault

Vault: TypeAlias = sync.TokenVault | vault.TokenVault  # blocking code uses the latter from a thread other than its own


def missing(module: str, extra: str) -> str:
    """The message of an ImportError for a missing extra."""
    return f"{module} needs an extra that is not installed: pip install 'cloudbeds-auth[{extra}]'"

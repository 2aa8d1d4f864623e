"""Integrations with other programs and clients: each module needs the extra of its name.

Reading order: `httpx`; `blocking_flow` (what the blocking clients share), `requests`, `sdk`; then the whole flow,
mounted: `web_flow` (what is the same in every framework) and `fastapi`; `blocking_pages`, `hotel_session` (the same
over a vault that blocks), `flask` and `django`.
"""

from typing import TypeAlias

from cloudbeds_auth import sync, vault

Vault: TypeAlias = sync.TokenVault | vault.TokenVault  # what blocks uses the second from another thread than its own


def missing(module: str, extra: str) -> str:
    """What an ImportError of ours says."""
    return f"{module} needs what the library alone does not: pip install 'cloudbeds-auth[{extra}]'"

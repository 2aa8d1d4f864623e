"""For your tests: a running simulator of Cloudbeds, a vault connected to it, and switches for what goes wrong.

Loaded by pytest itself; `-p no:cloudbeds_auth` leaves it out. Unused, it imports nothing and starts nothing. Needs the
`pytest` extra. `pytest --fixtures` shows what there is.

Reading order: `fixtures` (what a test asks for), `simulator` (the simulator as a test sees it), `process` (a process
of its own), `on_asyncio` (the vault's fixture under pytest-asyncio).
"""

from __future__ import annotations

from contextlib import suppress

import pytest

from cloudbeds_auth.pytest_plugin.fixtures import (
    ON_ASYNCIO,
    _cloudbeds_process,
    _cloudbeds_vault_on_anyio,
    cloudbeds_connection,
    cloudbeds_environment,
    cloudbeds_redirect_uri,
    cloudbeds_settings,
    cloudbeds_simulator,
    cloudbeds_sync_vault,
    cloudbeds_vault,
)
from cloudbeds_auth.pytest_plugin.simulator import Approval, Simulator

__all__ = [
    "Approval",
    "Simulator",
    "_cloudbeds_process",
    "_cloudbeds_vault_on_anyio",
    "cloudbeds_connection",
    "cloudbeds_environment",
    "cloudbeds_redirect_uri",
    "cloudbeds_settings",
    "cloudbeds_simulator",
    "cloudbeds_sync_vault",
    "cloudbeds_vault",
]

MARKER = (
    "cloudbeds(*, quick_refusals=False, **switches): the simulator's switches for this test, as `variant='V0/n'` or "
    "`expires_in=60`; with quick_refusals a hotel that revoked needs no minute to be found out"
)


def pytest_configure(config: pytest.Config) -> None:
    """Know the marker, and pytest-asyncio where it is loaded."""
    config.addinivalue_line("markers", MARKER)
    if config.pluginmanager.hasplugin("asyncio"):
        with suppress(ImportError, TypeError):  # older than 0.24: only tests with our vault fail then
            from cloudbeds_auth.pytest_plugin import on_asyncio

            config.pluginmanager.register(on_asyncio, ON_ASYNCIO)

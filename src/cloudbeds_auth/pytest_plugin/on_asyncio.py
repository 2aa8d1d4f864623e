"""The vault's fixture under pytest-asyncio: one for each loop scope, so that it opens in the loop of the test."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Literal

import pytest
import pytest_asyncio

if TYPE_CHECKING:
    from cloudbeds_auth import Connection, Settings, TokenVault

Scope = Literal["function", "class", "module", "package", "session"]


def fixture_for(request: pytest.FixtureRequest) -> str:
    """The name of the fixture that opens the vault in this test's loop."""
    mark = request.node.get_closest_marker("asyncio")
    said = {} if mark is None else mark.kwargs
    scope = said.get("loop_scope") or said.get("scope") or _usual_scope(request.config)
    return f"_cloudbeds_vault_in_{scope}_loop"


def _usual_scope(config: pytest.Config) -> str:
    with suppress(ValueError):  # pytest-asyncio before 0.26 has no such setting
        return str(config.getini("asyncio_default_test_loop_scope") or "function")
    return "function"


def _made(scope: Scope) -> Any:
    async def opened(cloudbeds_settings: Settings, cloudbeds_connection: Connection) -> AsyncIterator[TokenVault]:
        """For a test that pytest-asyncio runs."""
        from cloudbeds_auth import TokenVault

        async with TokenVault.open(cloudbeds_settings) as vault:
            yield vault

    return pytest_asyncio.fixture(opened, loop_scope=scope, name=f"_cloudbeds_vault_in_{scope}_loop")


_in_function_loop = _made("function")
_in_class_loop = _made("class")
_in_module_loop = _made("module")
_in_package_loop = _made("package")
_in_session_loop = _made("session")

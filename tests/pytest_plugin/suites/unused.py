"""A user's tests that need nothing of ours."""

from __future__ import annotations

import sys

HEAVY = ["aiohttp", "apsw", "click", "cryptography", "fastapi", "httpx2", "pydantic", "rich", "starlette", "uvicorn"]


def test_nothing_was_imported() -> None:
    """A suite that uses no fixture of ours pays for no import."""
    assert "cloudbeds_auth.pytest_plugin" in sys.modules
    assert [name for name in HEAVY if name in sys.modules] == []
    assert [name for name in sys.modules if name.startswith("cloudbeds_simulator")] == []

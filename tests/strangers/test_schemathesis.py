"""Schemathesis against the service's own description: requests of every shape, and answers that are as described."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tests.acceptance.processes import World
from tests.strangers.tools import Done, run

pytestmark = pytest.mark.timeout(300)
# Three checks do not fit. Much of what has the shape that is described is refused for what is stored: there is no such
# app, nothing to be claimed, no hotel whose key it is. OPTIONS is refused before it is known which path is asked for:
# `Allow` names the methods of all paths. And what was disconnected or revoked can still be read, and says so.
UNFIT = "positive_data_acceptance,allow_header_conformance,use_after_free"


def described(served: World) -> Any:
    """The description that is served."""
    return served.admin.get("/openapi.json").json


def schemathesis(served: World, document: Any, folder: Path, *options: str) -> Done:
    """Every check that fits, with the admin token in both headers that may have it."""
    place = folder / "openapi.json"
    place.write_text(json.dumps(document), "utf-8")
    return run(
        "schemathesis", "--no-color", "run", str(place), f"--url={served.base}",
        f"--header=Authorization: Bearer {served.admin.token}", f"--header=X-API-Key: {served.admin.token}",
        f"--exclude-checks={UNFIT}", "--continue-on-failure", "--seed=1", *options,
        folder=folder, seconds=240,
    )  # fmt: skip


def test_the_api_is_as_it_is_described(served: World, tmp_path: Path) -> None:
    """No answer is a failure of ours, or of another status, type or shape; without a credential all is refused."""
    done = schemathesis(served, described(served), tmp_path, "--max-examples=25")
    assert done.status == 0, done.said[-8000:]


def test_schemathesis_finds_what_is_there(served: World, tmp_path: Path) -> None:
    """A description that says something else of one answer is found out."""
    document = described(served)
    document["components"]["schemas"]["ConnectionsShape"]["properties"]["connections"] = {"type": "string"}
    done = schemathesis(served, document, tmp_path, "--max-examples=5", "--include-path=/api/v1/connections")
    assert done.status == 1
    assert "violates schema" in done.said

"""What `make audit` makes of what pip-audit says."""

from __future__ import annotations

from typing import Any

import pytest
from tests.strangers.audit import judged

SOUND = {"name": "anyio", "version": "4.0", "vulns": []}
WEAK = {"name": "anyio", "version": "1.0", "vulns": [{"id": "PYSEC-1"}]}
UNKNOWN = {"name": "click", "skip_reason": "Dependency not found on PyPI and could not be audited: click (8.0)"}
OTHERWISE = {"name": "click", "skip_reason": "could not be read"}


@pytest.mark.parametrize(
    ("found", "status", "said"),
    [
        ([SOUND], 0, "1 packages, 0 with"),
        ([SOUND, WEAK], 1, "anyio 1.0: PYSEC-1"),
        ([SOUND, UNKNOWN], 1, "click: Dependency not found"),
        ([OTHERWISE], 1, "click: could not be read"),
        ([UNKNOWN, UNKNOWN], 0, "NOT RUN"),
        ([], 1, "0 packages"),
    ],
)
def test_no_package_is_passed_by(
    found: list[dict[str, Any]], status: int, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """It fails over a vulnerability, and over a package that was not looked at; data that has none of them is away."""
    assert judged(found) == status
    assert said in capsys.readouterr().out

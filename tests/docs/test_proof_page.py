"""The page of proof is what the records beside it say, and nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.simulation import report

ROOT = Path(__file__).resolve().parents[2]


def test_the_page_is_what_its_records_say(capsys: pytest.CaptureFixture[str]) -> None:
    """`make proof` changes nothing, and no record tells of a violation or of a lost hotel."""
    records = [str(path) for path in sorted((ROOT / "docs/proof").iterdir())]
    assert report.main(records) == 0
    assert capsys.readouterr().out == (ROOT / "docs/proof.md").read_text("utf-8")

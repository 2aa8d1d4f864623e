"""Who may import whom, kept by import-linter; and each contract is seen to bite."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LINT = [str(Path(sys.executable).with_name("lint-imports")), "--no-cache"]

VIOLATIONS = {
    "Layers import one way": ("cloudbeds_auth/rules/auth_flow.py", "import cloudbeds_auth.engine.context"),
    "Layers import one way: the journey": ("cloudbeds_auth/app/problems.py", "import cloudbeds_auth.contrib.fastapi"),
    "Drivers never import the engine": ("cloudbeds_auth/wire/httpx_auth.py", "import cloudbeds_auth.engine.context"),
    "reach drivers through runtime": (
        "cloudbeds_auth/app/problems.py",
        "import cloudbeds_auth.database.key_files",
    ),
    "Rules know no clock": ("cloudbeds_auth/rules/refresh.py", "import time"),
    "Engine, transactions and ports know no driver": ("cloudbeds_auth/engine/access.py", "import httpx2"),
    "share no code": ("cloudbeds_simulator/rotation.py", "import cloudbeds_auth.rules.secret"),
}


def lint(folder: Path) -> subprocess.CompletedProcess[str]:
    """Run import-linter over the sources in `folder`."""
    path = str(folder / "src")
    script = f"import sys; sys.path.insert(0, {path!r}); import importlinter.cli as c; c.lint_imports_command()"
    command = [sys.executable, "-c", script, "--no-cache"]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


def test_every_import_keeps_the_contract() -> None:
    """The layers, and who is a stranger to whom, hold in the tree as it is."""
    result = subprocess.run(LINT, cwd=ROOT, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout
    assert "0 broken" in result.stdout


@pytest.mark.parametrize("contract", VIOLATIONS)
def test_a_deliberate_violation_breaks_its_contract(contract: str, tmp_path: Path) -> None:
    """Each contract fails when one import is added that it forbids: it is not there for show."""
    shutil.copytree(ROOT / "src", tmp_path / "src", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    file, line = VIOLATIONS[contract]
    victim = tmp_path / "src" / file
    victim.write_text(victim.read_text("utf-8") + f"\n{line}\n", "utf-8")
    result = lint(tmp_path)
    broken = [text for text in result.stdout.splitlines() if " BROKEN" in text]
    assert result.returncode == 1, result.stdout + result.stderr
    assert any(contract in text for text in broken), broken

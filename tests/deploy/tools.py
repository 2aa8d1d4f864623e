"""Where the examples of docs/deploy are, and the programs that they are tried with."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "docs" / "deploy"


def program(name: str) -> str:
    """The path of a program of this environment or of the system."""
    found = shutil.which(name, path=f"{Path(sys.executable).parent}:{os.environ['PATH']}:/usr/sbin")
    assert found, f"{name} is not there: `make system` brings it"
    return found

"""`make audit`: known vulnerabilities of what is locked, by pip-audit.

Where its data cannot be reached, or knows none of the packages, as behind a mirror that has the packages alone, it is
`not run`: pip-audit itself would say that it found nothing.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from tests.strangers.tools import ROOT, run

LOCKS = ("dev.txt",)  # what the product needs, with every extra, and what its tests do
AWAY = ("ConnectionError", "ServiceError", "SSLError", "Max retries", "Timeout", "HTTPError")


def main() -> int:
    """Print what was found; the exit status: 1 where there is a vulnerability, or pip-audit failed in another way."""
    locks = [f"--requirement={ROOT / 'requirements' / name}" for name in LOCKS]
    with TemporaryDirectory() as folder:
        report = Path(folder) / "report"
        done = run(
            "pip-audit", *locks, "--disable-pip", "--require-hashes", "--format=json", f"--output={report}",
            "--timeout=5", "--progress-spinner=off", folder=Path(folder), seconds=300,
        )  # fmt: skip
        text = report.read_text("utf-8") if report.exists() else ""
    if not text:
        away = any(word in done.said for word in AWAY)
        print("pip-audit: not run: its data cannot be reached from here" if away else done.said)
        return 0 if away else 1
    return judged(json.loads(text)["dependencies"])


def judged(found: list[dict[str, Any]]) -> int:
    """Print what it says of each package; the exit status."""
    audited = [one for one in found if "vulns" in one]
    weak = [one for one in audited if one["vulns"]]
    for one in weak:
        print(f"{one['name']} {one['version']}: {', '.join(known['id'] for known in one['vulns'])}")
    if not audited:
        print(f"pip-audit: not run: its data knows none of {len(found)} packages here")
    else:
        unknown = len(found) - len(audited)
        print(f"pip-audit: {len(audited)} packages, {len(weak)} with a known vulnerability; not run for {unknown}")
    return int(bool(weak))


if __name__ == "__main__":
    sys.exit(main())

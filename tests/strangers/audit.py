"""`make audit`: known vulnerabilities of what is locked, by pip-audit.

Where its data cannot be reached, or knows none of the packages, as behind a mirror that has the packages alone, that is
said in so many words, and is no failure: pip-audit itself would say that it found nothing. Whatever else keeps it from
a package is one.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from tests.strangers.tools import ROOT, run

LOCKS = ("dev.txt",)  # what the product needs, with every extra, and what its tests do
AWAY = ("ConnectionError", "SSLError", "Max retries", "Timeout", "HTTPError")  # its data is, in pip-audit's words
LINE = "!" * 100
UNKNOWN = "not found on PyPI"  # the same, of a package that its data does not have


def main() -> int:
    """Print what was found; the exit status: 1 where there is a vulnerability, or a package was passed by."""
    locks = [f"--requirement={ROOT / 'requirements' / name}" for name in LOCKS]
    with TemporaryDirectory() as folder:
        report = Path(folder) / "report"
        done = run(
            "pip-audit", *locks, "--disable-pip", "--require-hashes", "--format=json", f"--output={report}",
            "--timeout=5", "--progress-spinner=off", folder=Path(folder), seconds=300,
        )  # fmt: skip
        text = report.read_text("utf-8") if report.exists() else ""
    if text:
        return judged(json.loads(text)["dependencies"])
    if any(word in done.said for word in AWAY):
        return not_run("its data cannot be reached from here")
    print(done.said)
    return 1


def judged(found: list[dict[str, Any]]) -> int:
    """Print what it says of each package; the exit status."""
    audited = [one for one in found if "vulns" in one]
    passed_by = [one for one in found if "vulns" not in one]
    if found and not audited and all(UNKNOWN in one["skip_reason"] for one in found):
        return not_run(f"its data knows none of {len(found)} packages here")
    weak = [one for one in audited if one["vulns"]]
    for one in weak:
        print(f"{one['name']} {one['version']}: {', '.join(known['id'] for known in one['vulns'])}")
    for one in passed_by:
        print(f"{one['name']}: {one['skip_reason']}")
    print(f"pip-audit: {len(audited)} packages, {len(weak)} with a known vulnerability; {len(passed_by)} passed by")
    return int(bool(weak or passed_by or not found))


def not_run(why: str) -> int:
    """Say so where nobody can miss it; the exit status."""
    print(f"{LINE}\npip-audit: NOT RUN, no vulnerability was looked for: {why}\n{LINE}")
    return 0


if __name__ == "__main__":
    sys.exit(main())

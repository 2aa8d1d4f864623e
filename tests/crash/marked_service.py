"""The service as `cloudbeds-auth serve` starts it, leaving marks: CRASH_MARKS names the pipe."""

from __future__ import annotations

import os
import sys

from tests.crash import marks

from cloudbeds_auth import compose, observe
from cloudbeds_auth.cli.main import main

if __name__ == "__main__":
    marker = marks.Marker(os.open(os.environ.pop("CRASH_MARKS"), os.O_WRONLY))
    marks.install(marker)
    told = marks.Observing(marker)
    before = observe.Telling
    setattr(compose, "Telling", lambda *observers: before(*observers, told))  # noqa: B010 - a test's hand in it
    sys.argv[0] = "cloudbeds-auth"
    main()

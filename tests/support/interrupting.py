"""A signal handler, in whatever moment: before any line of Python of a call."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Callable
from types import FrameType
from typing import Any


def interrupted(number: int, handler: Callable[[], None], call: Callable[[], object]) -> bool:
    """Make the call; before the so manieth line of Python in it comes the handler, as that of a signal does, or what
    the garbage collector calls. False: it has fewer lines.
    """
    lines, came = itertools.count(1), False

    def trace(frame: FrameType, event: str, argument: object) -> Any:
        nonlocal came
        if event == "line" and next(lines) == number:
            sys.settrace(None)
            came = True
            handler()
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        call()
    finally:
        sys.settrace(before)
    return came

"""Replaces attributes of running production code, and fails when one is not there any more."""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import TracebackType
from typing import Any

from cloudbeds_auth.transactions.statements import transaction


class TargetGone(AssertionError):
    """A control's target does not exist any more: the control must be written anew."""


class Patch:
    """Replaces attributes and puts them back."""

    def __init__(self) -> None:
        self._saved: list[tuple[Any, str, Any]] = []

    def __enter__(self) -> Patch:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        for owner, name, value in reversed(self._saved):
            setattr(owner, name, value)

    def of(self, owner: Any, name: str) -> Any:
        """What stands there now; raises TargetGone."""
        try:
            return getattr(owner, name)
        except AttributeError:
            raise TargetGone(f"{owner!r} has no {name!r}") from None

    def put(self, owner: Any, name: str, value: Any) -> None:
        """Replace it."""
        self._saved.append((owner, name, self.of(owner, name)))
        setattr(owner, name, value)

    def put_transaction(self, owner: Any, name: str, function: Callable[..., Any]) -> None:
        """Replace a transaction wherever production code names it; `function(tx, …)` yields statements."""
        sound, broken = self.of(owner, name), transaction(function)
        for module in [module for key, module in sys.modules.items() if key.startswith("cloudbeds_auth")]:
            for known in [known for known, value in vars(module).items() if value is sound]:
                self.put(module, known, broken)

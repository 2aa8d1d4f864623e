"""Replaces attributes of running production code, and fails when one is not there any more."""

from __future__ import annotations

from types import TracebackType
from typing import Any


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

"""A value that may be used but not shown; a search for `.reveal()` finds every place that takes it out."""

from __future__ import annotations

import hmac
from typing import ClassVar, NoReturn, final


@final
class Secret:
    """Holds a token, key or client secret; `str`, `repr` and formatting give `***`.

    Comparison takes the same time wherever the values differ. Pickling and copying raise TypeError.
    """

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        """The value itself; only for requests to Cloudbeds, the sealer, and a caller that asked for this very value."""
        return self._value

    def __repr__(self) -> str:
        return "Secret(***)"

    def __str__(self) -> str:
        return "***"

    def __format__(self, spec: str) -> str:
        return "***"

    def __bool__(self) -> bool:
        return bool(self._value)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Secret):
            return NotImplemented
        return hmac.compare_digest(self._value.encode(), other._value.encode())

    __hash__: ClassVar[None] = None  # type: ignore[assignment]  # a hash table would compare in variable time

    def __reduce__(self) -> NoReturn:
        raise TypeError("a Secret is never pickled")

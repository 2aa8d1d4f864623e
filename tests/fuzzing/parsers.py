"""Every parser of what comes from outside, as a function of bytes: the table that `make test` and `make fuzz` walk.

A check returns whether the parser accepts the bytes, and raises where something does not hold that holds for all of
them. Refusing is what a parser is for, so a check catches the error that is documented, and no other.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

Check = Callable[[bytes], bool]

# What any parser may stumble over: encodings, ends of lines and of text, nesting, numbers that are none.
COMMON = (
    b"\0", b"\n", b"\r\n", b"\t", b" ", b"\\", b"\x7f", b"\xff", b"\xc0\xaf", b"\xed\xa0\x80", b"\xef\xbb\xbf",
    b"\xc3\xa9", b"\xef\xbc\x8e", b"%", b"%00", b"%0d%0a", b"%2e", b"%252e", b"%2F", b"%5c", b"%ff", b"..", b"//",
    b"@", b":", b";", b"#", b"?", b"&", b"=", b'"', b"'", b",", b"[" * 50, b"{", b"}", b"]", b"\\u0000", b"\\ud800",
    b"NaN", b"1e400", b"-1", b"9" * 30, b"true", b"null",
)  # fmt: skip


@dataclass(frozen=True)
class Parser:
    """`seeds`: bytes that are accepted, and some that are not; `words`: what chance alone would hardly spell."""

    check: Check
    seeds: tuple[bytes, ...]
    words: tuple[bytes, ...]


PARSERS: dict[str, Parser] = {}


def parser(*seeds: bytes, words: str = "") -> Callable[[Check], Check]:
    """Enter a check under its name."""
    return partial(_entered, seeds, (*words.encode().split(), *COMMON))


def _entered(seeds: tuple[bytes, ...], words: tuple[bytes, ...], check: Check) -> Check:
    PARSERS[check.__name__] = Parser(check, seeds, words)
    return check


def parsers() -> dict[str, Parser]:
    """All of them, by name."""
    from tests.fuzzing import from_callers, from_cloudbeds, from_operators, from_the_wire

    assert all((from_callers, from_cloudbeds, from_operators, from_the_wire))
    return PARSERS


def headers_in(data: bytes) -> list[tuple[bytes, bytes]]:
    """`name: value` lines as the server passes headers on, names in lower case."""
    pairs = (line.partition(b":") for line in data.split(b"\n") if line)
    return [(name.strip().lower(), value.strip()) for name, _, value in pairs]

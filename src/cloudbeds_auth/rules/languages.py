"""The languages of the pages that hotels see, and the choice among them by `Accept-Language`."""

from __future__ import annotations

import re

ENGLISH = "en"
LANGUAGES = {ENGLISH: ENGLISH, "es": "es", "pt": "pt-BR"}
"""The language to show (an RFC 5646 tag), by the primary subtag that the browser asks for."""

_RANGE = re.compile(  # RFC 9110 sections 12.4.2 and 12.5.4
    r"([A-Za-z]{1,8})(?:-[A-Za-z0-9]{1,8})*(?:[ \t]*;[ \t]*[Qq]=(0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?))?"
)


def language_of(accepted: str) -> str:
    """The language for this `Accept-Language`: of those available, the first with the highest weight; else English.

    Any variety of a language matches: a reader of European Portuguese gets Brazilian Portuguese rather than English.
    Malformed language ranges and `*` are ignored.
    """
    best, most = ENGLISH, 0.0
    for part in accepted.split(","):
        found = _RANGE.fullmatch(part.strip(" \t"))
        if found is None or (ours := LANGUAGES.get(found[1].lower())) is None:
            continue
        weight = 1.0 if found[2] is None else float(found[2])
        if weight > most:
            best, most = ours, weight
    return best


def marked(text: str) -> str:
    """The text unchanged; marks it for extraction into the catalogs (gettext's `N_`). The page translates it."""
    return text

"""The languages of the pages that hotels see, and which of them a browser asks for."""

from __future__ import annotations

import re

ENGLISH = "en"
LANGUAGES = {ENGLISH: ENGLISH, "es": "es", "pt": "pt-BR"}
"""The language that we have (RFC 5646), by the first subtag of those that it will do for."""

_RANGE = re.compile(  # RFC 9110 sections 12.4.2 and 12.5.4
    r"([A-Za-z]{1,8})(?:-[A-Za-z0-9]{1,8})*(?:[ \t]*;[ \t]*[Qq]=(0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?))?"
)


def language_of(accepted: str) -> str:
    """The language of ours for this `Accept-Language`: the first of those that it gives the most weight, else English.

    Any variety of a language will do: who reads Portuguese as it is written in Lisbon reads that of Brazil rather than
    English. What is no language range says nothing, nor does `*`.
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
    """The text itself: a mark by which it is found for the catalogs (gettext's `N_`). A page translates it."""
    return text

"""Draws the catalogs of the hotel's pages: what their texts are now, and each `.po` compiled; `--write` updates them.

Without it the files are named that it would change. A text that is new has no translation yet, which a test refuses:
a person writes it into the `.po`, and then this compiles it.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

from babel.messages.catalog import Catalog
from babel.messages.extract import extract_from_file
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po, write_po

import cloudbeds_auth
from cloudbeds_auth.rules.languages import ENGLISH, LANGUAGES

SOURCE = Path(cloudbeds_auth.__file__).parent
PAGES = SOURCE / "app" / "pages"
TABLES = (SOURCE / "rules" / "hotel_words.py",)
WRITERS = "cloudbeds-auth"
LIKE_THE_PAGES = {
    "trimmed": "true", "newstyle_gettext": "true", "trim_blocks": "true", "lstrip_blocks": "true",
    "silent": "false",  # a template with a slip in it fails
}  # fmt: skip


def texts() -> Iterator[str]:
    """What is marked, in the tables and then in the templates."""
    for path in TABLES:
        for _, text, _, _ in extract_from_file("python", path, keywords={"marked": None}):
            yield str(text)
    for path in sorted(PAGES.glob("templates/*.html")):
        for _, text, _, _ in extract_from_file("jinja2", path, options=LIKE_THE_PAGES):
            yield str(text)


def file_of(language: str, ending: str) -> Path:
    """Its catalog, `po` or `mo`."""
    return PAGES / "locale" / language.replace("-", "_") / "LC_MESSAGES" / f"hotel.{ending}"


def catalog(language: str) -> Catalog:
    """The translations that there are, of the texts that there are."""
    path, locale, now = file_of(language, "po"), language.replace("-", "_"), Catalog()
    for text in texts():
        now.add(text)
    found = Catalog(
        locale, header_comment="# What hotels read.", project="cloudbeds-auth", version="1", fuzzy=False,
        msgid_bugs_address=WRITERS, last_translator=WRITERS, language_team=WRITERS,
    )  # fmt: skip
    if path.exists():
        with path.open("rb") as file:
            found = read_po(file, locale=locale)
    found.update(now, no_fuzzy_matching=True, update_creation_date=False)
    return found


def compiled(translations: Catalog) -> bytes:
    """As gettext reads it."""
    made = BytesIO()
    write_mo(made, translations)
    return made.getvalue()


def _written(translations: Catalog) -> bytes:
    made = BytesIO()
    write_po(made, translations, width=120, no_location=True, ignore_obsolete=True)
    return made.getvalue()


if __name__ == "__main__":
    for one in LANGUAGES.values():
        if one == ENGLISH:
            continue
        drawn = catalog(one)
        for where, content in ((file_of(one, "po"), _written(drawn)), (file_of(one, "mo"), compiled(drawn))):
            if where.exists() and where.read_bytes() == content:
                continue
            sys.stdout.write(f"{where.relative_to(SOURCE)}\n")
            if "--write" in sys.argv[1:]:
                where.parent.mkdir(parents=True, exist_ok=True)
                where.write_bytes(content)

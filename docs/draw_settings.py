"""Draws the tables of `docs/settings.md` from `settings.table`: prints the page, or updates it with `--write`.

The page's headings and the text between its tables are its own. A table begins with the setting that its marker names,
and ends before the next marker's.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

from pydantic import ByteSize
from pydantic.fields import FieldInfo

from cloudbeds_auth.settings import Setting, Settings, rows

PAGE = Path(__file__).with_name("settings.md")
TABLE = re.compile(r"<!-- settings from (\w+) -->\n.*?<!-- /settings -->", re.DOTALL)
HEAD = "| variable | default | secret | value | meaning |\n|---|---|---|---|---|\n"


def replaced(page: str, model: type[Settings] = Settings) -> str:
    """The page with what the table says now. Raises ValueError where a setting would be in none of its tables."""
    lines = {row.name: _line(row, model.model_fields[attribute]) for attribute, row in rows(model).items()}
    first = [found[1] for found in TABLE.finditer(page)]
    if first[:1] != list(lines)[:1]:
        raise ValueError(f"the page's first table has to begin with {next(iter(lines))}")
    tables = dict.fromkeys(first, HEAD)
    at = first[0]
    for name, line in lines.items():
        at = name if name in tables else at
        tables[at] += line
    return TABLE.sub(lambda found: f"<!-- settings from {found[1]} -->\n{tables[found[1]]}<!-- /settings -->", page)


def _line(row: Setting, field: FieldInfo) -> str:
    secret = "secret " if row.secret else ""
    return f"| `{row.name}` | {row.default or _shown(field.default)} | {secret}| {row.write} | {row.means} |\n"


def _shown(default: object) -> str:
    """A plain default as it is written in a variable."""
    match default:
        case None | ():
            return "none"
        case ByteSize():
            return f"`{default.human_readable().replace('.0', '')}`"
        case bool():
            return f"`{str(default).lower()}`"
        case float():
            return f"`{default:g}`"
    return f"`{default}`"


if __name__ == "__main__":
    drawn = replaced(PAGE.read_text("utf-8"))
    if "--write" in sys.argv[1:]:
        PAGE.write_text(drawn, "utf-8")
    else:
        sys.stdout.write(drawn)

"""Draws what `docs/errors.md` says of each code from `errors.py`: prints the page, or updates it with `--write`.

The page's headings, their order and the text between them are its own; `SEE` names the page where a reader may read on.
"""

from __future__ import annotations

import re
import sys
import textwrap
from pathlib import Path

from cloudbeds_auth.app import problems  # noqa: F401 - its errors are part of the tree
from cloudbeds_auth.errors import Error, TryAgain, by_code

PAGE = Path(__file__).with_name("errors.md")
WIDTH = 120
SECTION = re.compile(r"^### `([a-z_]+)`\n.*?(?=^##|\Z)", re.DOTALL | re.MULTILINE)
SEE = {
    "invalid_return_to": "[settings](settings.md)",
    "reauthorization_required": "[an approval that names no property](groups.md#an-approval-that-names-no-property)",
    "unclaimed": "[Marketplace](marketplace.md)",
    "not_refreshable": "[API keys](keys.md)",
    "migration_refused": "[moving a hotel to a key](keys.md#move-a-hotel-to-a-key)",
    "client_refused": "[where credentials may go](operating.md#where-credentials-may-go)",
    "rate_limited": "[the rate limit](operating.md#the-rate-limit), "
    "[what one caller may take](operating.md#what-one-caller-may-take), "
    "[limits on approvals](http-api.md#limits-on-approvals)",
    "refresh_in_doubt": "[an approval that names no property](groups.md#an-approval-that-names-no-property)",
}


def section(code: str) -> str:
    """What the page says about a code, from its heading on; raises KeyError when there is no such code."""
    kind = by_code()[code]
    see = f" See {SEE[code]}." if code in SEE else ""
    paragraph = f"`{kind.__name__}`{_status(kind)}. {kind.title()}. {kind.meaning()}{see}"
    lines = [
        textwrap.fill(paragraph, WIDTH, break_long_words=False, break_on_hyphens=False),
        "",
        *(
            textwrap.fill(f"- {name}: {words}.", WIDTH, subsequent_indent="  ", break_on_hyphens=False)
            for name, words in (("Lost", kind.lost), ("Next", kind.next_step_default))
        ),
    ]
    return f"### `{code}`\n\n" + "\n".join(lines) + "\n\n"


def _status(kind: type[Error]) -> str:
    """Not of what is a 503 as its whole part of the page says, nor of what is never an answer and so has none."""
    own = any("status" in vars(one) for one in kind.__mro__ if issubclass(one, Error) and one is not Error)
    return f", status {kind.status}" if own and not issubclass(kind, TryAgain) else ""


def replaced(page: str) -> str:
    """The page with what the codes say now."""
    return SECTION.sub(lambda found: section(found[1]), page).rstrip("\n") + "\n"


if __name__ == "__main__":
    drawn = replaced(PAGE.read_text("utf-8"))
    if "--write" in sys.argv[1:]:
        PAGE.write_text(drawn, "utf-8")
    else:
        sys.stdout.write(drawn)

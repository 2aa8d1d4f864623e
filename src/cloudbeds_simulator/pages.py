"""The HTML of the consent page. Every value is escaped, nothing is loaded from anywhere."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable, Mapping
from html import escape

from cloudbeds_simulator.answers import HTML, Answer
from cloudbeds_simulator.records import App, Hotel

STYLE = """
:root { color-scheme: light dark; --ink: #16233a; --soft: #5a6880; --line: #d9dfe8; --card: #fff;
  --back: #eef2f7; --go: #1a63d8 }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e8edf5; --soft: #9fb0c8; --line: #33415a; --card: #1b2538; --back: #111827; --go: #2f6fe0 }
}
* { box-sizing: border-box }
body { margin: 0; min-height: 100vh; display: grid; place-items: center; padding: 1.5rem; background: var(--back);
  color: var(--ink); font: 16px/1.5 system-ui, sans-serif }
main { width: min(30rem, 100%); background: var(--card); border: 1px solid var(--line); border-radius: 12px;
  padding: 2rem }
h1 { font-size: 1.35rem; line-height: 1.3; margin: 0 0 .5rem }
h2, legend { font-size: .85rem; font-weight: 600; color: var(--soft); margin: 1.5rem 0 .4rem; padding: 0 }
p { margin: .5rem 0 } .soft { color: var(--soft) } fieldset { border: 0; margin: 0; padding: 0 }
label { display: flex; gap: .6rem; align-items: baseline; padding: .5rem 0; border-top: 1px solid var(--line) }
ul { margin: 0; padding: 0; list-style: none; display: flex; flex-wrap: wrap; gap: .4rem }
code { font: .85rem ui-monospace, monospace; overflow-wrap: anywhere }
li code { display: block; border: 1px solid var(--line); border-radius: 6px; padding: .1rem .5rem }
.actions { display: flex; gap: .75rem; margin-top: 1.75rem }
button { flex: 1; font: inherit; font-weight: 600; padding: .7rem; border-radius: 8px; border: 1px solid var(--line);
  background: none; color: inherit; cursor: pointer }
button.go { background: var(--go); border-color: var(--go); color: #fff }
button:focus-visible, input:focus-visible { outline: 3px solid var(--go); outline-offset: 2px }
"""

# No form-action: browsers apply it to every redirect behind the form, and where the app sends its user is its affair.
_HASH = base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()
HEADERS = {
    "Content-Security-Policy": (
        f"default-src 'none'; style-src 'sha256-{_HASH}'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
}


def consent(app: App, hotels: Iterable[Hotel], scopes: Iterable[str], fields: Mapping[str, str], action: str) -> Answer:
    """The page that asks a hotel user; ``fields`` are the parameters that come back with the decision to ``action``."""
    hidden = "".join(f'<input type="hidden" name="{escape(k)}" value="{escape(v)}">' for k, v in fields.items())
    listed = "".join(f"<li><code>{escape(scope)}</code></li>" for scope in scopes)
    body = f"""<h1>{escape(app.name)} asks to connect to your hotel</h1>
<p class="soft">After you approve, you return to <code>{escape(fields.get("redirect_uri", ""))}</code></p>
<form method="post" action="{escape(action)}">{hidden}
{_choice(list(hotels))}
<h2>What it may do</h2>
<ul>{listed}</ul>
<div class="actions"><button name="decision" value="deny">Deny</button>
<button class="go" name="decision" value="approve">Approve</button></div>
</form>
<p class="soft">This is the simulator. No real hotel is involved.</p>"""
    return _page(200, f"Connect {app.name}", body)


def problem(title: str, text: str) -> Answer:
    """The page for an authorization request that must not be sent back to whoever made it."""
    return _page(400, title, f"<h1>{escape(title)}</h1><p>{escape(text)}</p>")


def _choice(hotels: list[Hotel]) -> str:
    if len(hotels) == 1:
        one = hotels[0]
        user = escape(f"{one.user.first_name} {one.user.last_name}, {one.user.email}")
        kept = f'<input type="hidden" name="property" value="{escape(one.property_id)}">'
        shown = f'{escape(one.name)} <span class="soft">{escape(one.property_id)}</span><br>{user}'
        return f"<h2>Hotel</h2><p>{shown}</p>{kept}"
    rows = "".join(_checkbox(hotel, " checked" if at == 0 else "") for at, hotel in enumerate(hotels))
    return f"<fieldset><legend>Hotels to connect</legend>{rows}</fieldset>"


def _checkbox(hotel: Hotel, checked: str) -> str:
    one = escape(hotel.property_id)
    box = f'<input type="checkbox" name="property" value="{one}"{checked}>'
    told = f"{one}, {escape(hotel.group)}" if hotel.group else one
    return f'<label>{box}<span>{escape(hotel.name)} <span class="soft">{told}</span></span></label>'


def _page(status: int, title: str, body: str) -> Answer:
    text = f"""<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>{escape(title)}</title><style>{STYLE}</style></head>
<body><main>{body}</main></body></html>
"""
    return Answer(status, text.encode(), HTML, dict(HEADERS))

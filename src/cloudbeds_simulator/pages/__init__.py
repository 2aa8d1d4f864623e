"""The simulator's pages: templates, one style sheet, one script, one icon. Nothing is loaded from elsewhere, and
everything that a template shows is escaped.
"""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING

from aiohttp import web

if TYPE_CHECKING:
    from jinja2 import Environment

ASSETS = "/_assets/"
MEDIA = {"css": "text/css", "js": "text/javascript", "svg": "image/svg+xml"}
# No form-action: browsers apply it to every redirect after a form, and an app may send its user anywhere.
POLICY = "default-src 'none'; style-src 'self'; img-src 'self'; base-uri 'none'; frame-ancestors 'none'"
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "same-origin",
    "Cache-Control": "no-store",
}


def page(name: str, **values: object) -> str:
    """The text of a template, filled in."""
    return _environment().get_template(name).render(assets=ASSETS, **values)


def asset(path: str) -> web.Response:
    """A file that pages use; 404 if there is none of this name."""
    found = _assets().get(path.removeprefix(ASSETS))
    if found is None:
        return web.Response(status=404, text="no such file")
    content, media = found
    return web.Response(body=content, content_type=media, charset="utf-8", headers=HEADERS)


@cache
def _assets() -> dict[str, tuple[bytes, str]]:
    """Names with content and media type. There are few, so all are read once, and nothing else can be requested."""
    there = files(__name__).joinpath("static").iterdir()
    return {one.name: (one.read_bytes(), MEDIA[one.name.rpartition(".")[2]]) for one in there}


@cache
def _environment() -> Environment:
    # Imported with the first page: most simulators approve automatically and never show one.
    from jinja2 import Environment, PackageLoader, StrictUndefined

    return Environment(
        loader=PackageLoader(__name__, "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )

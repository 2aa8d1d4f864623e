"""The pages: templates, one style sheet, one icon, and catalogs of what they say; nothing is loaded from elsewhere.

Everything a template shows is escaped. What hotels see is in `hotel_pages`, the frame of what operators see in
`operator_pages`; here is what both share, and the page about an error's code.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from gettext import GNUTranslations, NullTranslations
from importlib.resources import files

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape

from cloudbeds_auth.app.exchanges import PageAnswer
from cloudbeds_auth.app.problems import headers_of
from cloudbeds_auth.errors import Error
from cloudbeds_auth.rules.languages import ENGLISH

HTML = "text/html; charset=utf-8"
_MEDIA = {"css": "text/css; charset=utf-8", "js": "text/javascript; charset=utf-8", "svg": "image/svg+xml"}


class Pages:
    """Renders the pages in one language; `prefix` is the public URL's path, before every link of ours, `assets` the
    files' below it.
    """

    def __init__(self, prefix: str, assets: str, language: str = ENGLISH) -> None:
        self.language = language
        self._home = prefix
        self._assets = prefix + assets
        self._catalog = catalog_of(language)
        self._environment = _environment_of(language)

    def meaning(self, kind: type[Error]) -> PageAnswer:
        """What a code means, for people who read it in a program's log or answer."""
        return self._page("error.html", kind=kind)

    def meanings(self, kinds: Sequence[type[Error]]) -> PageAnswer:
        """Every code, with a link to its page."""
        return self._page("errors.html", kinds=kinds)

    def _translated(self, text: str) -> str:
        """A text of a table in this language; one that is in no catalog, as it is."""
        return self._catalog.gettext(text) if text else text  # the empty one would be the catalog's own head

    def _page(self, name: str, error: Error | None = None, **values: object) -> PageAnswer:
        """`error`: what went wrong, whose status and headers the page has."""
        text = self._environment.get_template(name).render(home=self._home, assets=self._assets, error=error, **values)
        status, headers = (200, {}) if error is None else (error.status, headers_of(error))
        return PageAnswer(status, {"content-type": HTML, **headers}, text.encode())


def static_files() -> dict[str, tuple[bytes, str]]:
    """Name to bytes and media type; there are few, so they are read once and nothing else can be asked for."""
    found: dict[str, tuple[bytes, str]] = {}
    for entry in files(__name__).joinpath("static").iterdir():
        media = _MEDIA.get(entry.name.rpartition(".")[2])
        if media is not None:
            found[entry.name] = (entry.read_bytes(), media)
    return found


@cache
def _environment_of(language: str) -> Environment:
    """The templates in this language, each compiled once in a process."""
    made = Environment(
        loader=PackageLoader(__name__, "templates"),
        autoescape=select_autoescape(default=True, default_for_string=True),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        extensions=["jinja2.ext.i18n"],
    )
    made.policies["ext.i18n.trimmed"] = True
    # The extension adds this method, which types do not know.
    made.install_gettext_translations(catalog_of(language), newstyle=True)  # type: ignore[attr-defined]
    made.globals["language"] = language
    return made


@cache
def catalog_of(language: str) -> NullTranslations:
    """What the pages say in this language; of English nothing, since it is what they are written in."""
    if language == ENGLISH:
        return NullTranslations()
    compiled = files(__name__).joinpath("locale", language.replace("-", "_"), "LC_MESSAGES", "hotel.mo")
    with compiled.open("rb") as file:
        return GNUTranslations(file)

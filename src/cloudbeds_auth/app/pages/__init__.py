"""The hotel's pages, and those about errors: templates, one style sheet, one icon; nothing is loaded from elsewhere.

Everything a template shows is escaped, and the pages work without any script. Those of operators are in
`dashboard_pages`.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib.resources import files

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape

from cloudbeds_auth.app.exchanges import PageAnswer
from cloudbeds_auth.app.problems import CODE, POLICY, headers_of, policy
from cloudbeds_auth.errors import Error, KeyRefused
from cloudbeds_auth.rules.links import AppRequest, LinkRequest
from cloudbeds_auth.rules.model import CredentialKind

HTML = "text/html; charset=utf-8"
_MEDIA = {"css": "text/css; charset=utf-8", "js": "text/javascript; charset=utf-8", "svg": "image/svg+xml"}


class Pages:
    """Renders the pages; `prefix` is the public URL's path, before every link of ours, `assets` the files' below it."""

    def __init__(self, prefix: str, assets: str) -> None:
        self._assets = prefix + assets
        self._environment = Environment(
            loader=PackageLoader(__name__, "templates"),
            autoescape=select_autoescape(default=True, default_for_string=True),
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )

    def link(self, asked: LinkRequest, asks: str, begin: str, vendor: str, instead: str | None) -> PageAnswer:
        """What a link asks for, and a button that begins: a POST to `begin`, which redirects to the origin `vendor`,
        and that to wherever its hotels sign in.

        `asks`: who does, as the hotel may know it; `instead`: where it may paste an API key.
        """
        shown = self._page(
            "link.html",
            200,
            {CODE: "ok"},
            asks=asks,
            app=asked.app,
            reference=asked.reference,
            properties=asked.expected_properties,
            scopes=asked.scopes,
            key=asked.credential == CredentialKind.API_KEY,
            begin=begin,
            instead=instead,
        )
        return shown.with_headers({POLICY: policy("https:", vendor)})

    def connected(self, connection_id: str | None, *, key: bool = False, back: str | None = None) -> PageAnswer:
        """What the hotel sees after it approved, or pasted its `key`; `back`: where it came from."""
        return self._page("connected.html", 200, {CODE: "ok"}, connection_id=connection_id, key=key, back=back)

    def paste_key(self, scopes: str, error: Error | None) -> PageAnswer:
        """The form for a hotel's API key; `scopes`: what the key needs; `error`: why the one before was not taken."""
        return self._page(
            "paste_key.html",
            200 if error is None else error.status,
            {CODE: "ok"} if error is None else headers_of(error),
            scopes=scopes,
            detail=None if error is None else error.detail,
            next_step=None if error is None or error.next_step == KeyRefused.next_step_default else error.next_step,
        )

    def add_app(self, asked: AppRequest, asks: str, error: Error | None) -> PageAnswer:
        """The form for an app's client id and secret; `asks`: who does; `error`: why what was entered was not taken."""
        return self._page(
            "add_app.html",
            200 if error is None else error.status,
            {CODE: "ok"} if error is None else headers_of(error),
            asks=asks,
            redirect_uri=asked.redirect_uri,
            scopes=asked.scopes,
            detail=None if error is None else error.detail,
        )

    def app_added(self, connect: str) -> PageAnswer:
        """The app is registered; `connect`: where its hotel approves."""
        return self._page("app_added.html", 200, {CODE: "ok"}, connect=connect)

    def waiting(self, connection_id: str | None) -> PageAnswer:
        """What the hotel sees after it began in the Marketplace: its approval waits to be claimed."""
        return self._page("waiting.html", 200, {CODE: "ok"}, connection_id=connection_id)

    def problem(self, error: Error, start_again: str | None) -> PageAnswer:
        """What happened, whether anything is lost, and a way to start again where there is one."""
        return self._page(
            "problem.html",
            error.status,
            headers_of(error),
            title=error.title(),
            detail=error.detail if error.detail != error.title() else None,
            lost=error.lost,
            next_step=error.next_step,
            code=error.code,
            start_again=start_again,
        )

    def meaning(self, kind: type[Error]) -> PageAnswer:
        """What a code means, for people who read it in a program's log or answer."""
        return self._page(
            "error.html",
            200,
            {CODE: "ok"},
            code=kind.code,
            answered=str(kind.status),
            title=kind.title(),
            meaning=kind.meaning(),
            lost=kind.lost,
            next_step=kind.next_step_default,
        )

    def meanings(self, kinds: Sequence[type[Error]]) -> PageAnswer:
        """Every code, with a link to its page."""
        return self._page("errors.html", 200, {CODE: "ok"}, kinds=kinds)

    def _page(self, name: str, status: int, headers: dict[str, str], **values: object) -> PageAnswer:
        text = self._environment.get_template(name).render(assets=self._assets, **values)
        return PageAnswer(status, {"content-type": HTML, **headers}, text.encode())


def static_files() -> dict[str, tuple[bytes, str]]:
    """Name to bytes and media type; there are few, so they are read once and nothing else can be asked for."""
    found: dict[str, tuple[bytes, str]] = {}
    for entry in files(__name__).joinpath("static").iterdir():
        media = _MEDIA.get(entry.name.rpartition(".")[2])
        if media is not None:
            found[entry.name] = (entry.read_bytes(), media)
    return found

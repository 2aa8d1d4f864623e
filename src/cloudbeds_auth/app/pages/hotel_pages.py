"""The pages that hotels see, each in every language that there is; they work without any script.

What a template says itself is marked in it. What comes from a table of `rules.hotel_words` is translated here, and
escaped as everything is that a template shows.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from urllib.parse import urlsplit

from cloudbeds_auth.app.cookies import ConnectedCookie
from cloudbeds_auth.app.exchanges import PageAnswer, PageRequest
from cloudbeds_auth.app.pages import Pages
from cloudbeds_auth.app.problems import POLICY, policy
from cloudbeds_auth.errors import Error, PropertyMismatch
from cloudbeds_auth.rules.hotel_words import Permission, permissions_in, words_beside_a_form, words_of
from cloudbeds_auth.rules.languages import LANGUAGES, language_of
from cloudbeds_auth.rules.links import AppRequest, LinkRequest
from cloudbeds_auth.rules.model import CredentialKind


class HotelPages(Pages):
    """Renders them in one language. `asks`: who asks for access, as the hotel may know it."""

    def __init__(self, prefix: str, assets: str, language: str, asks: str) -> None:
        super().__init__(prefix, assets, language)
        self._asks = asks

    def link(self, asked: LinkRequest, begin: str, vendor: str, instead: str | None) -> PageAnswer:
        """What a link asks for, and a button that begins: a POST to `begin`, which redirects to the origin `vendor`,
        and that to wherever its hotels sign in. `instead`: where the hotel may paste an API key.
        """
        shown = self._page(
            "link.html",
            asks=urlsplit(asked.return_to or "").hostname or self._asks,
            app=asked.app,
            reference=asked.reference,
            properties=asked.expected_properties,
            permissions=self._permissions(asked.scopes),
            key=asked.credential == CredentialKind.API_KEY,
            begin=begin,
            instead=instead,
        )
        return shown.with_headers({POLICY: policy("https:", vendor)})

    def connected(self, hotel: ConnectedCookie, *, key: bool = False, back: str | None = None) -> PageAnswer:
        """What the hotel sees after it approved, or pasted its `key`; `back`: where it came from."""
        return self._page(
            "connected.html",
            asks=self._asks,
            connection_id=hotel.connection_id,
            reference=hotel.reference,
            properties=hotel.properties,
            app=hotel.app,
            permissions=self._permissions(hotel.scopes.split()),
            key=key,
            back=back,
        )

    def paste_key(self, scopes: Sequence[str], error: Error | None) -> PageAnswer:
        """The form for a hotel's API key; `scopes`: what the key needs; `error`: why the one before was not taken."""
        return self._form("paste_key.html", error, scopes=scopes, permissions=self._permissions(scopes))

    def add_app(self, asked: AppRequest, error: Error | None) -> PageAnswer:
        """The form for an app's client id and secret; `error`: why what was entered was not taken."""
        return self._form("add_app.html", error, asks=self._asks, redirect_uri=asked.redirect_uri, scopes=asked.scopes)

    def app_added(self, connect: str) -> PageAnswer:
        """The app is registered; `connect`: where its hotel approves."""
        return self._page("app_added.html", connect=connect)

    def waiting(self, connection_id: str | None) -> PageAnswer:
        """What the hotel sees after it began in the Marketplace: its approval waits to be claimed."""
        return self._page("waiting.html", asks=self._asks, connection_id=connection_id)

    def problem(self, error: Error, start_again: str | None) -> PageAnswer:
        """What happened, whether anything is lost, and a way to start again where there is one."""
        words = words_of(error)
        approved, meant = (error.found, error.expected) if isinstance(error, PropertyMismatch) else ((), ())
        return self._page(
            "problem.html",
            error,
            title=self._translated(words.title),
            text=self._translated(words.text),
            lost=self._translated(words.lost),
            next_step=self._translated(words.next_step),
            approved=approved,
            meant=meant,
            start_again=start_again,
            again=words.again,
        )

    def _form(self, name: str, error: Error | None, **values: object) -> PageAnswer:
        wrong = None if error is None else self._translated(words_beside_a_form(error))
        return self._page(name, error, wrong=wrong, **values)

    def _permissions(self, scopes: Iterable[str]) -> list[Permission]:
        return [
            Permission(self._translated(one.subject), tuple(map(self._translated, one.acts)))
            for one in permissions_in(scopes)
        ]

    def _page(self, name: str, error: Error | None = None, **values: object) -> PageAnswer:
        """In this language; another browser may be answered in another (RFC 9110 sections 8.5 and 12.5.5)."""
        spoken = {"content-language": self.language, "vary": "Accept-Language"}
        return super()._page(name, error, **values).with_headers(spoken)


class PagesByLanguage:
    """The pages of each language; `prefix` and `assets` as for `Pages`. `asks` as for `HotelPages`: a page about a
    problem names nobody.
    """

    def __init__(self, prefix: str, assets: str, asks: str = "") -> None:
        self._pages = {language: HotelPages(prefix, assets, language, asks) for language in LANGUAGES.values()}

    def of(self, request: PageRequest) -> HotelPages:
        """Those in the language that the browser asks for."""
        return self.in_language(request.headers.get("accept-language", ""))

    def in_language(self, accepted: str) -> HotelPages:
        """Those for an `Accept-Language` header."""
        return self._pages[language_of(accepted)]

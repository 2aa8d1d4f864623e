"""The hotel's pages in its language: the catalogs hold every text, and each page keeps to the browser's language."""

from __future__ import annotations

import re
from gettext import GNUTranslations
from urllib.parse import urlencode

import pytest
from tests.app.running import Running
from tests.app.vaults import RealVault
from tests.docs.pages import drawer

from cloudbeds_auth.app.pages import catalog_of
from cloudbeds_auth.app.pages.hotel_pages import HotelPages
from cloudbeds_auth.errors import by_code
from cloudbeds_auth.rules.languages import LANGUAGES

OTHERS = [language for language in LANGUAGES.values() if language != "en"]
each_other = pytest.mark.parametrize("language", OTHERS)
FORM = {"Content-Type": "application/x-www-form-urlencoded"}


@each_other
def test_every_text_is_translated(language: str) -> None:
    """None is new, gone, empty or doubted; `python docs/draw_catalogs.py --write` brings in the new ones."""
    drawn = drawer("draw_catalogs")
    with drawn.file_of(language, "po").open("rb") as file:
        kept = drawn.read_po(file)
    assert [message.id for message in kept if message.id] == list(dict.fromkeys(drawn.texts()))
    assert [message.id for message in kept if message.id and (not message.string or message.fuzzy)] == []
    assert not kept.obsolete


@each_other
def test_what_is_filled_in_stays(language: str) -> None:
    """The same placeholders and the same marks of HTML, and a stop where there is one."""
    for message in drawer("draw_catalogs").catalog(language):
        if message.id:
            for pattern in (r"%\(\w+\)s|%", r"</?[a-z][^>]*>|&\w+;", r"[.:?]\Z|\A"):
                assert re.findall(pattern, message.string) == re.findall(pattern, message.id), message.id


@each_other
def test_the_compiled_catalog_is_that_of_the_texts(language: str) -> None:
    """What gettext reads is what a person wrote."""
    drawn, read = drawer("draw_catalogs"), catalog_of(language)
    assert isinstance(read, GNUTranslations)
    written = {message.id: message.string for message in drawn.catalog(language) if message.id}
    assert {text: read.gettext(text) for text in written} == written
    assert len(read._catalog) == len(written) + 1, "and the head"  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("accepted", "language", "title"),
    [
        (None, "en", "Connect your hotel"),
        ("de", "en", "Connect your hotel"),
        ("es-MX,es;q=0.9", "es", "Conecte su hotel"),
        ("pt-BR", "pt-BR", "Conecte o seu hotel"),
    ],
)
async def test_a_page_in_the_browsers_language(
    service: Running[RealVault], accepted: str | None, language: str, title: str
) -> None:
    """Text, `lang`, and the headers that say so to caches and screen readers."""
    link = await service.vault.create_link(reference="Pousada <São João>")
    headers = {"Host": "localhost:7000"} | ({} if accepted is None else {"Accept-Language": accepted})
    async with service.http.get(f"{service.url}/connect/{link.token}", headers=headers) as answer:
        page = await answer.text()
        assert (answer.headers["Content-Language"], answer.headers["Vary"]) == (language, "Accept-Language")
    assert f'<html lang="{language}">' in page
    assert f"<h1>{title}</h1>" in page
    assert "<dd>Pousada &lt;São João&gt;</dd>" in page


async def test_a_form_that_comes_back(service: Running[RealVault]) -> None:
    """What is wrong is said in the same language; what support needs stays English, and says that it is."""
    path = f"/paste-key/{(await service.vault.create_link()).token}"
    headers = FORM | {"Accept-Language": "pt"}
    data = urlencode({"api_key": "no key"}).encode()
    async with service.http.post(service.url + path, data=data, headers=headers) as answer:
        page = await answer.text()
    assert "Esta chave não pode ser usada." in page
    assert '<p lang="en"><code>key_refused</code>: this is no API key' in page


async def test_pages_of_operators_stay_english(service: Running[RealVault]) -> None:
    """They have one language, and vary by none."""
    for path in ("/", "/sign-in", "/errors/forbidden"):
        async with service.http.get(service.url + path, headers={"Accept-Language": "es"}) as answer:
            assert '<html lang="en">' in await answer.text()
            assert "Content-Language" not in answer.headers


@each_other
def test_no_page_about_an_error_says_anything_in_english(language: str) -> None:
    """But for what support reads."""
    pages, english = (HotelPages("", "/static", one, "ours.example") for one in (language, "en"))
    for kind in by_code().values():
        shown, said = (
            re.sub(r"<details.*</details>|<[^>]+>", "\n", one.problem(kind(), None).body.decode(), flags=re.DOTALL)
            for one in (pages, english)
        )
        lines = {line.strip() for line in shown.splitlines()} & {line.strip() for line in said.splitlines()}
        assert lines <= {"", "!"}, kind

"""A browser as the demo needs one: cookies, redirects followed one by one, and the form on a page."""

from __future__ import annotations

from html.parser import HTMLParser
from typing import TYPE_CHECKING
from urllib.parse import urljoin

from cloudbeds_auth import errors

if TYPE_CHECKING:
    import httpx2

MOST_REDIRECTS = 10
SECONDS = 30.0


class Surprise(errors.Error):
    """The demo saw something else than it expected"""

    next_step_default = "look into the logs of simulator and service"


class DemoBrowser:
    """Opens pages like somebody at a hotel would; `trail` has every address it came through, without its query."""

    def __init__(self) -> None:
        import httpx2

        self._client = httpx2.AsyncClient(timeout=SECONDS, follow_redirects=False, trust_env=False)
        self.trail: list[str] = []

    async def open(self, url: str) -> httpx2.Response:
        """The page at the end of all redirects."""
        return await self._follow(await self._client.get(url))

    async def submit(self, page: httpx2.Response, button: tuple[str, str]) -> httpx2.Response:
        """Press a button (name, value) of the page's form; the page at the end of all redirects."""
        form = read_form(page.text)
        if button not in form.buttons:
            raise Surprise(f"the page has no button {button[1]!r}")
        return await self._follow(
            await self._client.post(urljoin(str(page.url), form.action), data={**form.fields, button[0]: button[1]})
        )

    async def close(self) -> None:
        """Close all connections."""
        await self._client.aclose()

    async def _follow(self, answer: httpx2.Response) -> httpx2.Response:
        for _ in range(MOST_REDIRECTS):
            self.trail.append(str(answer.url).partition("?")[0])
            if not answer.is_redirect:
                return answer
            answer = await self._client.get(urljoin(str(answer.url), answer.headers["location"]))
        raise Surprise("too many redirects")


class Form(HTMLParser):
    """The first form of a page: where it goes, its fields with their values, its buttons."""

    def __init__(self) -> None:
        super().__init__()
        self.action = ""
        self.fields: dict[str, str] = {}
        self.buttons: list[tuple[str, str]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Collect forms, inputs and buttons."""
        given = {name: value or "" for name, value in attrs}
        if tag == "form" and not self.action:
            self.action = given.get("action", "")
        elif tag == "input" and (given.get("type") != "checkbox" or "checked" in given):
            self.fields[given.get("name", "")] = given.get("value", "")
        elif tag == "button":
            self.buttons.append((given.get("name", ""), given.get("value", "")))


def read_form(html: str) -> Form:
    """The form on a page."""
    form = Form()
    form.feed(html)
    return form

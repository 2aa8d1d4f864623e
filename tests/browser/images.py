"""Draws `docs/images`: every page that people look at, as it is for a computer and a telephone, in light and in dark.

`make images` draws all of them, `make images ONLY=link` those whose name has that in it. A page that is not served is
left out, and named. Two runs differ in ids and moments alone.
"""

from __future__ import annotations

import re
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright
from tests.acceptance.processes import World
from tests.browser.fleets import FLEETS, first_hotel
from tests.browser.test_hotel_pages import CHROMIUM, QUIET

IMAGES = Path(__file__).parents[2] / "docs" / "images"
WIDTHS = {"desktop": 1280, "phone": 390}
LOWEST, TALLEST = 720, 1_200  # pixels: what is further down looks like what is above it
Scheme = Literal["light", "dark"]
Variants = tuple[tuple[str, Scheme], ...]
TWO: Variants = (("desktop", "light"), ("phone", "dark"))
FOUR: Variants = (("desktop", "light"), ("desktop", "dark"), ("phone", "light"), ("phone", "dark"))


@dataclass(frozen=True)
class Picture:
    """A page: `path` is one of the service's, with names of `PLACES` in it, or an address. `press`: the buttons and
    links that lead on from there, by their words. `signed_in`: an operator's. `part`: what is drawn of the page, by its
    selector; empty: all.
    """

    name: str
    path: str
    press: tuple[str, ...] = ()
    fleets: tuple[str, ...] = ("few",)
    variants: Variants = TWO
    signed_in: bool = False
    language: str = "en"
    part: str = ""


PICTURES = (
    Picture("front-door", "/"),
    Picture("sign-in", "/sign-in"),
    Picture("hotels", "/", fleets=("none", "few", "many"), variants=FOUR, signed_in=True),
    Picture("connection", "/connections/{hotel}", variants=FOUR, signed_in=True),
    Picture("pairs", "/connections/{hotel}", variants=FOUR[:2], signed_in=True, part="section[aria-labelledby=tokens]"),
    Picture("apps", "/apps", signed_in=True),
    Picture("keys", "/keys", fleets=("none", "few"), signed_in=True),
    Picture("audit", "/audit", signed_in=True),
    Picture("work", "/work", signed_in=True),
    Picture("settings", "/settings", signed_in=True),
    Picture("api", "/docs", signed_in=True),
    Picture("simulator", "{vendor}/"),
    Picture("glass-box", "{vendor}/glass-box", variants=TWO[:1]),
    Picture("glass-box-lost", "{vendor}/glass-box", ("Lose the next answer",), variants=TWO[1:]),
    Picture("tried", "/connections/{hotel}", ("Make the call",), variants=TWO[:1], signed_in=True),
    Picture("link-made", "/connections/{hotel}", ("Make a reconnect link",), variants=TWO[:1], signed_in=True),
    Picture("errors", "/errors"),
    Picture("link", "{link}", variants=FOUR),
    Picture("link-es", "{link}", language="es", variants=TWO[1:]),
    Picture("consent", "{link}", ("Continue to Cloudbeds",)),
    Picture("connected", "{link}", ("Continue to Cloudbeds", "Approve"), variants=FOUR),
    Picture("connected-pt", "{link}", ("Continuar para o Cloudbeds", "Approve"), language="pt-BR", variants=TWO[1:]),
    Picture("denied", "/connect", ("Deny",)),
    Picture("wrong-property", "{other}", ("Continue to Cloudbeds", "Approve")),
    Picture("expired", "/connect/made-up"),
    Picture("start-again", "/not-connected/state_mismatch"),
    Picture("not-reached", "/not-connected/token_endpoint_unavailable"),
    Picture("waiting", "/claim/con_01M86BK4AA8J8WT348EQ6VT39E"),
    Picture("paste-key", "{paste_key}"),
    Picture("paste-key-refused", "{paste_key}", ("#api_key=not a key", "Connect")),
    Picture("add-app", "{add_app}"),
    Picture("error", "/errors/reauthorization_required"),
)
"""Each page once; a new one is a row here."""


ASKED: dict[str, Any] = {"reference": "Hotel Aurora", "expected_properties": ["100001"], "expires_in": 600}


def _link(made: World, **other: Any) -> str:
    url: str = made.admin.post("/api/v1/authorizations", json_body=ASKED | other).json["connect_url"]
    return url


def _add_app(made: World) -> str:
    (found,) = re.findall(r"http\S+/add-app/\S+", made.run("apps", "add", "pine-lodge", "--link").stdout)
    return str(found)


PLACES: dict[str, Callable[[World], str]] = {
    "link": _link,
    "other": partial(_link, expected_properties=["100002"]),
    "paste_key": lambda made: _link(made).replace("/connect/", "/paste-key/"),
    "add_app": _add_app,
    "hotel": lambda made: first_hotel(made) or "con_none",
    "vendor": lambda made: made.vendor.base,
}
"""What a path may name: links that are just made, the hotel with the longest history, the simulator."""


def draw(browser: Browser, made: World, fleet: str, only: str) -> Iterator[str]:
    """All that are of this fleet and have `only` in their name; yields the files, and what was left out."""
    for picture in PICTURES:
        if fleet not in picture.fleets or only not in picture.name:
            continue
        for size, scheme in picture.variants:
            named = f"{picture.name}-{fleet}" if len(picture.fleets) > 1 else picture.name
            file = IMAGES / f"{named}-{size}-{scheme}.png"
            context = browser.new_context(color_scheme=scheme, locale=picture.language, reduced_motion="reduce")
            try:
                drawn = _drawn(context, made, picture, size, file)
                yield file.name if drawn else f"left out: {picture.path}"
            finally:
                context.close()


def _drawn(context: BrowserContext, made: World, picture: Picture, size: str, file: Path) -> bool:
    page = context.new_page()
    page.set_viewport_size({"width": WIDTHS[size], "height": LOWEST})
    if picture.signed_in:
        page.goto(made.run("sign-in").stdout.strip())
        page.wait_for_url(f"{made.base}/")
    path = re.sub(r"{(\w+)}", lambda found: PLACES[found[1]](made), picture.path)
    answer = page.goto(path if "://" in path else made.base + path)
    if answer is None or "text/html" not in answer.headers.get("content-type", "") or answer.status == 404:
        return False
    for words in picture.press:
        _press(page, words)
    page.wait_for_load_state("load")
    tall = page.evaluate("document.documentElement.scrollHeight")
    page.set_viewport_size({"width": WIDTHS[size], "height": max(LOWEST, min(tall, TALLEST))})
    (page.locator(picture.part) if picture.part else page).screenshot(path=file, animations="disabled")
    return True


def _press(page: Page, words: str) -> None:
    field, filled, value = words.partition("=")
    if filled:
        page.locator(field).fill(value)
    else:
        page.locator("button, a.button").filter(has_text=words).click()


def main(only: str = "") -> None:
    """Draw them."""
    IMAGES.mkdir(exist_ok=True)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=QUIET)
        for fleet, begun in FLEETS.items():
            if not any(fleet in one.fleets and only in one.name for one in PICTURES):
                continue
            with tempfile.TemporaryDirectory() as folder, begun(Path(folder)) as made:
                for line in draw(browser, made, fleet, only):
                    print(line)
        browser.close()


if __name__ == "__main__":
    main(*sys.argv[1:2])

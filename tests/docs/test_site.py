"""The site that `make docs` builds: strict, of its own alone, with a reference of every public name."""

from __future__ import annotations

import re
import subprocess
import sys
import zlib
from html.parser import HTMLParser
from importlib import import_module
from pathlib import Path

import pytest
from tests.docs.pages import DOCS, ROOT

import cloudbeds_auth

CONTRIB = ("fastapi", "flask", "django", "httpx", "requests", "sdk")
LOADED = {"script": "src", "img": "src", "iframe": "src", "source": "src", "link": "href"}
NOT_LOADED = {"canonical", "next", "prev", "alternate"}


def build(folder: Path) -> None:
    """As `make docs` does, strict."""
    (command,) = re.findall(
        r"\(BIN\)/sphinx-build (.+) -b html docs site$", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE
    )
    done = subprocess.run(
        [sys.executable, "-m", "sphinx", *command.split(), "-b", "html", "-d", folder / "read", DOCS, folder / "site"],
        cwd=ROOT, capture_output=True, text=True, timeout=110, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


class Loads(HTMLParser):
    """What a page loads from elsewhere when it is opened."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        address = given.get(LOADED.get(tag, ""), "") or ""
        if re.match(r"(https?:)?//", address) and (given.get("rel") or "") not in NOT_LOADED:
            self.found.append(address)


def written() -> set[str]:
    """The names of the pages, but for the navigation."""
    found = {
        path.relative_to(DOCS).with_suffix("").as_posix() for kind in ("*.md", "*.rst") for path in DOCS.rglob(kind)
    }
    return found - {"index"}


def inventory(site: Path) -> set[str]:
    """The names in `objects.inv`."""
    head, _, packed = (site / "objects.inv").read_bytes().partition(b"zlib.\n")
    assert head.startswith(b"# Sphinx inventory version 2")
    entries = (line.split(" ") for line in zlib.decompress(packed).decode().splitlines())
    return {entry[0] for entry in entries if entry[1].startswith("py:")}


def public() -> set[str]:
    """The names that the reference has to have."""
    found = {f"cloudbeds_auth.{name}" for name in cloudbeds_auth.__all__}
    for extra in CONTRIB:
        module = import_module(f"cloudbeds_auth.contrib.{extra}")
        found |= {f"{module.__name__}.{name}" for name in module.__all__}
    found |= {"cloudbeds_auth.sync.TokenVault", "cloudbeds_auth.sync.TokenVault.access_token"}
    return found | {"cloudbeds_auth.TokenVault.access_token", "cloudbeds_auth.pytest_plugin.cloudbeds_sync_vault"}


@pytest.mark.long
def test_the_site(tmp_path: Path) -> None:
    """One build, in which every reference leads somewhere, looked at from every side: it takes seconds."""
    build(tmp_path)
    site = tmp_path / "site"
    pages = sorted(site.rglob("*.html"))
    built = {page.relative_to(site).with_suffix("").as_posix() for page in pages}
    assert {name.replace("home", "index") for name in written()} <= built

    for page in pages:
        loads = Loads()
        loads.feed(page.read_text("utf-8"))
        assert loads.found == [], page.name
    for style in site.rglob("*.css"):
        assert re.findall(r"(?:url\(|@import)\s*[\"']?(?:https?:)?//", style.read_text("utf-8")) == [], style.name

    assert (site / "searchindex.js").exists(), "search needs no server"
    assert any("prefers-color-scheme: dark" in style.read_text("utf-8") for style in site.rglob("*.css"))
    assert public() - inventory(site) == set()


def test_every_page_is_in_the_navigation() -> None:
    """Once, under one of the four kinds of page, or as a decision."""
    navigation = (DOCS / "index.rst").read_text("utf-8")
    shown = re.findall(r"^   [^:\n]+ <([\w/-]+)>$", navigation, re.MULTILINE)
    decisions = {name for name in written() if name.startswith("adr/0")}
    assert sorted(shown) == sorted(written() - decisions - {"home"})
    kinds = ["Tutorial", "How-to", "Explanation", "Decisions", "Reference"]
    assert re.findall(r"^   :caption: (.+)$", navigation, re.MULTILINE) == kinds

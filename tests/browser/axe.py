"""axe-core, put into a page: what somebody with a screen reader, a keyboard or weak eyes would stumble over."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from functools import cache
from pathlib import Path

from playwright.sync_api import Page

HERE = Path(__file__).parent


@cache
def source() -> str:
    """The script, from the lock beside this file, wherever this machine gets packages from."""
    with tempfile.TemporaryDirectory() as folder:
        for name in ("package.json", "package-lock.json"):
            shutil.copy(HERE / name, folder)
        done = subprocess.run(
            ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"],
            cwd=folder,
            env=os.environ | {"HOME": folder, "npm_config_cache": f"{folder}/cache"},
            capture_output=True,
            text=True,
            timeout=100,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return Path(folder, "node_modules/axe-core/axe.min.js").read_text("utf-8")


def violations(page: Page) -> list[str]:
    """Each violation on this page as it is now, in light and in dark: the rule, where, and what is wrong.

    The page's own policy allows no such script: it is put in from outside, as a person's extension would be.
    """
    found = []
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
        page.evaluate(source())
        for one in page.evaluate("axe.run()")["violations"]:
            where = f"{page.url} {scheme} {one['id']}"
            found += [f"{where}: {node['html']} {node['failureSummary']}" for node in one["nodes"]]
    page.emulate_media()
    return found


def violations_at(page: Page, base: str, paths: tuple[str, ...]) -> list[str]:
    """The same of each of these pages, one after the other."""
    found = []
    for path in paths:
        page.goto(base + path)
        found += violations(page)
    return found

"""sqlmap against every parameter that reaches the database, over either one (A52)."""

from __future__ import annotations

import json
from collections.abc import ValuesView
from pathlib import Path

import pytest
from tests.acceptance.processes import Http, World
from tests.strangers.tools import Done, careless, run

pytestmark = pytest.mark.timeout(400)
NONE = "all tested parameters do not appear to be injectable"
FOUND = "sqlmap identified the following injection point"
EACH = "does not seem to be injectable"
# Where a `*` marks what is tried, the query has one, too; of other queries, and of bodies, each parameter is.
ASKED: tuple[tuple[str, object], ...] = (
    ("/api/v1/connections?reference=tenant-7&property=100001&app=default", None),
    ("/api/v1/connections?cursor=con_01J9&state=fresh&lacking_scopes=false", None),
    ("/api/v1/connections/100001*", None),
    ("/api/v1/connections/100001*/events?cursor=1_1_0*", None),
    ("/api/v1/connections/100001*/access-token?rejected_generation=1*&min_valid=60*", None),
    ("/api/v1/keys?parent=key_1&cursor=key_1", None),
    ("/api/v1/keys/key_1*", None),
    ("/api/v1/audit?cursor=aud_01J9", None),
    ("/proxy/100001*/api/v1.3/getHotels", None),
    ("/connect/a-one-time-link*", None),
    ("/callback?code=a&state=st_a", None),
    ("/api/v1/authorizations", {"app": "default", "reference": "tenant-7", "expected_properties": ["100001"]}),
    ("/api/v1/connections/100001*/claim", {"reference": "tenant-7"}),
    ("/api/v1/keys", {"name": "a", "scopes": ["read"], "properties": ["100001"], "references": ["tenant-7"]}),
)
# Of pages, which the session of a browser opens.
PAGES = (
    "/connections?state=fresh&property=100001&reference=tenant-7&cursor=con_01J9",
    "/connections/100001*?cursor=1_1_0*",
    "/keys?cursor=key_1",
)
FORM = ("--header=Sec-Fetch-Site: same-origin", "--ignore-code=401")  # 401 is the answer of a form that was refused


def sqlmap(url: str, folder: Path, *options: str, dbms: str, technique: str = "BEU") -> Done:
    """Try each parameter for errors, for answers that differ, and for unions; never what waits or writes."""
    return run(
        "sqlmap", "-u", url, "--batch", "--flush-session", "--disable-coloring", f"--output-dir={folder / 'sqlmap'}",
        "--level=1", "--risk=1", f"--technique={technique}", f"--dbms={dbms}", "--timeout=15", "--retries=0", *options,
        folder=folder, seconds=180,
    )  # fmt: skip


@pytest.mark.row("A52")
@pytest.mark.parametrize(("path", "body"), ASKED, ids=[f"{'POST' if body else 'GET'} {path}" for path, body in ASKED])
def test_no_parameter_reaches_sql(served: World, tmp_path: Path, path: str, body: object) -> None:
    """With the admin token, that no check stands before what is stored."""
    sent = [f"--data={json.dumps(body)}", "--headers=Content-Type: application/json"] if body else []
    done = sqlmap(
        f"{served.base}{path}", tmp_path, f"--header=Authorization: Bearer {served.admin.token}", *sent,
        "--ignore-code=404", dbms=dbms_of(served),  # 404 is the answer about a key that there is none of
    )  # fmt: skip
    found_none(done, of=tried(path, body))


@pytest.mark.row("A52")
@pytest.mark.parametrize("path", PAGES)
def test_no_parameter_of_pages_reaches_sql(served: World, tmp_path: Path, path: str) -> None:
    """With the session of somebody who signed in by the admin token."""
    done = sqlmap(f"{served.base}{path}", tmp_path, f"--cookie={session(served)}", dbms=dbms_of(served), technique="BE")
    found_none(done, of=tried(path, None))


@pytest.mark.row("A52")
def test_no_credential_of_pages_reaches_sql(served: World, tmp_path: Path) -> None:
    """What is entered to sign in, and the cookie of a session that is good."""
    entered = sqlmap(
        f"{served.base}/session", tmp_path, *FORM, "--data=credential=not-a-code", dbms=dbms_of(served), technique="BE"
    )
    found_none(entered, of=1)
    cookie = sqlmap(
        f"{served.base}/connections", tmp_path, *FORM, f"--cookie={session(served)}*", dbms=dbms_of(served),
        technique="BE",
    )  # fmt: skip
    found_none(cookie, of=2)  # and the path, which has no parameter


def session(served: World) -> str:
    """A new one, as the browser's cookie has it."""
    browser = Http(served.base)
    begun = browser.post(
        "/session", form={"credential": served.admin.token or ""}, headers={"Sec-Fetch-Site": "same-origin"}
    )
    assert begun.status == 303
    ((name, value),) = browser.cookies["localhost"].items()
    assert browser.get("/connections").status == 200
    return f"{name}={value}"


def dbms_of(served: World) -> str:
    """As sqlmap names it."""
    return "PostgreSQL" if "postgres" in served.settings["CLOUDBEDS_AUTH_DATABASE_URL"] else "SQLite"


def found_none(done: Done, *, of: int) -> None:
    """Each of so many parameters was tried, and none can be injected."""
    assert NONE in done.said, done.said[-4000:]
    assert FOUND not in done.said
    assert done.said.count(EACH) == of, done.said[-4000:]


def tried(path: str, body: object) -> int:
    """How many parameters there are."""
    return (path.count("*") or path.count("=")) + (values_in(body) if body else 0)


def values_in(body: object) -> int:
    """Of a body, however deep."""
    inner = body.values() if isinstance(body, dict) else body
    return sum(map(values_in, inner)) if isinstance(inner, list | ValuesView) else 1


def test_sqlmap_finds_what_is_there(tmp_path: Path) -> None:
    """Against a program that joins its parameter into SQL the same run finds it."""
    with careless() as url:
        done = sqlmap(f"{url}/?reference=tenant-7", tmp_path, dbms="SQLite")
    assert FOUND in done.said, done.said[-4000:]

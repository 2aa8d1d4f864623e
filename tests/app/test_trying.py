"""A call by hand from a hotel's page: what is asked of Cloudbeds, what is shown of its answer, and what is refused."""

from __future__ import annotations

import html
import json
import re

import pytest
from aiohttp import web
from tests.app.operators import Operator, signed_in
from tests.app.running import Running, Vendor
from tests.app.vaults import RealVault

from cloudbeds_auth.app import trying
from cloudbeds_auth.app.trying import readable
from cloudbeds_auth.errors import RateLimited, Unclaimed

TRY = "/connections/con_1/try"
USERINFO = "/api/v1.3/userinfo"
SCOPE_MISSING = {"success": False, "message": "Scope required for this call was not granted by property"}


@pytest.fixture
async def operator(service: Running[RealVault]) -> Operator:
    """Signed in."""
    return await signed_in(service)


async def tried(operator: Operator, path: str) -> tuple[int, str]:
    """Status and page of a call to this path."""
    status, _, page = await operator.send(TRY, form_token=await operator.form_token(), path=path)
    return status, page


def body_in(page: str) -> str:
    """What is shown of the answer."""
    return html.unescape(page.partition("<pre><code>")[2].partition("</code></pre>")[0])


def answers(vendor: Vendor, response: web.Response) -> None:
    """Let the vendor answer so."""

    async def answer(request: web.Request) -> web.StreamResponse:
        return response

    vendor.answer = answer


async def test_the_form(operator: Operator) -> None:
    """The page of a hotel has it, filled in with the article's protected call."""
    _, _, page = await operator.open("/connections/con_1")
    assert f'<form method="post" action="{TRY}">' in page
    assert f'name="path" value="{USERINFO}"' in page
    assert '<option value="/api/v1.3/getHotels">' in page


@pytest.mark.parametrize(
    ("typed", "target"),
    [
        ("", USERINFO), (USERINFO, USERINFO), (" userinfo ", USERINFO),
        ("getHotels?pageSize=1&x=%20", "/api/v1.3/getHotels?pageSize=1&x=%20"),
        ("/payments/v1/transactions", "/payments/v1/transactions"), ("{base}/api/v1.2/getRooms", "/api/v1.2/getRooms"),
    ],
)  # fmt: skip
async def test_what_is_asked(operator: Operator, vendor: Vendor, typed: str, target: str) -> None:
    """A GET with the hotel's token: a path, a method by its name, or an address at Cloudbeds as its documentation has
    it; status, time and body are shown, and it counts as a call.
    """
    status, page = await tried(operator, typed.format(base=vendor.base_url))
    assert status == 200
    (seen,) = vendor.seen
    assert (seen.method, seen.target, seen.body) == ("GET", target, b"")
    assert seen.header("Authorization") == "Bearer token-1"
    assert seen.header("Cookie") is None
    assert json.loads(body_in(page)) == {"method": "GET", "size": 0}
    assert '<span class="badge healthy">200</span>' in page
    assert "the access token of pair 1" in page
    assert "token-1" not in page
    assert operator.service.vault.calls == [(1, "GET", target.partition("?")[0], 200)]
    assert [one.startswith("session:") for one in operator.service.vault.callers] == [True]


async def test_who_called_and_for_what(operator: Operator, vendor: Vendor) -> None:
    """Is in the log as of a program's call, without the query, in which guests may be named."""
    answers(vendor, web.json_response({}, headers={"X-Request-ID": "vendor-1"}))
    assert (await tried(operator, "getGuest?guestName=canary"))[0] == 200
    (told,) = [facts for what, facts in operator.service.vault.observer.seen if what == "proxied"]
    assert str(told["caller"]).startswith("session:")
    assert {name: told[name] for name in ("connection_id", "method", "path", "status", "sends", "complete")} == {
        "connection_id": "con_1", "method": "GET", "path": "/api/v1.3/getGuest", "status": 200, "sends": 1,
        "complete": True,
    }  # fmt: skip
    assert (told["address"], told["vendor_request_id"]) == ("127.0.0.1", "vendor-1")


async def test_a_dead_token_is_healed(operator: Operator, vendor: Vendor) -> None:
    """On the way, as for a program; the page says so."""
    vendor.good = {"token-2"}
    status, page = await tried(operator, USERINFO)
    assert (status, '<span class="badge healthy">200</span>' in page) == (200, True)
    assert "the access token of pair 2, the last of 2 sendings" in page


@pytest.mark.parametrize(
    ("status", "body", "said"),
    [
        (404, {"error": "no"}, "There is nothing at this path at Cloudbeds"),
        (200, SCOPE_MISSING, "Ask for the scope"),
        (500, {}, "Cloudbeds itself failed: nothing is lost"),
    ],
)  # fmt: skip
async def test_what_an_answer_means(operator: Operator, vendor: Vendor, status: int, body: object, said: str) -> None:
    """Said in a sentence; and what it says of the connection is noted, as of a program's call."""
    answers(vendor, web.json_response(body, status=status))
    shown, page = await tried(operator, USERINFO)
    assert (shown, said in page) == (200, True)
    assert [reason for reason, _, _ in operator.service.vault.heeded] == {
        404: ["unknown"], 200: ["missing_scope"], 500: ["unknown"],
    }[status]  # fmt: skip


@pytest.mark.row("A11")
async def test_the_answer_is_text(operator: Operator, vendor: Vendor) -> None:
    """Whatever Cloudbeds or the hotel wrote into it, and nothing of it steers anything."""
    answers(vendor, web.Response(text="<script>alert(1)</script>\x00\x1b[2J\u202e", content_type="text/html"))
    _, page = await tried(operator, USERINFO)
    assert "<script" not in page
    assert "&lt;script&gt;alert(1)" in page
    assert not {"\x00", "\x1b", "\u202e"} & set(page)


async def test_a_long_answer(operator: Operator, vendor: Vendor, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only its beginning is read; where the rest is to be had is said, and nothing is concluded from a part."""
    monkeypatch.setattr(trying, "MOST_READ", 1000)
    answers(vendor, web.json_response({"rows": ["x" * 100] * 100}))
    _, page = await tried(operator, "getHotels?a='b'&c=1")
    assert "Only the beginning is shown." in page
    assert """cloudbeds-auth call con_1 '/api/v1.3/getHotels?a='"'"'b'"'"'&c=1'""" in html.unescape(page)
    assert len(body_in(page)) == 1000
    assert operator.service.vault.heeded == []


async def test_an_answer_without_a_body(operator: Operator, vendor: Vendor) -> None:
    """Or one that comes packed although it was asked for plainly."""
    answers(vendor, web.Response(status=204))
    assert "no body that can be shown" in (await tried(operator, USERINFO))[1]
    answers(vendor, web.Response(body=b"\x1f\x8b", headers={"Content-Encoding": "gzip"}))
    assert "no body that can be shown" in (await tried(operator, USERINFO))[1]


@pytest.mark.row("A29", "A73")
@pytest.mark.parametrize(
    ("typed", "code"),
    [
        ("/api/v1.3/access_token", "forbidden"), ("access%5Ftoken", "forbidden"), ("/api/v1.3/oauth", "forbidden"),
        ("getWebhooks", "forbidden"), ("postAppState", "forbidden"), ("/", "forbidden"), ("/internal/x", "forbidden"),
        ("/api/../x", "invalid_request"), ("//evil.example/api/x", "invalid_request"),
        ("/api/%2e%2e/x", "invalid_request"),
        ("https://evil.example/api/v1.3/userinfo", "invalid_request"), ("/api/v1.3/höfe", "invalid_request"),
        ("/api/v1.3/a b", "invalid_request"), ("userinfo?access_token=x", "invalid_request"),
        ("userinfo?a=%0d", "invalid_request"),
    ],
)  # fmt: skip
async def test_what_is_not_asked(operator: Operator, vendor: Vendor, typed: str, code: str) -> None:
    """What the proxy relays for nobody or for administrators alone, and whatever might leave Cloudbeds' host."""
    status, page = await tried(operator, typed)
    assert status in {400, 403}
    assert f"<code>{code}</code>" in page
    assert "Is anything lost?" in page
    assert vendor.seen == []


@pytest.mark.parametrize("failure", [RateLimited("no turn within 5 s"), Unclaimed()], ids=lambda one: one.code)
async def test_a_call_that_cannot_be_made(operator: Operator, vendor: Vendor, failure: RateLimited | Unclaimed) -> None:
    """Is a page that says why, and what to do."""
    operator.service.vault.no_turn = failure
    status, page = await tried(operator, USERINFO)
    assert (status, f"<code>{failure.code}</code>" in page, vendor.seen) == (failure.status, True, [])


@pytest.mark.row("A17")
async def test_another_sites_form(operator: Operator, vendor: Vendor) -> None:
    """Makes no call, nor does one without the session's token, or with further fields."""
    token = await operator.form_token()
    for headers, fields in (
        ({"Sec-Fetch-Site": "cross-site"}, {"form_token": token, "path": USERINFO}),
        ({}, {"path": USERINFO}),
        ({}, {"form_token": token}),
        ({}, {"form_token": token, "path": USERINFO, "method": "POST"}),
    ):
        assert (await operator.send(TRY, dict(headers), **fields))[0] == 403
    assert (await operator.open(f"{TRY}?path={USERINFO}"))[0] == 405
    assert vendor.seen == []


def test_json_is_indented() -> None:
    """Anything else is as it came; what is nested too deeply, too."""
    assert readable(b'{"a":[1,"\xc3\xa9"]}') == ('{\n  "a": [\n    1,\n    "é"\n  ]\n}', True)
    assert readable(b"<html>") == ("<html>", True)
    assert readable(b'"\\ud800"') == ('"\N{REPLACEMENT CHARACTER}"', True)
    assert readable(b"[" * 5000) == ("[" * 5000, True)


def test_indentation_has_an_end() -> None:
    """A small body that unfolds to a large page is cut."""
    text, whole = readable(b"[" * 500 + b"1," * 5000 + b"1" + b"]" * 500)
    assert (len(text), whole) == (trying.MOST_SHOWN, False)
    assert re.fullmatch(r"[\[\s1,]+", text)

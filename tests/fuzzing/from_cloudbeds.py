"""What Cloudbeds answers and posts: token answers, refusals, `userinfo`, webhooks, headers."""

from __future__ import annotations

import asyncio
import gzip
import json
from contextlib import suppress
from functools import cache

import httpx2
from tests.fuzzing.parsers import headers_in, parser

from cloudbeds_auth.app.trying import MOST_SHOWN, readable
from cloudbeds_auth.errors import UpstreamFailed
from cloudbeds_auth.ports import Listed
from cloudbeds_auth.rules import webhooks
from cloudbeds_auth.rules.api_errors import (
    MOST,
    DeadToken,
    PassingBody,
    Proof,
    Refusal,
    judge_userinfo,
    refusal_of,
)
from cloudbeds_auth.rules.credential import FOREVER, is_api_key
from cloudbeds_auth.rules.inputs import is_json, is_property, is_text, one_line
from cloudbeds_auth.rules.model import CredentialKind, Pair
from cloudbeds_auth.rules.proxy_policy import RESPONSE_HEADERS
from cloudbeds_auth.rules.proxy_policy import response_headers as passed_on
from cloudbeds_auth.rules.rate_limit import LONGEST_PAUSE, TOO_MANY, UNSAID, pause_of, seconds_of
from cloudbeds_auth.rules.refresh import Timing
from cloudbeds_auth.rules.secret import Secret
from cloudbeds_auth.rules.token_response import (
    LONGEST_LIFETIME,
    LONGEST_TOKEN,
    SHORTEST_LIFETIME,
    Ambiguous,
    Issued,
    Sent,
    classify,
    classify_exchange,
)
from cloudbeds_auth.wire.cloudbeds_api import HttpVendor

DAY = 86400.0


def _answer(data: bytes) -> tuple[int, str, bytes]:
    """`STATUS CONTENT-TYPE`, the end of the line, and the body."""
    head, _, body = data.partition(b"\n")
    status, _, media = head.decode("latin-1").partition(" ")
    known = len(status) == 3 and status.isascii() and status.isdigit()
    return int(status) if known else 200, media, body


@parser(
    b'200 application/json\n{"access_token":"A","refresh_token":"R","expires_in":3600,"token_type":"Bearer"}',
    b'200 application/json\n{"access_token":"cbat_1","resources":[{"type":"property","id":1000}]}',
    b'400 application/json\n{"error":"invalid_request","message":"The refresh token is invalid."}',
    b'401 application/json\n{"error":"server_error","hint":"Entity not found: client"}',
    b"502 text/html\n<html>",
    words="200 400 401 429 application/json access_token refresh_token expires_in token_type scope "
    "resources property id "
    "propertyID error message hint invalid_grant invalid_client unauthorized_client cbat_ Bearer",
)
def token_answer(data: bytes) -> bool:
    """A pair comes of a 2xx with fit tokens alone, a refusal of a 400 or 401 alone; the exchange gives keys alone."""
    status, media, body = _answer(data)
    exchanged = classify_exchange(status, media, body)
    assert not isinstance(exchanged, Issued) or exchanged.pair.kind is CredentialKind.API_KEY
    found = [classify(status, media, body, sent=sent) for sent in Sent]
    for one in (exchanged, *found):
        if isinstance(one, Issued):
            assert 200 <= status < 300
            _fit(one.pair)
        elif not isinstance(one, Ambiguous):
            assert status in {400, 401}
    return any(isinstance(one, Issued) for one in found)


def _fit(pair: Pair) -> None:
    """Its tokens may go into headers, and its words into pages and logs."""
    for token in (pair.access, *(() if pair.refresh is None else (pair.refresh,))):
        text = token.reveal()
        assert 0 < len(text) <= LONGEST_TOKEN
        assert text.isascii()
        assert text.isprintable()
        assert " " not in text
    is_key = is_api_key(pair.access.reveal())
    assert (pair.kind is CredentialKind.API_KEY) == is_key == (pair.lifetime == FOREVER)
    assert not (is_key and pair.refresh)
    assert is_key or SHORTEST_LIFETIME <= pair.lifetime <= LONGEST_LIFETIME
    assert all(one and one.isprintable() for one in (*pair.property_ids, *(pair.scopes or ())))


@parser(
    b'200 application/json\n{"success":false,"message":"Scope required for this call was not granted"}',
    b'401 application/json\n{"error":"access_denied"}',
    b'403 application/problem+json\n{"code":"ACCESS_DENIED"}',
    b'200 application/json\n{"success":true,"data":[]}',
    words='application/json success false message error "code":401 {"code":403} ACCESS_DENIED access_denied status',
)
def api_answer(data: bytes) -> bool:
    """Read in passing, in pieces or packed, it says what it says as a whole; what is too long says nothing."""
    status, media, body = _answer(data)
    whole = refusal_of(status, media, body)
    for size in (1 + len(body) // 3, len(body) + 1):
        seen = _passing(status, media, "", [body[at : at + size] for at in range(0, len(body), size)])
        if len(body) > MOST or not is_json(media):
            assert seen is None
        elif status >= 400 or b"\\" not in body:  # an escape may hide the words that are looked for first
            assert seen == whole
        else:
            assert seen in (None, whole)
        packed = gzip.compress(body)
        if len(body) <= MOST and len(packed) <= MOST:
            assert _passing(status, media, "gzip", [packed]) == seen
    _passing(status, media, "gzip", [body])
    return whole is not None


def _passing(status: int, media: str, encoding: str, pieces: list[bytes]) -> Refusal | None:
    body = PassingBody(status, media, encoding)
    for piece in pieces:
        body.see(piece)
    return body.refusal()


@parser(
    b'200 application/json\n{"user_id":9001,"first_name":"Ada","last_name":"L","email":"a@b.example"}',
    b'401 application/json\n{"error":"invalid_token"}',
    b"200 text/html\n<html>",
    words="200 401 429 application/json user_id first_name email success false error message propertyID",
)
def userinfo(data: bytes) -> bool:
    """A proof comes of a 2xx that names a user in words that can be shown; a dead token of a 401."""
    status, media, body = _answer(data)
    verdict = judge_userinfo(status, media, body)
    if isinstance(verdict, Proof):
        assert 200 <= status < 300
        assert verdict.user is not None
        assert verdict.user.id
        assert all(one.isprintable() for one in (verdict.user.id, verdict.user.name, verdict.user.email))
    assert not isinstance(verdict, DeadToken) or status == 401
    return isinstance(verdict, Proof)


@cache
def _asking() -> tuple[asyncio.AbstractEventLoop, list[bytes], HttpVendor]:
    """Kept: a loop, what is answered next, and who asks."""
    answers: list[bytes] = []

    def answer(request: httpx2.Request) -> httpx2.Response:
        stream = httpx2.ByteStream(answers[-1])
        return httpx2.Response(200, headers={"content-type": "application/json"}, stream=stream)

    made = HttpVendor("https://api.example", "v1.3", "https://api.example", Timing(), httpx2.MockTransport(answer))
    return asyncio.new_event_loop(), answers, made


async def _at_once() -> None:
    """There is no rate limit."""


@parser(
    b'{"success":true,"data":[{"propertyID":"1000"},[{"propertyId":1001}]],"total":2}',
    b'{"data":[{"id":7,"event":{"entity":"guest","action":"created"},"subscriptionData":{"url":"https://us.example"}}]}',
    b'{"data":{"app_state":"disabled"},"roles":[{"name":"owner"}]}',
    b'{"success":false,"message":"no"}',
    words='"data":[ {"propertyID": "total": "id": "event": "entity": "action": "subscriptionData": "url": "roles":[',
)
def vendor_lists(data: bytes) -> bool:
    """Properties, subscriptions, roles and states that Cloudbeds lists can be stored and shown."""
    loop, answers, made = _asking()
    answers[:] = [data]
    access = Secret("A")
    listed = loop.run_until_complete(made.properties(access, _at_once))
    subscriptions = loop.run_until_complete(made.subscriptions(access, "1000"))
    roles = loop.run_until_complete(made.roles(access))
    state = loop.run_until_complete(made.app_state(access, "1000"))
    named = listed.property_ids if isinstance(listed, Listed) else ()
    assert all(map(is_property, named))
    assert state.state.isprintable()
    assert isinstance(roles, Refusal) or all(one.isprintable() for one in roles)
    if isinstance(subscriptions, Refusal):
        return bool(named)
    assert all(is_text(text) for one in subscriptions for text in (one.id, one.event, one.url))
    return bool(named or subscriptions or roles)


@parser(
    b'{"newState":"disabled","propertyID":1000,"clientID":"client-1"}',
    b'{"event":"integration/appstate_changed","app_state":"Disabled","propertyId_str":"1000"}',
    b'{"event":"reservation/created","state":"disabled","propertyID":1000}',
    b"{",
    words="event appstate_changed newState app_state state disabled propertyID propertyId_str clientID client_id",
)
def hook(data: bytes) -> bool:
    """A hint comes of an object that says `disabled` and names a property, in words that can be stored."""
    hint = webhooks.hint_of(data)
    if hint is None:
        return False
    payload = json.loads(data)
    assert "disabled" in [one_line(payload.get(name), 64).strip().lower() for name in webhooks.STATES]
    assert 0 < len(hint.property_id) <= webhooks.LONGEST
    assert hint.property_id.isprintable()
    assert len(hint.client_id) <= webhooks.LONGEST
    return True


@parser(
    b"120\n",
    b"Fri, 31 Dec 1999 23:59:59 GMT\nFri, 31 Dec 1999 23:58:59 GMT",
    b"1e9\nx",
    b"soon",
    words="Fri, Dec 1999 23:59:59 GMT +0000 -2400 99999 1e9 1e400 0.5",
)
def retry_after(data: bytes) -> bool:
    """Some seconds, never negative, or nothing; a pause and a wait are bounded whatever is asked for."""
    said, _, date = data.decode("latin-1").partition("\n")
    seconds = seconds_of(said, date)
    assert seconds is None or seconds >= 0
    pause = pause_of(TOO_MANY, {"Retry-After": said, "Date": date})
    assert pause is not None
    assert UNSAID <= pause <= LONGEST_PAUSE
    wait = webhooks.wait_after(1, seconds, 0.5)
    assert wait is not None
    assert 0 < wait <= DAY
    return seconds is not None


@parser(
    b"content-type: application/json\nset-cookie: a=b\nx-request-id: r-1\nconnection: x-request-id",
    b"location: /x\ncontent-length: 1\x01",
    words="connection content-type content-length location set-cookie transfer-encoding server etag link",
)
def response_headers(data: bytes) -> bool:
    """What goes on to a caller is on the list, nominated by nobody, and splits no answer; once more it is the same."""
    received = headers_in(data)
    nominated = {one.strip().lower() for name, value in received if name == b"connection" for one in value.split(b",")}
    with suppress(UpstreamFailed):
        sent = passed_on(received)
        assert {name for name, _ in sent} <= RESPONSE_HEADERS - nominated
        assert not any(control in value for _, value in sent for control in (b"\r", b"\n", b"\0"))
        assert passed_on(sent) == sent
        return True
    return False


@parser(
    b'{"success": true, "data": [{"propertyID": "1000"}]}',
    b"<html>",
    b"[" * 5000,
    rb'"\u202e\u001b[2J"',
    words=r'{"data": [ ] } true null \u001b \u202e',
)
def shown_answer(data: bytes) -> bool:
    """What a page shows of an answer steers neither page nor terminal, and is bounded."""
    shown, whole = readable(data)
    assert len(shown) <= MOST_SHOWN
    assert all(letter.isprintable() or letter in "\n\t" for letter in shown)
    return whole and "\n" in shown

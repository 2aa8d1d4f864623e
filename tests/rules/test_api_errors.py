"""The vendor's refusals (cloudbeds-facts.md section 6), a case for each row; the look at an answer on its way."""

from __future__ import annotations

import gzip
import json
import zlib
from typing import Any

import pytest

from cloudbeds_auth.rules import api_errors
from cloudbeds_auth.rules.api_errors import (
    MOST,
    NEXT_STEP,
    OUTAGE,
    SCOPE_REFUSED,
    TABLE,
    TRACES,
    Act,
    PassingBody,
    Refusal,
    Row,
    dead_grant,
    judge_userinfo,
    refusal_of,
    traces_of,
)
from cloudbeds_auth.rules.api_errors import DeadGrant as Dead

JSON = "application/json"
DENIED = "The resource owner or authorization server denied the request."
CLOSED = (
    "Your request could not be fully completed. The property(ies) you are accessing have an invalid status. "
    "See details:\ncanceled: 12345"
)
GONE = "Application is not available to be connected. Reach out to Partner support for any questions."
INSIGHTS = b'{"error": {"code": 401, "status": "UNAUTHORIZED", "description": "", "message": {}}}'
ELSEWHERE = "None of the included property id's match the access_token user's property id"


def no(message: str) -> dict[str, object]:
    """A failure as the classic API says it."""
    return {"success": False, "message": message}


# As the vendor's page has them: status, body; what each means here.
DOCUMENTED: list[tuple[int, dict[str, object], str, Act]] = [
    (200, no("User who approved this connection is not active anymore"), "user_inactive", Act.SUSPECT),
    (200, no(CLOSED), "property_closed", Act.REPORT),
    (200, no(GONE), "revoked", Act.SUSPECT),
    (200, no("Scope required for this call was not granted by property."), "missing_scope", Act.REPORT),
    (200, no('Please specify "propertyID" parameter for this call'), "property_unnamed", Act.REPORT),
    (200, no(ELSEWHERE), "wrong_property", Act.REPORT),
    (401, {"error": "access_denied", "message": DENIED}, "unauthorized", Act.HEAL),
    (401, {"error": "access_denied", "error_description": DENIED, "hint": "Missing"}, "unauthorized", Act.HEAL),
    (401, {"error": "access_denied", "hint": "Access token is invalid"}, "unauthorized", Act.HEAL),
    (401, {"error": "invalid_token"}, "unauthorized", Act.HEAL),
    (401, {"type": "unauthorized", "title": "Unauthorized", "status": 401, "detail": "x"}, "unauthorized", Act.HEAL),
    (401, {"error": {"code": 401, "status": "x", "description": "y", "message": {}}}, "unauthorized", Act.HEAL),
    (200, {"error": {"code": 401, "status": "x", "description": "y", "message": {}}}, "unauthorized", Act.LOOK),
    (403, {"error": {"code": 401, "status": "x", "description": "y", "message": {}}}, "unauthorized", Act.LOOK),
    (403, {"message": "Forbidden"}, "forbidden", Act.REPORT),
    (200, {"id": None, "code": "ACCESS_DENIED", "description": "Access denied"}, "forbidden", Act.REPORT),
    (400, {"id": None, "code": "ACCESS_DENIED", "description": "Access denied"}, "forbidden", Act.REPORT),
    (200, {"error": {"code": 403, "description": "no"}}, "forbidden", Act.REPORT),
    (404, {"status": False, "error": "Unknown method."}, "unknown_method", Act.NOTHING),
]
IDS = [f"{status}-{reason}-{number}" for number, (status, _, reason, _) in enumerate(DOCUMENTED)]


def refused(status: int, body: object) -> Refusal | None:
    """What this body means."""
    return refusal_of(status, JSON, json.dumps(body).encode())


@pytest.mark.row("F38", "F40")
@pytest.mark.parametrize(("status", "body", "reason", "act"), DOCUMENTED, ids=IDS)
def test_a_documented_body(status: int, body: dict[str, object], reason: str, act: Act) -> None:
    """Each has its row."""
    found = refused(status, body)
    assert found is not None
    assert (found.reason, found.act) == (reason, act)


def test_every_row_is_met() -> None:
    """No row of the table is without a documented body, and each body finds its own row first."""
    met = {next(at for at, row in enumerate(TABLE) if row.fits(status, body)) for status, body, _, _ in DOCUMENTED}
    assert met == set(range(len(TABLE)))


@pytest.mark.parametrize(("status", "body", "reason", "act"), DOCUMENTED, ids=IDS)
def test_case_and_type_do_not_matter(status: int, body: dict[str, object], reason: str, act: Act) -> None:
    """The sentence in capitals and `success` as a string mean the same."""
    if "success" in body:
        found = refused(status, {"success": "False", "message": str(body["message"]).upper()})
        assert found is not None
        assert (found.reason, found.act) == (reason, act)


@pytest.mark.parametrize("status", [200, 403, 500])
@pytest.mark.parametrize("body", [body for status, body, _, act in DOCUMENTED if act is Act.HEAL])
def test_words_of_a_401_under_another_status(status: int, body: dict[str, object]) -> None:
    """They heal nothing."""
    found = refused(status, body)
    assert found is None or found.act is not Act.HEAL


@pytest.mark.parametrize("success", [True, "true", None, 0, "no"])
def test_the_sentence_without_a_failure(success: object) -> None:
    """A hotel's own text may read like one: without `success: false` it is data."""
    for status, body, _, _ in DOCUMENTED[:6]:
        assert refused(status, body | {"success": success}) is None
        assert dead_grant(body | {"success": success}) is None


@pytest.mark.parametrize(
    ("status", "media", "body"),
    [(403, "text/html", b"<html>"), (503, JSON, b""), (401, JSON, b"[]"), (404, "text/html", b""), (502, JSON, b"{")],
)
def test_an_outage(status: int, media: str, body: bytes) -> None:
    """HTML, nothing, half of something: never a revocation, whatever the status."""
    assert refusal_of(status, media, body) == OUTAGE
    assert OUTAGE.act is Act.NOTHING


@pytest.mark.parametrize(
    ("status", "body"), [(200, no("Parameter startDate is required")), (422, {"x": 1}), (401, {"error": "x"})]
)
def test_an_unknown_refusal(status: int, body: dict[str, object]) -> None:
    """A plain error; nothing follows from it."""
    found = refused(status, body)
    assert found is not None
    assert (found.reason, found.act) == ("unknown", Act.NOTHING)


@pytest.mark.parametrize("body", [{"success": True, "data": []}, {}, {"error": None}, {"code": 7}])
def test_no_refusal(body: dict[str, object]) -> None:
    """What was asked for."""
    assert refused(200, body) is None
    assert refusal_of(200, "text/html", b"<html>") is None


def test_what_was_said_is_one_line() -> None:
    """It is shown to people and written to logs."""
    found = refused(200, no("No\n\x1b[31m" + "x" * 1000))
    assert found is not None
    assert found.said == "No[31m" + "x" * 294


def test_userinfo_is_judged_by_the_same_table() -> None:
    """A dead grant there is the proof of what a resource call only suggests; Accounting's words prove nothing."""
    assert judge_userinfo(200, JSON, json.dumps(no(GONE)).encode()) == Dead("revoked")
    for status, body in ((200, b'{"code": "ACCESS_DENIED"}'), (200, INSIGHTS), (403, INSIGHTS)):
        assert type(judge_userinfo(status, JSON, body)).__name__ == "Inconclusive"


# --- on its way


def seen(passing: PassingBody, *parts: bytes) -> Refusal | None:
    """After these parts have passed."""
    for part in parts:
        passing.see(part)
    return passing.refusal()


BODY = json.dumps(no(GONE)).encode()


@pytest.mark.parametrize("length", ["", str(len(BODY))])
@pytest.mark.parametrize("encoding", ["", "identity", "gzip", "deflate", "GZIP "])
def test_a_small_answer_is_looked_at(encoding: str, length: str) -> None:
    """Whole or in parts, packed or not."""
    packed = {"gzip": gzip.compress(BODY), "deflate": zlib.compress(BODY)}.get(encoding.strip().lower(), BODY)
    passing = PassingBody(200, "application/json; charset=utf-8", encoding, length and str(len(packed)))
    found = seen(passing, *(packed[at : at + 7] for at in range(0, len(packed), 7)))
    assert found is not None
    assert found.reason == "revoked"


@pytest.mark.parametrize(
    ("media", "encoding", "length"),
    [("application/pdf", "", ""), ("", "", ""), (JSON, "br", ""), (JSON, "", str(MOST + 1)), (JSON, "gzip, gzip", "")],
)
def test_an_answer_that_is_not_looked_at(media: str, encoding: str, length: str) -> None:
    """Known by its head: nothing of it is kept."""
    passing = PassingBody(200, media, encoding, length)
    assert not passing.looking
    assert seen(passing, BODY) is None
    assert passing._parts == []


def test_an_answer_that_turns_out_to_be_large() -> None:
    """Without a length it is known when it passes; what was kept is let go."""
    passing = PassingBody(200, JSON)
    assert seen(passing, b'{"success": false, "x": "', b"x" * MOST, b'"}') is None
    assert passing._parts == []
    assert not passing.looking


def test_a_small_answer_that_unpacks_to_a_large_one() -> None:
    """No more of it is unpacked than is looked at."""
    bomb = gzip.compress(b'{"success": false, "x": "' + b"0" * 5_000_000 + b'"}')
    assert len(bomb) < MOST
    assert seen(PassingBody(200, JSON, "gzip"), bomb) is None
    assert len(PassingBody(200, JSON, "gzip")._unpacked(bomb)) == MOST
    assert seen(PassingBody(200, JSON, "gzip"), b"not packed at all") is None


def test_an_answer_without_a_trace_is_not_taken_apart() -> None:
    """A reservation costs a search for three words."""
    assert TRACES == (b"false", b'"error"', b'"access_denied"')
    assert seen(PassingBody(200, JSON), b'{"success": true, "data": [') is None
    assert seen(PassingBody(500, JSON), b'{"success": true, "data": [') == OUTAGE


@pytest.mark.parametrize("status", [200, 202, 302])
@pytest.mark.parametrize("packed", [{"separators": (",", ":")}, {"indent": 2}])
def test_a_documented_refusal_is_found_while_it_passes(status: int, packed: dict[str, Any]) -> None:
    """Whatever `refusal_of` finds in a body, it finds in one that passes, however it is spaced."""
    for _, body, _, _ in DOCUMENTED:
        written = json.dumps(body, **packed).encode()
        assert seen(PassingBody(status, JSON), written) == refusal_of(status, JSON, written)


NEW_ROWS = [
    (Row("new", Act.REPORT, words="the moon is full"), no("The moon is full tonight")),
    (Row("new", Act.REPORT, members={"code": "FULL_MOON"}), {"code": "FULL_MOON"}),
    (Row("new", Act.REPORT, members={"problem": "moon/full"}), {"problem": "moon/full"}),
    (Row("new", Act.REPORT, members={"problem": {"number": 7}, "kind": 3}), {"problem": {"number": 7}, "kind": 3}),
    (Row("new", Act.REPORT, members={"moon": "voll\xe4"}, statuses=(200, 400)), {"moon": "voll\xe4"}),
]


@pytest.mark.parametrize(("row", "body"), NEW_ROWS)
def test_a_new_row_is_found_without_another_edit(
    monkeypatch: pytest.MonkeyPatch, row: Row, body: dict[str, object]
) -> None:
    """It is added to the table, and to nothing else; a hotel's data passes unread as before."""
    for written in (json.dumps(body), json.dumps(body, ensure_ascii=False), json.dumps(body).replace("/", "\\/")):
        passing = PassingBody(200, JSON)
        assert refused(200, body) in (None, Refusal("unknown", Act.NOTHING, "The moon is full tonight"))
        with monkeypatch.context() as patch:
            patch.setattr(api_errors, "TABLE", (*TABLE, row))
            patch.setattr(api_errors, "TRACES", traces_of(api_errors.TABLE))
            found = seen(passing, written.encode())
            assert found is not None
            assert (found.reason, found.act) == ("new", Act.REPORT)
            assert seen(PassingBody(200, JSON), b'{"success": true, "data": [') is None


def test_a_row_that_no_good_status_has_leaves_no_trace() -> None:
    """An answer of 400 and above is read anyway."""
    assert traces_of([Row("new", Act.HEAL, members={"error": "x"}, statuses=(401, 403))]) == (b"false",)


def test_what_people_are_told_has_a_next_step() -> None:
    """One for each problem, and none for what no problem comes of."""
    for row in TABLE:
        assert bool(row.next_step) == (row.act is Act.REPORT)
        assert row.act is not Act.REPORT or row.next_step == NEXT_STEP[row.reason]
    assert {"missing_scope", "forbidden"} == SCOPE_REFUSED

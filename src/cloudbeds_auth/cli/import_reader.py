"""Reads a list of hotels: CSV with a header, a JSON document, or JSON lines. Every mistake is reported with its line.

A report never contains the value of a token.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from cloudbeds_auth.errors import InvalidRequest
from cloudbeds_auth.rules.credential import API_KEY_PREFIX, is_api_key
from cloudbeds_auth.rules.imports import Handover
from cloudbeds_auth.rules.inputs import LONGEST_PROPERTY, checked_reference, is_property, is_text, is_token
from cloudbeds_auth.rules.secret import Secret

CREDENTIALS = ("refresh_token", "api_key")  # each hotel has exactly one of them
MOST_APPS = 20  # names in a message
COLUMNS = ("reference", "property", *CREDENTIALS, "access_token", "expires_at", "scopes", "app")


@dataclass(frozen=True, slots=True)
class Line:
    """One hotel and its line number in a CSV file or JSON lines, or its position in a JSON list.

    `api_key`: a key that the hotel created; its refresh token is empty then.
    """

    number: int
    hotel: Handover
    api_key: Secret | None = None


def read(text: str) -> list[Line]:
    """All hotels in the file. Raises InvalidRequest with every mistake."""
    problems: list[str] = []
    lines: list[Line] = []
    try:
        for number, row in _rows(text.removeprefix("\ufeff")):
            wrong = [f"line {number}: {one}" for one in _wrong(row)]
            problems += wrong
            if not wrong:
                key = _text(row, "api_key")
                lines.append(Line(number, _hotel(row), None if key is None else Secret(key)))
    except _Unreadable as why:
        problems.append(str(why))
    problems += _twice(lines)
    if not lines and not problems:
        problems.append("the file contains no hotel")
    _refuse(problems)
    return lines


def refuse_unknown_apps(lines: Sequence[Line], apps: Sequence[str]) -> None:
    """Raises InvalidRequest with all lines whose app is not one of these, and what there is, once."""
    known = frozenset(apps)
    unknown = [
        f"line {line.number}: there is no app {line.hotel.app!r}" for line in lines if line.hotel.app not in known
    ]
    if unknown:
        more = f", and {len(apps) - MOST_APPS} more (see `cloudbeds-auth apps`)" if len(apps) > MOST_APPS else ""
        _refuse([*unknown, f"apps that there are: {', '.join(apps[:MOST_APPS])}{more}"])


def _refuse(problems: Sequence[str]) -> None:
    if problems:
        raise InvalidRequest("\n".join(problems), next_step="correct the file; nothing was sent or written")


class _Unreadable(Exception):
    pass


Row = Mapping[str, object]


def _rows(text: str) -> Iterator[tuple[int, Row]]:
    start = text.lstrip()[:1]
    if start == "[":
        yield from _listed(_json(text))
    elif start == "{":
        yield from _objects(text)
    else:
        yield from _csv(text)


def _objects(text: str) -> Iterator[tuple[int, Row]]:
    """One document with `hotels`, or one object per line."""
    try:
        whole = json.loads(text)
    except (ValueError, RecursionError):
        for number, line in enumerate(text.split("\n"), 1):
            if line.strip():
                yield number, _object(_json(line, number), number)
        return
    if "hotels" in whole:
        yield from _listed(whole["hotels"])
    else:
        yield 1, _object(whole, 1)


def _listed(found: object) -> Iterator[tuple[int, Row]]:
    if not isinstance(found, list):
        raise _Unreadable("`hotels` must be a list of objects")
    for number, one in enumerate(found, 1):
        yield number, _object(one, number)


def _object(one: object, number: int) -> Row:
    if not isinstance(one, dict):
        raise _Unreadable(f"line {number}: a hotel must be a JSON object")
    return {str(name): value for name, value in one.items()}


def _json(text: str, line: int | None = None) -> object:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        at = line if line is not None else getattr(error, "lineno", 1)
        raise _Unreadable(f"line {at}: it looks like JSON but is not valid") from None


def _csv(text: str) -> Iterator[tuple[int, Row]]:
    reader = csv.DictReader(io.StringIO(text), skipinitialspace=True)
    try:
        reader.fieldnames = _header(reader.fieldnames or ())
        for row in reader:
            yield reader.line_num, row
    except csv.Error as error:
        raise _Unreadable(f"line {reader.line_num + 1}: {error}") from None


def _header(names: Sequence[str]) -> list[str]:
    """The names of the columns; raises _Unreadable if a required one is missing, or one is there twice."""
    header = [name.strip().lower() for name in names]
    missing = [name for name in ("property", "refresh_token") if name not in header]
    if missing and not (missing == ["refresh_token"] and "api_key" in header):
        commas = ", separated by commas" if any(";" in one or "\t" in one for one in names) else ""
        known = ", ".join(COLUMNS) + commas
        raise _Unreadable(f"line 1: the header lacks {' and '.join(missing)}; columns may be {known}")
    twice = [name for name in COLUMNS if header.count(name) > 1]
    if twice:
        raise _Unreadable(f"line 1: the header has {' and '.join(twice)} more than once")
    return header


def _wrong(row: Row) -> Iterator[str]:
    """What is wrong with one hotel."""
    if None in row:
        yield "it has more fields than the header"
        return
    unknown = [name for name in row if name not in COLUMNS]
    if unknown:
        yield f"unknown column {', '.join(repr(name) for name in unknown)}; columns may be {', '.join(COLUMNS)}"
    property_id = _text(row, "property") or ""
    if not property_id:
        yield "property is empty"
    elif not is_property(property_id):
        yield f"property has more than {LONGEST_PROPERTY} characters, or a control character"
    if property_id.startswith("con_"):
        yield "property must be the property id at Cloudbeds, not a connection id"
    if not all(map(is_text, _scopes(row) or ())):
        yield "scopes contains a control character"
    yield from _wrong_credentials(row)
    try:
        checked_reference(_text(row, "reference"))
    except InvalidRequest as error:
        yield error.detail
    try:
        _moment(row)
    except ValueError:
        yield "expires_at is neither Unix seconds nor a time like 2026-11-24T15:00:00Z"


def _wrong_credentials(row: Row) -> Iterator[str]:
    """What is wrong with the token or the key of one hotel."""
    given = [name for name in CREDENTIALS if _text(row, name)]
    if not given:
        yield "refresh_token is empty, and so is api_key" if "api_key" in row else "refresh_token is empty"
    if len(given) > 1:
        yield "it has a refresh_token and an api_key: leave out the one that is no longer used"
    for name in (*CREDENTIALS, "access_token"):
        value = _text(row, name) or ""
        if value and not is_token(value):
            yield f"{name} does not look like a token"
    key = _text(row, "api_key")
    if key and not is_api_key(key):
        yield f"api_key does not begin with {API_KEY_PREFIX}"


def _twice(lines: Sequence[Line]) -> Iterator[str]:
    """The same token for two hotels, or the same hotel twice."""
    seen: dict[tuple[str, str, str], int] = {}
    for line in lines:
        hotel = line.hotel
        name, secret = ("api_key", line.api_key) if line.api_key else ("refresh_token", hotel.refresh_token)
        for key in ((name, "", secret.reveal()), ("property", hotel.app, hotel.property_id)):
            first = seen.setdefault(key, line.number)
            if first != line.number:
                yield f"line {line.number}: the same {key[0]} as in line {first}"


def _hotel(row: Row) -> Handover:
    access = _text(row, "access_token")
    return Handover(
        property_id=_text(row, "property") or "",
        refresh_token=Secret(_text(row, "refresh_token") or ""),
        reference=_text(row, "reference"),
        app=_text(row, "app") or "default",
        access_token=None if access is None else Secret(access),
        expires_at=_moment(row),
        scopes=_scopes(row),
    )


def _scopes(row: Row) -> tuple[str, ...] | None:
    """Scopes, given as a list or as text separated by spaces; None: not known."""
    scopes = row.get("scopes")
    if isinstance(scopes, str):
        scopes = scopes.split() or None
    return tuple(str(scope) for scope in scopes) if isinstance(scopes, list) else None


def _text(row: Row, name: str) -> str | None:
    value = row.get(name)
    return None if value is None or isinstance(value, bool | list | dict) else str(value).strip() or None


def _moment(row: Row) -> datetime | None:
    """An ISO 8601 time (UTC if it has no offset) or Unix seconds; raises ValueError."""
    text = _text(row, "expires_at")
    if text is None:
        return None
    try:
        return datetime.fromtimestamp(float(text), UTC)
    except (ValueError, OverflowError, OSError):
        found = datetime.fromisoformat(text)
        return found if found.tzinfo else found.replace(tzinfo=UTC)

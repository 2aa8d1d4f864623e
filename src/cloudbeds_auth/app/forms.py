"""Input of our pages: which forms are read, their fields, and the parameters of a query."""

from __future__ import annotations

import re
from urllib.parse import parse_qsl

from cloudbeds_auth.app.exchanges import PageRequest
from cloudbeds_auth.app.limits import LARGEST_BODY
from cloudbeds_auth.errors import InvalidRequest

MEDIA = "application/x-www-form-urlencoded"
MOST_PARAMETERS = 20
FORM_TOKEN = "form_token"  # the field by which a form is known to be one of a session's own pages
_LENGTH = re.compile(r"[0-9]{1,9}")
_FOR_PEOPLE = frozenset({"error_description"})  # may hold line breaks; it is shown on one line


def may_be_read(request: PageRequest) -> bool:
    """Whether this is a form whose body is known to be small before it is read."""
    media = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    length = request.headers.get("content-length", "")
    known = "transfer-encoding" not in request.headers and _LENGTH.fullmatch(length) is not None
    return request.method == "POST" and media == MEDIA and known and int(length) <= LARGEST_BODY


def fields(request: PageRequest, *names: str) -> dict[str, str]:
    """The values of these fields; raises InvalidRequest unless each occurs exactly once, and no others do."""
    try:
        pairs = parse_qsl(request.body.decode("ascii"), keep_blank_values=True, max_num_fields=len(names))
    except ValueError:
        pairs = []
    if sorted(name for name, _ in pairs) != sorted(names):
        raise InvalidRequest(f"the form has other fields than this page's: {', '.join(names)}")
    return {name: value.strip() for name, value in pairs}


def parameters(request: PageRequest, *names: str) -> dict[str, str]:
    """The named query parameters; raises InvalidRequest when one of them came twice (RFC 6749 section 3.1, A07)."""
    try:
        request.query.encode("ascii")
        pairs = parse_qsl(request.query, keep_blank_values=True, max_num_fields=MOST_PARAMETERS)
    except ValueError:
        raise InvalidRequest("the query is not readable") from None
    found: dict[str, str] = {}
    for name, value in pairs:
        if name in found and name in names:
            raise InvalidRequest(f"the parameter `{name}` came twice")
        found[name] = value
    if any(not _is_plain(found[name]) for name in names if name in found and name not in _FOR_PEOPLE):
        raise InvalidRequest("a parameter holds control characters")
    return {name: found[name] for name in names if name in found}


def _is_plain(value: str) -> bool:
    return not any(ord(letter) < 0x20 or ord(letter) == 0x7F for letter in value)

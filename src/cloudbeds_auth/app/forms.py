"""Forms of our pages: which of them a rim reads, and what they hold."""

from __future__ import annotations

import re
from urllib.parse import parse_qsl

from cloudbeds_auth.app.exchanges import PageRequest
from cloudbeds_auth.app.limits import LARGEST_BODY
from cloudbeds_auth.errors import InvalidRequest

MEDIA = "application/x-www-form-urlencoded"
_LENGTH = re.compile(r"[0-9]{1,9}")


def may_be_read(request: PageRequest) -> bool:
    """Whether this is a form of whose body it is known before that it is small."""
    media = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    length = request.headers.get("content-length", "")
    known = "transfer-encoding" not in request.headers and _LENGTH.fullmatch(length) is not None
    return request.method == "POST" and media == MEDIA and known and int(length) <= LARGEST_BODY


def fields(request: PageRequest, *names: str) -> dict[str, str]:
    """The values of these fields; raises InvalidRequest unless each is there once, and no other."""
    try:
        pairs = parse_qsl(request.body.decode("ascii"), keep_blank_values=True, max_num_fields=len(names))
    except ValueError:
        pairs = []
    if sorted(name for name, _ in pairs) != sorted(names):
        raise InvalidRequest(f"the form has other fields than this page's: {', '.join(names)}")
    return {name: value.strip() for name, value in pairs}

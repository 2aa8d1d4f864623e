"""The id of a request: the caller's own if well-formed, so that the caller's log and the service's have the same id."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

REQUEST_ID, TRACEPARENT, CONNECTION = b"x-request-id", b"traceparent", b"connection"
_WELL_FORMED = re.compile(rb"[A-Za-z0-9][A-Za-z0-9._:=+/@-]{0,127}\Z")
_TRACE = re.compile(
    rb"(?:00-([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}|(?!00|ff)[0-9a-f]{2}-([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}(?:-.*)?)\Z"
)
"""W3C Trace Context, section 3.2.2: version, trace id, parent id, flags; a later version may append fields."""
_ZEROS = re.compile(rb"..-0{32}-|.{36}0{16}")


def request_id_of(headers: Iterable[tuple[bytes, bytes]]) -> str | None:
    """The caller's `X-Request-ID`, else the trace id of its `traceparent`; None if neither is well-formed.

    Header names are in lower case. A header that was sent twice is not well-formed. Nor is an `X-Request-ID` that
    `Connection` declares hop-by-hop (RFC 9110 section 7.6.1), because the id is forwarded to Cloudbeds.
    """
    given = [one for one in headers if one[0] in _READ]
    ids = _values(given, REQUEST_ID)
    if len(ids) == 1 and _WELL_FORMED.match(ids[0]) and not _nominates(given):
        return ids[0].decode("ascii")
    traces = _values(given, TRACEPARENT)
    found = _TRACE.match(traces[0]) if len(traces) == 1 and not _ZEROS.match(traces[0]) else None
    return None if found is None else (found[1] or found[2]).decode("ascii")


_READ = frozenset({REQUEST_ID, TRACEPARENT, CONNECTION})


def _values(headers: Sequence[tuple[bytes, bytes]], name: bytes) -> list[bytes]:
    return [value for one, value in headers if one == name]


def _nominates(headers: Sequence[tuple[bytes, bytes]]) -> bool:
    return any(REQUEST_ID in value.lower() for value in _values(headers, CONNECTION))

"""A look at an answer on its way to the caller: whether it is a refusal, without holding anything up.

Only a small answer of JSON is looked at, by its head first, and while its bytes pass; of anything else nothing is kept.
"""

from __future__ import annotations

import zlib

from cloudbeds_auth.rules.api_errors import Refusal, refusal_of
from cloudbeds_auth.rules.inputs import count_of
from cloudbeds_auth.rules.parsing import is_json

MOST = 8 * 1024  # bytes, as sent and unpacked; every documented refusal has less than one of these eight
PACKED = frozenset({"gzip", "x-gzip", "deflate"})
LEGIBLE = PACKED | {"identity"}
# One of these is in every refusal with a 2xx; without them a body is not taken apart. In lower case.
TRACES = (b"false", b'"error"', b"access_denied")


def legible(accepted: str) -> str:
    """An `Accept-Encoding` without what no glance could unpack (`br`, `zstd`, `*`); the rest keeps its weight.

    RFC 9110 section 12.5.3: `identity` asks for an answer that is not packed.
    """
    codings = (one.strip() for one in accepted.split(","))
    return ", ".join(one for one in codings if one.partition(";")[0].strip().lower() in LEGIBLE) or "identity"


class Glance:
    """Begun with the head of an answer: `length` is the Content-Length, empty where none is announced."""

    __slots__ = ("_encoding", "_media", "_parts", "_size", "_status", "looking")

    def __init__(self, status: int, content_type: str, encoding: str = "", length: str = "") -> None:
        self._status = status
        self._media = content_type
        self._encoding = encoding.strip().lower()
        self._parts: list[bytes] = []
        self._size = 0
        self.looking = (
            is_json(content_type) and (self._encoding in LEGIBLE or not self._encoding) and not count_of(length) > MOST
        )

    def see(self, part: bytes) -> None:
        """Some bytes of the body passed."""
        if not self.looking:
            return
        self._size += len(part)
        if self._size > MOST:
            self.looking = False
            self._parts.clear()
        else:
            self._parts.append(part)

    def refusal(self) -> Refusal | None:
        """What was refused, once the whole body has passed; None where nothing was, or nothing was looked at."""
        if not self.looking:
            return None
        body = self._unpacked(b"".join(self._parts))
        if self._status < 400:
            seen = body.lower()
            if not any(trace in seen for trace in TRACES):
                return None
        return refusal_of(self._status, self._media, body)

    def _unpacked(self, body: bytes) -> bytes:
        """At most `MOST` bytes, whatever the packed ones would become; empty where they are not what they say."""
        if self._encoding not in PACKED:
            return body
        try:
            return zlib.decompressobj(zlib.MAX_WBITS | 32).decompress(body, MOST)  # either header, found by itself
        except zlib.error:
            return b""

"""Requests as they were received, and the ordered log of all of them with what became of each.

The path of a request is kept byte for byte, its body is read, and forms of both encodings are parsed.
"""

from __future__ import annotations

import asyncio
import re
from collections import Counter, defaultdict
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import parse_qsl

from aiohttp import web

from cloudbeds_simulator.vendor_model import KEY_PREFIX

API_PATH = re.compile(r"/api/v\d+(?:\.\d+)?/(?P<name>.+)")
URLENCODED = "application/x-www-form-urlencoded"


@dataclass(frozen=True, slots=True)
class ReceivedCall:
    """One received request.

    ``raw_path`` is the request target as sent; ``name`` is what follows ``/api/vX.Y/``, empty elsewhere. For a
    multipart form outside ``echo/``, the fields and files (name and content) are kept and ``body`` is empty.
    """

    method: str
    raw_path: str
    headers: Mapping[str, str]
    body: bytes = b""
    form: dict[str, list[str]] = field(default_factory=dict)
    files: dict[str, tuple[str, bytes]] = field(default_factory=dict)

    @property
    def path(self) -> str:
        """The path without its query, undecoded."""
        return self.raw_path.partition("?")[0]

    @property
    def name(self) -> str:
        """``getHotels`` of ``/api/v1.3/getHotels``."""
        found = API_PATH.fullmatch(self.path)
        return found["name"] if found else ""

    @property
    def query(self) -> list[tuple[str, str]]:
        """The query's parameters, decoded, in order."""
        return parse_qsl(self.raw_path.partition("?")[2], keep_blank_values=True)

    @property
    def credentials(self) -> list[str]:
        """A bearer token, an API key in ``x-api-key``, or both, as no client should send; no other place counts."""
        scheme, _, token = self.headers.get("Authorization", "").partition(" ")
        bearer = token.strip() if scheme.lower() == "bearer" else ""
        key = self.headers.get("X-Api-Key", "").strip()
        return [one for one in (bearer, key if key.startswith(KEY_PREFIX) else "") if one]

    def field(self, name: str) -> str:
        """A form field: empty if absent, the last value if sent more than once."""
        return self.form.get(name, [""])[-1]


async def read(request: web.BaseRequest) -> ReceivedCall:
    """Read the request to its end."""
    call = ReceivedCall(request.method, request.raw_path, request.headers)
    form: dict[str, list[str]] = {}
    if request.content_type == "multipart/form-data" and not call.name.startswith("echo/"):
        return replace(call, form=form, files=await _multipart(request, form))
    body = await request.read()
    if request.content_type == URLENCODED:
        for key, value in parse_qsl(body.decode("utf-8", "replace"), keep_blank_values=True):
            form.setdefault(key, []).append(value)
    return replace(call, body=body, form=form)


async def _multipart(request: web.BaseRequest, form: dict[str, list[str]]) -> dict[str, tuple[str, bytes]]:
    """Add the fields to the form, and return the files."""
    files: dict[str, tuple[str, bytes]] = {}
    for key, value in (await request.post()).items():
        if isinstance(value, web.FileField):
            with value.file:
                files[key] = (value.filename, value.file.read())
        else:
            text = value if isinstance(value, str) else bytes(value).decode("utf-8", "replace")
            form.setdefault(key, []).append(text)
    return files


@dataclass(slots=True)
class JournalEntry:
    """One request, logged once it has been read to its end, before anything is done.

    ``target`` is ``oauth``, ``token``, ``userinfo``, ``resource`` or ``other``. ``outcome`` starts as ``pending``. At
    the token endpoint it becomes ``issued``, ``refused``, ``client_refused`` or ``invalid``; at a protected method
    ``accepted``, ``401``, ``dead`` or ``unknown_method``; at the consent page ``shown``, ``approved``, ``denied`` or
    ``invalid``; and ``not_acted`` if a fault answered instead. ``answered`` turns true once the last byte of the answer
    has been written. ``key_header``: whether the request had an ``x-api-key``. ``at``: Unix seconds by the simulator's
    clock.
    """

    n: int
    at: float
    target: str
    method: str
    path: str
    grant_type: str | None = None
    refresh_token: str | None = None
    access_token: str | None = None
    client_id: str | None = None
    outcome: str = "pending"
    detail: str = ""
    grant: int | None = None
    ordinal: int | None = None
    repeated: bool = False
    status: int | None = None
    answered: bool = False
    fault: str | None = None
    key_header: bool = False


class Journal:
    """All entries since the start. When an entry changes, ``change`` is set, and replaced by a new event."""

    def __init__(self) -> None:
        self.entries: list[JournalEntry] = []
        self.change = asyncio.Event()

    def changed(self) -> None:
        """Wake those that wait for a change of the log."""
        self.change.set()
        self.change = asyncio.Event()

    async def wait_for(self, wanted: dict[str, object], after: int, timeout: float) -> JournalEntry | None:
        """The first entry after number ``after`` whose fields have all the wanted values.

        None if there is none within ``timeout`` seconds.
        """
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout):
                while True:
                    for entry in self.after(after):
                        if all(getattr(entry, name) == value for name, value in wanted.items()):
                            return entry
                    await self.change.wait()
        return None

    def after(self, n: int) -> list[JournalEntry]:
        """The entries after number n."""
        return self.entries[max(0, n) :]

    def counts(self) -> dict[str, Any]:
        """The numbers of token requests by grant type and outcome, and of calls of protected methods by outcome."""
        tokens: defaultdict[str, Counter[str]] = defaultdict(Counter)
        resources: Counter[str] = Counter()
        for entry in self.entries:
            if entry.target == "token":
                tokens[entry.grant_type or ""][entry.outcome] += 1
            elif entry.target in ("userinfo", "resource"):
                resources[entry.outcome] += 1
        return {"token": tokens, "resource": resources}

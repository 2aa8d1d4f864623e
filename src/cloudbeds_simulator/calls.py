"""A request as the simulator received it: the path byte for byte, the body read, forms of both encodings parsed."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import parse_qsl

from aiohttp import web

from cloudbeds_simulator.keys import PREFIX

API_PATH = re.compile(r"/api/v\d+(?:\.\d+)?/(?P<name>.+)")
URLENCODED = "application/x-www-form-urlencoded"


@dataclass(frozen=True, slots=True)
class Upload:
    """A file part of a multipart form."""

    filename: str
    content: bytes


@dataclass(frozen=True, slots=True)
class Call:
    """One received request.

    ``raw_path`` is the request target as sent, ``name`` what follows ``/api/vX.Y/``, empty elsewhere. Of a multipart
    form outside ``echo/`` the fields and files are kept and ``body`` is empty.
    """

    method: str
    raw_path: str
    headers: Mapping[str, str]
    body: bytes = b""
    form: dict[str, list[str]] = field(default_factory=dict)
    files: dict[str, Upload] = field(default_factory=dict)

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
    def bearer(self) -> str | None:
        """The token of an ``Authorization: Bearer`` header; no other place is looked at."""
        scheme, _, token = self.headers.get("Authorization", "").partition(" ")
        return token.strip() if scheme.lower() == "bearer" and token.strip() else None

    @property
    def credentials(self) -> list[str]:
        """What the call shows: a bearer, an API key in ``x-api-key``, or (nobody should) both."""
        key = self.headers.get("X-Api-Key", "").strip()
        return [one for one in (self.bearer, key if key.startswith(PREFIX) else None) if one]

    def param(self, name: str) -> str:
        """A parameter of the query, or else of the form; empty when absent."""
        for key, value in self.query:
            if key == name:
                return value
        return self.field(name)

    def field(self, name: str) -> str:
        """A form field, empty when absent; the last one when sent more than once."""
        return self.form.get(name, [""])[-1]


async def read(request: web.BaseRequest) -> Call:
    """Read the request to its end."""
    call = Call(request.method, request.raw_path, request.headers)
    if request.content_type == "multipart/form-data" and not call.name.startswith("echo/"):
        form, files = await _multipart(request)
        return Call(request.method, request.raw_path, request.headers, b"", form, files)
    body = await request.read()
    form = _urlencoded(body) if request.content_type == URLENCODED else {}
    return Call(request.method, request.raw_path, request.headers, body, form)


def _urlencoded(body: bytes) -> dict[str, list[str]]:
    form: dict[str, list[str]] = {}
    for key, value in parse_qsl(body.decode("utf-8", "replace"), keep_blank_values=True):
        form.setdefault(key, []).append(value)
    return form


async def _multipart(request: web.BaseRequest) -> tuple[dict[str, list[str]], dict[str, Upload]]:
    form: dict[str, list[str]] = {}
    files: dict[str, Upload] = {}
    for key, value in (await request.post()).items():
        if isinstance(value, web.FileField):
            with value.file:
                files[key] = Upload(value.filename, value.file.read())
        else:
            text = value if isinstance(value, str) else bytes(value).decode("utf-8", "replace")
            form.setdefault(key, []).append(text)
    return form, files

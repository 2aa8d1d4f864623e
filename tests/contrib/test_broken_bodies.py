"""A caller that hangs up before its body's end, where the flow is mounted: no failure of the application."""

from __future__ import annotations

import logging
from io import RawIOBase
from pathlib import Path
from typing import Any
from wsgiref.util import setup_testing_defaults

import pytest
from django.core.wsgi import get_wsgi_application
from django.test import override_settings
from fastapi import FastAPI
from tests.contrib.mounted_apps import at_urls
from tests.support.simulator import vendor

from cloudbeds_auth.contrib import django as on_django
from cloudbeds_auth.contrib import fastapi as on_fastapi
from cloudbeds_auth.rules.secret import Secret

PATH, HEADER = "a-path-that-nobody-guesses-0123456789", "a-header-that-nobody-guesses-0123456"
FORM = "application/x-www-form-urlencoded"
FORMS = ("/connect/abc", "/paste-key/abc", "/add-app/abc", f"/hooks/{PATH}")


def failures(caplog: pytest.LogCaptureFixture) -> list[str]:
    """What the log calls an error."""
    return [one.getMessage() for one in caplog.records if one.levelno >= logging.ERROR]


@pytest.mark.parametrize("path", FORMS)
async def test_in_fastapi_it_is_a_bad_request(path: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Also where the router alone was included, without a handler of our errors."""
    sent: list[Any] = []
    coming = [
        {"type": "http.request", "body": b"abc", "more_body": True},
        {"type": "http.disconnect"},
    ]

    async def receive() -> Any:
        return coming.pop(0)

    async def send(message: Any) -> None:
        sent.append(message)

    headers = {"host": "localhost", "content-type": FORM, "content-length": "100", "x-hook-secret": HEADER}
    scope = {
        "type": "http", "http_version": "1.1", "method": "POST", "scheme": "http", "path": path,
        "raw_path": path.encode(), "root_path": "", "query_string": b"", "client": ("127.0.0.1", 1),
        "headers": [(name.encode(), value.encode()) for name, value in headers.items()],
    }  # fmt: skip
    async with vendor() as simulated:
        secrets = {"hook_secret": Secret(PATH), "hook_header": Secret(HEADER)}
        app, cloudbeds = FastAPI(), on_fastapi.Cloudbeds(simulated.settings(tmp_path, **secrets))
        app.include_router(cloudbeds.router)
        async with app.router.lifespan_context(app):
            await app(scope, receive, send)
    assert sent[0]["status"] == 400
    assert b"the body broke off" in sent[1]["body"]
    assert failures(caplog) == []


class Hangup(RawIOBase):
    """The input of a connection that is reset."""

    def read(self, size: int = -1, /) -> bytes:
        raise ConnectionResetError


@pytest.mark.parametrize("path", FORMS)
def test_in_django_it_is_a_bad_request(path: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Also without `ProblemMiddleware`."""
    told: list[str] = []
    environ = {
        "REQUEST_METHOD": "POST", "PATH_INFO": path, "HTTP_HOST": "localhost", "CONTENT_TYPE": FORM,
        "CONTENT_LENGTH": "100", "HTTP_X_HOOK_SECRET": HEADER, "wsgi.input": Hangup(),
    }  # fmt: skip
    setup_testing_defaults(environ)
    given = {
        "CLOUDBEDS_CLIENT_ID": "client-1", "CLOUDBEDS_CLIENT_SECRET": "secret-1",
        "CLOUDBEDS_REDIRECT_URI": "http://localhost:8000/callback",
        "CLOUDBEDS_AUTH_DATABASE_URL": f"sqlite:///{tmp_path}/vault.sqlite3",
        "CLOUDBEDS_AUTH_HOOK_SECRET": PATH, "CLOUDBEDS_AUTH_HOOK_HEADER": HEADER,
    }  # fmt: skip
    with at_urls(on_django.Cloudbeds(), "", **given), override_settings(MIDDLEWARE=[]):
        body = b"".join(get_wsgi_application()(environ, lambda status, _: told.append(status)))
    assert told == ["400 Bad Request"]
    assert b"the body broke off" in body
    assert failures(caplog) == []

"""One application, written once for each framework, under a real server beside a simulated Cloudbeds."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any
from urllib.parse import parse_qs, urlsplit

import django
import httpx2
import uvicorn
from django.conf import settings as project
from django.core.wsgi import get_wsgi_application
from django.http import HttpResponse, JsonResponse
from django.test import override_settings
from django.urls import path
from django.views.decorators.csrf import csrf_exempt
from fastapi import Depends, FastAPI, Request
from flask import Flask, request
from starlette.responses import HTMLResponse
from tests.acceptance.processes import Answer, Http, Vendor, World, vendor_on_a_thread
from tests.contrib.serving import approved
from tests.support.ports import free_port
from werkzeug.serving import make_server

from cloudbeds_auth.contrib import django as on_django
from cloudbeds_auth.contrib import fastapi as on_fastapi
from cloudbeds_auth.contrib import flask as on_flask
from cloudbeds_auth.contrib.web_flow import mounted_settings
from cloudbeds_auth.settings import Need, load
from cloudbeds_auth.sync import TokenVault

BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"
BLOCKING = ("flask", "django")
KINDS = (*BLOCKING, "fastapi")


@dataclass
class Theirs:
    """Their running application, the vendor, and browsers; `vault` blocks, over the application's database."""

    kind: str
    base: str
    prefix: str
    vendor: Vendor
    vault: TokenVault

    @property
    def pages(self) -> str:
        """Where our pages are."""
        return self.base + self.prefix

    def tab(self) -> Http:
        """A browser."""
        return Http(self.base)

    def approved(self, tab: Http, start: str = "/connect") -> dict[str, str]:
        """This browser began there, and the hotel approved: the parameters on their way back."""
        return {name: one[0] for name, one in parse_qs(urlsplit(approved(tab, self.pages + start)).query).items()}

    def connected(self, start: str = "/connect") -> str:
        """A hotel came in through a browser of its own; the connection's id."""
        return parse_qs(urlsplit(self.tab().start(self.pages + start, follow=True).url).query)["connection_id"][0]

    def exchanges(self) -> int:
        """How many codes were sent to the vendor."""
        return sum(self.vendor.counts("authorization_code").values())


def code_of(answer: Answer) -> tuple[int, str]:
    """Status and code of an answer of ours."""
    return answer.status, answer.headers["X-Cloudbeds-Auth-Code"]


def page(kind: str, text: str, status: int = 200) -> Any:
    """What a view of theirs returns."""
    if kind == "fastapi":
        return HTMLResponse(text, status)
    return HttpResponse(text, status=status) if kind == "django" else (text, status)


@contextmanager
def running(
    kind: str, folder: Path, hooks: dict[str, Any] | None = None, *, prefix: str = "/cloudbeds", **settings: str
) -> Iterator[Theirs]:
    """The application until the block ends; `hooks` are arguments of `Cloudbeds`."""
    port = free_port()
    redirect_uri = f"http://localhost:{port}{prefix}/callback"
    with vendor_on_a_thread("--auto-approve", redirect_uri=redirect_uri) as simulator:
        world = World(folder, simulator, port, {"CLOUDBEDS_REDIRECT_URI": redirect_uri, **settings})
        application = {"flask": _flask, "django": _django, "fastapi": _fastapi}[kind]
        served = _served_asgi if kind == "fastapi" else _served
        with application(world.settings, prefix, hooks or {}) as (app, vault), served(app, port):
            yield Theirs(kind, world.base, prefix, simulator, vault)


@contextmanager
def _served(app: Any, port: int) -> Iterator[None]:
    server = make_server("127.0.0.1", port, app, threaded=True)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@contextmanager
def _served_asgi(app: Any, port: int) -> Iterator[None]:
    server = uvicorn.Server(uvicorn.Config(app, port=port, log_config=None))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    try:
        while not server.started:
            assert thread.is_alive()
            time.sleep(0.01)
        yield
    finally:
        server.should_exit = True
        thread.join()


@contextmanager
def _flask(settings: dict[str, str], prefix: str, hooks: dict[str, Any]) -> Iterator[tuple[Any, TokenVault]]:
    app = Flask("theirs")
    app.config.update(settings)
    cloudbeds = on_flask.Cloudbeds(**hooks)
    cloudbeds.init_app(app, url_prefix=prefix)

    @app.before_request
    def reads_every_form() -> None:  # before our pages do
        assert request.form is not None

    @app.get("/hotels/<identifier>/userinfo")
    def userinfo(identifier: str) -> Any:
        with cloudbeds.client(identifier) as session:
            return session.get("/api/v1.3/userinfo").json()

    @app.route("/hotels/<identifier>/echo", methods=["GET", "POST"])
    def echo(identifier: str) -> Any:
        with cloudbeds.client(identifier) as session:
            return session.request(request.method, "echo").json()

    @app.get("/hotels/<identifier>/elsewhere")
    def elsewhere(identifier: str) -> Any:
        with cloudbeds.client(identifier) as session:
            return session.get("https://elsewhere.example/").json()

    with app.app_context():
        vault = cloudbeds.vault
    try:
        yield app, vault
    finally:
        vault.close()


@contextmanager
def _django(settings: dict[str, str], prefix: str, hooks: dict[str, Any]) -> Iterator[tuple[Any, TokenVault]]:
    cloudbeds = on_django.Cloudbeds(**hooks)

    def userinfo(request: Any, identifier: str) -> Any:
        with cloudbeds.client(identifier) as session:
            return JsonResponse(session.get("/api/v1.3/userinfo").json())

    def echo(request: Any, identifier: str) -> Any:
        with cloudbeds.client(identifier) as session:
            return JsonResponse(session.request(request.method, "echo").json())

    def elsewhere(request: Any, identifier: str) -> Any:
        with cloudbeds.client(identifier) as session:
            return JsonResponse(session.get("https://elsewhere.example/").json())

    views = [
        path("hotels/<identifier>/userinfo", userinfo),
        path("hotels/<identifier>/echo", csrf_exempt(echo)),
        path("hotels/<identifier>/elsewhere", elsewhere),
        path("protected", lambda request: HttpResponse("theirs")),
    ]
    with at_urls(cloudbeds, prefix, *views, **settings) as vault:
        try:
            yield get_wsgi_application(), vault
        finally:
            vault.close()


@contextmanager
def _fastapi(settings: dict[str, str], prefix: str, hooks: dict[str, Any]) -> Iterator[tuple[Any, TokenVault]]:
    app = FastAPI()
    found = load(settings, None, need=Need.APP)
    cloudbeds = on_fastapi.Cloudbeds(found, **hooks)
    cloudbeds.install(app, prefix=prefix)
    client = Depends(cloudbeds.client())

    @app.get("/hotels/{connection_id}/userinfo")
    async def userinfo(http: httpx2.AsyncClient = client) -> Any:
        return (await http.get("/api/v1.3/userinfo")).json()

    @app.api_route("/hotels/{connection_id}/echo", methods=["GET", "POST"])
    async def echo(request: Request, http: httpx2.AsyncClient = client) -> Any:
        return (await http.request(request.method, "/api/v1.3/echo")).json()

    @app.get("/hotels/{connection_id}/elsewhere")
    async def elsewhere(http: httpx2.AsyncClient = client) -> Any:
        return (await http.get("https://elsewhere.example/")).json()

    with TokenVault.open(mounted_settings(found, "/callback", f"{prefix}/callback")) as vault:
        yield app, vault


@contextmanager
def at_urls(cloudbeds: on_django.Cloudbeds, prefix: str, *views: Any, **settings: str) -> Iterator[TokenVault]:
    """A Django project with these addresses, which this process is until the block ends."""
    if not project.configured:
        project.configure(SECRET_KEY="theirs", ALLOWED_HOSTS=["localhost", "127.0.0.1"], MIDDLEWARE=[
            "django.middleware.security.SecurityMiddleware", "django.middleware.common.CommonMiddleware",
            "django.middleware.csrf.CsrfViewMiddleware", "cloudbeds_auth.contrib.django.ProblemMiddleware",
        ])  # fmt: skip
        django.setup()
    urls = ModuleType("their_urls")
    urls.__dict__["urlpatterns"] = [path(f"{prefix.strip('/')}/".lstrip("/"), cloudbeds.urls), *views]
    with override_settings(ROOT_URLCONF=urls, **settings):
        yield cloudbeds.vault

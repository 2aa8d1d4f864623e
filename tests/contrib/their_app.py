"""Somebody's own application with the flow mounted in it, as `uvicorn tests.contrib.their_app:app` runs it."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable
from typing import Annotated, Any

import httpx2
from fastapi import Depends, FastAPI, Request
from fastapi.middleware.cors import CORSMiddleware
from fastapi.middleware.gzip import GZipMiddleware
from starlette.responses import RedirectResponse, Response

from cloudbeds_auth import TokenVault
from cloudbeds_auth.contrib.fastapi import Cloudbeds
from cloudbeds_auth.wire.httpx_auth import CloudbedsAuth

TENANTS = {"alices-key": "tenant-7"}  # who is signed in, by a header of this application's own

cloudbeds = Cloudbeds(callback="/callback", upkeep="THEIR_UPKEEP" in os.environ)
app = FastAPI()
app.add_middleware(GZipMiddleware, minimum_size=100)
app.add_middleware(CORSMiddleware, allow_origins=["https://front.example"], allow_credentials=True)
cloudbeds.install(app, prefix=os.environ.get("THEIR_PREFIX", ""))

Vault = Annotated[TokenVault, Depends(cloudbeds.get_vault)]


@app.middleware("http")
async def stamp(request: Request, call_next: Callable[[Request], Awaitable[Response]]) -> Response:
    """Something that most applications have."""
    response = await call_next(request)
    response.headers["X-Process"] = str(os.getpid())
    return response


async def my_hotel(request: Request, vault: Vault) -> str:
    """The one hotel of whoever is signed in."""
    page = await vault.connections(reference=TENANTS.get(request.headers.get("X-Their-Key", ""), "nobody"))
    return page.connections[0].id if page.connections else "con_none"


@app.post("/connect-my-hotel")
async def connect_my_hotel(request: Request, vault: Vault) -> RedirectResponse:
    """The reference is this application's, not the browser's."""
    tenant = TENANTS[request.headers["X-Their-Key"]]
    link = await vault.create_link(reference=tenant, return_to="/settings", expires_in=600)
    return RedirectResponse(link.url, 303)


@app.get("/settings")
async def settings(request: Request) -> dict[str, str]:
    """Where the browser ends."""
    return dict(request.query_params)


@app.get("/my-hotel")
async def see_my_hotel(http: Annotated[httpx2.AsyncClient, Depends(cloudbeds.client(my_hotel))]) -> Any:
    """A protected call."""
    return (await http.get("/api/v1.3/userinfo")).json()


@app.api_route("/hotels/{connection_id}/echo", methods=["GET", "POST"])
async def echo(request: Request, http: Annotated[httpx2.AsyncClient, Depends(cloudbeds.client())]) -> Any:
    """What arrives at Cloudbeds."""
    return (await http.request(request.method, "/api/v1.3/echo")).json()


@app.get("/hotels/{connection_id}/blocking")
def blocking(auth: Annotated[CloudbedsAuth, Depends(cloudbeds.auth())]) -> Any:
    """The same with a blocking client of this application's own, on a thread."""
    with httpx2.Client(base_url=cloudbeds.vault.base_url, auth=auth) as http:
        return http.get("/api/v1.3/userinfo").json()


@app.get("/static/{name}")
async def their_static(name: str) -> dict[str, str]:
    """A path that the service has as well."""
    return {"theirs": name}

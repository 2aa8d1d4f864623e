"""Alive, ready, and the numbers: `/healthz`, `/readyz`, `/metrics`. They hold no names, no addresses, no secrets."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Annotated, cast

from fastapi import APIRouter, Depends, Request
from starlette.responses import JSONResponse, Response

from cloudbeds_auth.app.headers import CODE
from cloudbeds_auth.app.permits import Permit, need
from cloudbeds_auth.errors import Error, StoreUnavailable
from cloudbeds_auth.rules.lifecycle import State
from cloudbeds_auth.rules.permissions import Scope
from cloudbeds_auth.transactions.outbox import Outbox

if TYPE_CHECKING:
    from cloudbeds_auth.vault import TokenVault

CHECK_WITHIN = 5.0  # seconds

router = APIRouter()


@router.head("/healthz", include_in_schema=False)  # what watches a service from outside asks without a body
@router.get("/healthz")
async def alive() -> dict[str, str]:
    """The process runs and answers."""
    return {"status": "ok"}


@router.head("/readyz", include_in_schema=False)
@router.get("/readyz")
async def ready(request: Request) -> JSONResponse:
    """The store can be written and the keys open what is in it; 503 with the failed check's name otherwise."""
    problem: str | None = await request.app.state.unready()
    if problem is None:
        return JSONResponse({"status": "ready", "checks": {"store": "ok"}})
    return JSONResponse({"status": "unready", "checks": {"store": problem}}, 503, {CODE: problem, "retry-after": "1"})


async def unready(vault: TokenVault) -> str | None:
    """The code of what keeps the service from being ready; None when nothing does. Writes to the store."""
    try:
        async with asyncio.timeout(CHECK_WITHIN):
            await vault.check()
    except Error as error:
        return error.code
    except TimeoutError:
        return StoreUnavailable.code
    return None


@router.get("/metrics", response_class=Response)
async def metrics(request: Request, permit: Annotated[Permit, Depends(need(Scope.METRICS))]) -> Response:
    """Prometheus text. A store that does not answer takes away its own gauges and nothing else."""
    vault = cast("TokenVault", request.app.state.vault)
    connections: Mapping[State, int] | None = None
    outbox: Outbox | None = None
    with suppress(Error, TimeoutError):
        async with asyncio.timeout(CHECK_WITHIN):
            connections = await vault.engine.views.count_states()
            outbox = await vault.outbox()
    text, media = request.app.state.metrics(connections, outbox)
    return Response(text, headers={"content-type": media})

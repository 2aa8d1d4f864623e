"""Every client of ours and of other libraries, each as a function that asks for one address."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from types import ModuleType
from typing import Any

import cloudbeds_pms
import cloudbeds_pms_v1_3
import requests
from fastapi import FastAPI
from tests.contrib.hotel import LIBRARIES, Hotel, auth_for

from cloudbeds_auth.contrib import sdk
from cloudbeds_auth.contrib.fastapi import Cloudbeds
from cloudbeds_auth.contrib.requests import RequestsAuth


def by_client(library: ModuleType) -> Callable[..., None]:
    """A blocking client that follows redirects."""

    def ask(hotel: Hotel, url: str, method: str = "GET") -> None:
        with library.Client(auth=auth_for(library, hotel.vault, hotel.id), follow_redirects=True) as http:
            http.request(method, url)

    return ask


def by_asynchronous_client(library: ModuleType) -> Callable[..., None]:
    """The same, asynchronous."""

    def ask(hotel: Hotel, url: str, method: str = "GET") -> None:
        async def asking() -> None:
            auth = auth_for(library, hotel.vault, hotel.id)
            async with library.AsyncClient(auth=auth, follow_redirects=True) as http:
                await http.request(method, url)

        asyncio.run(asking())

    return ask


def by_requests(hotel: Hotel, url: str, method: str = "GET") -> None:
    """requests follows redirects by itself."""
    with requests.Session() as http:
        http.request(method, url, auth=RequestsAuth(hotel.vault, hotel.id))


def by_call(hotel: Hotel, url: str) -> None:
    """`vault.call`, told to follow redirects, which it does not."""
    hotel.vault.call(hotel.id, "GET", url, follow_redirects=True)


def by_fastapi(hotel: Hotel, url: str) -> None:
    """The client that a mounted application lends its endpoints, told to follow redirects, which it does not."""

    async def ask() -> None:
        cloudbeds, app = Cloudbeds(hotel.settings), FastAPI()
        cloudbeds.install(app)
        async with app.router.lifespan_context(app), await cloudbeds.client()(hotel.id) as http:
            await http.get(url, follow_redirects=True)

    asyncio.run(ask())


def by_sdk(package: ModuleType, call: Callable[[Any], Any]) -> Callable[[Hotel, str], None]:
    """One of the vendor's packages, its `host` set to the address."""

    def ask(hotel: Hotel, url: str) -> None:
        with sdk.api_client(hotel.vault, hotel.id, package=package) as client:
            client.configuration.host = url
            call(client)

    return ask


FOLLOWING: dict[str, Callable[..., None]] = {
    **{f"{library.__name__}.Client": by_client(library) for library in LIBRARIES},
    **{f"{library.__name__}.AsyncClient": by_asynchronous_client(library) for library in LIBRARIES},
    "requests": by_requests,
}
"""Those that follow redirects by themselves, and take a method."""
CLIENTS: dict[str, Callable[[Hotel, str], None]] = {
    **FOLLOWING,
    "vault.call": by_call,
    "contrib.fastapi": by_fastapi,
    "cloudbeds-pms-v1-3": by_sdk(
        cloudbeds_pms_v1_3, lambda client: cloudbeds_pms_v1_3.HotelApi(client).get_hotels_get_without_preload_content()
    ),
    "cloudbeds-pms": by_sdk(
        cloudbeds_pms,
        lambda client: cloudbeds_pms.PropertyApi(client).system_controller_get_system_without_preload_content("1"),
    ),
}

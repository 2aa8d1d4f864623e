"""Where the `type` of a problem leads: a page of ours, open to anyone."""

from __future__ import annotations

import re

import pytest
from tests.app.running import AS_ADMIN, Running, a_service
from tests.app.vaults import RealVault, given

from cloudbeds_auth.app.problems import Unexpected
from cloudbeds_auth.errors import Error, InvalidRequest, by_code


async def page(service: Running[RealVault], path: str) -> tuple[int, str]:
    """Status and text, asked for without a credential."""
    async with service.http.get(service.url + path) as answer:
        assert answer.content_type == "text/html"
        assert answer.headers["Cache-Control"] == "no-store"
        return answer.status, await answer.text()


def test_every_code_of_the_tree() -> None:
    """The first class that has it says what it means; a branch without a code of its own is none."""
    found = by_code()
    assert Error.code not in found
    assert found["invalid_request"] is InvalidRequest
    assert found["internal_error"] is Unexpected


@pytest.mark.parametrize("code", sorted(by_code()))
async def test_the_page_of_a_code(service: Running[RealVault], code: str) -> None:
    """What it means, what is lost, what to do; nothing from another host, and no ticks left over."""
    status, text = await page(service, f"/errors/{code}")
    kind = by_code()[code]
    assert status == 200
    plain = re.sub(r"\s+", " ", re.sub(r"<[^>]+>", "", text))
    for words in (kind.title(), kind.meaning(), kind.lost, kind.next_step_default):
        assert words, code
        written = words[0].upper() + words[1:]
        shown = written.replace("`", "").replace("&", "&amp;").replace("'", "&#39;").replace("<", "&lt;")
        assert shown.replace(">", "&gt;").replace('"', "&#34;") in plain
    assert f"<code>{code}</code>" in text
    assert "`" not in text
    assert "//" not in text


@pytest.mark.parametrize("path", ["/api/v1/connections", "/no", "/proxy/con_1/_control"])
@pytest.mark.parametrize("headers", [{}, AS_ADMIN])
async def test_a_problem_leads_there(service: Running[RealVault], path: str, headers: dict[str, str]) -> None:
    """From the gateway, the framework and the proxy: the type is a path that is served."""
    async with service.http.get(service.url + path, headers=headers) as answer:
        if answer.status == 200:
            return
        problem = await answer.json(content_type="application/problem+json")
    assert problem["type"] == f"/errors/{problem['code']}"
    assert (await page(service, problem["type"]))[0] == 200


@pytest.mark.parametrize("path", ["/api/v1/connections", "/proxy/con_1/_control"])
@pytest.mark.parametrize("headers", [{}, AS_ADMIN])
async def test_below_the_public_urls_prefix(path: str, headers: dict[str, str]) -> None:
    """A reverse proxy strips the prefix: the type names the address that the caller knows."""
    async with a_service(RealVault(given(public_url="http://localhost:7000/auth"))) as service:
        async with service.http.get(service.url + path, headers=headers) as answer:
            if answer.status == 200:
                return
            problem = await answer.json(content_type="application/problem+json")
        assert problem["type"] == f"/auth/errors/{problem['code']}"


OF_THE_CONTRACT = [
    "unauthenticated",
    "forbidden",
    "invalid_request",
    "invalid_return_to",
    "unknown_connection",
    "ambiguous_property",
    "reauthorization_required",
    "connection_disconnected",
    "unclaimed",
    "not_refreshable",
    "state_mismatch",
    "authorization_denied",
    "authorization_expired",
    "token_endpoint_unavailable",
    "store_unavailable",
    "store_read_only",
    "rate_limited",
    "refresh_pending",
    "refresh_in_doubt",
    "client_refused",
    "property_mismatch",
    "key_refused",
    "draining",
    "upstream_failed",
    "outcome_unknown",
    "body_not_replayable",
]


async def test_every_code_in_one_list(service: Running[RealVault]) -> None:
    """Those of the public contract and the further ones, each with a link that leads to its page; open to anyone."""
    status, text = await page(service, "/errors")
    linked = re.findall(r'<a href="errors/([a-z_]+)">', text)
    assert (status, linked) == (200, sorted(by_code()))
    assert set(OF_THE_CONTRACT) <= set(linked)
    assert "//" not in text


async def test_a_code_that_there_is_not(service: Running[RealVault]) -> None:
    """404, and what was asked for is not repeated."""
    status, text = await page(service, "/errors/bad_weather")
    assert (status, "bad_weather" in text) == (404, False)

"""API keys as the vendor gives and takes them: for a code, for a refresh token, and what ends them."""

from __future__ import annotations

from typing import Any

import pytest
from tests.simulator.driver import CALLBACK, Driver, Reply

CODE_FOR_KEY = "urn:ietf:params:oauth:grant-type:api-key"
PROBLEM = {"type": "unauthorized", "title": "Unauthorized", "status": 401, "detail": "401 UNAUTHORIZED"}


async def new_key(sim: Driver) -> str:
    """A key for a code."""
    reply = await sim.token(grant_type=CODE_FOR_KEY, code=await sim.code(), redirect_uri=CALLBACK)
    assert reply.status == 200, reply.body
    return str(reply.json["access_token"])


async def exchange(sim: Driver, refresh_token: str, **fields: str) -> Reply:
    """A refresh token for a key."""
    return await sim.token(grant_type="refresh_token_exchange", refresh_token=refresh_token, **fields)


async def status_of(sim: Driver, key: str) -> int:
    """What `userinfo` says to it."""
    return (await sim.api("GET", "userinfo", key)).status


async def test_a_key_for_a_code(sim: Driver) -> None:
    """Nothing but the key is answered; it has no end, and there is nothing to refresh."""
    reply = await sim.token(grant_type=CODE_FOR_KEY, code=await sim.code(), redirect_uri=CALLBACK)
    assert set(reply.json) == {"access_token"}
    assert reply.json["access_token"].startswith("cbat_")
    for _ in range(20):
        await sim.control("POST", "advance", seconds=29 * 86400)
        assert await status_of(sim, reply.json["access_token"]) == 200
    (grant,) = (await sim.control("GET", "state"))["grants"]
    assert (grant["pairs"], grant["current"], len(grant["keys"])) == ([], None, 1)
    assert (await sim.control("POST", "expire"))["expired"] == [1]


async def test_a_code_works_once_for_a_key_too(sim: Driver) -> None:
    """Whatever it was spent on first."""
    code = await sim.code()
    assert (await sim.exchange(code)).status == 200
    reply = await sim.token(grant_type=CODE_FOR_KEY, code=code, redirect_uri=CALLBACK)
    assert (reply.status, reply.json["error"]) == (401, "server_error")


async def test_a_dressed_answer(sim: Driver) -> None:
    """What stands beside a pair stands beside the key: unknown of the real one, so a setting."""
    await sim.control("POST", "settings", key_answer="dressed")
    reply = await sim.token(grant_type=CODE_FOR_KEY, code=await sim.code(), redirect_uri=CALLBACK)
    assert set(reply.json) == {"access_token", "token_type", "expires_in", "refresh_token", "resources"}


async def test_a_key_that_a_hotel_makes(sim: Driver) -> None:
    """It works without any app of a partner's, for the hotel or the organization that made it, and has no app state."""
    made = await sim.control("POST", "keys", property="100001")
    assert made["api_key"].startswith("cbat_")
    assert await status_of(sim, made["api_key"]) == 200
    listed = (await sim.api("GET", "getHotels", made["api_key"])).json["data"]
    assert [one["propertyID"] for one in listed] == ["100001"]
    assert (await sim.api("GET", "getAppState", made["api_key"])).json["success"] is False
    both = await sim.control("POST", "keys", property_ids=["100001", "100002"])
    assert len((await sim.api("GET", "getHotels", both["api_key"])).json["data"]) == 2
    await sim.control("POST", "revoke", grant=made["grant"])
    assert (await status_of(sim, made["api_key"]), await status_of(sim, both["api_key"])) == (401, 200)


async def test_a_key_that_lacks_a_scope(sim: Driver) -> None:
    """`userinfo` needs none; `getHotels` says that one is missing."""
    made = await sim.control("POST", "keys", property="100001", scopes=["read:guest"])
    assert await status_of(sim, made["api_key"]) == 200
    refused = await sim.api("GET", "getHotels", made["api_key"])
    assert (refused.json["success"], "Scope required" in refused.json["message"]) == (False, True)


async def test_one_of_two_headers(sim: Driver) -> None:
    """A bearer or `x-api-key`, never both; an access token is no key. The log says how it came."""
    key, token = await new_key(sim), (await sim.connect())["access_token"]
    assert (await sim.api("GET", "userinfo", key)).status == 200
    assert (await sim.api("GET", "userinfo", headers={"x-api-key": key})).status == 200
    assert (await sim.api("GET", "userinfo", key, headers={"x-api-key": key})).status == 401
    assert (await sim.api("GET", "userinfo", headers={"x-api-key": token})).status == 401
    log = (await sim.control("GET", "requests"))["requests"]
    assert [entry["key_header"] for entry in log if entry["target"] == "userinfo"] == [False, True, True, True]


async def test_an_echo_shows_no_key(sim: Driver) -> None:
    """Only that there was one."""
    key = await new_key(sim)
    reply = await sim.api("GET", "echo", headers={"x-api-key": key})
    assert ["x-api-key", "(a key)"] in reply.json["headers"]
    assert key not in reply.body.decode()


async def test_a_key_that_nobody_uses(sim: Driver) -> None:
    """It dies after thirty days, and stays dead."""
    key = await new_key(sim)
    await sim.control("POST", "advance", seconds=30 * 86400)
    for _ in range(2):
        reply = await sim.api("GET", "userinfo", key)
        assert (reply.status, reply.json) == (401, PROBLEM)


@pytest.mark.parametrize(("face", "status"), [("denied", 401), ("problem", 401), ("user_inactive", 200)])
async def test_a_revoked_key(sim: Driver, face: str, status: int) -> None:
    """A key's own 401 is problem details; a face that was chosen is shown."""
    key = await new_key(sim)
    await sim.control("POST", "revoke", property="100001", face=face)
    reply = await sim.api("GET", "userinfo", key)
    assert reply.status == status
    assert status == 200 or reply.json == PROBLEM


async def test_a_key_of_nobody(sim: Driver) -> None:
    """Never issued."""
    reply = await sim.api("GET", "userinfo", "cbat_forged")
    assert (reply.status, reply.json) == (401, PROBLEM)


async def test_an_exchange_that_a_later_refresh_kills(sim: Driver) -> None:
    """The key works, and the tokens too; a refresh with the old token is answered, and ends the key."""
    first = await sim.connect()
    key = (await exchange(sim, first["refresh_token"])).json["access_token"]
    assert [await status_of(sim, one) for one in (key, first["access_token"])] == [200, 200]
    assert (await sim.refresh(first["refresh_token"])).status == 200
    assert await status_of(sim, key) == 401
    (grant,) = (await sim.control("GET", "state"))["grants"]
    assert [one["ended"] for one in grant["keys"]] == ["refreshed"]


@pytest.mark.parametrize("again", ["same", "new", "refused"])
async def test_an_exchange_that_is_repeated(sim: Driver, again: str) -> None:
    """What it gives is not documented: the same key, a new one that ends the first, or a refusal."""
    await sim.control("POST", "settings", repeated_exchange=again)
    first = await sim.connect()
    key = (await exchange(sim, first["refresh_token"])).json["access_token"]
    reply = await exchange(sim, first["refresh_token"])
    if again == "refused":
        assert (reply.status, reply.json["message"]) == (400, "The refresh token is invalid.")
    else:
        assert (reply.json["access_token"] == key) is (again == "same")
    assert await status_of(sim, key) == (401 if again == "new" else 200)


async def refused(sim: Driver, why: str) -> tuple[dict[str, Any], str]:
    """A connected hotel, and its first refresh token once this is so."""
    first = await sim.connect()
    token = first["refresh_token"]
    if why == "revoked":
        await sim.control("POST", "revoke", property="100001")
    elif why == "superseded":
        second = (await sim.refresh(token)).json
        await sim.api("GET", "userinfo", second["access_token"])
    return first, "unknown" if why == "unknown" else token


@pytest.mark.parametrize("why", ["unknown", "revoked", "superseded"])
async def test_an_exchange_of_a_dead_token(sim: Driver, why: str) -> None:
    """Refused as a refresh with it is."""
    _, token = await refused(sim, why)
    reply = await exchange(sim, token)
    assert (reply.status, reply.json) == (400, {"error": "invalid_request", "message": "The refresh token is invalid."})


async def test_a_dead_token_under_the_harshest_variant(sim: Driver) -> None:
    """Shown for an exchange, it ends the grant as it does when it is refreshed."""
    await sim.control("POST", "settings", variant="V3")
    _, token = await refused(sim, "superseded")
    assert (await exchange(sim, token)).status == 400
    (grant,) = (await sim.control("GET", "state"))["grants"]
    assert (grant["revoked"], grant["ended"]) == (True, "reuse")


async def test_an_exchange_that_was_not_arranged(sim: Driver) -> None:
    """The grant type is not known to this client; wrong credentials are told first."""
    await sim.control("POST", "settings", exchange="not_offered")
    first = await sim.connect()
    reply = await exchange(sim, first["refresh_token"])
    assert (reply.status, reply.json["error"]) == (400, "unsupported_grant_type")
    reply = await exchange(sim, first["refresh_token"], client_secret="wrong")
    assert (reply.status, reply.json["error"]) == (401, "invalid_client")
    reply = await sim.token(grant_type="refresh_token_exchange")
    assert reply.json["hint"] == "Check the `refresh_token` parameter"


async def test_another_client_may_ask(sim: Driver) -> None:
    """The move needs a second set of credentials."""
    first = await sim.connect()
    await sim.control("POST", "apps", client_id="second", client_secret="second-secret")
    reply = await exchange(sim, first["refresh_token"], client_id="second", client_secret="second-secret")
    assert await status_of(sim, reply.json["access_token"]) == 200


async def test_a_reset_forgets_keys(sim: Driver) -> None:
    """As everything else."""
    key = await new_key(sim)
    await sim.control("POST", "reset")
    assert await status_of(sim, key) == 401

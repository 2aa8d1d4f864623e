"""The simulator's pages: how it is used, the glass box, its live view, and each of its switches."""

from __future__ import annotations

import asyncio
import html
import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
import pytest
from tests.simulator.driver import SECRET, Driver, Reply

from cloudbeds_simulator.__main__ import build, parser
from cloudbeds_simulator.glass_box import DONE, MISHAPS, RULES
from cloudbeds_simulator.http_shell import listen
from cloudbeds_simulator.rotation import VARIANTS

BOX = "/glass-box"


def words(page: Reply | str) -> str:
    """What a page says, without its tags."""
    text = page if isinstance(page, str) else page.body.decode()
    return " ".join(html.unescape(re.sub(r"<[^>]*>", " ", text)).split())


async def press(sim: Driver, name: str, **fields: str) -> Reply:
    """Send a form of the glass box, and go where it leads."""
    reply = await sim.ask("POST", f"{BOX}/{name}", data=fields)
    return await sim.ask("GET", reply.headers["Location"]) if reply.status == 303 else reply


@asynccontextmanager
async def live(sim: Driver) -> AsyncIterator[aiohttp.StreamReader]:
    """The stream of what changes."""
    async with sim.session.get(f"{sim.base}{BOX}/live", read_bufsize=1 << 20) as response:
        assert response.headers["Content-Type"] == "text/event-stream"
        yield response.content


async def told(stream: aiohttp.StreamReader, sentence: str) -> str:
    """The first message that has this sentence, in words."""
    while True:
        line = (await stream.readline()).decode()
        assert line, f"the stream ended without {sentence!r}"
        if line.startswith("data: ") and sentence in (said := words(json.loads(line[6:])["html"])):
            return said


async def test_the_first_page(sim: Driver) -> None:
    """It says what this is, the settings to use it with, hotels, each route of the control API, and what differs."""
    page = await sim.ask("GET", "/")
    said = words(page)
    assert page.status == 200
    for part in (
        "This is a simulated Cloudbeds", f"export CLOUDBEDS_BASE_URL={sim.base}", "simulated-app", SECRET,
        "http://localhost:7000/callback", "Hotel Aurora", "100001", "POST /_control/faults", "curl -X POST",
        "How it differs from Cloudbeds", "V2/n",
    ):  # fmt: skip
        assert part in said, part
    assert 'href="/glass-box"' in page.body.decode()


async def test_the_first_page_without_hotels_and_with_many(sim: Driver) -> None:
    """Where there is none it says how to add one; of many it shows some, and how many more there are."""
    hotels = sim.simulator.model.hotels
    one = hotels["100001"]
    hotels.update({str(number): one for number in range(200)})
    assert "There are 183 more." in words(await sim.ask("GET", "/"))
    hotels.clear()
    assert "There is no hotel." in words(await sim.ask("GET", "/"))


async def test_each_curl_of_the_first_page_is_understood(sim: Driver) -> None:
    """What the page says to type has a route, and a body that it takes."""
    await sim.connect()
    page = (await sim.ask("GET", "/")).body.decode()
    for line in re.findall(r'class="command">([^<]*)<', page):
        found = re.fullmatch(r"curl(?: -X (\w+))? '?([^' ]+)'?(?: -d '(.*)')?", html.unescape(line))
        assert found, line
        verb, url, body = found.groups()
        reply = await sim.ask(verb or "GET", url.removeprefix(sim.base), data=body)
        assert reply.status == 200, (line, reply.body)


async def test_an_empty_glass_box_says_what_to_do(sim: Driver) -> None:
    """Before the first approval it says how one gets here."""
    said = words(await sim.ask("GET", BOX))
    assert "No hotel has approved yet." in said
    assert "No request has come yet." in said


async def test_tokens_are_shortened(sim: Driver) -> None:
    """Six characters of each, on no page and in no message more."""
    pair = await sim.connect()
    shown = (await sim.ask("GET", BOX)).body.decode()
    async with live(sim) as stream:
        shown += await told(stream, "Hotel Aurora")
    for token in (pair["access_token"], pair["refresh_token"]):
        assert f"{token[:6]}…" in shown
        assert token[:7] not in shown


async def test_pages_keep_to_their_own_files(sim: Driver) -> None:
    """No inline script or style, nothing from another place, and a policy that says so."""
    await sim.connect()
    for path in ("/", BOX):
        page = await sim.ask("GET", path)
        text = page.body.decode()
        assert not re.search(r"<script(?![^>]* src=)|<style|\sstyle=|\son[a-z]+=", text)
        linked = re.findall(r'(?:src|href|action)="([^"]*)"', text)
        assert all(one.startswith(("/", "#")) and not one.startswith("//") for one in linked)
        assert "default-src 'none'" in page.headers["Content-Security-Policy"]
        for asset in (one for one in linked if one.startswith("/_assets/")):
            assert (await sim.ask("GET", asset)).status == 200
    assert (await sim.ask("GET", "/_assets/../__init__.py")).status == 404


async def test_what_it_shows_is_text(sim: Driver) -> None:
    """Names, paths and grant types of whoever asks are shown as they are written, never as HTML."""
    evil = "<img src=x onerror=alert(1)>"
    await sim.control("POST", "apps", client_id="simulated-app", name=evil)
    user = {"user_id": "1", "first_name": evil, "last_name": evil, "email": evil}
    await sim.control("POST", "hotels", property_id="100001", name=evil, user=user)
    await sim.connect()
    await sim.token(grant_type=evil)
    await sim.fault("status", target=evil)
    for path in ("/", BOX):
        text = (await sim.ask("GET", path)).body.decode()
        assert "<img src=x" not in text
        assert "&lt;img" in text
    async with live(sim) as stream:
        line = (await stream.readline()).decode()
    assert "<img src=x" not in json.loads(line[6:])["html"]


async def test_it_leaves_no_trace_in_the_log(sim: Driver) -> None:
    """What is looked at is neither a request of a program nor harmed by a fault."""
    await sim.fault("status", target="any", times=None)
    for path in ("/", BOX, "/_assets/style.css"):
        assert (await sim.ask("GET", path)).status == 200
    assert (await sim.control("GET", "requests"))["last"] == 0


async def test_a_lost_answer_heals_before_ones_eyes(sim: Driver) -> None:
    """The answer is lost; the old refresh token is still accepted, and says why; asked again, the hotel is healed."""
    first = await sim.connect()
    await sim.api("GET", "userinfo", first["access_token"])
    async with live(sim) as stream:
        await told(stream, "Pair 1 is in use.")
        await press(sim, "mishap", mishap="lose-answer")
        await told(stream, "The next refresh will be acted upon, and cut before the answer.")
        with pytest.raises(aiohttp.ClientError):
            await sim.refresh(first["refresh_token"])
        said = await told(stream, "Answer lost")
        assert "Still accepted: the new access token, of pair 2, has not been used yet." in said
        assert "A refresh replaced it at" in said
        assert "Gave pair 2. The answer was lost." in said
        again = (await sim.refresh(first["refresh_token"])).json
        await told(stream, "Pair 3 was given, and its access token is not used yet.")
        await sim.api("GET", "userinfo", again["access_token"])
        said = await told(stream, "Healed")
        assert "The answer with pair 2 was lost. Pair 3 took its place, and is in use" in said
        assert "a newer access token was used then" in said


async def test_a_token_runs_out_before_ones_eyes(sim: Driver) -> None:
    """Nothing is asked and no switch pressed: the time alone changes what is seen."""
    pair = await sim.connect()
    await sim.api("GET", "userinfo", pair["access_token"])
    async with live(sim) as stream:
        await told(stream, "Pair 1 is in use.")
        sim.simulator.model.grants[0].rotation.expire(sim.simulator.clock.now())
        assert "It ran out at" in await told(stream, "Ran out")


async def test_two_watch_at_once_and_one_leaves(sim: Driver) -> None:
    """Each gets what changes; a browser that goes takes nothing with it."""
    async with live(sim) as one:
        await told(one, "No hotel has approved yet.")
        async with live(sim) as two:
            await told(two, "No hotel has approved yet.")
        await sim.connect()
        await told(one, "Pair 1 was given")


async def test_the_simulator_ends_while_one_watches() -> None:
    """A stream does not keep it from ending."""
    runner, port = await listen(build(parser().parse_args([])))
    async with aiohttp.ClientSession() as session, session.get(f"http://127.0.0.1:{port}{BOX}/live") as response:
        await told(response.content, "No hotel has approved yet.")
        async with asyncio.timeout(5):
            await runner.cleanup()


@pytest.mark.parametrize("mishap", MISHAPS)
async def test_each_mishap_is_armed_and_said(sim: Driver, mishap: str) -> None:
    """One press arms one fault, for one request; the page says what waits; one more press calls it off."""
    page = await press(sim, "mishap", mishap=mishap)
    assert f"Pressed: {MISHAPS[mishap].label}." in words(page)
    assert "Waiting to go wrong" in words(page)
    [rule] = (await sim.control("GET", "state"))["faults"]
    assert rule | MISHAPS[mishap].rule == rule
    assert rule["times"] == 1
    page = await press(sim, "call-off")
    assert DONE["called-off"] in words(page)
    assert (await sim.control("GET", "state"))["faults"] == []


async def test_settings(sim: Driver) -> None:
    """Rule, form, life and approval are changed by one form, and shown by the next page."""
    page = await press(sim, "settings", rule="V5", form="y", expires_in="60", auto_approve="on")
    text = page.body.decode()
    settings = (await sim.control("GET", "state"))["settings"]
    assert (settings["variant"], settings["expires_in"], settings["auto_approve"]) == ("V5/y", 60, True)
    assert "The settings are changed." in words(page)
    for part in ('value="V5" selected', 'value="y" selected', 'value="60"', "checked"):
        assert part in text
    await press(sim, "settings", rule="V2", form="n", expires_in="28800")
    assert (await sim.control("GET", "state"))["settings"]["auto_approve"] is False


async def test_time(sim: Driver) -> None:
    """Access tokens run out at one press, and the clock goes ahead by another."""
    await sim.connect()
    assert DONE["expired"] in words(await press(sim, "expire"))
    before = (await sim.control("GET", "state"))["now"]
    page = words(await press(sim, "advance", seconds="86400"))
    assert "24 hours ahead" in page
    assert (await sim.control("GET", "state"))["now"] >= before + 86400


@pytest.mark.parametrize(
    ("name", "fields"),
    [
        ("settings", {"rule": "V9", "form": "n", "expires_in": "60"}),
        ("settings", {"rule": "V2", "form": "n", "expires_in": "-1"}),
        ("settings", {"rule": "V2", "form": "n", "expires_in": "soon"}),
        ("settings", {}),
        ("mishap", {"mishap": "flood"}),
        ("advance", {"seconds": "-5"}),
        ("advance", {"seconds": "inf"}),
        ("nothing", {}),
    ],
)
async def test_a_form_that_makes_no_sense(sim: Driver, name: str, fields: dict[str, str]) -> None:
    """It is refused on the page itself, and changes nothing."""
    before = await sim.control("GET", "state")
    page = await press(sim, name, **fields)
    assert page.status == 400
    assert "Nothing was changed:" in words(page)
    assert 'role="alert"' in page.body.decode()
    assert await sim.control("GET", "state") | {"now": 0} == before | {"now": 0}


@pytest.mark.parametrize(("method", "path"), [("PUT", "/"), ("POST", "/"), ("GET", "/glass-box/nothing"), ("PUT", BOX)])
async def test_what_is_no_page(sim: Driver, method: str, path: str) -> None:
    """Another verb or path below is 404, and nothing is done."""
    assert (await sim.ask(method, path)).status == 404


async def test_a_life_beyond_all_calendars_is_shown(sim: Driver) -> None:
    """A setting that no date can hold breaks no page."""
    await sim.control("POST", "settings", expires_in=1e300)
    await sim.connect()
    assert "Until the end of time." in words(await sim.ask("GET", BOX))


async def test_of_many_approvals_some_are_shown(sim: Driver) -> None:
    """The latest used, and how many more there are; of one approval the newest pairs."""
    pair = await sim.connect()
    for _ in range(7):
        pair = (await sim.refresh(pair["refresh_token"])).json
    assert "2 earlier pairs are not shown" in words(await sim.ask("GET", BOX))
    for _ in range(8):
        await sim.connect()
    assert "1 more approval is in" in words(await sim.ask("GET", BOX))


async def test_a_key_is_shown(sim: Driver) -> None:
    """An approval with an API key and no pair, while it is good and once it has ended."""
    await sim.control("POST", "keys", property="100002")
    assert "This approval has an API key and no pair of tokens." in words(await sim.ask("GET", BOX))
    await sim.control("POST", "revoke", grant=1)
    assert "The approval has ended (revoked)." in words(await sim.ask("GET", BOX))


def test_every_rule_has_its_words() -> None:
    """The select offers each variant that there is."""
    assert {f"{name}/{form}" for name in RULES for form in "ny"} == VARIANTS.keys()

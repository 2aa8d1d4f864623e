"""The consent page: what it shows, what a decision leads to, what it refuses."""

from __future__ import annotations

import re
from urllib.parse import parse_qs, quote, urlsplit

import pytest
from tests.simulator.driver import CALLBACK, CLIENT, Driver, Reply

from cloudbeds_simulator.approval_pages import consent_page, in_words
from cloudbeds_simulator.records import VendorApp

QUERY = f"client_id={CLIENT}&redirect_uri={quote(CALLBACK)}&response_type=code&state=s%201&scope=read%3Ahotel+read:rate"
PATH = "/api/v1.3/oauth"


def landed(reply: Reply) -> dict[str, str]:
    """The callback's parameters, once the redirect was seen to lead there."""
    assert reply.status == 302
    where = urlsplit(reply.headers["Location"])
    assert f"{where.scheme}://{where.netloc}{where.path}" == CALLBACK
    return {name: values[0] for name, values in parse_qs(where.query).items()}


def form(page: Reply) -> dict[str, str]:
    """The hidden fields of the page."""
    return dict(re.findall(r'type="hidden" name="([^"]+)" value="([^"]*)"', page.body.decode()))


async def test_page(sim: Driver) -> None:
    """The page names app, hotels and exactly the scopes asked for, and loads nothing but the simulator's own files."""
    page = await sim.ask("GET", f"{PATH}?{QUERY}")
    text = page.body.decode()
    assert page.status == 200
    assert all(word in text for word in ("Demo App", "Hotel Aurora", "Harbour House", "read:hotel", "read:rate"))
    assert "write:rate" not in text
    assert "See rates" in text
    assert "Simulated Cloudbeds" in text
    assert {one.rpartition("/")[0] for one in re.findall(r'(?:src|href)="([^"]*)"', text)} == {"/_assets"}
    assert "default-src 'none'" in page.headers["Content-Security-Policy"]
    assert page.headers["Cache-Control"] == "no-store"


async def test_approve(sim: Driver) -> None:
    """Approving sends the user back with a code of 32 characters and the state untouched, for the chosen hotel."""
    page = await sim.ask("GET", f"{PATH}?{QUERY}")
    reply = await sim.ask("POST", PATH, data={**form(page), "property": "100002", "decision": "approve"})
    told = landed(reply)
    assert (len(told["code"]), told["state"]) == (32, "s 1")
    assert (await sim.exchange(told["code"])).json["resources"] == [{"type": "property", "id": "100002"}]
    grant = (await sim.control("GET", "state"))["grants"][0]
    assert (grant["scopes"], grant["user"]["first_name"]) == (["read:hotel", "read:rate"], "Bruno")


async def test_deny(sim: Driver) -> None:
    """Denying sends the user back with access_denied and the state, and creates no code."""
    page = await sim.ask("GET", f"{PATH}?{QUERY}")
    told = landed(await sim.ask("POST", PATH, data={**form(page), "property": "100001", "decision": "deny"}))
    assert (told["error"], told["state"]) == ("access_denied", "s 1")
    assert told["error_description"]
    assert not sim.simulator.model.codes


async def test_several_hotels(sim: Driver) -> None:
    """Several hotels can be approved at once."""
    page = await sim.ask("GET", f"{PATH}?{QUERY}")
    chosen = [*form(page).items(), ("property", "100001"), ("property", "100003"), ("decision", "approve")]
    told = landed(await sim.ask("POST", PATH, data=chosen))
    assert [one["id"] for one in (await sim.exchange(told["code"])).json["resources"]] == ["100001", "100003"]


async def test_no_hotel_chosen(sim: Driver) -> None:
    """Approving without a hotel approves nothing and says so."""
    page = await sim.ask("GET", f"{PATH}?{QUERY}")
    reply = await sim.ask("POST", PATH, data={**form(page), "decision": "approve"})
    assert reply.status == 400
    assert b"Nothing was approved" in reply.body


async def test_one_hotel_needs_no_choice(sim: Driver) -> None:
    """With a single hotel there is nothing to choose."""
    for one in ("100002", "100003"):
        del sim.simulator.model.hotels[one]
    page = await sim.ask("GET", f"{PATH}?{QUERY}")
    assert b"checkbox" not in page.body
    assert landed(await sim.ask("POST", PATH, data={**form(page), "decision": "approve"}))["code"]


async def test_auto_approve(sim: Driver) -> None:
    """With automatic approval there is no page, and the first hotel is granted unless others were chosen."""
    await sim.control("POST", "settings", auto_approve=True)
    for expected in ("100001", "100003", "100001"):
        told = landed(await sim.ask("GET", f"{PATH}?{QUERY}"))
        assert (await sim.exchange(told["code"])).json["resources"][0]["id"] == expected
        if expected == "100001":
            await sim.control("POST", "choose", property_ids=["100003"])


@pytest.mark.parametrize("random_state", [False, True])
async def test_state_of_its_own(sim: Driver, random_state: bool) -> None:
    """Without a state none comes back, or one of the vendor's own where that reading is switched on."""
    await sim.control("POST", "settings", auto_approve=True, random_state=random_state)
    told = landed(await sim.ask("GET", f"{PATH}?client_id={CLIENT}&redirect_uri={CALLBACK}"))
    assert ("state" in told) == random_state


@pytest.mark.parametrize(
    "query",
    [
        f"client_id=nobody&redirect_uri={CALLBACK}&response_type=code",
        f"client_id={CLIENT}&redirect_uri={CALLBACK}/&response_type=code",
        f"client_id={CLIENT}&redirect_uri=https://evil.example/&response_type=code",
        f"client_id={CLIENT}&redirect_uri={CALLBACK}&response_type=token",
        "",
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_invalid_request_is_not_sent_back(sim: Driver, query: str, method: str) -> None:
    """An unknown client, an unregistered redirect URI or another response type ends on a page, never in a redirect."""
    fields = {name: values[0] for name, values in parse_qs(query).items()}
    reply = await sim.ask("GET", f"{PATH}?{query}") if method == "GET" else await sim.ask("POST", PATH, data=fields)
    assert reply.status == 400
    assert "Location" not in reply.headers


async def test_other_verbs(sim: Driver) -> None:
    """The consent page is asked by GET and answered by POST, nothing else."""
    fields = {name: values[0] for name, values in parse_qs(QUERY).items()}
    assert (await sim.ask("PUT", PATH, data=fields)).status == 405


def test_escaping() -> None:
    """Whatever the app is called and whatever it sends, the page shows it as text."""
    evil = '"><script>alert(1)</script>'
    app = VendorApp(evil, "s", evil, frozenset(), ())
    page = consent_page(app, [], [evil], {"state": evil, evil: "x"}, "/x")
    assert b"<script" not in page.body


async def test_an_address_that_cannot_be_read(sim: Driver) -> None:
    """Whatever is registered as a redirect URI, the page is shown."""
    await sim.control("POST", "apps", client_id=CLIENT, redirect_uris=["http://["])
    assert (await sim.ask("GET", f"{PATH}?client_id={CLIENT}&redirect_uri=http://[&response_type=code")).status == 200


@pytest.mark.parametrize(
    ("scope", "words"),
    [
        ("read:hotel", "See the hotel's details"),
        ("write:reservation", "Change reservations"),
        ("delete:guest", "Delete guests"),
        ("read:", "read:"),
        ("everything", "everything"),
    ],
)
def test_scopes_in_words(scope: str, words: str) -> None:
    """What a scope allows is said in words; one of another form is shown as it is."""
    assert in_words(scope) == words

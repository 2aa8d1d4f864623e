"""Signing in and out: by a one-time code, by the admin token, and by nothing else."""

from __future__ import annotations

import asyncio
import re

import pytest
from tests.app.operators import SESSION, Operator, code, signed_in
from tests.app.running import AS_ADMIN, Running, Vendor, a_service, raw
from tests.app.vaults import ADMIN_TOKEN, RealVault, given
from tests.engine.test_read_only_copy import not_ours

from cloudbeds_auth.app import gateway, session_routes
from cloudbeds_auth.app.gateway import Gateway
from cloudbeds_auth.engine.sessions import Sessions


async def test_by_the_code_of_a_link(service: Running[RealVault]) -> None:
    """Once, in one browser; the link's end is enough, and so is all of it."""
    operator, other, given_code = Operator(service), Operator(service), await code(service)
    assert (await operator.sign_in(given_code))[:2] == (303, "/")
    assert await operator.is_signed_in()
    status, _, page = await other.sign_in(given_code)
    assert (status, "This code was used, has expired, or was never made" in page, "<form" in page) == (401, True, True)
    assert not await other.is_signed_in()
    assert (await other.sign_in(f"http://localhost:7000/sign-in#{await code(service)}"))[0] == 303
    assert await other.is_signed_in()


async def test_by_the_admin_token(service: Running[RealVault]) -> None:
    """Each time a session with an id of its own; who signed in is reported, and not with what."""
    one, other = await signed_in(service), await signed_in(service)
    assert one.cookies[SESSION] != other.cookies[SESSION]
    told = [facts for what, facts in service.vault.observer.seen if what == "signed_in"]
    assert [(facts["how"], facts["address"]) for facts in told] == [("token", "127.0.0.1")] * 2
    shown = str(service.vault.observer.seen)
    assert ADMIN_TOKEN not in shown
    assert one.cookies[SESSION].partition(".")[2] not in shown


@pytest.mark.row("A23")
@pytest.mark.parametrize(
    "entered", ["", " ", "guess", ADMIN_TOKEN[:-1], f"{ADMIN_TOKEN}x", "\u0435", "' OR 1=1 --", "#"]
)
async def test_what_signs_nobody_in(service: Running[RealVault], entered: str) -> None:
    """The form again, and it is reported; what was entered is repeated nowhere."""
    operator = Operator(service)
    status, _, page = await operator.sign_in(entered)
    assert (status, "<form" in page) == (401, True)
    assert SESSION not in operator.cookies
    assert not entered.strip(" #") or entered not in page + str(service.vault.observer.seen)
    told = [facts for what, facts in service.vault.observer.seen if what == "sign_in_failed"]
    assert told == [{"address": "127.0.0.1", "times": 1}]


@pytest.mark.parametrize("body", [b"", b"credential=a&credential=b", b"credential=a&b=c", b"token=a", b"\xff"])
async def test_another_form(service: Running[RealVault], body: bytes) -> None:
    """Is said to be none of ours."""
    status, _, page = await Operator(service).post("/session", body, {})
    assert (status, "The form has other fields" in page) == (400, True)


async def test_a_key_of_a_program_is_no_admin_token(service: Running[RealVault]) -> None:
    """Whatever its scopes are."""
    key = await service.vault.keys.create("a job", scopes=["admin"])
    assert (await Operator(service).sign_in(key.secret.reveal()))[0] == 401


@pytest.mark.parametrize(
    ("public_url", "name", "secure"),
    [("http://localhost:7000", SESSION, False), ("https://auth.example/x", f"__Host-{SESSION}", True)],
)
async def test_the_cookie(vendor: Vendor, public_url: str, name: str, secure: bool) -> None:
    """Not for scripts, not for posts of other sites, for this host alone where it is https, and not for ever."""
    vault = RealVault(given(base_url=vendor.base_url, public_url=public_url))
    async with a_service(vault) as service:
        operator = Operator(service)
        status, location, _ = await operator.sign_in()
        assert (status, location) == (303, "/x/" if secure else "/")
        flags = {part.strip().partition("=")[0].lower() for part in operator.flags[name].split(";")[1:]}
        assert flags == {"httponly", "max-age", "path", "samesite"} | ({"secure"} if secure else set())
        assert "SameSite=lax" in operator.flags[name]
        assert "Path=/;" in operator.flags[name]
        assert await operator.is_signed_in()


async def test_two_cookies_that_differ(service: Running[RealVault]) -> None:
    """One of them was planted: neither counts."""
    operator = await signed_in(service)
    request = (
        f"GET /keys HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nCookie: {SESSION}={operator.cookies[SESSION]}"
    )
    assert (await raw(service, f"{request}\r\n\r\n".encode())).startswith(b"HTTP/1.1 200 ")
    for more in (f"; {SESSION}=A.planted", f"\r\nCookie: {SESSION}=A.planted"):
        assert (await raw(service, f"{request}{more}\r\n\r\n".encode())).startswith(b"HTTP/1.1 401 ")


@pytest.mark.row("A26")
async def test_a_session_that_was_planted(service: Running[RealVault]) -> None:
    """Who signs in gets another one, and what was planted is nobody's, also where it was a good one before."""
    attacker = await signed_in(service)
    for planted in ("A.planted", attacker.cookies[SESSION]):
        victim = Operator(service)
        victim.cookies[SESSION] = planted
        await victim.sign_in(await code(service))
        assert victim.cookies[SESSION] != planted
        attacker.cookies[SESSION] = planted
        assert (await victim.is_signed_in(), await attacker.is_signed_in()) == (True, False)


@pytest.mark.row("A79")
async def test_made_up_cookies(service: Running[RealVault], monkeypatch: pytest.MonkeyPatch) -> None:
    """Six hundred of them cost no read of the database; an operator is answered beside them."""
    operator, reads = await signed_in(service), list[object]()
    read = service.vault.store.read

    async def counted(call: object) -> object:
        reads.append(call)
        return await read(call)  # type: ignore[arg-type]

    monkeypatch.setattr(service.vault.store, "read", counted)

    async def stranger(number: int) -> bool:
        made_up = Operator(service)
        made_up.cookies[SESSION] = f"9G5FAV{number:04}.{number:075}"
        return await made_up.is_signed_in()

    for begun in range(0, 600, 50):
        among = await asyncio.gather(*(stranger(begun + number) for number in range(50)), operator.is_signed_in())
        assert among == [False] * 50 + [True]
    assert 12 <= len(reads) < 60, "the operator's own"


@pytest.mark.row("A26")
async def test_who_signs_out_is_signed_out(service: Running[RealVault]) -> None:
    """At the server: the same cookie opens nothing any more. Others go on."""
    operator, other = await signed_in(service), await signed_in(service)
    kept = operator.cookies[SESSION]
    assert (await operator.press("/session/end"))[:2] == (303, "/")
    assert operator.cookies[SESSION] == ""
    assert "Max-Age=0" in operator.flags[SESSION]
    operator.cookies[SESSION] = kept
    assert (await operator.is_signed_in(), await other.is_signed_in()) == (False, True)
    assert (await operator.send("/session/end"))[:2] == (303, "/"), "once more"


@pytest.mark.row("A26")
async def test_without_the_end_at_the_server(service: Running[RealVault], monkeypatch: pytest.MonkeyPatch) -> None:
    """A cookie that was copied would go on: the tests above see what they are for."""

    async def not_at_all(*_: object, **__: object) -> None:
        pass

    monkeypatch.setattr(Sessions, "end", not_at_all)
    operator = await signed_in(service)
    kept = operator.cookies[SESSION]
    await operator.press("/session/end")
    operator.cookies[SESSION] = kept
    assert await operator.is_signed_in()


async def test_ended_from_the_servers_side(service: Running[RealVault]) -> None:
    """By an operator at the command line: every browser is asked to sign in again."""
    operator = await signed_in(service)
    assert await service.vault.engine.sessions.end_all() == 1
    assert not await operator.is_signed_in()


@pytest.mark.row("A26")
async def test_a_copy_of_the_database(service: Running[RealVault]) -> None:
    """Honours no session of the original, and signs nobody in; each page says what it is."""
    operator, given_code = await signed_in(service), await code(service)
    await service.vault.store.open(not_ours)
    for path in ("/connections", "/keys", "/sign-in"):
        status, _, page = await operator.open(path)
        assert (status, "copy of another installation" in page, "database adopt" in page) == (503, True, True), path
    for credential in (ADMIN_TOKEN, given_code, "a guess"):
        assert (await Operator(service).sign_in(credential))[0] == 503
    assert (await operator.open("/"))[0] == 200, "what a stranger reads"


async def test_a_session_opens_pages_alone(service: Running[RealVault], vendor: Vendor) -> None:
    """Never the API, never the proxy, nor what machines ask for; and a credential opens no page."""
    operator = await signed_in(service)
    for path in (
        "/api/v1/connections", "/api/v1/connections/con_1", "/api/v1/connections/con_1/access-token", "/api/v1/keys",
        "/api/v1/connections/con_1/userinfo", "/proxy/con_1/api/v1.3/getHotels", "/metrics", "/no",
        "/connections%2f..%2fapi%2fv1%2fkeys",
    ):  # fmt: skip
        assert (await operator.open(path))[0] == 401, path
    for path in ("/api/v1/connections/con_1/refresh", "/api/v1/keys", "/proxy/con_1/api/v1.3/postGuest"):
        assert (await operator.press(path))[0] == 401, path
    assert not vendor.seen
    for path in ("/connections", "/connections/con_1", "/keys"):
        async with service.http.get(service.url + path, headers=AS_ADMIN) as answer:
            assert answer.status == 401


async def test_the_description_of_the_api(service: Running[RealVault]) -> None:
    """A browser that is signed in reads it, and nobody else without a credential."""
    operator = await signed_in(service)
    status, _, text = await operator.open("/openapi.json")
    assert (status, '"/api/v1/connections"' in text) == (200, True)
    cookies = "; ".join(f"{name}={value}" for name, value in operator.cookies.items())
    async with service.http.head(f"{service.url}/openapi.json", headers={"Cookie": cookies}) as answer:
        assert answer.status == 200
    assert (await operator.press("/openapi.json"))[0] == 401
    assert (await Operator(service).open("/openapi.json"))[0] == 401
    await service.vault.engine.sessions.end_all()
    assert (await operator.open("/openapi.json"))[0] == 401


async def test_were_a_page_all_that_begins_like_one(
    service: Running[RealVault], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The gateway would let a session in to the API: the test above sees what it is for."""
    operator = await signed_in(service)
    monkeypatch.setattr(gateway, "OF_SESSIONS", re.compile("/"))
    assert (await operator.open("/api/v1/connections"))[0] != 401


@pytest.mark.row("A22")
async def test_there_is_no_page_to_set_anything_up(service: Running[RealVault]) -> None:
    """Who comes first, to a service that nobody has signed in to, gets nothing: no page makes an operator."""
    stranger = Operator(service)
    for path in ("/setup", "/install", "/register", "/sign-up", "/admin", "/users", "/session", "/sign-in-first"):
        assert (await stranger.open(path))[0] in {401, 405}, path
        assert (await stranger.send(path, password="x" * 32, credential=""))[0] in {400, 401}, path
    assert SESSION not in stranger.cookies
    assert not service.vault.sql("SELECT * FROM sessions")


@pytest.mark.row("A22")
async def test_were_the_first_to_come_let_in(service: Running[RealVault], monkeypatch: pytest.MonkeyPatch) -> None:
    """It would have a session: the test above sees what it is for."""
    begin = Sessions.begin
    monkeypatch.setattr(Sessions, "begin", lambda self, code, *, address: begin(self, None, address=address))
    assert (await Operator(service).sign_in("anything"))[0] == 303


@pytest.mark.row("A20", "A19")
@pytest.mark.parametrize("host", ["0.0.0.0:7000", "192.168.1.7:7000", "rebind.evil:7000", "localhost.evil:7000"])
async def test_from_a_page_that_reaches_us_by_another_name(
    service: Running[RealVault], host: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A name that is not ours is refused before anything else, with whatever cookie."""
    operator = await signed_in(service)
    operator.host = host
    for path in ("/", "/sign-in", "/connections"):
        assert (await operator.open(path))[0] == 421
    assert (await operator.sign_in())[0] == 421

    async def any_name(*_: object) -> None:
        pass

    monkeypatch.setattr(Gateway, "_host", any_name)
    assert (await operator.open("/connections"))[0] == 200, "so the name is what is refused"


ELSEWHERE: list[dict[str, str | None]] = [
    {"Sec-Fetch-Site": "cross-site", "Origin": "https://evil.example"},
    {"Sec-Fetch-Site": "same-site", "Origin": "http://localhost:1"},
    {"Sec-Fetch-Site": "none"},
    {"Sec-Fetch-Site": None, "Origin": "https://evil.example"},
    {"Sec-Fetch-Site": None, "Origin": "null"},
    {"Sec-Fetch-Site": None, "Origin": None},
    {"Sec-Fetch-Site": "same-origin", "Origin": "https://evil.example"},
    {"Sec-Fetch-Site": None, "Origin": "http://localhost:7000.evil.example"},
    {"Sec-Fetch-Site": None, "Origin": "https://localhost:7000"},
    {"Origin": "ftp://localhost:7000"},
]


@pytest.mark.row("A20", "A17")
@pytest.mark.parametrize("headers", ELSEWHERE)
async def test_a_form_of_another_site_signs_nobody_in(
    service: Running[RealVault], headers: dict[str, str | None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not with a good code either: nobody works in a session of somebody else's without noticing."""
    operator, given_code = Operator(service), await code(service)
    assert (await operator.send("/session", headers, credential=given_code))[0] == 403
    assert SESSION not in operator.cookies
    with monkeypatch.context() as undefended:
        undefended.setattr(session_routes, "must_be_sent_from_here", lambda *_: None)
        assert (await operator.send("/session", headers, credential=given_code))[0] == 303


@pytest.mark.parametrize(
    "headers", [{"Sec-Fetch-Site": None, "Origin": "http://localhost:7000"}, {"Origin": "https://auth.example"}, {}]
)
async def test_a_form_of_ours(vendor: Vendor, headers: dict[str, str | None]) -> None:
    """By what the browser says of itself, or by our origin: as it was asked for, or as links have it."""
    vault = RealVault(given(base_url=vendor.base_url, public_url="https://auth.example"))
    async with a_service(vault) as service:
        assert (await Operator(service).send("/session", headers, credential=ADMIN_TOKEN))[0] == 303


@pytest.mark.row("A17")
@pytest.mark.parametrize("host", ["auth.example", "localhost:7000"])
async def test_our_name_over_plain_http(vendor: Vendor, host: str) -> None:
    """Is another origin than ours over https: whoever is between a browser and a page without TLS can make one."""
    vault = RealVault(given(base_url=vendor.base_url, public_url="https://auth.example"))
    async with a_service(vault) as service:
        operator = Operator(service)
        operator.host = host
        headers: dict[str, str | None] = {"Sec-Fetch-Site": None, "Origin": "http://auth.example"}
        assert (await operator.send("/session", headers, credential=ADMIN_TOKEN))[0] == 403
        headers["Origin"] = "https://auth.example"
        assert (await operator.send("/session", headers, credential=ADMIN_TOKEN))[0] == 303


async def test_the_page_to_sign_in(service: Running[RealVault]) -> None:
    """Works without any script; it has one, a file of ours, and pages that have none may run none."""
    async with service.http.get(service.url + "/sign-in") as answer:
        page, policy = await answer.text(), answer.headers["Content-Security-Policy"]
    assert '<form method="post" action="/session"' in page
    assert 'type="password"' in page
    assert page.count("<script") == page.count('<script src="/static/sign-in.js" defer></script>') == 1
    assert "script-src 'self';" in policy
    assert policy.startswith("default-src 'none';")
    async with service.http.get(service.url + "/static/sign-in.js") as answer:
        assert answer.content_type == "text/javascript"
    operator = await signed_in(service)
    for path in ("/apps", "/audit", "/keys", "/settings", "/work", "/docs"):
        headers = {"Cookie": f"{SESSION}={operator.cookies[SESSION]}"}
        async with service.http.get(service.url + path, headers=headers) as answer:
            assert "script-src" not in answer.headers["Content-Security-Policy"]
            assert "<script" not in await answer.text()


async def test_what_a_stranger_reads(service: Running[RealVault]) -> None:
    """What this is, and where to sign in; nothing of what is here."""
    status, _, page = await Operator(service).open("/")
    assert (status, "keeps hotels connected" in page, 'href="/sign-in"' in page) == (200, True, True)
    for known in ("con_1", "1000", "healthy", "key_"):
        assert known not in page


async def test_behind_a_prefix(vendor: Vendor) -> None:
    """Every link and form begins with it."""
    vault = RealVault(given(base_url=vendor.base_url, public_url="http://localhost:7000/auth"))
    async with a_service(vault) as service:
        operator = Operator(service)
        assert 'action="/auth/session"' in (await operator.open("/sign-in"))[2]
        assert 'href="/auth/sign-in"' in (await operator.open("/"))[2]
        assert (await operator.sign_in())[:2] == (303, "/auth/")
        for path in ("/", "/connections", "/connections/con_1", "/apps", "/keys", "/audit", "/work", "/settings"):
            _, _, page = await operator.open(path)
            for attribute in ('href="', 'action="', 'src="', 'data-live="', 'data-again="'):
                found = [part.partition('"')[0] for part in page.split(attribute)[1:]]
                assert all(one.startswith(("/auth/", "#")) for one in found), found
        assert (await operator.press("/connections/con_1/refresh"))[:2] == (303, "/auth/connections/con_1")

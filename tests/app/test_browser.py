"""The hotel's way, as a browser goes it: connect, approve, come back; and every way not to."""

from __future__ import annotations

from dataclasses import replace
from urllib.parse import parse_qs, quote, urlsplit

import pytest
from tests.app.running import AS_ADMIN, Running, a_service, raw
from tests.app.tab import BROWSER, CONNECTED, START, Tab
from tests.app.vaults import FAILURES, RealVault, given
from yarl import URL

from cloudbeds_auth.app.cookies import ConnectedCookie, Cookies
from cloudbeds_auth.app.exchanges import redirect
from cloudbeds_auth.engine import authorize
from cloudbeds_auth.engine.authorize import hashed
from cloudbeds_auth.rules.hotel_words import ACTS, SUBJECTS


@pytest.fixture
def tab(service: Running[RealVault]) -> Tab:
    """A browser on the redirect URI's host."""
    return Tab(service)


async def test_the_whole_way(tab: Tab) -> None:
    """Connect, approve, come back: one exchange, then a clean address and a page that says so."""
    state = await tab.begin()
    status, location, _ = await tab.open(f"/callback?code=c-1&state={state}")
    assert (status, location) == (303, "/connected?connection_id=con_new")
    status, _, page = await tab.open(location)
    assert status == 200
    assert "<h1>Connected</h1>" in page
    assert "con_new" in page
    assert "<dd>2000</dd>" in page
    assert tab.service.vault.exchanges == ["c-1"]


@pytest.mark.parametrize(("more", "shown"), [(0, True), (100, False)])
async def test_what_was_allowed_is_shown_whole(tab: Tab, more: int, shown: bool) -> None:
    """Every permission that there is fits; of a list that is too long none is shown: a part would look like all."""
    every = [f"{act}:{subject}" for subject in SUBJECTS for act in ACTS]
    scopes = (*every, *(f"read:other{number}" for number in range(more)))
    connection = replace(await tab.service.vault.connection("con_1"), scopes=scopes)
    cookies = Cookies(secure=False)
    (kept,) = cookies.remember_connected(redirect("/connected"), ConnectedCookie.of(connection)).cookies
    tab.cookies[cookies.connected_name] = kept.value
    _, _, page = await tab.open("/connected?connection_id=con_1")
    assert "<dd>1000</dd>" in page
    assert page.count("see, change, delete") == (len(SUBJECTS) if shown else 0)


@pytest.mark.parametrize("path", ["/a%20b", "/h%C3%B4tel/back", "/api%2Fv1%2Fconnections", "/connect%2Fx"])
async def test_the_path_of_the_redirect_uri_with_escapes(path: str) -> None:
    """The callback is where the hotel comes back to, as it is spelled; no other spelling, and no other page of ours."""
    async with a_service(RealVault(given(redirect_uri=f"http://localhost:7000{path}"))) as service:
        tab = Tab(service)
        state = await tab.begin()
        _, location, _ = await tab.open(f"{path}?code=c-1&state={state}")
        assert location == "/connected?connection_id=con_new"
        for other in ("/callback", path.lower().replace("%", "%25"), f"{path}/"):
            async with service.http.get(URL(service.url + other, encoded=True)) as answer:
                assert answer.status == 401, other


async def test_to_the_approval_page(tab: Tab) -> None:
    """The approval page is the vendor's, with a one-time state."""
    assert (await tab.open("/connect?reference=tenant-7", "HEAD"))[0] == 405
    assert tab.service.vault.pending() == []
    status, location, _ = await tab.open("/connect?app=&return_to=&reference=tenant-7")
    assert status == 303
    assert location.startswith(f"{tab.service.vault.base_url}/api/v1.3/oauth?")
    assert [parse_qs(urlsplit(location).query)["state"][0]] == tab.service.vault.vendor.states
    assert tab.service.vault.pending() == [("default", "tenant-7", None, hashed(tab.cookies[BROWSER]))]


@pytest.mark.parametrize(
    ("return_to", "expected"),
    [
        ("/done?x=1", "/done?x=1&connection_id=con_new&reference=a%26b"),
        ("https://app.example/done", "https://app.example/done?connection_id=con_new&reference=a%26b"),
    ],
)
async def test_return_to(tab: Tab, return_to: str, expected: str) -> None:
    """Where the link said, with the connection and the caller's own reference."""
    state = await tab.begin(f"?reference=a%26b&return_to={quote(return_to, safe='')}")
    assert (await tab.open(f"/callback?code=c-1&state={state}"))[:2] == (303, expected)


@pytest.mark.row("A12", control=True)
@pytest.mark.parametrize("return_to", ["//evil", "/\\evil", "https:evil", "/%09/evil", "@evil", "https://evil"])
async def test_open_redirect(tab: Tab, return_to: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A `return_to` that is neither ours nor listed is 400 before anything starts; unchecked, it would be followed."""
    start = f"/connect?return_to={quote(return_to, safe='')}"
    async with tab.service.http.get(tab.service.url + start, headers={"Host": tab.host}) as answer:
        assert (answer.status, answer.headers["X-Cloudbeds-Auth-Code"]) == (400, "invalid_return_to")
    assert tab.service.vault.pending() == []
    for module in ("engine.authorize", "app.key_page"):
        monkeypatch.setattr(f"cloudbeds_auth.{module}.allowed_return", lambda asked, _: asked)
    state = await tab.begin(start.removeprefix("/connect"))
    assert "evil" in (await tab.open(f"/callback?code=c-1&state={state}"))[1]


async def test_origin_that_is_listed_no_more(tab: Tab) -> None:
    """A `return_to` is checked again when it is used."""
    state = await tab.begin("?return_to=https%3A%2F%2Fapp.example%2F")
    tab.service.vault.change(return_origins=())
    assert (await tab.open(f"/callback?code=c-1&state={state}"))[1] == "/connected?connection_id=con_new"


@pytest.mark.row("A02")
async def test_missing_state(tab: Tab) -> None:
    """A callback without a state never exchanges."""
    await tab.begin()
    for query in ("?code=x", "?code=x&state=", "", "?state"):
        assert (await tab.open(f"/callback{query}"))[0] == 400
    assert tab.service.vault.exchanges == []


@pytest.mark.row("A05", control=True)
async def test_a_state_that_came_back_too_late(tab: Tab, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten minutes after it was issued it is 400, and nothing is exchanged; one that lived longer would be exchanged."""

    async def after_ten_minutes() -> int:
        state = await tab.begin()
        tab.service.vault.sql("UPDATE authorizations SET expires_at = expires_at - 600")
        status, _, page = await tab.open(f"/callback?code=c-1&state={state}")
        assert ("authorization_expired" in page) == (status == 400)
        return status

    assert await after_ten_minutes() == 400
    assert tab.service.vault.exchanges == []
    monkeypatch.setattr(authorize, "STATE_LIFETIME", 660.0)
    assert await after_ten_minutes() == 303
    assert tab.service.vault.exchanges == ["c-1"]


@pytest.mark.row("A07")
@pytest.mark.parametrize("extra", ["&code=b", "&state=b", "&state={state}", "&iss=a&iss=a", "&error=x&error=y"])
async def test_duplicate_parameters(tab: Tab, extra: str) -> None:
    """A parameter that comes twice is 400, even when both are the same."""
    state = await tab.begin()
    assert (await tab.open(f"/callback?code=a&state={state}{extra.format(state=state)}"))[0] == 400
    assert tab.service.vault.exchanges == []


@pytest.mark.row("A08")
@pytest.mark.parametrize("issuer", ["https://evil", "", "{base}/", "{base}.evil"])
async def test_mix_up(tab: Tab, issuer: str) -> None:
    """An issuer that is not exactly the configured one is 400; the configured one passes."""
    base = tab.service.vault.base_url
    state = await tab.begin()
    told = quote(issuer.format(base=base), safe="")
    assert (await tab.open(f"/callback?code=a&state={state}&iss={told}"))[0] == 400
    assert tab.service.vault.exchanges == []
    assert (await tab.open(f"/callback?code=a&state={state}&iss={quote(base, safe='')}"))[0] == 303


@pytest.mark.row("A10")
@pytest.mark.parametrize("method", ["POST", "HEAD", "PUT", "DELETE", "GET"])
async def test_callback_methods(tab: Tab, method: str) -> None:
    """Only a GET without a body is a callback; nothing else exchanges."""
    state = await tab.begin()
    data = None if method == "HEAD" else f"code=x&state={state}".encode()
    status, _, _ = await tab.open(f"/callback?code=x&state={state}", method, data=data)
    assert status == 405
    assert tab.service.vault.exchanges == []


@pytest.mark.parametrize("planted", ["x", "", "y" * 500, "a" * 43 + "; " + BROWSER + "=" + "b" * 43])
async def test_planted_cookie(tab: Tab, planted: str) -> None:
    """A cookie that is not one of ours, or that came twice, is no browser."""
    state = await tab.begin()
    tab.cookies[BROWSER] = planted
    assert (await tab.open(f"/callback?code=x&state={state}"))[0] == 400
    assert tab.service.vault.exchanges == []


async def test_cookie_on_loopback(tab: Tab) -> None:
    """On plain http the browser's id is HttpOnly and SameSite=Lax; tabs share it."""
    await tab.begin()
    first = tab.cookies[BROWSER]
    flags = tab.flags[BROWSER].lower()
    assert "httponly" in flags
    assert "samesite=lax" in flags
    assert "path=/" in flags
    assert "secure" not in flags
    await tab.begin()
    assert tab.cookies[BROWSER] == first


async def test_a_reverse_proxy_that_hides_the_host_name(service: Running[RealVault]) -> None:
    """The browser is sent to the redirect URI's host once, not round and round; from there on the approval begins."""
    behind = Tab(service, "127.0.0.1:7000")  # whatever the browser asks for
    link = await service.vault.create_link(reference="tenant-7")
    for path in ("/connect?reference=tenant-7", f"/connect/{link.token}"):
        _, location, _ = await behind.open(path)
        moved = location.removeprefix("http://localhost:7000")
        answer = await (behind.press(moved) if link.token in moved else behind.open(moved))
        assert (answer[0], urlsplit(answer[1]).path) == (303, "/api/v1.3/oauth")
        state = parse_qs(urlsplit(answer[1]).query)["state"][0]
        assert (await behind.open(f"/callback?code=c-1&state={state}"))[1].startswith("/connected?connection_id=")


async def test_one_time_link(tab: Tab) -> None:
    """A link brings the reference that its maker gave it; what the browser says about it does not count."""
    link = await tab.service.vault.create_link(reference="tenant-7", return_to="/done", expires_in=60)
    status, _, _ = await tab.press(f"/connect/{link.token}?reference=forged&return_to=//evil")
    [(_, reference, return_to, _)] = tab.service.vault.pending()
    assert (status, reference, return_to) == (303, "tenant-7", "/done")


async def test_unknown_link(tab: Tab) -> None:
    """A link that is spent, old or made up is a page that says so."""
    status, _, page = await tab.open("/connect/unknown")
    assert status == 400
    assert "authorization_expired" in page


@pytest.mark.row("F85")
@pytest.mark.parametrize(
    "answer",
    ["error=access_denied", "error=server_error&error_description=two%0Alines", "error=access_denied&code=c-1", ""],
)
@pytest.mark.parametrize("return_to", [None, "/done"])
async def test_denial(tab: Tab, answer: str, return_to: str | None) -> None:
    """A denial, an unknown error, both code and error, or neither: nothing is exchanged, the state is spent."""
    state = await tab.begin(f"?return_to={return_to}" if return_to else "")
    status, location, page = await tab.open(f"/callback?{answer}&state={state}")
    if return_to:
        assert (status, location) == (303, "/done?error=authorization_denied")
    else:
        assert status == 400
        assert "authorization_denied" in page
    assert tab.service.vault.exchanges == []
    assert (await tab.open(f"/callback?code=c-1&state={state}"))[0] == 400


@pytest.mark.parametrize("code", FAILURES)
@pytest.mark.parametrize(
    ("return_to", "expected"),
    [("/done?x=1", "/done?x=1&error={code}"), ("https://app.example/", "https://app.example/?error={code}")],
)
async def test_failed_exchange_returns(tab: Tab, code: str, return_to: str, expected: str) -> None:
    """Whatever went wrong after the state was spent, the browser goes where the link said, with the code of it."""
    state = await tab.begin(f"?return_to={quote(return_to, safe='')}")
    status, location, page = await tab.open(f"/callback?code={code}&state={state}")
    assert (status, location, page) == (303, expected.format(code=FAILURES[code].code), "")
    assert not tab.cookies.get(START)


@pytest.mark.parametrize("code", FAILURES)
async def test_failed_exchange_without_return_to(tab: Tab, code: str) -> None:
    """Nowhere to go: the page says what happened, with the status of it."""
    state = await tab.begin()
    status, _, page = await tab.open(f"/callback?code={code}&state={state}")
    assert status == FAILURES[code].status
    assert FAILURES[code].code in page


@pytest.mark.parametrize("return_to", ["", "?return_to=/done"])
async def test_a_failed_approval_has_its_code(tab: Tab, return_to: str) -> None:
    """In the header of every answer of ours, wherever the browser is sent."""
    state = await tab.begin(return_to)
    cookie = "; ".join(f"{name}={value}" for name, value in tab.cookies.items())
    url, sent = f"{tab.service.url}/callback?error=access_denied&state={state}", {"Host": tab.host, "Cookie": cookie}
    async with tab.service.http.get(url, headers=sent, allow_redirects=False) as answer:
        assert (answer.status, answer.headers["X-Cloudbeds-Auth-Code"]) == (303, "authorization_denied")


async def test_failed_exchange_to_an_origin_that_is_listed_no_more(tab: Tab) -> None:
    """The list that counts is the one of now, for failures too: the page is shown."""
    state = await tab.begin("?return_to=https%3A%2F%2Fapp.example%2F")
    tab.service.vault.change(return_origins=())
    assert (await tab.open(f"/callback?code=spent&state={state}"))[0] == 400


@pytest.mark.row("A11")
@pytest.mark.parametrize(
    "words", ["<script>alert(1)</script>", '"><img src=x onerror=alert(1)>', "javascript:alert(1)", "{{ 7*7 }}"]
)
async def test_reflected_words(tab: Tab, words: str) -> None:
    """The vendor's words are shown escaped, below a policy that runs no script (A11)."""
    state = await tab.begin()
    _, _, page = await tab.open(f"/callback?error=x&error_description={quote(words, safe='')}&state={state}")
    assert "<script" not in page
    assert "<img" not in page
    assert 'href="javascript' not in page
    assert "49" not in page or "7*7" in page


async def test_start_again(tab: Tab) -> None:
    """A failed approval offers the way that this browser came, the one-time link included."""
    link = await tab.service.vault.create_link(expires_in=60)
    await tab.press(f"/connect/{link.token}")
    [state] = tab.service.vault.vendor.states
    status, _, page = await tab.open(f"/callback?code=spent&state={state}")
    assert status == 400
    assert "authorization_expired" in page
    assert f'href="/connect/{link.token}"' in page


async def test_start_again_is_ours(tab: Tab) -> None:
    """A planted way back is not shown."""
    tab.cookies[START] = "//evil/connect"
    _, _, page = await tab.open("/callback?code=x")
    assert "evil" not in page
    assert 'href="/connect"' in page


@pytest.mark.row("A14")
async def test_no_code_leaves_the_callback(tab: Tab) -> None:
    """The callback answers 303 to an address without code and state; the pages load nothing from elsewhere."""
    state = await tab.begin()
    _, location, _ = await tab.open(f"/callback?code=c-1&state={state}")
    assert "c-1" not in location
    assert state not in location
    for path in (location, "/callback?code=c-2"):
        page = (await tab.open(path))[2]
        assert "c-2" not in page
        assert "http://" not in page
        assert "https://" not in page
        assert "<script" not in page
        assert "style=" not in page


async def test_connected_tells_only_what_it_is_told(tab: Tab) -> None:
    """An id only when it looks like one; and of another browser's hotel, or beside a planted cookie, nothing else."""
    _, _, page = await tab.open("/connected?connection_id=%3Cscript%3E")
    assert "script" not in page
    whole, other = '["con_1", "<b>", "1", "default", "read:hotel"]', '["con_2", "b", "c", "d", "e"]'
    for planted in (whole, other, '["con_1", "a", "b"]', "["):
        tab.cookies[CONNECTED] = quote(planted)
        status, _, page = await tab.open("/connected?connection_id=con_1")
        assert (status, "<dl>" in page, "<b>" in page) == (200, planted == whole, False)
    assert (await tab.open("/connected?connection_id=con_1&connection_id=con_2"))[0] == 400


async def test_a_failure_that_returns_to_our_own_page(tab: Tab) -> None:
    """It is no page that says "Connected"; a code that there is not is not repeated."""
    state = await tab.begin("?return_to=/connected")
    _, location, _ = await tab.open(f"/callback?error=access_denied&state={state}")
    assert location == "/connected?error=authorization_denied"
    status, _, page = await tab.open(location)
    assert (status, "<h1>You did not approve</h1>" in page) == (400, True)
    status, _, page = await tab.open("/connected?error=bad_weather")
    assert (status, "bad_weather" in page) == (404, False)


async def test_static_files(service: Running[RealVault]) -> None:
    """The style sheet and the icon, by name, and nothing else."""
    for path, kind in (
        ("/static/style.css", "text/css"),
        ("/static/favicon.svg", "image/svg+xml"),
        ("/favicon.ico", "image/svg+xml"),
    ):
        async with service.http.get(service.url + path) as answer:
            assert (answer.status, answer.content_type) == (200, kind)
    async with service.http.get(service.url + "/static/base.html") as answer:
        assert answer.status == 404
    answered = await raw(
        service, b"GET /static/..%2ftemplates%2fbase.html HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    )
    assert answered.startswith(b"HTTP/1.1 401 ")


@pytest.mark.row("A18")
async def test_state_changing_get(service: Running[RealVault]) -> None:
    """No GET changes a connection: what would is asked for in another way, and an address of no route is nothing."""
    paths = {"/api/v1/connections/con_1/refresh": 405, "/api/v1/connections/con_1/claim": 405,
             "/api/v1/authorizations": 405, "/api/v1/connections/con_1/disconnect": 404, "/disconnect?id=con_1": 404,
             "/api/v1/connections/con_1?_method=DELETE": 200}  # fmt: skip
    for path, status in paths.items():
        async with service.http.get(service.url + path, headers=AS_ADMIN) as answer:
            assert answer.status == status, path
    assert service.vault.pending() == []
    assert (service.vault.endpoint.refreshes, service.vault.disconnected) == (0, [])

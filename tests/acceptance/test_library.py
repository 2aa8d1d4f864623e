"""The library in a user's own program: asynchronous and blocking vaults, threads, and a fork, over one store."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import textwrap
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx2
import pytest
from tests.acceptance.conftest import MakeWorld
from tests.acceptance.processes import Http, World, world_apart

from cloudbeds_auth import (
    BodyNotReplayable,
    ClientRefused,
    ForeignOrigin,
    InvalidRequest,
    OutcomeUnknown,
    TokenVault,
    UpstreamFailed,
)
from cloudbeds_auth import sync as blocking
from cloudbeds_auth.settings import Need, Settings, load


def settings_of(made: World) -> Settings:
    """The settings of a world's processes, here."""
    return load(made.settings, None, need=Need.APP)


def connect(vault: blocking.TokenVault, reference: str | None = None, app: str | None = None) -> str:
    """Approve with the blocking vault; the connection's id."""
    begun = vault.begin_authorization(reference=reference, app=app)
    back = parse_qs(urlsplit(Http().get(begun.url).headers["Location"]).query)
    return vault.finish_authorization(code=back["code"][0], state=back["state"][0]).id


def test_a_blocking_client_is_healed_across_a_rotation(make_world: MakeWorld) -> None:
    """`httpx2.Client(auth=vault.auth(…))` sees 200 before and after the vendor ended the token."""
    made = make_world("--auto-approve")
    with blocking.TokenVault.open(settings_of(made)) as vault:
        connection = connect(vault)
        with httpx2.Client(base_url=vault.base_url, auth=vault.auth(connection)) as http:
            assert http.get("/api/v1.3/userinfo").status_code == 200
            made.vendor.control("expire")
            assert http.get("/api/v1.3/userinfo").status_code == 200
            assert http.post("/api/v1.3/postReservationNote", data={"note": "late"}).status_code == 200
    assert made.vendor.counts() == {"issued": 1}


async def test_an_asynchronous_client_is_healed_across_a_rotation(make_world: MakeWorld) -> None:
    """`httpx2.AsyncClient(auth=vault.auth(…))`, and a blocking client beside it on another thread."""
    made = make_world("--auto-approve")
    async with TokenVault.open(settings_of(made)) as vault:
        begun = await vault.begin_authorization()
        answer = await asyncio.to_thread(Http().get, begun.url)
        back = parse_qs(urlsplit(answer.headers["Location"]).query)
        connection = await vault.finish_authorization(code=back["code"][0], state=back["state"][0])
        async with httpx2.AsyncClient(base_url=vault.base_url, auth=vault.auth(connection.id)) as http:
            await asyncio.to_thread(made.vendor.control, "expire")
            answers = await asyncio.gather(*(http.get("/api/v1.3/userinfo") for _ in range(16)))
            assert {reply.status_code for reply in answers} == {200}

        def on_a_thread() -> int:
            with httpx2.Client(base_url=vault.base_url, auth=vault.auth(connection.id)) as http:
                return http.get("/api/v1.3/userinfo").status_code

        assert await asyncio.to_thread(on_a_thread) == 200
        here = httpx2.Client(base_url=vault.base_url, auth=vault.auth(connection.id))
        with here, pytest.raises(RuntimeError, match="AsyncClient"):
            here.get("/api/v1.3/userinfo")
    assert made.vendor.counts() == {"issued": 1}


def test_a_hotels_own_client_with_the_blocking_vault(make_world: MakeWorld) -> None:
    """Added, listed, reset and removed, method by method; the hotel is refreshed with the secret that is taken."""
    made = make_world("--auto-approve")
    own: dict[str, Any] = {"client_id": "hotels-own", "redirect_uris": [f"{made.base}/callback/aurora"]}
    made.vendor.control("apps", client_secret="first", **own)
    with blocking.TokenVault.open(settings_of(made)) as vault:
        added = vault.apps.add("aurora", client_id="hotels-own", client_secret="first", level="property")
        assert vault.apps.get("aurora") == added
        assert [app.id for app in vault.apps.list()] == ["default", "aurora"]
        connection = connect(vault, app="aurora")
        made.vendor.control("apps", client_secret="second", **own)
        with pytest.raises(ClientRefused):
            vault.refresh(connection)
        assert len(vault.apps.rotate_secret("aurora", "second").secrets) == 2
        assert vault.refresh(connection).generation == 2
        assert len(vault.apps.drop_previous_secret("aurora").secrets) == 1
        with pytest.raises(InvalidRequest, match="1 connection"):
            vault.apps.remove("aurora")
        vault.disconnect(connection)
        vault.apps.remove("aurora")
        assert [app.id for app in vault.apps.list()] == ["default"]


def test_the_credential_is_for_the_vendors_origin_only(make_world: MakeWorld) -> None:
    """Another host, port or scheme raises before anything is sent; a redirect is not followed with the credential."""
    made = make_world("--auto-approve")
    with blocking.TokenVault.open(settings_of(made)) as vault:
        connection = connect(vault)
        before = len(made.vendor.control("requests", "GET")["requests"])
        with httpx2.Client(auth=vault.auth(connection)) as http:
            for url in (f"http://127.0.0.1:{made.port}/", "http://example.invalid/", f"https{made.vendor.base[4:]}/"):
                with pytest.raises(ForeignOrigin):
                    http.get(url)
        assert len(made.vendor.control("requests", "GET")["requests"]) == before


def proved(vault: blocking.TokenVault, connection: str) -> None:
    """Wait until the newest token is known to work."""
    for _ in range(2000):
        if vault.events(connection)[0].kind == "proved":
            return
        time.sleep(0.01)
    raise AssertionError("the proof did not come")


def test_a_body_that_cannot_be_sent_again_is_a_typed_error(make_world: MakeWorld) -> None:
    """A generator's body met a dead token: BodyNotReplayable, the token is renewed, and the next request works."""
    made = make_world("--auto-approve")
    with blocking.TokenVault.open(settings_of(made)) as vault:
        connection = connect(vault)
        made.vendor.control("expire")
        with httpx2.Client(base_url=vault.base_url, auth=vault.auth(connection)) as http:
            with pytest.raises(BodyNotReplayable):
                http.post("/api/v1.3/postReservationNote", content=iter([b"note=", b"streamed"]))
            assert http.post("/api/v1.3/postReservationNote", data={"note": "again"}).status_code == 200
            proved(vault, connection)  # a new token that is refused is asked about later
            made.vendor.control("expire")
            files = {"file": ("menu.txt", b"soup" * 1000, "text/plain")}
            assert http.post("/api/v1.3/postFile", files=files).status_code == 200


def test_call_goes_to_the_vendor_only(make_world: MakeWorld) -> None:
    """A path, a bare method name and an address of the vendor's are called; another origin sees nothing, nor we it."""
    made = make_world("--auto-approve")
    with blocking.TokenVault.open(settings_of(made)) as vault:
        connection = connect(vault)
        for path in ("/api/v1.3/userinfo", "userinfo", f"{made.vendor.base}/api/v1.3/userinfo"):
            assert vault.call(connection, "GET", path).json()["first_name"] == "Ada"
        before = len(made.vendor.control("requests", "GET")["requests"])
        made.vendor.control("expire")
        for path in (f"http://127.0.0.1:{made.port}/api/v1.3/userinfo", "https://example.invalid/"):
            with pytest.raises(ForeignOrigin):
                vault.call(connection, "GET", path)
        assert len(made.vendor.control("requests", "GET")["requests"]) == before


def test_call_without_an_answer(tmp_path: Path) -> None:
    """Cut off after it was sent: reading failed, a write may have happened; the vendor away: nothing was sent."""
    with world_apart(tmp_path, "--auto-approve") as made, blocking.TokenVault.open(settings_of(made)) as vault:
        connection = connect(vault)
        vault.access_token(connection)
        assert vault.link_outcome(vault.create_link().token) is None
        for method, path, kind in (
            ("GET", "getHotels", UpstreamFailed),
            ("POST", "postReservationNote", OutcomeUnknown),
        ):
            made.vendor.control("faults", target=path, kind="reset_after")
            with pytest.raises(kind) as caught:
                vault.call(connection, method, path)
            assert type(caught.value) is kind
        assert made.vendor.process is not None
        made.vendor.process.stop()
        with pytest.raises(UpstreamFailed, match="nothing was sent"):
            vault.call(connection, "POST", "postReservationNote", data={"note": "lost"})


def test_threads_of_both_kinds_of_vault_share_one_refresh(make_world: MakeWorld) -> None:
    """Two blocking vaults of one process, sixteen threads each, one dead token: one refresh."""
    made = make_world("--auto-approve", CLOUDBEDS_AUTH_TOKEN_TIMEOUT="20")
    settings = settings_of(made)
    with blocking.TokenVault.open(settings) as one, blocking.TokenVault.open(settings) as two:
        connection = connect(one)
        held = two.access_token(connection)
        made.vendor.control("expire")
        with ThreadPoolExecutor(32) as pool:
            asked = [pool.submit(vault.access_token, connection, 60.0, held) for vault in (one, two) * 16]
            assert {future.result().generation for future in asked} == {2}
    assert made.vendor.counts() == {"issued": 1}


def test_a_fresh_look_up_never_crosses_to_another_thread(make_world: MakeWorld) -> None:
    """With the vault's own thread held up, a fresh token is still lent at once."""
    made = make_world("--auto-approve")
    with blocking.TokenVault.open(settings_of(made)) as vault:
        connection = connect(vault)
        token = vault.access_token(connection)
        held_up = threading.Event()
        vault._program.threaded._now().loop.call_soon_threadsafe(held_up.wait)
        try:
            assert vault.access_token(connection) is token
        finally:
            held_up.set()


FORKING = """
    import os, sys
    from cloudbeds_auth.sync import TokenVault

    with TokenVault.open() as vault:
        before = vault.access_token(sys.argv[1]).reveal()
        pid = os.fork()
        if pid == 0:
            same = vault.access_token(sys.argv[1]).reveal() == before
            status = vault.call(sys.argv[1], "GET", "/api/v1.3/userinfo").status_code
            renewed = vault.refresh(sys.argv[1]).generation
            vault.close()
            os._exit(0 if (same, status, renewed) == (True, 200, 2) else 1)
        _, ended = os.waitpid(pid, 0)
        answer = vault.call(sys.argv[1], "GET", "/api/v1.3/userinfo")
        print(os.waitstatus_to_exitcode(ended), answer.status_code, vault.connection(sys.argv[1]).generation)
"""


@pytest.mark.row("F61")
def test_after_a_fork_the_vault_reopens(make_world: MakeWorld, tmp_path: Path) -> None:
    """The child opens a database connection of its own and refreshes; the parent goes on with what it finds."""
    made = make_world("--auto-approve")
    with blocking.TokenVault.open(settings_of(made)) as vault:
        connection = connect(vault)
    script = tmp_path / "forking.py"
    script.write_text(textwrap.dedent(FORKING), "utf-8")
    done = subprocess.run(
        [sys.executable, "-W", "ignore::DeprecationWarning", str(script), connection],
        env={"PATH": "/usr/bin:/bin", **made.settings},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.stdout.strip() == "0 200 2", done.stderr

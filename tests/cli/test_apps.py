"""`apps` as it is typed, over a real database: secrets from prompt, file and environment, never as an argument."""

from __future__ import annotations

import json
import re
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from tests.cli.fakes import Result, invoke
from tests.support.terminal import screen_of

SECRET = "canary-secret-of-aurora"
NEXT = "canary-secret-after-the-reset"
URI = "http://localhost:7000/callback/aurora"


@pytest.fixture
def typed(settings: dict[str, str]) -> Any:
    """Run `apps …`; no secret is ever on standard output or standard error."""

    def run(*args: str, stdin: str | bytes = "", **env: str) -> Result:
        result = invoke("apps", *args, typed=stdin, env=settings | env)
        assert "canary" not in result.out + result.err
        return result

    return run


def secrets_of(settings: dict[str, str], name: str = "aurora") -> list[str]:
    """An app's secrets as the vault would present them."""
    from cloudbeds_auth.settings import Need, load
    from cloudbeds_auth.sync import TokenVault

    with TokenVault.open(load(settings, None, need=Need.APP)) as vault:
        return [secret.reveal() for secret in vault.apps.get(name).secrets]


def added(typed: Any, **env: str) -> Result:
    """The app aurora, its secret from the environment."""
    result: Result = typed("add", "aurora", "--client-id", "client-2", CLOUDBEDS_AUTH_APP_SECRET=SECRET, **env)
    assert result.status == 0, result.err
    return result


# --- where a secret comes from


def test_from_the_environment(typed: Any, settings: dict[str, str]) -> None:
    """The variable of the command's own, which no setting takes for a slip of the pen; what to do next is said."""
    result = added(typed)
    assert URI in result.out
    assert "connect --app aurora" in result.err
    assert secrets_of(settings) == [SECRET]


def test_from_the_hotel(typed: Any) -> None:
    """A link is printed, and nothing is asked for or added; it is no place for a secret."""
    result = typed("add", "aurora", "--link", "--reference", "tenant-7", "--json")
    assert re.fullmatch(r"http://localhost:7000/add-app/[\w-]{40,}", json.loads(result.out)["app_url"])
    assert typed("add", "aurora", "--link", "--scopes", "read:hotel").out.startswith("http://localhost:7000/add-app/")
    assert "aurora" not in typed("list").out
    for wrong in (["--link", "--client-id", "client-2"], ["--link", "--secret-file", "-"], ["--reference", "tenant-7"]):
        assert typed("add", "aurora", *wrong, CLOUDBEDS_AUTH_APP_SECRET=SECRET).status == 2
    added(typed)
    assert (typed("add", "aurora", "--link").status, "aurora" in typed("list").out) == (1, True)


@pytest.mark.parametrize("mode", [0o600, 0o644])
def test_from_a_file(typed: Any, settings: dict[str, str], tmp_path: Path, mode: int) -> None:
    """Only the value counts, not the line's end; a file that anybody may read is told of."""
    (tmp_path / "secret").write_text(f"{SECRET}\n")
    (tmp_path / "secret").chmod(mode)
    result = typed("add", "aurora", "--client-id", "client-2", "--secret-file", "secret")
    assert result.status == 0
    assert ("chmod 600" in result.err) == (mode == 0o644)
    assert secrets_of(settings) == [SECRET]


def test_from_standard_input(typed: Any, settings: dict[str, str]) -> None:
    """For what comes from a password manager through a pipe."""
    result = typed("add", "aurora", "--client-id", "client-2", "--secret-file", "-", stdin=f"{SECRET}\n")
    assert result.status == 0
    assert secrets_of(settings) == [SECRET]


NO_SECRETS = {
    "not UTF-8": b"canary\xff\xfe\n", "several lines": b"canary-1\ncanary-2\n", "too large": b"canary" * 20_000,
    "carriage return": b"canary-1\rcanary-2", "control character": b"canary-1\x00canary-2",
    "line separator": "canary-1\u2028canary-2".encode(),
}  # fmt: skip


@pytest.mark.parametrize("content", NO_SECRETS.values(), ids=NO_SECRETS)
@pytest.mark.parametrize("where", ["-", "secret"])
def test_what_is_no_secret_is_refused(typed: Any, settings: dict[str, str], content: bytes, where: str) -> None:
    """Bytes that are no text, and more than one line: a diagnosis, and nothing is stored, also not by a reset."""
    Path("secret").write_bytes(content)
    Path("secret").chmod(0o600)
    given = {"stdin": content} if where == "-" else {}
    refused = typed("add", "aurora", "--client-id", "client-2", "--secret-file", where, **given)
    assert (refused.status, "--secret-file: " in refused.err) == (1, True)
    assert "aurora" not in typed("list").out
    added(typed)
    refused = typed("rotate-secret", "aurora", "--secret-file", where, **given)
    assert (refused.status, "--secret-file: " in refused.err) == (1, True)
    assert secrets_of(settings) == [SECRET]


@pytest.mark.parametrize("end", ["", "\n", "\r\n", "\n\n"])
def test_the_ends_of_lines_are_no_part_of_a_secret(typed: Any, settings: dict[str, str], end: str) -> None:
    """Whatever an editor or a password manager adds."""
    given = f"{SECRET}{end}".encode()
    assert typed("add", "aurora", "--client-id", "client-2", "--secret-file", "-", stdin=given).status == 0
    assert secrets_of(settings) == [SECRET]


def test_several_lines_in_the_environment(typed: Any) -> None:
    """The variable is named."""
    result = typed("add", "aurora", "--client-id", "client-2", CLOUDBEDS_AUTH_APP_SECRET="canary-1\ncanary-2")
    assert (result.status, "CLOUDBEDS_AUTH_APP_SECRET: the value has several lines" in result.err) == (1, True)


@pytest.mark.parametrize("content", [None, b"", b"\xff\xfe"])
def test_a_file_that_is_none(typed: Any, tmp_path: Path, content: bytes | None) -> None:
    """Missing, empty, or no text: a diagnosis, and nothing is added."""
    if content is not None:
        (tmp_path / "secret").write_bytes(content)
    result = typed("add", "aurora", "--client-id", "client-2", "--secret-file", "secret")
    assert (result.status, "--secret-file" in result.err) == (1, True)
    assert "aurora" not in typed("list").out


def test_from_a_prompt(settings: dict[str, str], tmp_path: Path) -> None:
    """What to enter at Cloudbeds is said first, with this app's redirect URI; the secret is typed without an echo."""
    answers = {"client id": "client-2", "client secret": SECRET}
    screen = screen_of("apps", "add", "aurora", answers=answers, settings=settings, folder=tmp_path)
    assert f"redirect URI      {URI}" in screen
    assert SECRET not in screen
    assert secrets_of(settings) == [SECRET]


@pytest.mark.row("A56")
@pytest.mark.parametrize(
    "args",
    [
        ("add", "aurora", "--client-id", "client-2", "--client-secret", SECRET),
        ("add", "aurora", "--client-id", "client-2", f"--secret={SECRET}"),
        ("add", "aurora", SECRET, "--client-id", "client-2"),
        ("rotate-secret", "aurora", SECRET),
        ("rotate-secret", "aurora", "--secret", SECRET),
    ],
)
def test_a_secret_among_the_arguments_is_refused(typed: Any, args: tuple[str, ...]) -> None:
    """Also where a secret comes another way; it is not repeated, and whoever typed it is told to reset it."""
    result = typed(*args, CLOUDBEDS_AUTH_APP_SECRET="canary-other")
    assert result.status == 2
    assert "must not be an argument" in result.err
    assert "aurora" not in typed("list").out


@pytest.mark.parametrize(
    ("args", "word"),
    [
        (("add", "aurora"), "--client-id"),
        (("add", "aurora", "--client-id", "client-2"), "CLOUDBEDS_AUTH_APP_SECRET"),
        (("rotate-secret", "aurora"), "--secret-file"),
        (("remove", "aurora"), "--yes"),
        (("--json", "list"), "after the subcommand"),
        (("rotate-secret", "aurora", "--drop-previous", "--secret-file", "x"), "takes no secret"),
    ],
)
def test_where_nobody_can_be_asked(typed: Any, args: tuple[str, ...], word: str) -> None:
    """Wrong usage, with what to say instead; nothing waits for a terminal that is not there."""
    result = typed(*args)
    assert result.status == 2
    assert word in result.err


# --- what is there


def test_a_list(typed: Any) -> None:
    """The settings' own first; for programs whether there are secrets, and never which."""
    added(typed)
    shown = typed().out
    assert [line.split()[0] for line in shown.splitlines()] == ["app", "default", "aurora"]
    own, aurora = json.loads(typed("list", "--json").out)["apps"]
    assert (own["name"], own["client_id"], own["level"], own["created_at"]) == ("default", "client-1", "partner", None)
    assert aurora.pop("created_at") is not None
    assert aurora == {
        "name": "aurora", "client_id": "client-2", "level": "property", "redirect_uri": URI, "scopes": [],
        "credential": "oauth", "origin": "https://api.cloudbeds.com", "secret": True, "previous_secret": False,
        "secret_rotated_at": None,
    }  # fmt: skip


def test_everything_may_be_said(typed: Any) -> None:
    """Level, redirect URI and scopes of its own; as a document for programs."""
    result = typed(
        *("add", "partner-eu", "--client-id", "client-3", "--level", "partner", "--json"),
        *("--redirect-uri", "https://auth.example.com/eu/callback", "--scopes", "read:hotel  read:rate"),
        *("--credential", "api-key"),
        CLOUDBEDS_AUTH_APP_SECRET=SECRET,
        CLOUDBEDS_REDIRECT_URI="https://auth.example.com/callback",
    )
    document = json.loads(result.out)
    assert (document["level"], document["scopes"]) == ("partner", ["read:hotel", "read:rate"])
    assert document["credential"] == "api_key"
    assert document["redirect_uri"] == "https://auth.example.com/eu/callback"


@pytest.mark.parametrize(
    ("args", "word"),
    [
        (("Aurora", "--client-id", "client-2"), "name"),
        (("aurora", "--client-id", "client-1"), "client id"),
        (("default", "--client-id", "client-2"), "of this name"),
        (("aurora", "--client-id", "client-2", "--redirect-uri", "http://elsewhere.example/x"), "plain http"),
    ],
)
def test_what_cannot_be_added(typed: Any, args: tuple[str, ...], word: str) -> None:
    """A diagnosis that names what is wrong; exit status 1, nothing added."""
    result = typed("add", *args, CLOUDBEDS_AUTH_APP_SECRET=SECRET)
    assert result.status == 1
    assert word in result.err
    assert len(json.loads(typed("list", "--json").out)["apps"]) == 1


# --- reset and end


def test_a_reset_and_its_end(typed: Any, settings: dict[str, str]) -> None:
    """New first, the former one beside it; dropped when it is said so."""
    added(typed)
    document = json.loads(typed("rotate-secret", "aurora", "--json", CLOUDBEDS_AUTH_APP_SECRET=NEXT).out)
    assert (document["secret"], document["previous_secret"]) == (True, True)
    assert secrets_of(settings) == [NEXT, SECRET]
    assert "current and previous" in typed("list").out
    assert typed("rotate-secret", "aurora", CLOUDBEDS_AUTH_APP_SECRET=NEXT).status == 1
    assert "forgotten" in typed("rotate-secret", "aurora", "--drop-previous").out
    assert secrets_of(settings) == [NEXT]


@pytest.mark.parametrize("args", [("rotate-secret", "aurora"), ("remove", "aurora", "--yes")])
def test_an_app_that_is_not_there(typed: Any, args: tuple[str, ...]) -> None:
    """Told by name, with where to look."""
    result = typed(*args, CLOUDBEDS_AUTH_APP_SECRET=SECRET)
    assert (result.status, "no app named 'aurora'" in result.err) == (1, True)
    assert "cloudbeds-auth apps" in result.err


def test_removed(typed: Any) -> None:
    """For people and for programs; then the name is free again."""
    added(typed)
    assert typed("remove", "aurora", "--yes").out == "aurora was removed\n"
    added(typed)
    assert json.loads(typed("remove", "aurora", "--yes", "--json").out) == {"name": "aurora", "removed": True}


@pytest.mark.parametrize(("answer", "status", "left"), [("n", 1, 2), ("y", 0, 1)])
def test_removing_asks(
    typed: Any, settings: dict[str, str], tmp_path: Path, answer: str, status: int, left: int
) -> None:
    """At a terminal, unless it is told not to."""
    added(typed)
    screen = screen_of("apps", "remove", "aurora", answers={"[y/N]": answer}, settings=settings, folder=tmp_path)
    assert ("was removed" in screen) == (status == 0)
    assert ("not confirmed: nothing was changed" in screen) == (status == 1)
    assert len(json.loads(typed("list", "--json").out)["apps"]) == left


# --- where the vendor is

OLD, NEW = "https://hotels.cloudbeds-stage.com", "https://api.cloudbeds.com"


@pytest.mark.row("F92")
def test_the_vendor_moved(typed: Any) -> None:
    """What was added towards the old origin is of the new one from then on, and the list says so."""
    added(typed, CLOUDBEDS_BASE_URL=OLD)
    assert OLD in typed("list").out
    moved = typed("move-origin", "aurora", "--from", f"{OLD}:443/", "--yes")
    assert (moved.status, moved.out) == (0, f"aurora and 0 grants of it now belong to {NEW}\n")
    (_, aurora) = json.loads(typed("list", "--json").out)["apps"]
    assert aurora["origin"] == NEW
    again = typed("move-origin", "aurora", "--from", OLD, "--yes")
    assert (again.status, "nothing of the app 'aurora' came from" in again.err) == (1, True)


@pytest.mark.row("F92")
@pytest.mark.parametrize(
    ("args", "said"),
    [
        (("--from", "hotels.cloudbeds-stage.com", "--yes"), "write scheme and host"),
        (("--from", f"{OLD}/api", "--yes"), "has more than scheme and host"),
        (("--from", OLD), "without a terminal, confirm it with --yes"),
        (("--yes",), "Missing option '--from'"),
    ],
)
def test_a_move_that_is_not_typed_as_it_should_be(typed: Any, args: tuple[str, ...], said: str) -> None:
    """Wrong usage, and nothing is moved."""
    added(typed, CLOUDBEDS_BASE_URL=OLD)
    result = typed("move-origin", "aurora", *args)
    assert (result.status, said in result.err) == (2, True)
    assert OLD in typed("list").out


@pytest.mark.row("F92")
def test_a_move_is_asked_about(typed: Any, settings: dict[str, str], tmp_path: Path) -> None:
    """At a terminal both origins are named first."""
    added(typed, CLOUDBEDS_BASE_URL=OLD)
    asked = f"Send the credentials of aurora that came from {OLD} to {NEW} from now on? [y/N]"
    move = partial(screen_of, "apps", "move-origin", "aurora", "--from", OLD, settings=settings, folder=tmp_path)
    screen = move(answers={"[y/N]": "n"})
    assert asked in screen
    assert OLD in typed("list").out
    move(answers={"[y/N]": "y"})
    assert OLD not in typed("list").out


@pytest.mark.row("F92")
def test_blocking_code_moves_it_too(typed: Any, settings: dict[str, str]) -> None:
    """And sees the finding before."""
    from cloudbeds_auth.settings import Need, load
    from cloudbeds_auth.sync import TokenVault

    added(typed, CLOUDBEDS_BASE_URL=OLD)
    with TokenVault.open(load(settings, None, need=Need.APP)) as vault:
        (found,) = vault.apps.foreign()
        assert OLD in found.what
        assert vault.apps.move_origin("aurora", OLD) == 0
        assert list(vault.apps.foreign()) == []

"""`setup`: what it says, what it writes, and that the secret is never shown."""

from __future__ import annotations

import os
import pwd
import stat
from functools import partial
from pathlib import Path

import pytest
from dotenv import dotenv_values
from hypothesis import given
from hypothesis import strategies as st
from tests.cli.fakes import invoke
from tests.support.terminal import screen_of

from cloudbeds_auth import errors
from cloudbeds_auth.cli import setup

WITHOUT_DOCTOR = "from cloudbeds_auth.cli import main, setup; setup.examine = lambda *_: 0; main.cli(['setup'])"
typed = partial(screen_of, settings={}, program=("-c", WITHOUT_DOCTOR))  # what is on the screen of `setup`

OWNER = (65534, 65534) if os.geteuid() == 0 else (os.geteuid(), os.getegid())  # root alone gives files away
SECRET = "s3cr3t-ö$'x\\y #z"


@pytest.fixture
def no_doctor(monkeypatch: pytest.MonkeyPatch) -> list[Path | None]:
    """Doctor is only remembered, not run."""
    asked: list[Path | None] = []

    def examine(out: object, dotenv: Path | None) -> int:
        asked.append(dotenv)
        return 0

    monkeypatch.setattr(setup, "examine", examine)
    return asked


def environment(**more: str) -> dict[str, str]:
    return {"CLOUDBEDS_CLIENT_ID": "app-1", "CLOUDBEDS_CLIENT_SECRET": "hidden-secret", **more}


def test_unattended(no_doctor: list[Path | None]) -> None:
    """Says what to enter at Cloudbeds, writes a private .env, ends in doctor; the secret is nowhere on screen."""
    result = invoke("setup", "--non-interactive", env=environment())
    assert result.status == 0
    assert "redirect URI      http://localhost:7000/callback" in result.out
    assert "Apps & Marketplace" in result.out
    assert "integration type" in result.out
    assert "hidden-secret" not in result.out + result.err
    assert stat.S_IMODE(Path(".env").stat().st_mode) == 0o600
    assert dotenv_values(".env") == environment(CLOUDBEDS_REDIRECT_URI="http://localhost:7000/callback")
    assert no_doctor == [None]


@pytest.mark.parametrize("where", ["environment", ".env"])
def test_a_secret_that_is_in_a_file_stays_there(no_doctor: list[Path | None], tmp_path: Path, where: str) -> None:
    """CLOUDBEDS_CLIENT_SECRET_FILE is as good as the secret: none is asked for, and none is written beside it."""
    held, given = str(tmp_path / "secret"), {"CLOUDBEDS_CLIENT_ID": "app-1"}
    if where == ".env":
        Path(".env").write_text(f"CLOUDBEDS_CLIENT_SECRET_FILE={held}\n")
        Path(".env").chmod(0o600)
    else:
        given["CLOUDBEDS_CLIENT_SECRET_FILE"] = held
    assert invoke("setup", "--non-interactive", env=given).status == 0
    wanted = {"CLOUDBEDS_CLIENT_SECRET_FILE": held, "CLOUDBEDS_REDIRECT_URI": "http://localhost:7000/callback"}
    assert dotenv_values(".env") == {"CLOUDBEDS_CLIENT_ID": "app-1", **wanted}


@pytest.mark.parametrize("suffix", ["", "_FILE"])
def test_the_spelling_of_the_environment_wins(no_doctor: list[Path | None], tmp_path: Path, suffix: str) -> None:
    """A file that says the secret in the other one would be refused from then on: that line goes."""
    other = "_FILE" if suffix == "" else ""
    Path(".env").write_text(f"CLOUDBEDS_CLIENT_ID=app-1\nCLOUDBEDS_CLIENT_SECRET{other}=/former\nLAST=x\n")
    Path(".env").chmod(0o600)
    given = {f"CLOUDBEDS_CLIENT_SECRET{suffix}": str(tmp_path / "secret")}
    assert invoke("setup", "--non-interactive", env=given).status == 0
    assert dotenv_values(".env") == {
        "CLOUDBEDS_CLIENT_ID": "app-1", "LAST": "x", "CLOUDBEDS_REDIRECT_URI": "http://localhost:7000/callback", **given
    }  # fmt: skip


def test_with_its_secret_in_a_file_only_the_id_is_asked_for(tmp_path: Path) -> None:
    """At a terminal, too."""
    (tmp_path / ".env").write_text("CLOUDBEDS_CLIENT_SECRET_FILE=/run/secrets/client\n")
    assert "client secret:" not in typed(answers={"client id": "app-9"}, folder=tmp_path)
    written = dotenv_values(tmp_path / ".env")
    assert (written["CLOUDBEDS_CLIENT_ID"], written["CLOUDBEDS_CLIENT_SECRET_FILE"]) == ("app-9", "/run/secrets/client")
    assert "CLOUDBEDS_CLIENT_SECRET" not in written


def test_other_lines_stay(no_doctor: list[Path | None]) -> None:
    """Comments, foreign variables and their order survive; a wider file mode does not."""
    Path(".env").write_text("# mine\nOTHER='1 2'\nCLOUDBEDS_CLIENT_ID=old\n\nLAST=x")
    Path(".env").chmod(0o644)
    invoke("setup", "--non-interactive", "--redirect-uri", "https://a.example/cb", env=environment())
    lines = Path(".env").read_text().splitlines()
    assert lines[:5] == ["# mine", "OTHER='1 2'", "CLOUDBEDS_CLIENT_ID=app-1", "", "LAST=x"]
    assert "CLOUDBEDS_REDIRECT_URI=https://a.example/cb" in lines
    assert stat.S_IMODE(Path(".env").stat().st_mode) == 0o600


@pytest.mark.parametrize("mode", [0o400, 0o600])
def test_the_file_is_left_to_its_owner(no_doctor: list[Path | None], tmp_path: Path, mode: int) -> None:
    """By root, too: a service under another user has to read it afterwards. Who can read it is said."""
    file = tmp_path / "service.env"
    file.write_text("CLOUDBEDS_CLIENT_ID=old\n")
    file.chmod(mode)
    os.chown(file, *OWNER)
    result = invoke("setup", "--non-interactive", "--file", str(file), env=environment())
    found = file.stat()
    assert (found.st_uid, found.st_gid, stat.S_IMODE(found.st_mode)) == (*OWNER, 0o600)
    assert dotenv_values(file)["CLOUDBEDS_CLIENT_ID"] == "app-1"
    reader = f"its owner, {file.owner()}," if os.geteuid() == 0 else "you"
    assert f"wrote {file} (only {reader} can read it)" in result.err


def test_an_owner_without_a_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As a container's user may be: its number is said."""
    owner = tmp_path.stat().st_uid
    monkeypatch.setattr(os, "geteuid", lambda: owner + 1)
    monkeypatch.setattr(pwd, "getpwuid", dict[int, object]().__getitem__)
    assert setup._reader_of(tmp_path) == f"its owner, the user {owner},"


def test_whoever_writes_it_can_read_it(no_doctor: list[Path | None]) -> None:
    """A new file is that of whoever runs the command."""
    assert "wrote .env (only you can read it)" in invoke("setup", "--non-interactive", env=environment()).err


def test_a_link_stays_a_link(no_doctor: list[Path | None], tmp_path: Path) -> None:
    """The file behind a symbolic link is what changes."""
    (tmp_path / "real").write_text("A=1\n")
    Path(".env").symlink_to(tmp_path / "real")
    invoke("setup", "--non-interactive", env=environment())
    assert Path(".env").is_symlink()
    assert "CLOUDBEDS_CLIENT_ID" in (tmp_path / "real").read_text()


def test_missing_values_are_all_named(no_doctor: list[Path | None]) -> None:
    """Nothing is written when something is missing."""
    result = invoke("setup", "--non-interactive")
    assert result.status == 1
    assert "CLOUDBEDS_CLIENT_ID" in result.err
    assert "CLOUDBEDS_CLIENT_SECRET" in result.err
    assert not Path(".env").exists()


def test_a_redirect_uri_that_cannot_work(no_doctor: list[Path | None]) -> None:
    """Refused in the settings' own words, before anything is asked or written."""
    result = invoke("setup", "--non-interactive", "--redirect-uri", "http://example.com/x", env=environment())
    assert result.status == 1
    assert "CLOUDBEDS_REDIRECT_URI" in result.err
    assert not Path(".env").exists()


def test_nobody_to_ask() -> None:
    """Without a terminal, --non-interactive has to be said."""
    result = invoke("setup")
    assert result.status == 2
    assert "--non-interactive" in result.err


def test_a_place_that_cannot_be_written(no_doctor: list[Path | None], tmp_path: Path) -> None:
    """A missing folder is a diagnosis, not a traceback."""
    result = invoke("setup", "--non-interactive", "--file", str(tmp_path / "no" / ".env"), env=environment())
    assert result.status == 1
    assert "cannot be written" in result.err


def test_asked_at_a_terminal(tmp_path: Path) -> None:
    """The secret is typed without an echo; Enter keeps the one there is."""
    (tmp_path / ".env").write_text("CLOUDBEDS_BASE_URL=http://127.0.0.1:9\n")
    screen = typed(answers={"client id": "app-9", "client secret": "typed-secret"}, folder=tmp_path)
    assert "client secret" in screen
    assert "typed-secret" not in screen
    written = dotenv_values(tmp_path / ".env")
    assert (written["CLOUDBEDS_CLIENT_ID"], written["CLOUDBEDS_CLIENT_SECRET"]) == ("app-9", "typed-secret")
    kept = {"client id [app-9]": "", "client secret (Enter keeps the current one)": ""}
    typed(answers=kept, folder=tmp_path)
    assert dotenv_values(tmp_path / ".env") == written


@given(st.text(st.characters(min_codepoint=32, exclude_categories=["Cs", "Cc", "Zl", "Zp"]), min_size=1))
def test_any_value_comes_back(value: str) -> None:
    """What is written is what the settings will read."""
    import io

    text = setup.changed("# c\nA=b", {"X": value})
    assert dotenv_values(stream=io.StringIO(text), interpolate=False) == {"A": "b", "X": value}


def test_a_variable_inside_anothers_text_is_left_alone() -> None:
    """A multi-line value that looks like a setting is no setting; duplicates of ours go."""
    text = 'NOTE="first\nCLIENT=no\n"\nCLIENT=1\nexport CLIENT=2\n'
    assert setup.changed(text, {"CLIENT": SECRET}).startswith('NOTE="first\nCLIENT=no\n"\nCLIENT=')
    assert setup.changed(text, {"CLIENT": "3"}).count("CLIENT=") == 2


def test_an_unreadable_file(tmp_path: Path) -> None:
    """Not UTF-8: a diagnosis that names the file."""
    (tmp_path / "x").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(errors.ConfigurationError, match="cannot be read"):
        setup.read(tmp_path / "x")

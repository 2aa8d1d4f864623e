"""A `.env` that somebody else may have written: the program stops before it takes anything from it."""

from __future__ import annotations

import grp
import os
import pwd
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from cloudbeds_auth import os_files
from cloudbeds_auth.errors import ConfigurationError
from cloudbeds_auth.settings import Need, load, load_from_environment

APP = "CLOUDBEDS_CLIENT_ID=client-1\nCLOUDBEDS_CLIENT_SECRET=canary-client-secret\n"
STRANGER = 64_321  # a user id that nobody has


@pytest.fixture
def env_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A private `.env` in the current folder."""
    monkeypatch.chdir(tmp_path)
    path = tmp_path / ".env"
    path.write_text(APP, "utf-8")
    path.chmod(0o600)
    return path


def refused(path: Path, *said: str, **environ: str) -> None:
    """The program stops, names the file and what to run, and shows no value."""
    with pytest.raises(ConfigurationError) as raised:
        load(environ, path, need=Need.APP)
    (problem,) = raised.value.problems
    assert all(one in problem for one in (str(path), *said)), problem
    assert "canary" not in str(raised.value.diagnosis())
    assert f"--env-file {path}" in raised.value.next_step


@pytest.mark.row("A69")
@pytest.mark.parametrize("mode", [0o602, 0o666, 0o622])
def test_others_may_write_it(env_file: Path, mode: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever is on this machine could have named another host, or may do so at any time."""
    monkeypatch.setattr(os_files, "is_private_group", lambda *ids: True)
    env_file.chmod(mode)
    refused(env_file, f"chmod go-w {env_file}")


@pytest.mark.row("A69")
def test_a_group_may_write_it(env_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Refused, unless the group is the owner's own."""
    env_file.chmod(0o660)
    monkeypatch.setattr(os_files, "is_private_group", lambda *ids: False)
    refused(env_file, f"chmod go-w {env_file}")
    monkeypatch.setattr(os_files, "is_private_group", lambda *ids: True)
    assert load({}, env_file, need=Need.APP).client_id == "client-1"


@pytest.mark.row("A69")
@pytest.mark.parametrize(
    ("group", "is_private"),
    [
        (("ada", 1000, []), True),
        (("ada", 1000, ["ada"]), True),
        (("ada", 1000, ["ada", "eve"]), False),
        (("staff", 1000, []), False),
        (("ada", 1001, []), False),
    ],
)
def test_which_group_is_the_owners_own(
    group: tuple[str, int, list[str]], is_private: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The one that is named like the owner, is the owner's first, and has no other member."""
    name, number, members = group
    monkeypatch.setattr(pwd, "getpwuid", lambda _: SimpleNamespace(pw_name="ada", pw_gid=1000))
    monkeypatch.setattr(grp, "getgrgid", lambda _: SimpleNamespace(gr_name=name, gr_mem=members))
    assert os_files.is_private_group(number, 1000) is is_private


def test_a_group_that_nobody_knows(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a number without a name nothing is known."""

    def unknown(_: int) -> None:
        raise KeyError

    monkeypatch.setattr(pwd, "getpwuid", unknown)
    assert os_files.is_private_group(1000, 1000) is False


@pytest.mark.row("A69")
@pytest.mark.parametrize("reader", ["an ordinary user", "root"])
def test_it_is_another_users(env_file: Path, reader: str, owned: Callable[[int, int], None]) -> None:
    """Whoever wrote it is not who runs the program; root runs what is its own."""
    owned(0 if reader == "root" else 1000, STRANGER)
    refused(env_file, "chown", str(STRANGER))


@pytest.mark.row("A69")
def test_it_is_roots(env_file: Path, owned: Callable[[int, int], None]) -> None:
    """Root may do everything anyhow: what an administrator wrote for a service is taken."""
    owned(1000, 0)
    assert load({}, env_file, need=Need.APP).client_id == "client-1"


@pytest.mark.row("A69")
def test_a_link_that_another_user_made(env_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It leads to a file of ours, which was meant for another folder."""
    env_file.rename(env_file.with_name("ours"))
    env_file.symlink_to("ours")
    kept = os.lstat
    monkeypatch.setattr(os, "lstat", lambda path: _of(kept(path), STRANGER) if path == env_file else kept(path))
    refused(env_file, "chown", str(STRANGER))


@pytest.mark.row("A69")
def test_it_is_no_file(env_file: Path) -> None:
    """A pipe would hold the program until somebody writes into it."""
    env_file.unlink()
    os.mkfifo(env_file)
    with pytest.raises(ConfigurationError, match="cannot be read"):
        load({}, env_file, need=Need.APP)


@pytest.mark.row("A69")
def test_it_holds_nothing_of_ours(env_file: Path) -> None:
    """Somebody else's `.env` in a shared folder is not read for anything, so it stops nothing."""
    env_file.write_text("PORT=1\n", "utf-8")
    env_file.chmod(0o666)
    settings = load({}, env_file, need=Need.NOTHING)
    assert (settings.env_file, settings.from_env_file) == (None, ())


@pytest.mark.row("A69")
def test_the_operator_names_it(env_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Then it is the operator's word, whoever may write it: also which host is asked."""
    env_file.write_text(APP + "CLOUDBEDS_BASE_URL=https://vendor.example\n", "utf-8")
    env_file.chmod(0o666)
    assert load({}, env_file, need=Need.APP, named=True).base_url == "https://vendor.example"
    env_file.rename(elsewhere := env_file.with_name("hotels.env"))
    monkeypatch.setenv("CLOUDBEDS_AUTH_ENV_FILE", str(elsewhere))
    assert load_from_environment().env_file == elsewhere
    monkeypatch.setenv("CLOUDBEDS_AUTH_ENV_FILE", str(env_file))
    with pytest.raises(ConfigurationError, match=f"{env_file} cannot be read|{env_file}: cannot be read"):
        load_from_environment()


@pytest.mark.row("A69")
@pytest.mark.parametrize("base_url", ["https://api.cloudbeds.com.evil.example", "https://vendor.example"])
def test_it_names_another_host(env_file: Path, base_url: str) -> None:
    """A base URL of the file counts only for Cloudbeds' hosts and this machine, unless the environment says so too."""
    env_file.write_text(f"{APP}CLOUDBEDS_BASE_URL={base_url}\n", "utf-8")
    with pytest.raises(ConfigurationError) as raised:
        load({}, env_file, need=Need.APP)
    (problem,) = raised.value.problems
    assert problem.startswith("CLOUDBEDS_BASE_URL: ")
    assert str(env_file) in problem
    assert "in the environment" in problem
    assert load({"CLOUDBEDS_BASE_URL": base_url}, env_file, need=Need.APP).base_url == base_url


@pytest.mark.row("A69")
@pytest.mark.parametrize(
    "base_url", ["https://hotels.cloudbeds.com", "https://api.cloudbeds.com:443/", "http://127.0.0.1:7001"]
)
def test_it_names_the_vendor_or_this_machine(env_file: Path, base_url: str) -> None:
    """These it may name."""
    env_file.write_text(f"{APP}CLOUDBEDS_BASE_URL={base_url}\n", "utf-8")
    assert load({}, env_file, need=Need.APP).base_url in base_url


@pytest.mark.row("A69")
@pytest.mark.parametrize("url", ["https://hotels.cloudbeds.com.evil.example/oauth", "https://vendor.example/oauth?x=1"])
def test_it_sends_hotels_to_another_approval_page(env_file: Path, url: str) -> None:
    """As with the base URL: it counts where the environment says so, or where the operator named the file."""
    env_file.write_text(f"{APP}CLOUDBEDS_AUTHORIZE_URL={url}\n", "utf-8")
    with pytest.raises(ConfigurationError) as raised:
        load({}, env_file, need=Need.APP)
    (problem,) = raised.value.problems
    assert problem.startswith(f"CLOUDBEDS_AUTHORIZE_URL: {env_file} names a host that is neither")
    assert "in the environment" in problem
    assert load({"CLOUDBEDS_AUTHORIZE_URL": url}, env_file, need=Need.APP).authorize_url == url
    assert load({}, env_file, need=Need.APP, named=True).authorize_url == url


@pytest.mark.row("A69")
@pytest.mark.parametrize("url", ["https://hotels.cloudbeds.com/api/v1.3/oauth", "http://127.0.0.1:7001/oauth"])
def test_it_sends_hotels_to_the_vendor_or_this_machine(env_file: Path, url: str) -> None:
    """These it may name."""
    env_file.write_text(f"{APP}CLOUDBEDS_AUTHORIZE_URL={url}\n", "utf-8")
    assert load({}, env_file, need=Need.APP).authorize_url == url


@pytest.mark.row("A69")
def test_both_urls_of_it_are_reported(env_file: Path) -> None:
    """Each is a problem of its own."""
    env_file.write_text(f"{APP}CLOUDBEDS_AUTHORIZE_URL=https://a.example/x\nCLOUDBEDS_BASE_URL=https://b.example\n")
    with pytest.raises(ConfigurationError) as raised:
        load({}, env_file, need=Need.APP)
    assert [one.partition(":")[0] for one in raised.value.problems] == ["CLOUDBEDS_BASE_URL", "CLOUDBEDS_AUTHORIZE_URL"]


@pytest.mark.row("A69")
def test_the_option_that_accepts_it_is_quoted(env_file: Path) -> None:
    """The folder's name may have a space: the option is copied as one word."""
    folder = env_file.parent / "two hotels"
    folder.mkdir()
    path = env_file.rename(folder / ".env")
    path.chmod(0o666)
    with pytest.raises(ConfigurationError) as raised:
        load({}, path, need=Need.APP)
    assert f"`--env-file '{path}'` accepts it" in raised.value.next_step


@pytest.mark.row("A69")
def test_which_settings_came_from_it(env_file: Path) -> None:
    """Told by name; what the environment hides did not, and where it gave none no file is told."""
    settings = load({"CLOUDBEDS_CLIENT_ID": "another"}, Path(".env"), need=Need.APP)
    assert (settings.env_file, settings.from_env_file) == (env_file, ("CLOUDBEDS_CLIENT_SECRET",))
    both = {"CLOUDBEDS_CLIENT_ID": "another", "CLOUDBEDS_CLIENT_SECRET": "secret"}
    assert load(both, Path(".env"), need=Need.APP).env_file is None
    assert "canary" not in repr(settings)


@pytest.fixture
def owned(env_file: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[int, int], None]:
    """Whom the program runs as, and whose the file is."""

    def set_to(runs_as: int, owner: int) -> None:
        for name in ("lstat", "fstat"):
            kept = getattr(os, name)
            monkeypatch.setattr(os, name, lambda what, kept=kept: _of(kept(what), owner))
        monkeypatch.setattr(os, "geteuid", lambda: runs_as)

    return set_to


def _of(found: os.stat_result, owner: int) -> os.stat_result:
    """The same file, of this owner."""
    parts = list(found)
    parts[4] = owner
    return os.stat_result(parts)

"""`database copy` as an operator types it: what it says when it ends early, and what goes along with the hotels."""

from __future__ import annotations

import asyncio
import json
import stat
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
from tests.cli.fakes import Result, invoke
from tests.support.keys import KEY_TEXT

from cloudbeds_auth.cli import progress
from cloudbeds_auth.cli.output import CannotPrint, Output
from cloudbeds_auth.database import copy, opening
from cloudbeds_auth.errors import StoreUnavailable
from cloudbeds_auth.settings import Need, load
from cloudbeds_auth.transactions.seals import note_seen

HELD = "nothing is refreshed from {} now: run the same command again, or `cloudbeds-auth database adopt` to abandon"
TARGET = "sqlite:///target.db"


def typed(env: dict[str, str], *args: str) -> Result:
    """A move to a file in the working directory, which is the test's own."""
    return invoke("database", "copy", "--to", TARGET, *args, env=env)


def source_of(env: dict[str, str]) -> str:
    """The file that is moved."""
    return env["CLOUDBEDS_AUTH_DATABASE_URL"].removeprefix("sqlite:///")


@pytest.fixture
def with_files(url: str, hotels: dict[str, str]) -> dict[str, str]:
    """The settings of the hotels, whose key and admin token are in files beside the database."""
    source = Path(url.removeprefix("sqlite:///"))
    for ending, content in (("key", KEY_TEXT), ("admin-token", "a-token-of-more-than-thirty-two-characters")):
        file = source.with_name(f"{source.name}.{ending}")
        file.write_text(f"{content}\n", "ascii")
        file.chmod(0o600)
    left_out = ("CLOUDBEDS_AUTH_ENCRYPTION_KEYS", "CLOUDBEDS_AUTH_ADMIN_TOKEN")
    return {name: value for name, value in hotels.items() if name not in left_out}


def interrupted(error: BaseException) -> Callable[..., object]:
    """A step that ends so, in which the hotels are latched."""

    async def step(*_: object) -> None:
        raise error

    return step


# --- it ends early


@pytest.mark.parametrize("error", [KeyboardInterrupt(), StoreUnavailable("the disk is full")], ids=["ctrl-c", "full"])
def test_a_move_that_ends_early(hotels: dict[str, str], monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    """It says that nothing is refreshed, and so does `doctor`, until it is run again."""
    with monkeypatch.context() as patch:
        patch.setattr(copy, "_until_nothing_is_under_way", interrupted(error))
        stopped = typed(hotels)
    assert stopped.status == (130 if isinstance(error, KeyboardInterrupt) else 1)
    assert HELD.format(source_of(hotels)) in stopped.err
    assert "calls then succeed" not in stopped.err, "not before the move has ended"
    (found,) = moving(hotels)
    assert (found["level"], "3 hotel(s) are held by a move" in found["what"]) == ("problem", True)
    assert "repeat" in found["mend"]
    assert "database adopt" in found["mend"]
    done = typed(hotels)
    assert (done.status, "nothing is refreshed" in done.err) == (0, False)
    (found,) = moving(hotels)
    assert (found["level"], f"moved to {Path('target.db').absolute()}" in found["what"]) == ("problem", True)
    assert moving({**hotels, "CLOUDBEDS_AUTH_DATABASE_URL": TARGET})[0]["level"] == "ok"


def test_a_move_that_is_abandoned(hotels: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    """`database adopt`, as it says; then `doctor` finds nothing any more."""
    monkeypatch.setattr(copy, "_until_nothing_is_under_way", interrupted(KeyboardInterrupt()))
    assert typed(hotels).status == 130
    assert invoke("database", "adopt", "--yes", env=hotels).status == 0
    assert moving(hotels)[0]["level"] == "ok"


def test_a_move_that_is_refused_holds_nothing(hotels: dict[str, str]) -> None:
    """Before it begins, nothing is said about hotels that would be held: they are refreshed."""
    refused = invoke("database", "copy", "--to", "postgresql://127.0.0.1:1/x", env=hotels)
    assert (refused.status, "nothing is refreshed" in refused.err) == (1, False)
    assert "check host and port in --to" in refused.err


def test_a_move_that_is_done_is_not_to_be_abandoned(with_files: dict[str, str]) -> None:
    """Whatever fails when it is repeated: the source would refresh beside the target, where the hotels are by now."""
    assert typed(with_files, "--history", "none").status == 0
    Path("target.db").unlink()
    Path("target.db").mkdir()
    again = typed(with_files)
    assert (again.status, "adopt" in again.err) == (1, False)
    assert f"{Path('target.db').absolute()} has the hotels, or gets them" in again.err


def test_a_target_that_is_filled_halfway(hotels: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    """`doctor` says there what fills it, and not that its rows were altered, or that it should be adopted."""
    with monkeypatch.context() as patch:
        patch.setattr(copy, "_copy_newest_events", interrupted(KeyboardInterrupt()))
        assert typed(hotels).status == 130
    there = {**hotels, "CLOUDBEDS_AUTH_DATABASE_URL": TARGET}
    checks = json.loads(invoke("doctor", "--json", env=there).out)["checks"]
    found = {one["check"]: one for one in checks}
    assert f"database copy` from {source_of(hotels)} fills this database" in found["database"]["what"]
    assert "run it again" in found["database"]["mend"]
    assert found["altered"]["level"] == "skipped"


def test_progress_that_cannot_be_written(hotels: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    """A full disk under the log of standard error does not end a move halfway."""
    monkeypatch.setattr(progress, "SAID_EVERY", 0.0)
    with Path("/dev/full").open("w") as full:
        monkeypatch.setattr("sys.stderr", full)
        with Output().progress("moving hotels") as show:
            show("hotels", 1, 3)
        with pytest.raises(CannotPrint):
            Output().note("what is not progress")
        monkeypatch.undo()
        with suppress(OSError):
            full.close()


def moving(env: dict[str, str]) -> list[dict[str, str]]:
    """What `doctor` finds about a move."""
    checks = json.loads(invoke("doctor", "--json", env=env).out)["checks"]
    return [one for one in checks if one["check"] == "move"]


def test_beside_a_service(hotels: dict[str, str]) -> None:
    """Refused, unless the operator says that none runs."""

    async def serve() -> None:
        store = await opening.open_database(load(hotels, None, need=Need.APP))
        await store.write(note_seen())
        await store.close()

    asyncio.run(serve())
    refused = typed(hotels)
    assert (refused.status, "--offline" in refused.err, "nothing is refreshed" in refused.err) == (1, True, False)
    assert typed(hotels, "--offline").status == 0


# --- what it says


def test_the_numbers_and_the_name(hotels: dict[str, str]) -> None:
    """Each event counts once, the newest ones too, which come first; the file is named by its whole path."""
    moved = typed(hotels, "--json")
    document = json.loads(moved.out)
    there = invoke("database", "copy", "--to", "sqlite:///second.db", "--json", env={
        **hotels, "CLOUDBEDS_AUTH_DATABASE_URL": TARGET,
    })  # fmt: skip
    assert document["copied_to"] == str(Path("target.db").absolute())
    assert document["rows"]["events"] == json.loads(there.out)["rows"]["events"] == events_of("target.db")
    assert f"the hotels have moved to {Path('target.db').absolute()}" in moved.err


def events_of(file: str) -> int:
    """How many rows the table has."""
    from contextlib import closing

    import apsw

    with closing(apsw.Connection(file)) as connection:
        found: int = connection.execute("SELECT COUNT(*) FROM events").get
        return found


# --- what goes along


@pytest.mark.row("F67")
def test_the_key_and_the_token_go_along(with_files: dict[str, str]) -> None:
    """To the files where the next command looks for them, private; repeated, they stay, and nothing is said."""
    done = typed(with_files)
    assert done.status == 0, done.err
    for ending in ("key", "admin-token"):
        made = Path(f"target.db.{ending}")
        assert made.read_bytes() == Path(f"{source_of(with_files)}.{ending}").read_bytes()
        assert stat.S_IMODE(made.stat().st_mode) == 0o600
        assert f"{made.absolute()} was copied" in done.out
    there = {**with_files, "CLOUDBEDS_AUTH_DATABASE_URL": TARGET}
    assert invoke("database", "check", env=there).status == 0
    again = typed(with_files)
    assert (again.status, "was copied" in again.out) == (0, False)
    Path("target.db.key").unlink()  # as if it had been killed just before
    assert typed(with_files).status == 0
    assert Path("target.db.key").exists()


def test_keys_of_the_settings_make_no_file(hotels: dict[str, str]) -> None:
    """Where the settings hold both."""
    assert typed(hotels).status == 0
    assert not list(Path().glob("target.db.key*"))
    assert not list(Path().glob("target.db.admin-token*"))


@pytest.mark.row("F67")
def test_another_key_in_its_place(with_files: dict[str, str]) -> None:
    """Neither overwritten nor taken for ours: refused before anything moves."""
    other = Path("target.db.key")
    other.write_text("something else\n", "ascii")
    refused = typed(with_files)
    assert (refused.status, f"{other.absolute()} is there already" in refused.err) == (1, True)
    assert other.read_text("ascii") == "something else\n"
    assert moving(with_files)[0]["level"] == "ok"


@pytest.mark.row("F67")
def test_a_directory_in_its_place(with_files: dict[str, str]) -> None:
    """Docker makes one where a file to mount is missing: refused as another key would be."""
    Path("target.db.key").mkdir()
    refused = typed(with_files)
    assert (refused.status, "target.db.key is there already" in refused.err) == (1, True)


@pytest.mark.row("F67")
def test_a_folder_where_any_user_may_replace_it(with_files: dict[str, str]) -> None:
    """No key is written there, nor is anything moved."""
    Path("open").mkdir()
    Path("open").chmod(0o777)
    refused = invoke("database", "copy", "--to", "sqlite:///open/target.db", env=with_files)
    assert (refused.status, "any user may replace files" in refused.err) == (1, True)
    assert not list(Path("open").iterdir())
    assert moving(with_files)[0]["level"] == "ok"


def test_a_token_that_was_changed_since(with_files: dict[str, str]) -> None:
    """It belongs to the target, and holds nothing up: the histories can still be fetched."""
    assert typed(with_files, "--history", "none").status == 0
    changed = Path("target.db.admin-token")
    changed.write_text("another-token-of-more-than-thirty-two-characters\n", "ascii")
    done = typed(with_files)
    assert (done.status, "everything is in" in done.out) == (0, True), done.err
    assert changed.read_text("ascii").startswith("another-token")


@pytest.mark.row("F67")
def test_a_key_that_cannot_go_along(with_files: dict[str, str], postgres_url: str) -> None:
    """PostgreSQL has no file beside it: the key has to be in the settings before anything moves."""
    refused = invoke("database", "copy", "--to", postgres_url, env=with_files)
    key = f"{source_of(with_files)}.key"
    assert (refused.status, f"put the key of {key} into CLOUDBEDS_AUTH_ENCRYPTION_KEYS" in refused.err) == (1, True)
    assert moving(with_files)[0]["level"] == "ok"
    assert invoke("connections", env=with_files).status == 0

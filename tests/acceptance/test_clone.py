"""A copy of a database comes up read-only and says how to adopt it."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.acceptance.conftest import MakeWorld
from tests.acceptance.processes import Http, World
from tests.acceptance.test_bad_hour import a_minute_passes
from tests.support.ports import free_port

pytestmark = pytest.mark.long  # processes that live for seconds


@pytest.fixture
def elsewhere(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Another folder of the same disk."""
    return tmp_path_factory.mktemp("elsewhere")


def copy_of(made: World, folder: Path) -> World:
    """Everything of an installation, in another folder, as a backup or a staging machine would have it."""
    shutil.copytree(made.folder, folder)
    port = free_port()
    settings = {**made.extra, "CLOUDBEDS_REDIRECT_URI": f"http://localhost:{port}/callback"}
    return World(folder, made.vendor, port, settings, made.services)


@pytest.mark.row("F74")
def test_a_copy_reads_but_never_refreshes_until_it_is_adopted(make_world: MakeWorld, elsewhere: Path) -> None:
    """Started elsewhere: listed as read-only, not ready, its refresh refused, nothing sent; adopted, it works."""
    made = make_world("--auto-approve")
    service = made.start()
    connection = made.connect()
    service.stop()
    copy = copy_of(made, elsewhere / "staging")
    copied = copy.start()
    shown = copy.admin.get(f"/api/v1/connections/{connection}").json
    assert shown["state"] == "read_only"
    assert "database adopt" in shown["next_step"]
    assert copy.admin.get("/api/v1/connections?state=read_only").json["connections"][0]["id"] == connection
    assert Http(copy.base).get("/readyz").status == 503
    refused = copy.admin.post(f"/api/v1/connections/{connection}/refresh")
    assert (refused.status, refused.json["code"]) == (503, "store_read_only")
    made.vendor.control("expire")
    healed = copy.admin.get(f"/proxy/{connection}/api/v1.3/userinfo")
    assert (healed.status, healed.json["code"]) == (503, "store_read_only")
    assert Http(copy.base).get("/connect", follow=True).status == 503
    assert made.vendor.counts() == {}
    copied.stop()
    told = copy.run("doctor")
    assert "adopt" in told.stdout
    assert copy.run("database", "adopt", stdin="n\n").returncode != 0
    adopted = copy.run("database", "adopt", "--yes")
    assert adopted.returncode == 0, adopted.stderr
    copy.start()
    assert copy.admin.get(f"/proxy/{connection}/api/v1.3/userinfo").status == 200
    assert Http(copy.base).get("/readyz").status == 200


def backed_up(made: World, to: Path) -> None:
    """By the command, while the service runs."""
    done = made.run("database", "backup", str(to))
    assert done.returncode == 0, done.stderr


def copied(made: World, to: Path) -> None:
    """By `cp`, while nothing runs."""
    made.services[-1].stop()
    shutil.copy(made.folder / "hotels.sqlite3", to)
    made.start()


@pytest.mark.row("F111")
@pytest.mark.parametrize("saved", [backed_up, copied])
def test_an_older_state_in_the_place_of_the_file(
    make_world: MakeWorld, elsewhere: Path, saved: Callable[[World, Path], None]
) -> None:
    """Written over the file, under the same inode and mark, once something was written after it: read-only, and it says
    how to adopt it; adopted, it serves, after a restart, too.
    """
    made = make_world("--auto-approve")
    made.start()
    connection = made.connect()
    database, backup = made.folder / "hotels.sqlite3", elsewhere / "backup.sqlite3"
    saved(made, backup)
    assert Http(made.base).get("/readyz").status == 200, "that writes"
    made.services[-1].stop()
    inode = database.stat().st_ino
    database.write_bytes(backup.read_bytes())  # as cp does
    assert database.stat().st_ino == inode
    service = made.start()
    shown = made.admin.get(f"/api/v1/connections/{connection}").json
    assert shown["state"] == "read_only"
    assert "database adopt" in shown["next_step"]
    assert Http(made.base).get("/readyz").status == 503
    made.vendor.control("expire")
    assert made.admin.get(f"/proxy/{connection}/api/v1.3/userinfo").json["code"] == "store_read_only"
    assert made.vendor.counts() == {}
    service.stop()
    assert "adopt" in made.run("doctor").stdout
    adopted = made.run("database", "adopt", "--yes")
    assert adopted.returncode == 0, adopted.stderr
    for _ in range(2):
        service = made.start()
        assert Http(made.base).get("/readyz").status == 200
        assert made.admin.get(f"/proxy/{connection}/api/v1.3/userinfo").status == 200
        service.stop()


@pytest.mark.row("F73")
def test_a_backup_from_before_a_rotation(make_world: MakeWorld, elsewhere: Path) -> None:
    """Put back as docs/operating.md says, and adopted, of which `doctor` reminds. Who was refreshed since is refused
    twice, a minute apart, and marked; `doctor` names it, its link mends it. Who was not is served without a refresh.
    """
    made = make_world("--auto-approve", "--hotels", "2")
    service = made.start()
    moved, idle = (connected(made, hotel) for hotel in ("100001", "100002"))
    backed_up(made, elsewhere / "backup.sqlite3")
    assert made.admin.post(f"/api/v1/connections/{moved}/refresh").status == 200
    assert made.admin.get(userinfo(moved)).status == 200, "its new access token is used: the old refresh token is dead"
    service.stop()
    database = made.folder / "hotels.sqlite3"
    for side in ("-wal", "-shm"):
        database.with_name(database.name + side).unlink(missing_ok=True)
    shutil.move(elsewhere / "backup.sqlite3", database)
    assert "copy of another installation's database" in made.run("doctor").stdout
    assert made.run("database", "adopt", "--yes").returncode == 0
    made.start()
    assert made.admin.get(userinfo(idle)).status == 200
    before = made.vendor.counts()
    for code in ("refresh_in_doubt", "reauthorization_required"):
        assert made.admin.get(userinfo(moved)).json["code"] == code
        a_minute_passes(made)
    assert made.admin.get(userinfo(idle)).status == 200
    after = made.vendor.counts()
    assert {outcome: after[outcome] - before.get(outcome, 0) for outcome in after} == {"issued": 0, "refused": 2}
    assert f"{moved} (100001): reconnect needed" in made.run("doctor").stdout
    marked = made.admin.get("/api/v1/connections?state=reauthorization_required").json["connections"]
    assert [one["id"] for one in marked] == [moved]
    made.vendor.control("choose", property_ids=["100001"])
    link = made.admin.get(f"/api/v1/connections/{moved}").json["connect_url"]
    assert Http(made.base).start(link.removeprefix(made.base), follow=True).status == 200
    assert made.admin.get(userinfo(moved)).status == 200


def connected(made: World, hotel: str) -> str:
    """This hotel approves; its connection."""
    made.vendor.control("choose", property_ids=[hotel])
    return made.connect()


def userinfo(connection: str) -> str:
    """Where it is called."""
    return f"/proxy/{connection}/api/v1.3/userinfo"


def test_the_original_is_not_disturbed_by_a_restart_or_a_move(make_world: MakeWorld, elsewhere: Path) -> None:
    """Restarted, and moved to another folder of the same disk, it is still itself."""
    made = make_world("--auto-approve")
    made.start().stop()
    service = made.start()
    connection = made.connect()
    service.stop()
    moved = elsewhere / "moved"
    moved.mkdir()
    for path in made.folder.glob("hotels.sqlite3*"):
        path.rename(moved / path.name)
    there = World(moved, made.vendor, made.port, made.extra, made.services)
    there.start()
    assert there.admin.get(f"/api/v1/connections/{connection}").json["state"] == "fresh"


def test_a_name_given_by_hand_vouches_for_a_restored_file(make_world: MakeWorld, elsewhere: Path) -> None:
    """With the same CLOUDBEDS_AUTH_INSTANCE on both sides of a restore, nothing has to be adopted."""
    made = make_world("--auto-approve", CLOUDBEDS_AUTH_INSTANCE="front-office")
    service = made.start()
    connection = made.connect()
    service.stop()
    restored = copy_of(made, elsewhere / "restored")
    restored.start()
    assert restored.admin.get(f"/api/v1/connections/{connection}").json["state"] == "fresh"
    assert restored.admin.post(f"/api/v1/connections/{connection}/refresh").status == 200

"""This machine: private files and folders, network file systems, and who holds a port."""

from __future__ import annotations

import errno
import os
import re
import socket
import stat
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace

import pytest

from cloudbeds_auth import os_files
from cloudbeds_auth.errors import ConfigurationError
from cloudbeds_auth.os_files import (
    holder_of,
    machine_id,
    network_file_system,
    private_folder,
    reset_when_closed,
    take_port,
    unsent,
    write_private,
)
from cloudbeds_auth.system import boot_id

linux = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")


@linux
def test_what_the_other_side_has_not_taken(tmp_path: Path) -> None:
    """Of a connection: what is sent and not acknowledged. Of what is none: nothing."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        with socket.create_connection(listening.getsockname()) as sender, listening.accept()[0]:
            assert unsent(sender.fileno()) == 0
            sender.setblocking(False)
            with suppress(BlockingIOError):
                while True:
                    sender.send(bytes(65536))
            assert unsent(sender.fileno()) > 4096
    with (tmp_path / "x").open("wb") as file:
        assert unsent(file.fileno()) == 0


def test_a_connection_that_is_reset() -> None:
    """When it is closed, its other side sees an error in the place of an end."""
    with socket.create_server(("127.0.0.1", 0)) as listening, socket.create_connection(listening.getsockname()) as one:
        other = listening.accept()[0]
        other.sendall(b"half")
        assert one.recv(4) == b"half"
        reset_when_closed(other.fileno())
        other.close()
        with pytest.raises(ConnectionResetError):
            one.recv(1)


@pytest.mark.row("F59")
def test_private_folder(tmp_path: Path) -> None:
    """A folder that is made is closed to others; one of ours is closed again; a foreign one is left alone."""
    made = tmp_path / "a" / "b"
    private_folder(made)
    assert stat.S_IMODE(made.stat().st_mode) == 0o700
    ours = tmp_path / "cloudbeds-auth"
    ours.mkdir(mode=0o755)
    private_folder(ours)
    assert stat.S_IMODE(ours.stat().st_mode) == 0o700
    project = tmp_path / "project"
    project.mkdir()
    project.chmod(0o755)
    private_folder(project)
    assert stat.S_IMODE(project.stat().st_mode) == 0o755


@pytest.mark.row("F59")
def test_folder_that_anybody_may_write(tmp_path: Path) -> None:
    """A folder where anybody may replace files is refused, with the command that mends it; a sticky one is not."""
    path = tmp_path / "open"
    path.mkdir()
    path.chmod(0o777)
    with pytest.raises(ConfigurationError, match="chmod o-w"):
        private_folder(path)
    path.chmod(0o1777)
    private_folder(path)


def test_folder_that_is_a_file(tmp_path: Path) -> None:
    """A file in the folder's place is refused."""
    path = tmp_path / "file"
    path.touch()
    with pytest.raises(ConfigurationError, match="not a folder"):
        private_folder(path)
    with pytest.raises(ConfigurationError, match="cannot be used"):
        private_folder(path / "below")


@pytest.mark.row("A56")
def test_private_file(tmp_path: Path) -> None:
    """A private file has mode 0600 whatever the umask says, and no draft stays behind."""
    before = os.umask(0)
    try:
        write_private(tmp_path / "x", b"one", exclusive=True)
        write_private(tmp_path / "x", b"two", exclusive=False)
    finally:
        os.umask(before)
    assert (tmp_path / "x").read_bytes() == b"two"
    assert stat.S_IMODE((tmp_path / "x").stat().st_mode) == 0o600
    assert [path.name for path in tmp_path.iterdir()] == ["x"]


@pytest.mark.row("A56")
def test_symbolic_links_are_not_followed(tmp_path: Path) -> None:
    """A link that an attacker placed is replaced or refused, never written through."""
    target, link = tmp_path / "target", tmp_path / "link"
    target.write_text("untouched")
    link.symlink_to(target)
    with pytest.raises(FileExistsError):
        write_private(link, b"x", exclusive=True)
    write_private(link, b"x", exclusive=False)
    assert target.read_text() == "untouched"
    assert not link.is_symlink()
    dangling = tmp_path / "dangling"
    dangling.symlink_to(tmp_path / "nowhere")
    with pytest.raises(FileExistsError):
        write_private(dangling, b"x", exclusive=True)
    assert not (tmp_path / "nowhere").exists()


def test_one_of_many_wins(tmp_path: Path) -> None:
    """Of several that write exclusively at once exactly one succeeds, and its content is whole."""
    path, wins = tmp_path / "key", []

    def race(content: bytes) -> None:
        try:
            write_private(path, content, exclusive=True)
            wins.append(content)
        except FileExistsError:
            pass

    threads = [threading.Thread(target=race, args=(bytes([65 + number]) * 100,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [path.read_bytes()] == wins


@pytest.mark.row("F57")
def test_a_file_that_is_there_on_a_full_disk(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Nothing is written to find out that it is: whoever opens it reads it."""

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    write_private(tmp_path / "x", b"one", exclusive=True)
    monkeypatch.setattr(os_files, "_write_new", full)
    with pytest.raises(FileExistsError):
        write_private(tmp_path / "x", b"two", exclusive=True)
    with pytest.raises(OSError, match="No space left"):
        write_private(tmp_path / "y", b"two", exclusive=True)


def test_without_hard_links(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A file system that knows no hard links still gets the file, once."""

    def no_links(*_: object, **__: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", no_links)
    write_private(tmp_path / "x", b"one", exclusive=True)
    assert (tmp_path / "x").read_bytes() == b"one"
    with pytest.raises(FileExistsError):
        write_private(tmp_path / "x", b"two", exclusive=True)


MOUNTS = r"""22 1 8:1 / / rw,relatime - overlay overlay rw
30 22 0:30 / /srv rw - ext4 /dev/sda1 rw
31 30 0:31 / /srv/share rw shared:1 master:2 - nfs4 server:/x rw
32 30 0:32 / /srv/with\040space rw - cifs //server/x rw
33 30 0:33 / /srv/share/local rw - tmpfs tmpfs rw
34 30 0:34 / /srv/covered rw - nfs server:/y rw
35 34 0:35 / /srv/covered rw - ext4 /dev/sdb1 rw
36 30 0:36 / /srv/ssh rw - fuse.sshfs host:/ rw
"""


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/var/lib/x.sqlite3", None),
        ("/srv/x", None),
        ("/srv/share/x", "nfs4"),
        ("/srv/shared/x", None),
        ("/srv/share/local/x", None),
        ("/srv/with space/deep/x", "cifs"),
        ("/srv/covered/x", None),
        ("/srv/ssh/x", "fuse.sshfs"),
    ],
)
@pytest.mark.row("F60")
def test_network_file_system(path: str, kind: str | None, tmp_path: Path) -> None:
    """The innermost, last mount decides; overlay, as in containers, is not a network file system."""
    mountinfo = tmp_path / "mountinfo"
    mountinfo.write_text(MOUNTS)
    assert network_file_system(Path(path), mountinfo) == kind


def test_no_mountinfo(tmp_path: Path) -> None:
    """Where it cannot be told, None."""
    assert network_file_system(tmp_path, tmp_path / "missing") is None
    assert network_file_system(tmp_path) is None


# --- which machine

ID = "0123456789abcdef0123456789abcdef"


@linux
def test_machine_id(tmp_path: Path) -> None:
    """The same at each look, the first file that has one; a name made from the id, which itself is not in it."""
    first, second, missing = tmp_path / "machine-id", tmp_path / "dbus", tmp_path / "mountinfo"
    second.write_text(f"{ID}\n")
    found = machine_id((first, second), missing)
    assert re.fullmatch(r"[0-9a-f]{32}", found)
    assert ID not in found
    first.write_text("uninitialized\n")  # as systemd leaves it in an image
    assert machine_id((first, second), missing) == found
    first.write_text("f" * 32)
    assert machine_id((first, second), missing) not in {found, ""}
    assert machine_id() == machine_id()


@pytest.mark.row("A77")
def test_the_id_of_a_mac(monkeypatch: pytest.MonkeyPatch) -> None:
    """Asked of a program of the system, which gets none of our environment; so is the boot."""
    given: list[object] = []
    uuid = "5BE1C477-0A93-D82F-6E14-B9A05C3DF781"

    def run(command: list[str], **more: object) -> SimpleNamespace:
        given.append(more.get("env"))
        return SimpleNamespace(stdout=f'  "IOPlatformUUID" = "{uuid}"\n')

    with monkeypatch.context() as mac:
        mac.setattr(sys, "platform", "darwin")
        mac.setattr(subprocess, "run", run)
        assert re.fullmatch(r"[0-9a-f]{32}", machine_id())
        assert uuid in boot_id.__wrapped__()
    assert given == [{}, {}]


@linux
@pytest.mark.parametrize("content", [b"", b"\n", b"uninitialized", b"\xff" * 32, b"0" * 31], ids=repr)
def test_a_machine_without_an_id(content: bytes, tmp_path: Path) -> None:
    """No file, or one that says nothing: unknown."""
    path = tmp_path / "machine-id"
    assert machine_id((path,), tmp_path / "mountinfo") == ""
    path.write_bytes(content)
    assert machine_id((path,), tmp_path / "mountinfo") == ""


@linux
@pytest.mark.parametrize(("kind", "known"), [("overlay", False), ("ext4", True)])
def test_an_id_of_an_image(kind: str, known: bool, tmp_path: Path) -> None:
    """The id in a container's image is every such container's, so it names no machine; one mounted there does."""
    path, mountinfo = tmp_path / "machine-id", tmp_path / "mountinfo"
    path.write_text(ID)
    mounts = ("22 1 8:1 / / rw - overlay overlay rw", f"23 22 8:2 /id {tmp_path.resolve()} rw - {kind} /dev/x rw")
    mountinfo.write_text("\n".join(mounts))
    assert bool(machine_id((path,), mountinfo)) == known


# --- ports


@linux
def test_holder_of_a_port() -> None:
    """Whoever listens is found by pid and name; a port that nobody has, has no holder."""
    with socket.create_server(("127.0.0.1", 0)) as held:
        port = held.getsockname()[1]
        found = holder_of(port)
        assert found is not None
        assert re.fullmatch(rf"\S.* \(pid {os.getpid()}\)", found)
    assert holder_of(port) is None


def test_holder_where_the_system_does_not_say(tmp_path: Path) -> None:
    """No /proc, or a socket whose process cannot be looked into: nobody is named."""
    assert holder_of(7000, tmp_path) is None
    (tmp_path / "net").mkdir()
    row = "0: 0100007F:1B58 00000000:0000 0A 00000000:00000000 00:00000000 00000000  0  0 4242 1 0"
    (tmp_path / "net" / "tcp").write_text(f"  sl  local_address\n   {row}\n")
    (tmp_path / "77").mkdir()
    assert holder_of(7000, tmp_path) is None
    handles = tmp_path / "4711" / "fd"
    handles.mkdir(parents=True)
    (handles / "1").write_text("no link")
    (handles / "3").symlink_to("socket:[4242]")
    (tmp_path / "4711" / "comm").write_text("python3\n")
    assert holder_of(7000, tmp_path) == "python3 (pid 4711)"
    assert holder_of(7001, tmp_path) is None


def test_a_port_under_every_address() -> None:
    """A name with several addresses gets one port on all of them; where one is taken, none is kept."""
    taken = take_port("localhost", 0)
    port = taken[0].getsockname()[1]
    assert {one.getsockname()[1] for one in taken} == {port}
    taken[-1].listen()
    for one in taken[:-1]:
        one.close()
    with pytest.raises(OSError, match="in use") as caught:
        take_port("localhost", port)
    assert caught.value.errno == errno.EADDRINUSE
    taken[-1].close()
    for one in take_port("localhost", port):
        one.close()


def test_an_address_of_another_machine() -> None:
    """There is nothing to take."""
    with pytest.raises(OSError, match="assign") as caught:
        take_port("192.0.2.1", 0)
    assert caught.value.errno == errno.EADDRNOTAVAIL
    with pytest.raises(socket.gaierror):
        take_port("no.such.host.invalid", 0)

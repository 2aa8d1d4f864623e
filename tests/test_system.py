"""The machine: clocks, dice, and which process this is."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from cloudbeds_auth import system
from cloudbeds_auth.ports import Clock, Entropy
from cloudbeds_auth.system import (
    SystemClock,
    SystemEntropy,
    boot_id,
    is_dead,
    is_dead_here,
    lease_owner,
    process_identity,
)

linux = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")


async def test_clock() -> None:
    """The wall clock is unix time; the steady one runs forward and is the same for every process of this boot."""
    clock: Clock = SystemClock()
    assert abs(clock.wall() - time.time()) < 5
    before = clock.steady()
    await clock.sleep(0)
    assert clock.steady() >= before
    code = "from cloudbeds_auth.system import SystemClock; print(SystemClock().steady())"
    elsewhere = float(subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout)
    assert before <= elsewhere <= clock.steady()


@linux
def test_steady_clock_is_boottime() -> None:
    """Leases are measured by a clock that the wall clock's jumps do not move and that runs during sleep."""
    assert abs(SystemClock().steady() - time.clock_gettime(time.CLOCK_BOOTTIME)) < 5


def test_entropy() -> None:
    """Tokens carry 256 bits, units are in [0, 1), nothing repeats."""
    entropy: Entropy = SystemEntropy()
    tokens = {entropy.token() for _ in range(1000)}
    assert len(tokens) == 1000
    assert all(re.fullmatch(r"[A-Za-z0-9_-]{43}", token) for token in tokens)
    units = [entropy.unit() for _ in range(1000)]
    assert all(0 <= unit < 1 for unit in units)
    assert len(set(units)) > 990
    assert len(system.random_bytes(12)) == 12


def test_identifiers_sort_by_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """An identifier is a ULID: its first ten characters are the milliseconds, so later ids sort later."""
    entropy = SystemEntropy()
    moments = iter([1_469_918_176_385_000_000, 1_469_918_176_386_000_000, 2_000_000_000_000_000_000])
    monkeypatch.setattr(time, "time_ns", lambda: next(moments))
    made = [entropy.identifier("con_") for _ in range(3)]
    assert made == sorted(made)
    assert made[0].startswith("con_01ARYZ6S41")  # the example of the ULID specification
    assert all(re.fullmatch(r"con_[0-9A-HJKMNP-TV-Z]{26}", one) for one in made)


def test_boot_id() -> None:
    """This boot has a name, which does not change."""
    assert boot_id()
    assert boot_id() == boot_id()


def test_this_process_lives() -> None:
    """Neither an identity nor a lease owner of a running process is dead."""
    assert not is_dead(process_identity(), boot_id())
    assert not is_dead(lease_owner(SystemEntropy()), boot_id())
    assert lease_owner(SystemEntropy()) != lease_owner(SystemEntropy())


def test_another_thread_is_the_same_process() -> None:
    """Identity is of the process, not of the thread."""
    found: list[str] = []
    thread = threading.Thread(target=lambda: found.append(process_identity()))
    thread.start()
    thread.join()
    assert found == [process_identity()]


@linux
def test_killed_process_is_dead() -> None:
    """A process that was killed is dead: before its parent took note, and after."""
    code = (
        "import sys; from cloudbeds_auth.system import *; print(lease_owner(SystemEntropy()), flush=True); "
        "sys.stdin.read()"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        owner = process.stdout.readline().decode().strip()
        assert not is_dead(owner, boot_id())
        assert not is_dead_here(owner, "a server's")
        process.kill()
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        assert is_dead(owner, boot_id())
    assert is_dead(owner, boot_id())
    assert is_dead_here(owner, "a server's")
    assert not is_dead_here(owner.replace(boot_id(), "another-boot"), "a server's"), "perhaps of another machine"
    namespace, pid, start = owner.split("/")[:3]
    assert not is_dead_here(f"{namespace}/{pid}/{start}/01RANDOM", "a server's"), "an earlier version did not say"


def test_a_boot_that_has_no_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody is called dead on a server then: the machine may be any."""
    monkeypatch.setattr(system, "boot_id", lambda: "")
    namespace, pid, start = process_identity().split("/")
    assert not is_dead_here(f"{namespace}/{pid}/{start}0//01RANDOM", "a server's")


@linux
def test_pid_that_was_used_again() -> None:
    """The same pid with another start time is another process."""
    namespace, pid, start = process_identity().split("/")
    assert is_dead(f"{namespace}/{pid}/{int(start) - 1}", boot_id())
    assert is_dead(f"{namespace}/{pid}/{int(start) - 1}/01RANDOM", boot_id())


@linux
def test_other_namespace_is_unknown() -> None:
    """A pid of another container says nothing: not dead."""
    _, pid, start = process_identity().split("/")
    assert not is_dead(f"1/{pid}/{int(start) - 1}", boot_id())
    assert not is_dead(f"unknown/{pid}/{start}", boot_id())


@linux
@pytest.mark.parametrize("rest", ["", "0/1", "-1/1", "x/1", "٣/1", f"{'9' * 30}/1", "1/unknown"])
def test_nonsense_is_never_dead(rest: str) -> None:
    """What cannot be read, or a start that nobody knows, is not called dead."""
    namespace = process_identity().split("/")[0]
    assert not is_dead(f"{namespace}/{rest}", boot_id()) or rest.startswith("9")
    assert not is_dead(rest, boot_id())


def test_another_boot_is_dead() -> None:
    """Every process of an earlier boot of this machine is gone; an unknown boot decides nothing."""
    assert is_dead(process_identity(), "00000000-0000-0000-0000-000000000000")
    assert not is_dead(process_identity(), "")


@linux
def test_name_with_parentheses(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A process may call itself `a) S 1 (b`: fields are counted from the last parenthesis."""
    (tmp_path / "7").mkdir()
    fields = " ".join(["R", *(str(number) for number in range(4, 23))])
    (tmp_path / "7" / "stat").write_text(f"7 (a) S 1 (b) {fields}\n")
    (tmp_path / "self").symlink_to(str(os.getpid()))
    monkeypatch.setattr(system, "PROC", tmp_path)
    assert system._process(7) == system.Process("R", 20, "22")
    assert system._process(8) is None


@linux
def test_foreign_proc_is_not_believed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Where /proc shows another pid namespace, start times are unknown and nobody is called dead."""
    (tmp_path / "self").symlink_to("1")
    monkeypatch.setattr(system, "PROC", tmp_path)
    assert process_identity() == f"unknown/{os.getpid()}/unknown"
    assert not is_dead(process_identity(), "")

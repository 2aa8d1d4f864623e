"""The parts that limits are made of: addresses, what is reported once in a while, room for connections."""

from __future__ import annotations

import asyncio
import resource

import pytest
from tests.app.vaults import Observer

from cloudbeds_auth.app.http_connections import RESERVED, Connections, HttpConnection, room
from cloudbeds_auth.app.limits import MOST_REPORTED, Limits, Networks, Tally, address_of, counted
from cloudbeds_auth.os_files import open_files
from cloudbeds_auth.rules.happenings import Happening


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("203.0.113.9", "203.0.113.9"),
        ("::ffff:203.0.113.9", "203.0.113.9"),
        ("2001:db8:1:1::1", "2001:db8:1:1::/64"),
        ("2001:db8:1:1:ffff:ffff:ffff:ffff", "2001:db8:1:1::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("unknown", "unknown"),
        ("x" * 1000, "x" * 64),
        ("", ""),
    ],
)
def test_what_shares_a_limit(host: str, expected: str) -> None:
    """An address, or the network in which a host may pick any; something else is short."""
    assert counted(host) == expected


def test_no_address() -> None:
    """A socket of this machine has none."""
    assert address_of({"client": None}) == address_of({}) == "local"
    assert address_of({"client": ("203.0.113.9", 5)}) == "203.0.113.9"


def test_networks() -> None:
    """As the settings name them."""
    trusted = Networks(["127.0.0.1", "10.0.0.0/8", "2001:db8::/32"])
    assert all(host in trusted for host in ("127.0.0.1", "10.1.2.3", "2001:db8::1"))
    assert not any(host in trusted for host in ("127.0.0.2", "11.0.0.1", "::1", "local", ""))


async def test_what_happens_often_is_reported_once_in_a_while() -> None:
    """The first at once; the rest together, by address and reason; what is left at the end."""
    observer = Observer()
    tally = Tally(observer, every=0.05)
    for address in ("203.0.113.9", "203.0.113.9", "203.0.113.10"):
        tally.add(Happening.CONNECTION_REFUSED, address=address, why="too_many")
    first = (Happening.CONNECTION_REFUSED, {"address": "203.0.113.9", "why": "too_many", "times": 1})
    assert observer.seen == [first]
    async with asyncio.timeout(20):
        while len(observer.seen) < 3:
            await asyncio.sleep(0.01)
    assert observer.seen[1:] == [first, (first[0], {**first[1], "address": "203.0.113.10"})]
    tally.add(Happening.CREDENTIAL_REFUSED, address="203.0.113.9")
    tally.close()
    assert observer.seen[3:] == [(Happening.CREDENTIAL_REFUSED, {"address": "203.0.113.9", "times": 1})]


async def test_what_is_reported_is_bounded() -> None:
    """A thousand addresses are not a thousand lines."""
    observer = Observer()
    tally = Tally(observer, every=60.0)
    for number in range(1001):
        tally.add(Happening.CREDENTIAL_REFUSED, address=f"203.0.113.{number}")
    tally.close()
    reported = [facts for _, facts in observer.seen]
    assert len(reported) == 1 + MOST_REPORTED + 1
    assert reported[-1] == {"address": "others", "times": 1000 - MOST_REPORTED}


async def test_connections_are_counted_right() -> None:
    """However they end, once or twice, room is made for as many as went; nothing of an address is left behind."""
    dropped: list[int] = []
    tally = Tally(Observer(), every=60.0)
    all_of_them = Connections(Limits(connections=3, connections_per_address=2), ["10.0.0.1"], tally)

    def opened(host: str, number: int = 0) -> bool:
        return all_of_them.open(host, lambda: dropped.append(number)) is not None

    first = all_of_them.open("203.0.113.9", lambda: dropped.append(1))
    second = all_of_them.open("203.0.113.9", lambda: dropped.append(2))
    assert first is not None
    assert second is not None
    first.occupy()
    assert (opened("203.0.113.9", 3), dropped) == (True, [2]), "the one that waited made room"
    assert second.gone.is_set()
    all_of_them.close(second)
    second.release()
    assert (opened("203.0.113.9", 4), dropped) == (True, [2, 3])
    assert (opened("10.0.0.1", 5), dropped) == (True, [2, 3])
    assert (opened("10.0.0.1", 6), dropped) == (True, [2, 3, 4]), "full in all: the one that waited longest"
    assert (opened("10.0.0.1", 7), dropped) == (True, [2, 3, 4, 5])
    first.release()
    assert (opened("203.0.113.10", 8), dropped) == (True, [2, 3, 4, 5, 6])
    assert (opened("203.0.113.10", 9), dropped) == (True, [2, 3, 4, 5, 6, 7])
    assert (opened("203.0.113.10", 10), dropped) == (True, [2, 3, 4, 5, 6, 7, 8]), "two of an address at most"
    tally.close()


@pytest.mark.row("A71", "A23")
async def test_who_waits_is_the_last_to_make_room() -> None:
    """Idle connections go first; then, of those on which a credential waits, the one that came last."""
    dropped: list[str] = []
    tally = Tally(Observer(), every=60.0)
    all_of_them = Connections(Limits(connections=4), [], tally)

    def opened(name: str) -> HttpConnection:
        connection = all_of_them.open("203.0.113.9", lambda: dropped.append(name))
        assert connection is not None
        return connection

    first, second, occupied = opened("first"), opened("second"), opened("occupied")
    opened("idle")
    first.hold()
    second.hold()
    occupied.occupy()
    third = opened("third")
    assert dropped == ["idle"]
    third.hold()
    opened("fourth").hold()
    assert dropped == ["idle", "third"]
    first.release()
    opened("fifth").occupy()
    assert dropped == ["idle", "third", "first"], "its credential was wrong: it waits for another request now"
    opened("sixth")
    assert dropped == ["idle", "third", "first", "fourth"]
    for one in (first, second):
        all_of_them.close(one)
        one.hold()
    tally.close()


def test_room_for_connections(monkeypatch: pytest.MonkeyPatch) -> None:
    """As many as are wanted where the machine allows it; else what its limit of open files leaves, and never none."""
    limit = [256, 5000]

    def set_to(_: int, limits: tuple[int, int]) -> None:
        limit[:] = limits

    monkeypatch.setattr(resource, "getrlimit", lambda _: tuple(limit))
    monkeypatch.setattr(resource, "setrlimit", set_to)
    assert (room(1000), limit) == (1000, [1000 + RESERVED, 5000])
    limit[:] = [256, 700]
    assert (room(1000), limit) == (700 - RESERVED, [700, 700])
    limit[:] = [64, 64]
    assert room(1000) == 1
    limit[:] = [resource.RLIM_INFINITY, resource.RLIM_INFINITY]
    assert room(1000) == 1000
    limit[:] = [256, resource.RLIM_INFINITY]
    assert (room(1000), limit[0]) == (1000, 1000 + RESERVED)


def test_a_limit_that_cannot_be_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel may know better than its own numbers."""

    def refused(*_: object) -> None:
        raise ValueError("not allowed to raise maximum limit")

    monkeypatch.setattr(resource, "getrlimit", lambda _: (256, resource.RLIM_INFINITY))
    monkeypatch.setattr(resource, "setrlimit", refused)
    assert open_files(1300) == 256

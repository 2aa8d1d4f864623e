"""MACs of rows, and histories that are verified."""

from __future__ import annotations

from typing import Any

import pytest

from cloudbeds_auth.rules.authentic import Chain, MacKey, Verification, event_mac

KEY, OTHER = MacKey(bytes(32)), MacKey(bytes(31) + b"1")
HOME = "con_1"


def test_values_that_differ_have_different_macs() -> None:
    """Whatever their kinds, and wherever one ends and the next begins; of numbers the value alone counts."""
    several: list[tuple[object, ...]] = [
        ("a", "b"), ("ab", ""), ("", "ab"), ("a", None), ("a", ""), ("1", "b"), (1, "b"), ("a",), ("a", "b", None),
    ]  # fmt: skip
    assert len({KEY.mac("link", values) for values in several}) == len(several)
    assert KEY.mac("link", (1, 1.0)) == KEY.mac("link", (1.0, 1))
    assert KEY.mac("link", "a") != KEY.mac("event", "a") != OTHER.mac("event", "a")


@pytest.mark.parametrize("mac", [None, "", "None", b"\xff", "ä", 7])
def test_what_is_no_mac_fits_nothing(mac: object) -> None:
    """Whatever a hand wrote there."""
    assert not KEY.fits(mac, "link", ("a",))
    assert KEY.fits(KEY.mac("link", ("a",)), "link", ("a",))


def test_a_key_shows_nothing_of_itself() -> None:
    """Also where it is a part of something that is shown."""
    assert repr(OTHER) == "MacKey()"


BAD_CHAINS = [
    None, "", "[]", "{}", "[1,2,3,4,5,6]", '["a","",1,"",""]', '[1e999,"",1,"",""]', '[0,"",1e30,"",""]', "[" * 100_000,
    '[2,"",1,"",""]', '[-1,"",1,"",""]', "[null,null,null,null,null]",
]  # fmt: skip


@pytest.mark.parametrize("text", BAD_CHAINS, ids=range(len(BAD_CHAINS)))
def test_what_is_no_chain(text: str | None) -> None:
    """It is one that does not fit, and the next event is numbered by a number that a database holds."""
    chain = Chain.parse(text)
    assert not chain.is_of(KEY, HOME)
    assert 0 <= chain.last < 1 << 62


def test_a_chain_as_it_is_stored() -> None:
    """It is another connection's no more than under another key, and one that was altered stays so."""
    chain = Chain.begun(KEY, HOME, 4)
    assert Chain.parse(chain.text) == chain
    assert chain.is_of(KEY, HOME)
    assert not chain.is_of(KEY, "con_2")
    assert not chain.is_of(OTHER, HOME)
    assert chain.changed(KEY, HOME, last=5, last_mac="m").is_of(KEY, HOME)
    assert not Chain(4, "", 6, "", chain.mac).changed(KEY, HOME, last=7, last_mac="m").is_of(KEY, HOME)


def history(count: int, base: int = 0) -> tuple[Chain, list[dict[str, Any]]]:
    """So many events, of which those up to `base` are from before."""
    chain, events = Chain.begun(KEY, HOME, base), []
    for number in range(1, count + 1):
        event: dict[str, Any] = {
            "sequence": number, "at": 1.5 * number, "kind": "proved", "actor": "vault", "grant_id": "gra_1",
            "generation": number, "data": "{}", "mac": None,
        }  # fmt: skip
        if number > base:
            event["mac"] = event_mac(KEY, HOME, chain.last_mac, event)
            chain = chain.changed(KEY, HOME, last=number, last_mac=event["mac"])
        events.append(event)
    return chain, events


def verified(chain: Chain, events: list[dict[str, Any]]) -> tuple[list[bool | None], list[str]]:
    """Each event's verdict, and the problems."""
    verification = Verification(KEY, HOME, chain)
    verdicts = [verification.verify(event) for event in events]
    verification.end()
    return verdicts, verification.problems


def test_a_history_as_it_was_written() -> None:
    """What is from before there were MACs is said to be neither."""
    assert verified(*history(3)) == ([True] * 3, [])
    assert verified(*history(4, base=2)) == ([None, None, True, True], [])
    assert verified(*history(0)) == ([], [])


@pytest.mark.parametrize("column", ["at", "kind", "actor", "grant_id", "generation", "data", "mac"])
@pytest.mark.row("A59")
def test_an_event_that_was_altered(column: str) -> None:
    """It is named; where its MAC was, the next one does not fit it either."""
    chain, events = history(4)
    events[1][column] = "9"
    verdicts, problems = verified(chain, events)
    assert verdicts[:2] == [True, False]
    assert problems[0] == "event 2 was altered, or written by something else"
    assert len(problems) == (2 if column == "mac" else 1)


@pytest.mark.parametrize(
    ("gone", "problem"),
    [
        ({2}, "event 2 is missing"), ({2, 3}, "events 2 to 3 are missing"), ({1, 2}, "events 1 to 2 are missing"),
        ({5}, "event 5 is missing"), ({3, 4, 5}, "events 3 to 5 are missing"),
        ({1, 2, 3, 4, 5}, "events 1 to 5 are missing"),
    ],
)  # fmt: skip
@pytest.mark.row("A59")
def test_events_that_were_deleted(gone: set[int], problem: str) -> None:
    """In the middle, the first ones, the newest ones, all."""
    chain, events = history(5)
    assert verified(chain, [event for event in events if event["sequence"] not in gone])[1] == [problem]


@pytest.mark.row("A59")
def test_a_tail_that_was_cut_with_its_end_set_back() -> None:
    """To the MAC of the event that is the newest now, or to the former end with that: neither is one."""
    chain, events = history(5)
    left = events[:3]
    for mac in (left[-1]["mac"], chain.mac):
        _, problems = verified(Chain(0, "", 3, left[-1]["mac"], mac), left)
        assert problems == ["where its history begins and ends was altered"]


@pytest.mark.row("A59")
def test_events_that_something_else_added() -> None:
    """Behind the newest one, also where they have the MAC of a genuine one; a newest one with another MAC."""
    chain, events = history(3)
    assert verified(chain, [*events, {**events[2], "sequence": 4}])[1] == [
        "event 4 was altered, or written by something else"
    ]
    chain = Chain(0, "", 3, "another", "").signed(KEY, HOME)
    assert verified(chain, events)[1] == ["its newest event is not the last one that was written"]


def test_where_a_history_begins_once_its_oldest_are_forgotten() -> None:
    """What is left is verified as before; where nothing is forgotten, or all, as well."""
    chain, events = history(4, base=1)
    for forgotten in range(5):
        verification = Verification(KEY, HOME, chain)
        for event in events[:forgotten]:
            verification.verify(event)
        begun = verification.begin_here()
        assert begun.base == max(forgotten, 1)
        assert verified(begun, events[forgotten:])[1] == []

"""Who is next: nobody stands behind another hotel's queue, and what keeps hotels connected has its share."""

from __future__ import annotations

from cloudbeds_auth.rules.lines import OURS, Lines


def lines(**waiting: int) -> Lines[str]:
    """So many stand in each line; `ours` is the line of tokens and proofs."""
    made: Lines[str] = Lines()
    for name, number in waiting.items():
        for at in range(number):
            made.join(OURS if name == "ours" else name, f"{name}{at}")
    return made


def served(queue: Lines[str], number: int = 1000) -> list[str]:
    """Who goes, in this order."""
    return [one for _ in range(number) if (one := queue.serve()) is not None]


def test_one_line_is_served_in_the_order_of_coming() -> None:
    """Whoever came first goes first, and then nobody waits."""
    queue = lines(a=3)
    assert (bool(queue), queue.length("a"), list(queue)) == (True, 3, ["a0", "a1", "a2"])
    assert served(queue) == ["a0", "a1", "a2"]
    assert (bool(queue), queue.length("a"), queue.serve()) == (False, 0, None)


def test_one_hotels_flood_delays_another_by_one_place() -> None:
    """A thousand wait for one hotel; the single call of another is the second to go."""
    queue = lines(flood=1000, single=1)
    assert served(queue, 3) == ["flood0", "single0", "flood1"]


def test_whoever_comes_to_a_flood_later_is_next_but_one() -> None:
    """A line that is begun anew goes behind those that wait, each of which has one place before it."""
    queue = lines(a=9, b=9)
    assert served(queue, 2) == ["a0", "b0"]
    queue.join("c", "c0")
    assert served(queue, 4) == ["a1", "b1", "c0", "a2"]


def test_every_line_has_one_place_before_any_has_two() -> None:
    """However long the lines are."""
    assert served(lines(a=3, b=1, c=2)) == ["a0", "b0", "c0", "a1", "c1", "a2"]


def test_tokens_and_proofs_have_every_second_place() -> None:
    """They keep hotels connected; and many of them still leave every other place to the callers."""
    assert served(lines(a=2, b=1, ours=4)) == ["ours0", "a0", "ours1", "b0", "ours2", "a1", "ours3"]


def test_tokens_and_proofs_alone_go_one_after_the_other() -> None:
    """No place is kept free for callers that there are not."""
    assert served(lines(ours=3)) == ["ours0", "ours1", "ours2"]


def test_who_leaves_has_no_place() -> None:
    """Only that one; leaving twice, or a line that there is not, is nothing."""
    queue = lines(a=3, b=1)
    for name, one in (("a", "a1"), ("a", "a1"), ("b", "b0"), ("b", "b0"), ("c", "c0")):
        queue.leave(name, one)
    assert served(queue) == ["a0", "a2"]


def test_who_is_sent_away_has_no_place() -> None:
    """An empty line is none."""
    queue = lines(a=3, b=1)
    queue.send_away(lambda one: one in {"a1", "b0"})
    assert served(queue) == ["a0", "a2"]

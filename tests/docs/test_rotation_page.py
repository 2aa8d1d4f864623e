"""The counter-examples of docs/rotation.md, played on the simulator's rule: they lose the hotel, as the page says."""

from __future__ import annotations

from itertools import count

from cloudbeds_simulator.rotation import IssuedPair, Rotation, variant_of


def rule() -> Rotation:
    """The rule V2/n with tokens named by their numbers: access-0, refresh-0, …"""
    numbers = {"access": count(), "refresh": count()}
    return Rotation(variant_of("V2/n"), lambda kind: f"{kind}-{next(numbers[kind])}", now=0.0)


def sent(server: Rotation, token: str) -> str:
    """The refresh token that comes back for this one."""
    answer = server.present(token, now=0.0)
    assert isinstance(answer, IssuedPair), answer
    return answer.pair.refresh_token


def test_one_slot_loses_the_hotel() -> None:
    """R1 is stored over R0; a late duplicate of R0 kills R1; what is accepted is stored nowhere."""
    server = rule()
    slot = sent(server, "refresh-0")
    sent(server, "refresh-0")  # the duplicate; its answer goes nowhere
    assert slot not in server.accepted
    assert "refresh-0" in server.accepted


def test_two_slots_lose_the_hotel() -> None:
    """(R2 | R3) is stored; a late duplicate of R1 kills both, and R1 has fallen out. The list would have had it."""
    server = rule()
    child = sent(server, "refresh-0")
    server.use(server.current.access_token, now=0.0)  # proven: from here on R1 is the only one
    kept = [child]
    for _ in range(2):
        kept.append(sent(server, kept[-1]))
    sent(server, child)  # the duplicate; its answer goes nowhere
    assert not set(kept[-2:]) & set(server.accepted)
    assert child in server.accepted

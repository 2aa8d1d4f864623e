"""How much one caller, and all of them together, may take of the service: the numbers, each with its reason."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """Counts, seconds and bytes, for one process."""

    connections: int = 2000
    """In all, where the machine's limit of open files leaves room for them."""
    connections_per_address: int = 500
    """A quarter of them; a trusted proxy, behind which there are many callers, is exempt."""

    head: float = 20.0
    """From a connection, or the first byte of a head, to the head's end."""
    pipelined: int = 10
    """Requests that wait on a connection for the one before them to be answered: no browser sends any (RFC 9112 section
    9.3.2), and as many heads of the largest size are less than a megabyte."""
    body: float = 20.0
    """How long a body is waited for in all, …"""
    body_rate: int = 16 * 1024
    """… and a second more for so many bytes that came: any program's network is faster."""
    reading: float = 30.0
    """How long an answer is held for a caller that is behind with reading it, …"""
    reading_rate: int = 1024
    """… unless so many bytes a second went out meanwhile: a program may work on what it reads as it comes."""
    linger: float = 2.0
    """After the last answer of a connection, for the caller to read it and to stop sending, …"""
    linger_bytes: int = 256 * 1024
    """… and how much of what it sends all the same is thrown away before it is cut off."""

    calls_per_address: int = 50
    """Calls under way at Cloudbeds: a quarter of the pool, and five seconds' worth of a partner's rate limit."""
    call_wait: float = 5.0
    """How long a call waits for one of them to end: as long as for a turn under the rate limit."""

    guesses: int = 10
    """Wrong credentials of one address that cost nothing, …"""
    guess_every: float = 1.0
    """… after which each makes the next one wait so much longer before it is checked, …"""
    guess_wait: float = 5.0
    """… and so much at most: a right one gets in."""
    guesses_waiting: int = 250
    """Credentials of one address that wait at a time: half of its connections, so that those of its callers that need
    not wait find room, and no guess drives out one that waits."""

    report_every: float = 10.0
    """Between two reports of how often something was refused."""

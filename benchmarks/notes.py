"""What a number does not say by itself, by the name of its group: what bounds it; where an aim is missed, why, and what
was tried. `python -m benchmarks --draw` puts a changed note on the page.
"""

from __future__ import annotations

NOTES: dict[str, str] = {
    "added": """
        Missed. Ours does more for it than a header: a turn under the shared rate limit, the look for a 401 and
        for refusals that come as a 200, the count of calls by path, a guard over redirects. Tried: no request
        is wrapped and no body copied, which took it from 417,000 to 128,000 instructions; a client that does
        not follow redirects has no guard.
    """,
    "start": """
        `access-token` misses its aim. Tried: each module imports what it needs where it needs it (54 times bare
        Python before); no garbage collection meanwhile (5 % less, not kept). A third of it is pydantic with the
        table of settings, most of the rest the making of some 150 data classes.
    """,
    "bursts": """
        Missed: after a pause both wake cold, and nine calls are too few for either to warm up. Tried: no task
        and no database thread for a call, head and body in one write, log lines written together; each took a
        little.
    """,
    "throughput": """
        Missed. Tried: half the instructions of a call (2,295,000 to 1,138,000: nothing asked of the database,
        no task of its own, tables of header bytes, one write, log lines together); the garbage collector passes
        over what is there from the start (15 %; no collection at all gains nothing more). What is left: a
        quarter is aiohttp's client, a sixth uvicorn with the bounds that a caller has, a seventh log and
        metrics, the rest policy, spread thinly. A client of a few lines over a parser would save some 50 µs of
        260; it was not written, for a hand-written HTTP stack has to earn more than that.
    """,
    "tail": """
        At 32 connections the median of Express + axios is 12 ms: met or missed by the width of a hair.
    """,
    "memory": """
        Missed. Tried: memory given back to the system after the start, and one arena for all threads (nothing);
        modules that watch files imported where files are watched (0.7 MB); Python without docstrings and
        assertions (3.4 MB, not kept: they are in its tracebacks and help).
    """,
    "expiry": """
        Missed by time, and nothing else is lost: one refresh, no caller refused. Over SQLite other processes
        see the new token at their next look, a quarter of a second apart; over PostgreSQL they are woken. The
        rest is the waking of ten thousand callers by two cores. Tried: callers of one moment share the whole
        look-up, and not only the read of the row (74 to 45 µs of CPU each). The fastest row is the one that
        loses the hotel.
    """,
}

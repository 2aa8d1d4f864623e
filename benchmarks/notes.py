"""What a number does not say by itself, by the name of its group: what bounds it; where an aim is missed, why, and what
was tried. `python -m benchmarks --draw` puts a changed note on the page.
"""

from __future__ import annotations

NOTES: dict[str, str] = {
    "added": """
        Ours does more than add a header: it looks for a 401 and for refusals that come as a 200, counts the call by its
        path, and guards redirects, of which no client tells it whether they are followed. Tried: the body is not copied
        and no request is wrapped (417,000 to 128,000 instructions a call); of httpx2's ten events two are looked at,
        and none is asked for once the head of an answer is there that is no redirect (45 to 33 µs of CPU; without the
        guard 28: docs/adr/0025). Adding the header alone, in httpx2's own class for headers, takes 2 µs.
    """,
    "start": """
        Tried for `access-token`: each module imports what it needs where it needs it (649 ms before, on another
        machine, beside 12); no garbage collection meanwhile (5 % of CPU, not kept). A third of its imports is pydantic
        with the table of settings.
    """,
    "bursts": """
        The row without a rate limit shows what a turn costs: a task, and a small write by the database's thread. Tried:
        the turn is not synced (226 to 12 µs a commit); the property's connection is found in memory; head and body go
        out in one write; log lines are written together.
    """,
    "throughput": """
        Tried: half the instructions of a call (2,295,000 to 1,138,000 when it was done: nothing asked of the database,
        no task of its own, tables of header bytes, one write, log lines together); the garbage collector passes over
        what is there from the start (376 to 322 µs of CPU a call; no collection at all: 311). Of what is left, by a
        profile, aiohttp's client is a quarter, log and metrics a seventh; the rest is spread thinly over uvicorn,
        bounds and policy. A pool of connections of one's own over a parser would save some 50 µs (of bare routes 85 and
        33, measured elsewhere); it was not written: a hand-written HTTP stack has to earn more than that.
    """,
    "tail": """
        Tried: what is named above; the pauses of the garbage collector are gone with it.
    """,
    "memory": """
        Tried: memory given back to the system after the start, and one arena for all threads (nothing); modules that
        watch files are imported where files are watched (0.7 MB); Python without docstrings and assertions (3.4 MB, not
        kept: tracebacks and help need them). A third is the files of compiled libraries, which processes share.
    """,
    "expiry": """
        Nothing but time is missed: one refresh, no caller refused. Over SQLite other processes see the new token at
        their next look, a quarter of a second apart; over PostgreSQL they are woken. The rest is our look-up, 45 µs of
        CPU for each of ten thousand. Tried: callers of one moment share the whole look-up, and not only the read of the
        row; ids of plain letters are recognised without a look at each (both together 74 to 45 µs). Looks closer
        together would cost every hotel that waits.
    """,
    "refresh": """
        Over PostgreSQL a refresh is twelve transactions of 32 statements, which take most of it. Tried: a row costs no
        object for each of its columns (4 %); begin, time limits and the moment go in one message.
    """,
}

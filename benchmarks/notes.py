"""What a number does not say by itself, by the name of its group: what bounds it; where an aim is missed, why, and what
was tried. `python -m benchmarks --draw` puts a changed note on the page.
"""

from __future__ import annotations

NOTES: dict[str, str] = {
    "added": """
        Ours does more than add a header: it looks for a 401 and for refusals that come as a 200, counts the call by its
        path, and guards redirects, since no client says whether it follows them. Optimized so far: the body is not
        copied and no request is wrapped (417,000 to 128,000 instructions a call); two of httpx2's ten events are used,
        and none after the head of an answer that is no redirect (45 to 33 µs of CPU; without the guard 28:
        docs/adr/0025). Adding the header alone, in httpx2's own class for headers, takes 2 µs.
    """,
    "start": """
        Tried for `access-token`: modules import on first use (649 ms before, on another machine, where `python -c pass`
        took 12); no garbage collection meanwhile (5 % of CPU, not kept). A third of its imports is pydantic with the
        table of settings.
    """,
    "bursts": """
        The row without a rate limit shows the cost of a turn: a task, and a small write by the database's thread.
        Optimized so far: the turn is not synced (226 to 12 µs a commit); the property's connection is found in memory;
        head and body are sent in one write; log lines are written in batches.
    """,
    "throughput": """
        Optimized so far: the instructions of a call were halved (2,295,000 to 1,138,000 at that time: no database
        query, no task of its own, tables of header bytes, one write, log lines in batches); the garbage collector skips
        objects that exist from the start (376 to 322 µs of CPU a call; without any collection 311). In a profile of the
        rest, aiohttp's client is a quarter, log and metrics a seventh; what remains is spread thinly over uvicorn,
        limits and policy. A connection pool of our own over a parser would save some 50 µs (bare routes take 85 and 33,
        measured elsewhere); it was not written, because a hand-written HTTP stack would have to gain more than that.
    """,
    "tail": """
        The optimizations above also removed the pauses of the garbage collector.
    """,
    "memory": """
        Tried: returning memory to the system after the start, and one arena for all threads (no gain); importing
        modules that watch files only where files are watched (0.7 MB); Python without docstrings and assertions
        (3.4 MB, not kept: tracebacks and help need them). A third is the files of compiled libraries, which processes
        share.
    """,
    "expiry": """
        Only the times are missed: there is one refresh, and no caller is refused. With SQLite, other processes see the
        new token at their next poll, every quarter of a second; with PostgreSQL they are woken. The rest is our lookup,
        45 µs of CPU for each of ten thousand callers. Optimized so far: simultaneous callers share the whole lookup,
        not only the read of the row, and ids of plain letters are recognized without checking each (together 74 to
        45 µs). Polling more often would cost every hotel that waits.
    """,
    "refresh": """
        With PostgreSQL a refresh is twelve transactions of 32 statements, which take most of the time. Optimized so
        far: a row creates no object for each of its columns (4 %); begin, time limits and the current time are sent in
        one message.
    """,
}

"""What a service is asked by programs, by what watches it, and by strangers."""

from __future__ import annotations

import http.client
import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from statistics import median
from typing import Any
from urllib.parse import urlencode, urlsplit

from benchmarks import stage
from benchmarks.scale.place import Found, NotMeasured, Place

TIMES, LONG = 5, 5_000.0  # answers, and milliseconds after which no further one is asked for
COLD = 200  # hotels, each asked about once
OLDEST = 60  # the last page has so many hotels at most
PATIENCE = 60.0  # seconds for an answer
PAUSE = 0.002  # seconds between two questions of what watches
GAUGE = b"cloudbeds_auth_connections{"
STATES = ("fresh", "backing_off", "reauthorization_required", "client_refused", "disconnected")
ANOTHER = "another-client-id"


@dataclass(frozen=True, slots=True)
class Asker:
    """One connection to a service."""

    connection: http.client.HTTPConnection
    headers: Mapping[str, str]

    def __call__(self, path: str, below: int = 300, **more: str) -> tuple[float, bytes]:
        """Milliseconds until it is answered, and the body. Raises NotMeasured unless the status is below that."""
        begun = time.perf_counter()
        try:
            self.connection.request("GET", path, headers={**self.headers, **more})
            answer = self.connection.getresponse()
            body = answer.read()
        except TimeoutError:
            self.connection.close()
            raise NotMeasured(f"{path}: not answered within {PATIENCE:.0f} s") from None
        took = (time.perf_counter() - begun) * 1e3
        if answer.status >= below:
            raise NotMeasured(f"{path}: {answer.status} {answer.headers.get('X-Cloudbeds-Auth-Code', '')}")
        return took, body


@contextmanager
def asker(target: stage.Target, headers: Mapping[str, str]) -> Iterator[Asker]:
    """For as long as the block lasts."""
    connection = http.client.HTTPConnection(urlsplit(target.base).netloc, timeout=PATIENCE)
    try:
        yield Asker(connection, headers)
    finally:
        connection.close()


def several(
    ask: Asker, what: str, path: str, below: int = 300, wrong: Callable[[bytes], str] = lambda body: "", **more: str
) -> Found:
    """The median of a few, of slow ones of fewer, and the first; instead of them, what is `wrong` with an answer, or
    why there are none.
    """
    took: list[float] = []
    try:
        while len(took) < TIMES and sum(took) < LONG:
            one, body = ask(path, below, **more)
            took.append(one)
            if words := wrong(body):
                return Found(what, None, f"{words}, after {one:,.0f} ms")
    except NotMeasured as why:
        return Found(what, None, str(why))
    return Found(what, median(took), f"first {took[0]:,.0f} ms")


def lists(place: Place) -> Iterator[Found]:
    """`GET /api/v1/connections` by what people look for: first and last page."""
    searches: Mapping[str, Mapping[str, str]] = {
        "all": {}, **{f"state={one}": {"state": one} for one in STATES},
        "app of one in 200": {"app": "hotel-5"}, "app of nine in ten": {"app": "default"},
        "reference": {"reference": "tenant-33"}, "property": {"property": str(1_000_000 + place.hotels // 2)},
    }  # fmt: skip
    with place.serving() as target, asker(target, place.admin) as ask:
        for what, search in searches.items():
            yield from _pages(ask, place, what, search)
    # Another registration's id in the settings: every hotel of the app is `client_refused`.
    with place.serving(CLOUDBEDS_CLIENT_ID=ANOTHER) as target, asker(target, place.admin) as ask:
        yield from _pages(ask, place, "state=client_refused, all of an app", {"state": "client_refused"})


def _pages(ask: Asker, place: Place, what: str, search: Mapping[str, str]) -> Iterator[Found]:
    for page, cursor in (("first", {}), ("last", {"cursor": place.copy(min(OLDEST, place.hotels - 1))})):
        path = f"/api/v1/connections?{urlencode({**search, **cursor})}"
        yield several(ask, f"{what}, {page} page", path, wrong=_empty_with_a_next)


def _empty_with_a_next(body: bytes) -> str:
    page: Mapping[str, Any] = json.loads(body)
    return "" if page["connections"] or page["next"] is None else "an empty page with a `next`"


def metrics(place: Place) -> Iterator[Found]:
    """`/metrics`, and the longest answer of `/readyz` meanwhile."""
    with place.serving() as target, asker(target, place.admin) as ask, asker(target, {}) as beside:
        gauges = _gauges_after(ask)
        done, waits = threading.Event(), [beside("/readyz")[0]]

        def watch() -> None:
            while not done.wait(PAUSE):
                try:
                    waits.append(beside("/readyz")[0])
                except NotMeasured:
                    waits.append(PATIENCE * 1e3)

        watcher = threading.Thread(target=watch)
        watcher.start()
        try:
            found = several(ask, "/metrics", "/metrics")
        finally:
            done.set()
            watcher.join()
        yield replace(found, note=f"{found.note}; its gauges {gauges:.1f} s after the start")
        yield Found("/readyz beside it", max(waits), f"longest of {len(waits)}")


def _gauges_after(ask: Asker) -> float:
    """Seconds until hotels are shown by their state."""
    begun = time.perf_counter()
    while GAUGE not in ask("/metrics")[1]:
        if time.perf_counter() - begun > PATIENCE:
            raise NotMeasured(f"/metrics has no gauges within {PATIENCE:.0f} s")
        time.sleep(0.1)
    return time.perf_counter() - begun


def strangers(place: Place) -> Iterator[Found]:
    """Requests without a credential, while each of many apps has a callback of its own."""
    with place.serving() as target, asker(target, {}) as ask:
        yield several(ask, "unknown host", "/", 500, Host="unknown.example")
        yield several(ask, "unknown path", "/unknown", 500)
        yield several(ask, "path of an app", "/callback/hotel-7", 500)


def cold(place: Place) -> Iterator[Found]:
    """`GET …/access-token` of hotels that the process has not heard of, one after the other."""
    step = max(1, place.hotels // COLD)
    chosen = [at for at in range(1, place.hotels, step) if at % 1000 not in {20, 30}]
    with place.serving() as target, asker(target, place.admin) as ask:
        took = sorted(ask(f"/api/v1/connections/{place.copy(at)}/access-token")[0] for at in chosen)
    yield Found("median", median(took), f"{len(took)} hotels")
    yield Found("99 of 100", took[len(took) * 99 // 100])

"""Callers of a service: one thread for each hotel, that calls through /proxy until told to stop."""

from __future__ import annotations

import threading
import time
from collections import Counter
from http.client import HTTPConnection, HTTPException, HTTPResponse
from types import TracebackType

PATH = "/proxy/{}/api/v1.3/userinfo"
PAUSE = 0.01  # seconds between two calls
WHILE_DOWN = 0.003  # seconds until a service that does not listen is tried again
PATIENCE = 60.0


class Callers:
    """What each hotel's callers were told. While the service is not there they try again, as real ones do."""

    def __init__(self, port: int, token: str, connections: tuple[str, ...]) -> None:
        self._port, self._connections = port, connections
        self._headers = {"Authorization": f"Bearer {token}"}
        self._over = threading.Event()
        self._news = threading.Condition()
        self._served = [0.0] * len(connections)  # when the newest call that was answered 200 began
        self.answers: Counter[str] = Counter()
        self.later = 0
        self.wrong: list[str] = []
        self._threads = [threading.Thread(target=self._call, args=(one,)) for one in range(len(connections))]

    def __enter__(self) -> Callers:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join(PATIENCE)

    def served(self, hotel: int, since: float) -> bool:
        """Whether a call that began later was answered 200."""
        return self._served[hotel] > since

    def all_served(self, since: float, seconds: float) -> list[int]:
        """Wait until every hotel is, or one was answered wrongly; those that are not."""

        def missing() -> list[int]:
            return [one for one in range(len(self._served)) if not self.served(one, since)]

        with self._news:
            self._news.wait_for(lambda: self.wrong or not missing(), seconds)
            return missing()

    def _call(self, hotel: int) -> None:
        path = PATH.format(self._connections[hotel])
        connection = HTTPConnection("127.0.0.1", self._port, timeout=PATIENCE)
        while not self._over.is_set():
            begun = time.monotonic()
            try:
                connection.request("GET", path, headers=self._headers)
                with connection.getresponse() as response:
                    pause = self._told(hotel, begun, response, response.read())
            except (OSError, HTTPException):  # not there yet, or gone, perhaps in the middle of an answer
                connection.close()
                pause = WHILE_DOWN
            self._over.wait(pause)
        connection.close()

    def _told(self, hotel: int, begun: float, response: HTTPResponse, body: bytes) -> float:
        """Note an answer; seconds to wait before the next call."""
        code, wait = response.headers["X-Cloudbeds-Auth-Code"], response.headers["Retry-After"]
        with self._news:
            self.answers[f"{response.status} {code or ''}".strip()] += 1
            if response.status == 200:
                self._served[hotel] = begun
            elif (response.status == 503 and wait is not None) or code == "upstream_failed":
                # `upstream_failed`: no connection to the vendor within the connect time, here a fraction of a second.
                self.later += 1
            else:
                self.wrong.append(f"hotel {hotel}: {response.status} {response.headers.items()} {body[:500]!r}")
            self._news.notify_all()
        return PAUSE

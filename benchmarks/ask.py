"""Those who ask: one connection that times each call, and wrk for many."""

from __future__ import annotations

import re
import shutil
import socket
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from urllib.parse import urlsplit

from benchmarks.stage import ASKS, LARGE, UPLOAD

UNITS = {"us": 1e-3, "ms": 1.0, "s": 1e3}
_PART = bytearray(1024 * 1024)  # what is read of a body, again and again


def latencies(url: str, path: str, headers: Mapping[str, str], *, bursts: int, calls: int, pause: float) -> list[float]:
    """Milliseconds of each call: `calls` in a row on one connection, after a pause, `bursts` times."""
    request = _head("GET", url, path, headers)
    found: list[float] = []
    with _connected(url) as connection:
        for _ in range(bursts):
            time.sleep(pause)
            for _ in range(calls):
                begun = time.perf_counter()
                connection.sendall(request)
                read_answer(connection)
                found.append((time.perf_counter() - begun) * 1e3)
    return found


def _head(method: str, url: str, path: str, headers: Mapping[str, str]) -> bytes:
    parts = urlsplit(url)
    lines = [f"{method} {parts.path}{path} HTTP/1.1", f"Host: {parts.netloc}"]
    return "\r\n".join([*lines, *(f"{name}: {value}" for name, value in headers.items()), "\r\n"]).encode()


def _connected(url: str) -> socket.socket:
    parts = urlsplit(url)
    connection = socket.create_connection((parts.hostname, parts.port))
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection


def read_answer(connection: socket.socket) -> None:
    """One answer to its end. Raises RuntimeError unless it is a 200."""
    received = b""
    while b"\r\n\r\n" not in received:
        received += connection.recv(65536) or _cut()
    head, _, body = received.partition(b"\r\n\r\n")
    if not head.startswith(b"HTTP/1.1 200"):
        raise RuntimeError(head.decode("latin-1"))
    length = re.search(rb"(?i)\r\ncontent-length: *(\d+)", head)
    if length is not None:
        left = int(length[1]) - len(body)
        while left > 0:
            left -= connection.recv_into(_PART, min(left, len(_PART))) or len(_cut())
        return
    while not body.endswith(b"0\r\n\r\n"):
        body += connection.recv(65536) or _cut()


def _cut() -> bytes:
    raise RuntimeError("the connection was closed")


def each(urls: Sequence[str], path: str, headers: Mapping[str, str]) -> None:
    """Call this path below each of several addresses of one server, one after the other on one connection."""
    with _connected(urls[0]) as connection:
        for url in urls:
            connection.sendall(_head("GET", url, path, headers))
            read_answer(connection)


def download(url: str, headers: Mapping[str, str]) -> float:
    """Seconds until a large body is here."""
    with _connected(url) as connection:
        begun = time.perf_counter()
        connection.sendall(_head("GET", url, LARGE, headers))
        read_answer(connection)
        return time.perf_counter() - begun


def upload(url: str, headers: Mapping[str, str], body: Path) -> float:
    """Seconds until a large body was sent, read by the vendor, and answered."""
    head = _head("POST", url, UPLOAD, {**headers, "Content-Length": str(body.stat().st_size)})
    with _connected(url) as connection, body.open("rb") as content:
        begun = time.perf_counter()
        connection.sendall(head)
        connection.sendfile(content)
        read_answer(connection)
        return time.perf_counter() - begun


def median_latency(url: str, path: str, headers: Mapping[str, str], **how: float) -> float:
    """The median of `latencies`."""
    return median(latencies(url, path, headers, **how))  # type: ignore[arg-type]


@dataclass(frozen=True, slots=True)
class Load:
    """What wrk found: requests per second, and milliseconds at the median and the 99th of a hundred."""

    per_second: float
    p50: float
    p99: float


def load(url: str, path: str, headers: Mapping[str, str], *, connections: int, seconds: int) -> Load:
    """So many connections, each with the next request as soon as it has its answer. Raises RuntimeError for errors."""
    program = shutil.which("wrk") or "wrk"
    given = [part for name, value in headers.items() for part in ("-H", f"{name}: {value}")]
    command = [
        "taskset",
        "-c",
        ASKS,
        program,
        "-t1",
        f"-c{connections}",
        f"-d{seconds}s",
        "--timeout=10s",
        "--latency",
        *given,
        url + path,
    ]
    text = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    if "Non-2xx" in text or "Socket errors" in text:
        raise RuntimeError(text)

    def at(part: str) -> float:
        found = re.search(rf"{part}%\s+([\d.]+)(us|ms|s)", text)
        if found is None:
            raise RuntimeError(text)
        return float(found[1]) * UNITS[found[2]]

    found = re.search(r"Requests/sec:\s+([\d.]+)", text)
    if found is None:
        raise RuntimeError(text)
    return Load(float(found[1]), at("50"), at("99"))

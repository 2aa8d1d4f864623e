"""Those who ask: one connection that times each call, and wrk for many."""

from __future__ import annotations

import re
import shutil
import socket
import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass
from statistics import median
from urllib.parse import urlsplit

from benchmarks.stage import ASKS

UNITS = {"us": 1e-3, "ms": 1.0, "s": 1e3}


def latencies(url: str, path: str, headers: Mapping[str, str], *, bursts: int, calls: int, pause: float) -> list[float]:
    """Milliseconds of each call: `calls` in a row on one connection, after a pause, `bursts` times."""
    parts = urlsplit(url)
    lines = [f"GET {parts.path}{path} HTTP/1.1", f"Host: {parts.netloc}", *(f"{k}: {v}" for k, v in headers.items())]
    request = ("\r\n".join(lines) + "\r\n\r\n").encode()
    found: list[float] = []
    with socket.create_connection((parts.hostname, parts.port)) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for _ in range(bursts):
            time.sleep(pause)
            for _ in range(calls):
                begun = time.perf_counter()
                connection.sendall(request)
                read_answer(connection)
                found.append((time.perf_counter() - begun) * 1e3)
    return found


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
            left -= len(connection.recv(65536) or _cut())
        return
    while not body.endswith(b"0\r\n\r\n"):
        body += connection.recv(65536) or _cut()


def _cut() -> bytes:
    raise RuntimeError("the connection was closed")


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

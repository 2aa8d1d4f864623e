"""Herds: many callers in several processes whose token has expired, all at one moment, and what becomes of them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import httpx2

from benchmarks.children.hotel import REDIRECT
from benchmarks.hotels import PROPERTIES
from benchmarks.measure import ROOT
from cloudbeds_auth.pytest_plugin.process import Simulator

AHEAD = 0.5  # seconds from the word to the moment at which all ask
TOKEN = "/api/v1.3/access_token"
PROTECTED = "/api/v1.3/userinfo"

Process = subprocess.Popen[str]


@contextmanager
def processes(subject: str, number: int, callers: int, environment: Mapping[str, str]) -> Iterator[Sequence[Process]]:
    """So many processes of so many callers, on all cores; each ends with its standard input."""
    command = [sys.executable, "-m", "benchmarks.children.herd", subject, str(callers)]
    started = [
        subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT,
            env={**os.environ, **environment},
        )
        for _ in range(number)
    ]  # fmt: skip
    try:
        for process in started:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
        yield started
    finally:
        for process in started:
            process.communicate(timeout=60)


@dataclass(frozen=True, slots=True)
class Herd:
    """What became of one: milliseconds of every caller that has a token, in their order, and the count of others."""

    waits: Sequence[float]
    refreshes: int  # at Cloudbeds
    without: int  # callers without a token, or with one that is dead
    lost: int  # processes whose access and refresh token are both dead

    @property
    def p99(self) -> float:
        """Within this time 99 of 100 had one."""
        return self.waits[len(self.waits) * 99 // 100]


def counted(herds: Sequence[Herd]) -> str:
    """What the rounds of one subject counted, in words."""
    refreshes = span([herd.refreshes for herd in herds])
    without, lost = span([herd.without for herd in herds]), span([herd.lost for herd in herds])
    return (
        f"refreshes at Cloudbeds: {refreshes}; callers without a living token: {without}; "
        f"processes that lost the hotel: {lost}"
    )


def span(values: Sequence[int]) -> str:
    """The value, or the least and the most."""
    least, most = min(values), max(values)
    return f"{least:,}" if least == most else f"{least:,} to {most:,}"


def rush(simulator: Simulator, herd: Sequence[Process], at: float = 0.0, **needs: Any) -> Herd:
    """Let them all ask at the unix second `at`, or a little later if that is over already."""
    before = simulator.refreshes()
    word = json.dumps({"at": max(at, time.time() + AHEAD), **needs})
    for process in herd:
        assert process.stdin is not None
        print(word, file=process.stdin, flush=True)
    answers = [json.loads(process.stdout.readline()) for process in herd if process.stdout is not None]
    refreshes = simulator.refreshes() - before
    tokens: Counter[str] = sum((Counter(answer["tokens"]) for answer in answers), Counter())
    living = {token for token in tokens if works(simulator, token)}
    dead = sum(callers for token, callers in tokens.items() if token not in living)
    return Herd(
        waits=sorted(wait for answer in answers for wait in answer["waits"]),
        refreshes=refreshes,
        without=dead + sum(answer["failed"] for answer in answers),
        lost=sum(not living & answer["tokens"].keys() and not renews(simulator, answer) for answer in answers),
    )


def works(simulator: Simulator, token: str) -> bool:
    """Whether Cloudbeds takes this access token."""
    answer = httpx2.get(simulator.url + PROTECTED, headers={"Authorization": f"Bearer {token}"}, trust_env=False)
    return answer.status_code == 200


def renews(simulator: Simulator, answer: Mapping[str, str]) -> bool:
    """Whether Cloudbeds takes the refresh token that a process was left with."""
    form = {"grant_type": "refresh_token", "refresh_token": answer["refresh_token"]}
    return exchanged(simulator, **form).status_code == 200


def exchanged(simulator: Simulator, **form: str) -> httpx2.Response:
    """The token endpoint's answer."""
    client = {"client_id": simulator.client_id, "client_secret": simulator.client_secret}
    return httpx2.post(simulator.url + TOKEN, data={**client, **form}, trust_env=False)


def granted(simulator: Simulator) -> Mapping[str, Any]:
    """A pair that a hotel has just approved, for a client of another library."""
    query = {"client_id": simulator.client_id, "redirect_uri": REDIRECT, "response_type": "code", "state": "any"}
    url = httpx2.URL(f"{simulator.url}/api/v1.3/oauth", params=query)
    code = simulator.approve(str(url), PROPERTIES[0]).code
    answer = exchanged(simulator, grant_type="authorization_code", code=code, redirect_uri=REDIRECT)
    answer.raise_for_status()
    found: Mapping[str, Any] = answer.json()
    return found


def client_of(simulator: Simulator) -> Mapping[str, Any]:
    """What Authlib's client is made of: a pair that has expired by its own clock."""
    return {
        "client_id": simulator.client_id,
        "client_secret": simulator.client_secret,
        "token_endpoint": simulator.url + TOKEN,
        "token_endpoint_auth_method": "client_secret_post",
        "leeway": 0,  # the next pair lives for seconds, and by the default of a minute would be stale at once
        "trust_env": False,
        "token": {**granted(simulator), "expires_at": int(time.time()) - 1},
    }

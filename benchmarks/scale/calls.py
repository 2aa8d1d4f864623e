"""Callers of a service while something happens to it. None of them repeats a call."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import aiohttp

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Answer:
    """To one call, after so many seconds. `code`: of an answer of ours that is no success; status 0: there was none."""

    seconds: float
    status: int
    code: str


async def ask(http: aiohttp.ClientSession, url: str, headers: Mapping[str, str]) -> Answer:
    """One call, read to its end."""
    begun = time.perf_counter()
    try:
        async with http.get(url, headers=headers) as answer:
            await answer.read()
            status, code = answer.status, answer.headers.get("X-Cloudbeds-Auth-Code", "")
    except (aiohttp.ClientError, TimeoutError) as error:
        status, code = 0, type(error).__name__
    return Answer(time.perf_counter() - begun, status, code)


async def during(
    work: Awaitable[T], per_second: float, call: Callable[[], Awaitable[Answer]]
) -> tuple[T, Sequence[Answer]]:
    """Begin so many calls a second, whether the ones before were answered or not, until the work is done."""
    running, begun = asyncio.ensure_future(work), []
    while not running.done():
        begun.append(asyncio.ensure_future(call()))
        await asyncio.wait([running], timeout=1.0 / per_second)
    answers = await asyncio.gather(*begun)
    return await running, answers


def told(answers: Sequence[Answer]) -> str:
    """How many were answered, and what the others were."""
    others = Counter(one.code or str(one.status) for one in answers if one.status != 200)
    words = [f"{served(answers)} of {len(answers)} answered", *(f"{number} {code}" for code, number in others.items())]
    return ", ".join(words)


def served(answers: Sequence[Answer]) -> int:
    """How many were a 200."""
    return sum(one.status == 200 for one in answers)

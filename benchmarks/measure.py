"""Rounds: each measures every subject of a group once, in another order, so that what the machine does meanwhile meets
all of them. What is reported is the median, with the lowest and highest value.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from statistics import median

ROOT = Path(__file__).parent.parent


@dataclass(frozen=True, slots=True)
class Subject:
    """What is measured. `measure` returns one value, in the unit of its group; `counted` says what its rounds counted
    beside that, in words.
    """

    name: str
    measure: Callable[[], float]
    counted: Callable[[], str] = str


@dataclass(frozen=True, slots=True)
class Aim:
    """A goal that was set before it was measured: the value of a subject, or its ratio to that of `beside`, is at most
    `limit`; at least, where more is better.
    """

    subject: str
    limit: float
    beside: str = ""


@dataclass(frozen=True, slots=True)
class Group:
    """Subjects that answer the same question. `open` makes them ready; the page shows the ratio of each to `beside`.

    `less`: whether less is better.
    """

    name: str
    title: str
    unit: str
    question: str
    open: Callable[[], AbstractContextManager[Sequence[Subject]]]
    beside: str = ""
    aims: tuple[Aim, ...] = ()
    less: bool = True


@dataclass(frozen=True, slots=True)
class Found:
    """The values of one subject."""

    values: tuple[float, ...]

    @property
    def middle(self) -> float:
        """The median."""
        return median(self.values)


def rounds(subjects: Sequence[Subject], number: int, progress: Callable[[str], None]) -> Mapping[str, Found]:
    """Measure each subject `number` times."""
    values: dict[str, list[float]] = {subject.name: [] for subject in subjects}
    for at in range(number):
        turned = [*subjects[at % len(subjects) :], *subjects[: at % len(subjects)]]
        for subject in turned:
            progress(f"round {at + 1} of {number}: {subject.name}")
            values[subject.name].append(subject.measure())
    return {name: Found(tuple(found)) for name, found in values.items()}

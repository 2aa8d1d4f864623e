"""What a worker of a proof run does: a seed, one variant's part of an exhaustive set, or a negative control."""

from __future__ import annotations

import time
import traceback
from collections import Counter
from dataclasses import dataclass, field

from tests.simulation.controls import CONTROLS, catch
from tests.simulation.record import Failure, Part, Record
from tests.simulation.run import run_seed
from tests.simulation.sets import SETS

MODULE = "python -m tests.simulation.prove"
SHOWN = 5  # failures of one part of a set that are told whole


@dataclass(frozen=True)
class Task:
    """`seed` of a seed; `name` of a set or a control; `variant` of a set's part."""

    kind: str
    store: str
    seed: int = 0
    name: str = ""
    variant: str = ""

    def __str__(self) -> str:
        return f"seed {self.seed}" if self.kind == "seed" else f"{self.name} {self.variant}".strip()

    @property
    def replay(self) -> str:
        """The command that does it again."""
        store = f" --store {self.store}"
        match self.kind:
            case "seed":
                return f"{MODULE} --from {self.seed} --seeds 1{store}"
            case "set":
                return f"{MODULE} --set '{self.name}' --variant {self.variant}{store}"
            case _:
                return f"{MODULE} --control '{self.name}'"


@dataclass
class Outcome:
    """What came of a task."""

    task: Task
    variant: str = ""
    hours: float = 0.0
    counts: Counter[str] = field(default_factory=Counter)
    part: Part | None = None
    caught: str = ""
    failures: list[Failure] = field(default_factory=list)

    def enter(self, record: Record) -> None:
        """Write it into the record."""
        record.failures += self.failures
        if self.part is not None:
            record.sets.setdefault(self.task.name, {})[self.task.variant] = self.part
        elif self.task.kind == "control":
            record.controls[self.task.name] = self.caught
        elif self.task.kind == "seed":
            record.add_seed(self.task.seed)
            record.hours += self.hours
            record.counts.update(self.counts)
            struck = {kind: times for kind, times in self.counts.items() if kind.startswith("fault ")}
            record.variants.setdefault(self.variant, Counter()).update(struck)


def do(task: Task) -> Outcome:
    """Do it; whatever goes wrong is a failure of the task."""
    try:
        return {"seed": _seed, "set": _set, "control": _control}[task.kind](task)
    except Exception as error:  # noqa: BLE001 - a crash of the run is told like a violation
        return Outcome(task, failures=[_failure(task, f"{type(error).__name__}: {error}", traceback.format_exc())])


def _seed(task: Task) -> Outcome:
    result = run_seed(task.seed, task.store)
    violation = str(result.violation) if result.violation else ""
    failures = [_failure(task, f"{result.plan.variant}: {violation}", result.story)] if violation else []
    return Outcome(task, result.plan.variant, result.hours, result.counts, failures=failures)


def _set(task: Task) -> Outcome:
    began = time.process_time()
    one = next(one for one in SETS if one.name == task.name)
    tally = one.part(task.variant, task.store)
    part = Part(tally.runs, round(time.process_time() - began, 1), dict(tally.points), len(tally.failures))
    failures = [_failure(task, failed.split("\n", 1)[0], failed) for failed in tally.failures[:SHOWN]]
    return Outcome(task, part=part, failures=failures)


def _control(task: Task) -> Outcome:
    control = next(one for one in CONTROLS if one.name == task.name)
    caught = catch(control)
    if caught is None or caught.invariant not in control.caught_by:
        return Outcome(task, failures=[_failure(task, f"not caught: {caught}", "")])
    return Outcome(task, caught=str(caught))


def _failure(task: Task, violation: str, story: str) -> Failure:
    return Failure(str(task), violation, story, task.replay)

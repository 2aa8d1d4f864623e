"""One page from the records of several runs: `python -m tests.simulation.report docs/proof/* > docs/proof.md`.

Takes the files of `prove --resume` (of either store, with seeds, exhaustive sets or both) and the JSON reports of
`python -m tests.crash.kill --report`, in any order, and writes what a release has to report. What is
not JSON is written at the end as it stands.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from tests.simulation.controls import CONTROLS
from tests.simulation.exhaustive import ALL_STATIONS
from tests.simulation.kinds import KINDS, OF_FILES
from tests.simulation.record import Record, code_hash, load
from tests.simulation.sets import KILL_POINTS, SETS, Set

from cloudbeds_simulator.rotation import VARIANTS

Json = dict[str, Any]
STRICT = {"V7/n", "V7/y"}  # readings under which a lost answer costs the grant, whatever a client does
GAP = "**0**"
FORMER = "former memory"  # of records that are older than SQLite in memory
STORES = {
    "disk": "SQLite on the simulated disk",
    "memory": "SQLite in memory",
    FORMER: "the former store in memory",
}
"""What a record's store is called."""
DECISION = "adr/0037-a-record-of-the-proof-is-bound-to-what-a-run-calls.md"
HEAD = """# Proof

What was run to show that no hotel is lost, and what came of it. The protocol and its invariants are in
[Rotation](rotation.md). `make prove` runs random seeds again, `make crash` kills real processes; a seed that fails
prints its story, step by step, and the command that replays it exactly."""


def page(records: Sequence[Record], crashes: Sequence[Json]) -> str:
    """The whole page."""
    parts = [HEAD, _runs(records, crashes), _of_what_code(records)]
    seeded = [one for one in records if one.seeds]
    if seeded:
        parts += [_seeds(seeded), _faults(seeded)]
    if any(one.sets for one in records):
        parts.append(_sets([one for one in records if one.sets]))
    if any(one.controls for one in records):
        parts.append(_controls(records))
    if crashes:
        parts.append(_crashes(crashes))
    failures = [failure for one in records for failure in one.failures]
    if failures:
        told = [f"- {one.what}: {one.violation} (`{one.replay}`)" for one in failures]
        parts.append("## Violations\n\n" + "\n".join(told))
    return "\n\n".join(parts) + "\n"


def table(heads: Sequence[str], rows: Iterable[Sequence[object]], *, left: int = 1) -> str:
    """A Markdown table; all but the first `left` columns are numbers."""
    lines = [heads, ["---" if at < left else "---:" for at in range(len(heads))], *rows]
    return "\n".join("| " + " | ".join(f"{one:,}" if isinstance(one, int) else str(one) for one in line) + " |"
                     for line in lines)  # fmt: skip


def at_most(lost: int, trials: int) -> str:
    """Lost ones, and below what their share lies with 95 % certainty when none was (the rule of three)."""
    return f"{lost} (with 95 % certainty fewer than {3 / max(1, trials):.1e} a run)" if not lost else str(lost)


def _runs(records: Sequence[Record], crashes: Sequence[Json]) -> str:
    lines = []
    for one in records:
        kept = one.machine
        lines += [f"- `{command}`{_in_parts(times)}" for command, times in Counter(one.commands).items()]
        lines.append(
            f"  {one.began} to {one.ended or 'now'}, {one.seconds:,.0f} s, commit {one.commit} (code {one.code}), on "
            f"{kept['processor']}, {kept['cores']} cores, {kept['memory']}, {kept['system']}, Python {kept['python']}, "
            f"SQLite {kept['sqlite']}"
        )
    for run in (run for crash in crashes for run in crash["runs"]):
        commit = run["commit"][:12] or "unknown"
        lines.append(
            f"- `{_without_files(run['command'])}`\n  {run['seconds']:,.0f} s, commit {commit}, on {run['machine']}, "
            f"Python {run['python']}"
        )
    return "\n".join(lines)


def _in_parts(times: int) -> str:
    """That a run was interrupted, and went on where it had ended."""
    return f" in {times} parts" if times > 1 else ""


def _of_what_code(records: Sequence[Record]) -> str:
    """Whether the runs of the simulation are of the code beside the page."""
    today = code_hash()
    other = ", ".join(sorted({f"{STORES[one.store]} (code {one.code})" for one in records if one.code != today}))
    whose = f"Of other code, and to be made anew, are runs over {other}" if other else "Every run of it is of this code"
    return (
        f"What a run of the simulation calls has the hash {today} today, and changes only with code that it calls "
        f"([decision 0037]({DECISION})). {whose}. Kills run the whole product, of their commit."
    )


def _without_files(command: str) -> str:
    words = command.split()
    files = {"--report", "--resume"}
    hidden = {at for at, word in enumerate(words) if word in files or (at and words[at - 1] in files)}
    return " ".join(word for at, word in enumerate(words) if at not in hidden)


def _seeds(records: Sequence[Record]) -> str:
    def row(name: str, values: Iterable[object]) -> list[object]:
        return [name, *values]

    def counted(what: str) -> list[int]:
        return [one.counts[what] for one in records]

    lost = [sum("I2" in failure.violation for failure in one.failures) for one in records]
    bound = [sum(at not in STRICT for at in _variants_of(one)) for one in records]
    rows = [
        row("seeds", [one.seeds for one in records]),
        row("which", [", ".join(f"{start} to {end - 1}" for start, end in one.done) for one in records]),
        row("simulated hours", [round(one.hours) for one in records]),
        row("refreshes sent", counted("refreshes")),
        row("pairs committed by a refresh", counted("told refreshed")),
        row("invariant checks", counted("checks")),
        row("requests of ours under a rate limit", counted("paced requests")),
        row("refreshes that left more than ten refresh tokens", counted("told long_token_list")),
        row("grants that V3 revoked, for a token that came again", counted("revoked at the vendor")),
        row("grants lost under V7, as stated", counted("lost under V7")),
        row("violations", [len(one.failures) for one in records]),
        row("runs under another reading than V7", bound),
        row("grants lost in them", [at_most(*one) for one in zip(lost, bound, strict=True)]),
    ]
    return "## Random runs\n\n" + table(["", *(STORES[one.store] for one in records)], rows)


def _variants_of(record: Record) -> Iterator[str]:
    """Of each seed that is done."""
    labels = list(VARIANTS)
    return (labels[seed % len(labels)] for start, end in record.done for seed in range(start, end))


def _faults(records: Sequence[Record]) -> str:
    heads, rows = ["fault"], []
    for one in records:
        heads += [f"{one.store}: in all", "fewest under a variant"]
    for kind in KINDS:
        row: list[object] = [kind]
        for one in records:
            if one.store != "disk" and kind in OF_FILES:
                row += ["no files", ""]
                continue
            struck = [one.variants[variant][f"fault {kind}"] if variant in one.variants else 0 for variant in VARIANTS]
            row += [sum(struck) or GAP, min(struck) or GAP]
        rows.append(row)
    return f"### Faults injected\n\n{len(KINDS)} kinds, {len(VARIANTS)} variants.\n\n" + table(heads, rows)


def _sets(records: Sequence[Record]) -> str:
    rows, points = [], []
    for one in records:
        for a_set in SETS:
            parts = one.sets.get(a_set.name, {})
            if not parts:
                continue
            covered = f"{len(parts)}/{len(_variants(a_set, one.store))}"
            seconds = sum(part.seconds for part in parts.values())
            runs, failures = (sum(getattr(part, what) for part in parts.values()) for what in ("runs", "failures"))
            rows.append([a_set.name, STORES[one.store], covered, runs, failures, f"{seconds / 60:.1f}"])
            if a_set.name == KILL_POINTS:
                points.append(_kill_points(one))
    heads = ["set", "over", "variants", "runs", "failures", "minutes of one core"]
    return "## Exhaustive sets\n\n" + "\n\n".join([table(heads, rows, left=3), *points])


def _variants(a_set: Set, store: str) -> tuple[str, ...]:
    return a_set.variants["memory" if store == FORMER else store]


def _kill_points(record: Record) -> str:
    parts = record.sets[KILL_POINTS]
    names = sorted(ALL_STATIONS, key=_station)
    covered = sum(part.points.get(name, 0) > 0 for part in parts.values() for name in names)
    rows = [[name, sum(part.points.get(name, 0) for part in parts.values())] for name in names]
    return (
        f"Kill points by variants over {STORES[record.store]}: {covered}/{len(names) * len(VARIANTS)} covered.\n\n"
        + table(["killed at", "times"], rows)
    )


def _station(name: str) -> tuple[int, str]:
    digits = name[1:].split(" ")[0]
    return (int(digits) if digits.isdigit() else 99, name)


def _controls(records: Sequence[Record]) -> str:
    found = {name: caught for one in records for name, caught in one.controls.items()}
    caught = sum(bool(found.get(one.name)) for one in CONTROLS)
    rows = [[one.name, found.get(one.name) or "**not caught**"] for one in CONTROLS]
    told = f"## Negative controls\n\nBugs put in on purpose, and what found them: {caught}/{len(CONTROLS)} caught.\n\n"
    return told + table(["bug", "found by"], rows, left=2)


def _crashes(crashes: Sequence[Json]) -> str:
    rows = [
        [
            one["runs"][0]["what"], one["runs"][0].get("database", "sqlite"), one["runs"][0]["variant"], one["kills"],
            one["inside"],
            f"{sum(times > 0 for times in one['points'].values())}/{len(one['points'])}",
            one["most_kept"],
            at_most(one["lost"], one["inside"]).replace("a run", "a kill inside a refresh"),
        ]
        for one in crashes
    ]  # fmt: skip
    heads = [
        "killed",
        "over",
        "variant",
        "kills",
        "inside a refresh",
        "kill points hit",
        "most tokens kept",
        "grants lost",
    ]
    told = "## SIGKILL at random microseconds, real processes and databases\n\n" + table(heads, rows, left=3)
    return "\n\n".join([told, *(_points(one) for one in crashes), *(_cost(one) for one in crashes if one.get("cost"))])


def _points(crash: Json) -> str:
    """Where the kills fell: K0 to K13 of the fault catalogue, K0p while the stored token is asked about."""
    run = crash["runs"][0]
    told = ", ".join(f"{point} {times}" for point, times in crash["points"].items())
    return f"{run['what']}, {run.get('database', 'sqlite')}: {told}."


def _cost(crash: Json) -> str:
    """What a generation cost in token requests, apart by whether a kill fell into its refresh."""
    run = crash["runs"][0]
    told = "; ".join(f"{where}: {number}" for where, number in sorted(crash["cost"].items()))
    return f"{run['what']}, {run.get('database', 'sqlite')}, token requests for each generation: {told}."


def main(argv: Sequence[str] | None = None) -> int:
    """Write the page to standard output; exit status 1 when anything failed, was not caught, or never struck."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation.report", description=__doc__.split("\n")[0])
    parser.add_argument("files", type=Path, nargs="+")
    records, crashes, remarks = read(parser.parse_args(argv).files)
    whole = page(records, crashes)
    print("\n".join([whole, *remarks]), end="")
    failed = any(one.failures for one in records) or any(one["lost"] for one in crashes)
    return 1 if failed or GAP in whole or "**not caught**" in whole else 0


def read(files: Iterable[Path]) -> tuple[list[Record], list[Json], list[str]]:
    """The records of simulations, those of kills, and what is to be said besides."""
    texts = {path: path.read_text("utf-8") for path in files}
    contents = {path: json.loads(text) for path, text in texts.items() if path.suffix == ".json"}
    records = [load(path) for path, content in contents.items() if "kills" not in content]
    crashes = [content for content in contents.values() if "kills" in content]
    return records, crashes, [text for path, text in texts.items() if path not in contents]


if __name__ == "__main__":
    sys.exit(main())

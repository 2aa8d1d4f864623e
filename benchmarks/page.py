"""docs/benchmarks.md and its plots, from the numbers of one run."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from html import escape
from pathlib import Path
from typing import Any

HEAD = """# Benchmarks

The cost of cloudbeds-auth in time and memory, compared with alternatives, measured by `make bench` on one machine, in
rounds that take every subject in turn. Each number is the median of {rounds} rounds, with the lowest and the highest;
a round's own value is the least of several measurements, or their median. Ratios carry over between machines better
than times, so they come first. Cloudbeds is the simulator of this project, behind an nginx that answers one method from
memory.

- machine: {machine}; one-minute load at the start {load}
- versions: {versions}
- the code: {commit}, {when}
- command: `make bench` (`benchmarks/` has all programs, including those of the alternatives)

The first core serves the calls; the second one runs the callers and the simulated Cloudbeds. Groups of many hotels use
both.
"""
WIDTH, BAR, LEFT = 720, 22, 290


def page(found: Mapping[str, Any], notes: Mapping[str, str]) -> str:
    """The whole page; `notes` by the names of groups."""
    sections = [_section(group, notes.get(group["name"], "")) for group in found["groups"]]
    return "\n".join([HEAD.format(**found["facts"]), *sections])


def _section(group: Mapping[str, Any], note: str) -> str:
    subjects: Mapping[str, Any] = group["subjects"]
    columns: dict[str, Callable[[Mapping[str, Any]], str]] = {}
    if group["beside"]:
        base = subjects[group["beside"]]["middle"]
        columns[f"times {group['beside']}"] = lambda values: shown(values["middle"] / base)
    for title, key in ((group["unit"], "middle"), ("lowest", "lowest"), ("highest", "highest")):
        columns[title] = partial(_cell, key)
    if any(values["counted"] for values in subjects.values()):
        columns["counted"] = lambda values: str(values["counted"])
    lines = [
        f"## {group['title']}\n",
        f"{group['question']}\n",
        f"| | {' | '.join(columns)} |",
        f"|---|{'---|' * len(columns)}",
        *(f"| {name} | {' | '.join(cell(values) for cell in columns.values())} |" for name, values in subjects.items()),
        "",
        *(f"- {verdict}" for verdict in verdicts(group)),
        f"\n![{group['title']}](benchmarks/{group['name']}.svg)\n",
    ]
    if note:
        lines.append(f"{textwrap.fill(' '.join(note.split()), 120)}\n")
    return "\n".join(lines)


def _cell(key: str, values: Mapping[str, Any]) -> str:
    return shown(values[key])


def verdicts(group: Mapping[str, Any]) -> Sequence[str]:
    """What became of each aim."""
    found = []
    for aim in group["aims"]:
        value = group["subjects"][aim["subject"]]["middle"]
        if aim["beside"]:
            value /= group["subjects"][aim["beside"]]["middle"]
        met = value <= aim["limit"] if group["less"] else value >= aim["limit"]
        measure = f"times {aim['beside']}" if aim["beside"] else group["unit"]
        bound = "at most" if group["less"] else "at least"
        found.append(
            f"{aim['subject']}: {value:.4g} {measure}; the aim was {bound} {aim['limit']:,.4g}: "
            f"{'met' if met else '**missed**'}"
        )
    return found


def shown(value: float) -> str:
    """Three figures."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def plot(group: Mapping[str, Any]) -> str:
    """Bars with their range, as SVG; the page's own colours in light and in dark."""
    subjects: Mapping[str, Any] = group["subjects"]
    most = max(values["highest"] for values in subjects.values()) or 1.0
    scale = (WIDTH - LEFT - 90) / most
    height = BAR * len(subjects) + 34
    rows: list[str] = []
    for at, (name, values) in enumerate(subjects.items()):
        y = 28 + at * BAR
        kind = "ours" if name.startswith("cloudbeds-auth") else "theirs"
        rows.append(_bar(name, values, y, kind, scale))
    label = f"{group['unit']}, {'less' if group['less'] else 'more'} is better"
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img" aria-label='
        f'"{escape(group["title"], quote=True)}">\n<style>text{{font:13px sans-serif;fill:#555}}.ours{{fill:#2f6feb}}'
        ".theirs{fill:#9aa4b2}.range{stroke:#333;stroke-width:1.5}@media (prefers-color-scheme:dark)"
        "{text{fill:#bbb}.range{stroke:#ddd}}</style>\n"
        f'<text x="{LEFT}" y="16">{escape(label)}</text>\n' + "".join(rows) + "</svg>\n"
    )


def _bar(name: str, values: Mapping[str, float], y: int, kind: str, scale: float) -> str:
    low, middle, high = (max(0.0, values[key]) * scale for key in ("lowest", "middle", "highest"))
    centre = y + BAR / 2 - 3
    return (
        f'<text x="{LEFT - 8}" y="{y + 13}" text-anchor="end">{escape(name)}</text>'
        f'<rect class="{kind}" x="{LEFT}" y="{y}" width="{middle:.1f}" height="{BAR - 6}"/>'
        f'<line class="range" x1="{LEFT + low:.1f}" x2="{LEFT + high:.1f}" y1="{centre}" y2="{centre}"/>'
        f'<text x="{LEFT + high + 6:.1f}" y="{y + 13}">{shown(values["middle"])}</text>\n'
    )


def write(found: Mapping[str, Any], notes: Mapping[str, str], plots: Path) -> None:
    """The page beside the folder `plots`, and in it a plot for each group."""
    plots.with_suffix(".md").write_text(page(found, notes))
    for group in found["groups"]:
        (plots / f"{group['name']}.svg").write_text(plot(group))

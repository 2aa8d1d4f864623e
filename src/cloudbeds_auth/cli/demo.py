"""`demo`: the whole journey against the simulator, shown step by step, and a picture of the token pairs at its end."""

from __future__ import annotations

import asyncio
import shutil
import signal
import sys
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from cloudbeds_auth.child_process import has_display, open_browser
from cloudbeds_auth.cli.commands import command, need_server
from cloudbeds_auth.cli.output import Output, aligned
from cloudbeds_auth.rules.timeline import AttemptOutcome, Ending, PairLine

if TYPE_CHECKING:
    from cloudbeds_auth.cli.demo_journey import Journey, Step
    from cloudbeds_auth.cli.demo_stage import Stage

HEADINGS = ("pair", "", "lived", "ended by", "proven", "calls")
NARROWEST, WIDEST = 20, 48
IN_ASCII = str.maketrans("█▶✗─·└\N{MULTIPLICATION SIGN}—", "=>x-.`x-")  # what a picture is drawn with


@command(
    "demo",
    "cloudbeds-auth demo",
    "cloudbeds-auth demo --stay                 leave both running: watch them side by side in a browser",
    "cloudbeds-auth demo --variant V0/n         another reading of Cloudbeds' rotation rule",
    "cloudbeds-auth demo --json --keep /tmp/d   for programs; logs and database stay in that folder",
    short_help="The whole journey against a simulated Cloudbeds.",
)
@click.option(
    "--stay",
    is_flag=True,
    help="Leave both running until Ctrl-C, and say what to try; a terminal with a display opens a browser.",
)
@click.option(
    "--variant",
    default="V2/n",
    show_default=True,
    metavar="V0..V7[/y|/n]",
    help="How the simulated Cloudbeds replaces refresh tokens.",
)
@click.option(
    "--keep", type=click.Path(file_okay=False, path_type=Path), metavar="FOLDER", help="Keep everything here."
)
def demo(out: Output, stay: bool, variant: str, keep: Path | None) -> int:
    """Show the whole journey: approve, call, rotate, crash in mid-refresh, recover. Needs no account.

    A simulated Cloudbeds and the service run as real processes in a temporary folder on free ports; your own settings
    are not touched. Exit status 0 when every step held. Under V7, an answer that is lost loses the hotel whatever a
    client does: that demo ends at the crash.
    """
    need_server()
    folder = keep.resolve() if keep else Path(tempfile.mkdtemp(prefix="cloudbeds-auth-demo-"))
    folder.mkdir(parents=True, exist_ok=True)
    held = True
    try:
        held = asyncio.run(_show(out, folder, variant, stay))
    except asyncio.CancelledError:
        raise click.Abort from None
    finally:
        if held and keep is None:
            shutil.rmtree(folder, ignore_errors=True)
    if not held:
        out.note(f"not everything held; logs and database are in {folder}")
    return 0 if held else 1


async def _show(out: Output, folder: Path, variant: str, stay: bool) -> bool:
    from cloudbeds_auth.cli.demo_journey import Journey

    steps: list[Step] = []
    interrupted: list[signal.Signals] = []

    def took(step: Step) -> None:
        steps.append(step)
        out.step(step.ok, step.name, step.detail)
        if interrupted:  # a library on the way may have taken the cancellation for its own
            raise asyncio.CancelledError

    async with _staged(folder, variant, interrupted) as stage:
        journey = Journey(stage, variant)
        held = await journey.run(took)
        if not held:
            await journey.look_back()
        _draw(out, journey, steps, held)
        if stay:
            await _stay(out, stage)
    return held


@asynccontextmanager
async def _staged(folder: Path, variant: str, interrupted: list[signal.Signals]) -> AsyncIterator[Stage]:
    """A stage that is cleared whatever happens; SIGTERM counts as Ctrl-C, and each is noted in `interrupted`."""
    from cloudbeds_auth.cli.demo_stage import Stage
    from cloudbeds_auth.system import SystemClock, SystemEntropy

    task = asyncio.current_task()
    assert task is not None  # noqa: S101 - we run in one

    def stop(number: signal.Signals) -> None:
        interrupted.append(number)
        task.cancel()

    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop, number)
    stage = Stage(folder, variant, SystemClock(), SystemEntropy())
    try:
        yield stage
    finally:
        await stage.close()


def _draw(out: Output, journey: Journey, steps: list[Step], held: bool) -> None:
    from cloudbeds_auth.rules.model import moment

    out.document(
        {
            "ok": held,
            "variant": journey.variant,
            "folder": str(journey.stage.folder),
            "connection": journey.connection_id or None,
            "steps": [asdict(step) for step in steps],
            "pairs": [line.document() for line in journey.lines],
        }
    )
    if journey.lines:
        out.line("\nThe token pairs of this hotel, drawn from the events table alone:\n")
        now = moment(journey.stage.clock.wall())
        for line in picture(journey.lines, now, width=out.width, plain=not out.unicode):
            out.line(f"  {line}")
        out.line()


async def _stay(out: Output, stage: Stage) -> None:
    """Say where to look and what to try, and wait for Ctrl-C, which is how this is meant to end."""
    from cloudbeds_auth.cli.demo_stage import TOKEN_TIMEOUT

    dashboard, glass_box = await stage.sign_in_link(), f"{stage.simulator_url}/glass-box"
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, ended.set)
    out.say(
        "Both go on running until Ctrl-C. Open two windows side by side:\n"
        f"  the dashboard, as an operator sees it   {dashboard}\n"
        "      the link signs in one browser, once, within ten minutes; later enter the admin token\n"
        f"  the glass box, as Cloudbeds sees it     {glass_box}\n"
        "Then try this, and watch an answer that is lost heal:\n"
        '  1. In the glass box press "Lose the next answer to a refresh".\n'
        '  2. In the dashboard open the hotel and press "Refresh now".\n'
        "  3. The glass box shows a pair that the service never got, and that the refresh token before it is still\n"
        "     accepted. The service asks again with that one, and is healed: by itself in half a minute or so, or\n"
        f"     when you refresh once more after {TOKEN_TIMEOUT:g} s.\n"
        "More to look at:\n"
        f"  how the simulator is used   {stage.simulator_url}/  (log: {stage.simulator.log})\n"
        f"  connect another time        {stage.service_url}/connect  (log: {stage.folder / 'service.log'})\n"
        f"  admin token                 {stage.admin_token_path}\n"
        f'  curl -H "Authorization: Bearer $(cat {stage.admin_token_path})" {stage.service_url}/api/v1/connections'
    )
    if sys.stdout.isatty() and has_display():
        for url in (dashboard, glass_box):
            await asyncio.to_thread(open_browser, url)
    await ended.wait()


# --- the picture


def picture(lines: Sequence[PairLine], now: datetime, *, width: int = 100, plain: bool = False) -> list[str]:
    """Draw token pairs for a terminal: a bar per pair on one time axis, and what the bar cannot say.

    At most about `width` columns wide; a line per pair, and one more per troubled attempt. `plain` keeps to ASCII, for
    terminals that cannot show more.
    """
    if not lines:
        return ["no token pairs in this history"]
    rows = [_columns(line, lines, now) for line in lines]
    widths = [max(len(HEADINGS[at]), *(len(row[at]) for row in rows)) for at in range(len(HEADINGS))]
    taken = sum(widths) + 2 * (len(HEADINGS) - 1)
    widths[1] = max(NARROWEST, min(WIDEST, width - taken))
    start = min(line.began or line.lived_until(now) for line in lines)
    axis = _Axis(start, max(line.lived_until(now) for line in lines), widths[1])
    drawn = [aligned((HEADINGS[0], axis.heading(), *HEADINGS[2:]), widths)]
    for line, row in zip(lines, rows, strict=True):
        drawn.append(aligned((row[0], axis.bar(line, now), *row[2:]), widths))
        drawn.extend(" " * (widths[0] + 2) + note for note in _notes(line))
    return [one.translate(IN_ASCII) for one in drawn] if plain else drawn


@dataclass(frozen=True, slots=True)
class _Axis:
    """The time all bars share, cut into cells."""

    start: datetime
    end: datetime
    cells: int

    def cell(self, at: datetime) -> int:
        """Which cell a moment falls into."""
        span = (self.end - self.start).total_seconds() or 1.0
        share = (at - self.start).total_seconds() / span
        return min(self.cells - 1, max(0, int(share * self.cells)))

    def heading(self) -> str:
        """Begin and end of the axis over the bars."""
        same_day = self.start.date() == self.end.date() and (self.end - self.start).total_seconds() < 86400
        shape = "%H:%M:%S" if same_day else "%m-%d %H:%M"
        left, right = self.start.strftime(shape), self.end.strftime(shape)
        rail = self.cells - len(left) - len(right) - 2
        return f"{left} {'─' * rail} {right}" if rail > 0 else left

    def bar(self, line: PairLine, now: datetime) -> str:
        """One pair's time, with a mark where a refresh went wrong."""
        first, last = self.cell(line.began or self.start), self.cell(line.lived_until(now))
        drawn = ["·"] * self.cells
        drawn[first : last + 1] = ["█"] * (last + 1 - first)
        if line.ending is Ending.LIVING:
            drawn[last] = "▶"
        for attempt in line.troubles:
            drawn[self.cell(attempt.at)] = "?" if attempt.outcome is AttemptOutcome.OPEN else "✗"
        return "".join(drawn)


def _columns(line: PairLine, lines: Sequence[PairLine], now: datetime) -> tuple[str, ...]:
    grants = list(dict.fromkeys(one.grant_id for one in lines))
    name = f"{grants.index(line.grant_id) + 1}.{line.generation}"
    lived = _span((line.lived_until(now) - line.began).total_seconds()) if line.began else "?"
    return name, "", lived, _ending(line, now), "yes" if line.proven else "no", _calls(line)


def _ending(line: PairLine, now: datetime) -> str:
    if line.ending is Ending.LIVING:
        return "expired" if line.expires_at is not None and line.expires_at <= now else "still living"
    return line.ending.value


def _calls(line: PairLine) -> str:
    if not line.calls:
        return "—"
    named = [f"{name} \N{MULTIPLICATION SIGN}{number}" for name, number in sorted(line.methods.items())]
    refused = f" ({line.calls_refused} of {line.calls} answered 401)" if line.calls_refused else ""
    return (", ".join(named) or str(line.calls)) + refused


def _notes(line: PairLine) -> list[str]:
    """What went wrong on the way to the next pair, one line each."""
    notes = [
        f"└ {one.at:%H:%M:%S} refresh: {one.outcome.value}" + (f" ({one.detail})" if one.detail else "")
        for one in line.troubles
    ]
    if line.same_refresh_token:
        notes.append("└ came with the same refresh token as the pair before")
    return notes


def _span(seconds: float) -> str:
    """A length of time in one or two units."""
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes = int(seconds // 60)
    if minutes < 60:
        return f"{minutes} min {int(seconds % 60)} s"
    hours = minutes // 60
    return f"{hours} h {minutes % 60} min" if hours < 48 else f"{hours // 24} d {hours % 24} h"

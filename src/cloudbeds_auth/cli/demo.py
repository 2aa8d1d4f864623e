"""`demo`: the whole journey against the simulator, step by step, and a picture of the token pairs at the end."""

from __future__ import annotations

import asyncio
import shutil
import signal
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from cloudbeds_auth.child_process import has_display, open_browser
from cloudbeds_auth.cli.commands import command, need_server
from cloudbeds_auth.cli.output import Output
from cloudbeds_auth.cli.pair_picture import picture
from cloudbeds_auth.rules.pair_drawing import Timeline

if TYPE_CHECKING:
    from cloudbeds_auth.cli.demo_journey import Journey, Step
    from cloudbeds_auth.cli.demo_stage import Stage


@command(
    "demo",
    "cloudbeds-auth demo",
    "cloudbeds-auth demo --stay                 leave both running: watch them side by side in a browser",
    "cloudbeds-auth demo --variant V0/n         another interpretation of Cloudbeds' rotation rule",
    "cloudbeds-auth demo --json --keep /tmp/d   for programs; logs and database stay in that folder",
    short_help="The whole journey against a simulated Cloudbeds.",
)
@click.option(
    "--stay",
    is_flag=True,
    help="Leave both running until Ctrl-C, and say what to try; on a desktop, open a browser.",
)
@click.option(
    "--variant",
    default="V2/n",
    show_default=True,
    metavar="V0..V7[/y|/n]",
    help="How the simulated Cloudbeds replaces refresh tokens.",
)
@click.option(
    "--keep", type=click.Path(file_okay=False, path_type=Path), metavar="FOLDER", help="Keep logs and database here."
)
def demo(out: Output, stay: bool, variant: str, keep: Path | None) -> int:
    """Show the whole journey: approve, call, rotate, crash in the middle of a refresh, recover. Needs no account.

    A simulated Cloudbeds and the service run as real processes in a temporary folder on free ports; your own settings
    are not touched. Exit status 0 if every step held. Under V7 a lost answer loses the hotel whatever a client does, so
    that demo ends at the crash.
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
        if interrupted:  # a library may have swallowed the cancellation
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
    """A stage that is always cleaned up; SIGTERM counts as Ctrl-C, and each signal is added to `interrupted`."""
    from cloudbeds_auth.cli.demo_stage import Stage
    from cloudbeds_auth.system import SystemClock, SystemEntropy

    task = asyncio.current_task()
    assert task is not None  # noqa: S101 - this code runs in one

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
        for line in picture(Timeline(journey.lines, now), width=out.width - 2, plain=not out.unicode):
            out.line(f"  {line}")
        out.line()


async def _stay(out: Output, stage: Stage) -> None:
    """Say where to look and what to try, and wait for Ctrl-C, the normal end."""
    from cloudbeds_auth.cli.demo_stage import TOKEN_TIMEOUT

    dashboard, glass_box = await stage.sign_in_link(), f"{stage.simulator_url}/glass-box"
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, ended.set)
    out.say(
        "Both keep running until Ctrl-C. Open two windows side by side:\n"
        f"  the dashboard, as an operator sees it   {dashboard}\n"
        "      the link signs in one browser, once, within ten minutes; after that, enter the admin token\n"
        f"  the glass box, as Cloudbeds sees it     {glass_box}\n"
        "Then try this, and watch the service recover from a lost answer:\n"
        '  1. In the glass box press "Lose the next answer to a refresh".\n'
        '  2. In the dashboard open the hotel and press "Refresh now".\n'
        "  3. The glass box shows a pair that the service never received, and that the refresh token before it is\n"
        "     still accepted. The service tries again with that one and recovers: by itself in half a minute or so,\n"
        f"     or when you refresh once more after {TOKEN_TIMEOUT:g} s.\n"
        "More to look at:\n"
        f"  how to use the simulator    {stage.simulator_url}/  (log: {stage.simulator.log})\n"
        f"  connect once more           {stage.service_url}/connect  (log: {stage.folder / 'service.log'})\n"
        f"  admin token                 {stage.admin_token_path}\n"
        f'  curl -H "Authorization: Bearer $(cat {stage.admin_token_path})" {stage.service_url}/api/v1/connections'
    )
    if sys.stdout.isatty() and has_display():
        for url in (dashboard, glass_box):
            await asyncio.to_thread(open_browser, url)
    await ended.wait()

"""`make fuzz`: every parser under libFuzzer for its share of the time; what does not hold is printed with its input.

    python -m tests.fuzzing.fuzz --seconds 60 [--only NAME …]

Inputs that reach a branch of ours that none before them did are kept, and changed further. First a planted fault has to
be found that way: a fuzzer that finds nothing proves nothing. Exit status 1 where it is not, where a parser fails or
hangs, and where one was hardly tried.

Each parser is fuzzed in a fork of this process, because libFuzzer ends the one that it runs in.
"""

from __future__ import annotations

import argparse
import io
import os
import re
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import redirect_stderr
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NoReturn

import atheris

# It names every module that it instruments.
with redirect_stderr(io.StringIO()), atheris.instrument_imports(include=["cloudbeds_auth"]):
    from tests.fuzzing.parsers import COMMON, Parser, parsers

    KNOWN = parsers()

FEWEST = 100  # inputs that a share must have tried; fewer, and the fuzzer did not run
SHORTEST, LONGEST_CONTROL = 2, 60  # seconds
AT_ONCE = 2


def planted(data: bytes) -> bool:
    """Fails for five bytes that chance would not meet; branch by branch they are found in seconds."""
    if data[:1] != b"f":
        return False
    if data[1:2] != b"a":
        return False
    if data[2:3] != b"u":
        return False
    if data[3:4] != b"l":
        return False
    if data[4:5] != b"t":
        return False
    raise AssertionError("the planted fault")


CONTROL = Parser(atheris.instrument_func(planted), (b"x",), COMMON)


@dataclass(frozen=True)
class Share:
    """A parser that is being fuzzed, in the process `pid`; `folder` is its own."""

    name: str
    pid: int
    folder: Path

    @property
    def said(self) -> str:
        """What libFuzzer printed."""
        return (self.folder / "said").read_text("utf-8", "replace")

    @property
    def tried(self) -> int:
        """How many inputs."""
        found = re.search(r"number_of_executed_units:\s*(\d+)", self.said)
        return int(found[1]) if found else 0

    @property
    def branches(self) -> int:
        """How many branches they reached."""
        return int(([*re.findall(r"\bcov: (\d+)", self.said)] or [0])[-1])

    @property
    def found(self) -> bytes | None:
        """The input for which something did not hold, or took too long."""
        return next((path.read_bytes() for path in sorted(self.folder.glob("found-*"))), None)

    @property
    def why(self) -> str:
        """The traceback, else the last lines."""
        lines = self.said.splitlines()
        begin = next(
            (at for at, line in enumerate(lines) if "Uncaught" in line or "ERROR" in line), max(0, len(lines) - 20)
        )
        return "\n".join(lines[begin : begin + 30])


def begin(name: str, one: Parser, seconds: int, folder: Path) -> Share:
    """Fuzz one parser for so many seconds."""
    (folder / "corpus").mkdir(parents=True)
    for number, seed in enumerate(one.seeds):
        (folder / "corpus" / str(number)).write_bytes(seed)
    written = ("".join(f"\\x{byte:02x}" for byte in word) for word in one.words)
    (folder / "words").write_text("".join(f'"{word}"\n' for word in written))
    pid = os.fork()
    if not pid:
        _fuzz(name, one, seconds, folder)
    return Share(name, pid, folder)


def _fuzz(name: str, one: Parser, seconds: int, folder: Path) -> NoReturn:
    with (folder / "said").open("wb") as said:
        for number in (1, 2):
            os.dup2(said.fileno(), number)

    def test(data: bytes) -> None:
        try:
            one.check(data)
        except BaseException:
            (folder / "found-failure").write_bytes(data)
            raise

    options = [
        f"-max_total_time={seconds}", f"-dict={folder / 'words'}", f"-artifact_prefix={folder}/found-", "-max_len=4096",
        "-timeout=20", "-rss_limit_mb=2048", "-print_final_stats=1", str(folder / "corpus"),
    ]  # fmt: skip
    status = 70
    try:
        atheris.Setup([name, *options], test)
        atheris.Fuzz()
    except SystemExit as over:
        status = 0 if over.code == 0 else status
    finally:
        os._exit(status)  # nothing of the parent's is closed or deleted here


def all_of(chosen: dict[str, Parser], seconds: int, place: Path) -> Iterator[tuple[Share, bool]]:
    """Each share when it is over, and whether libFuzzer ended well; two run at a time."""
    waiting, running = list(chosen), dict[int, Share]()
    while waiting or running:
        while waiting and len(running) < AT_ONCE:
            name = waiting.pop(0)
            share = begin(name, chosen[name], seconds, place / name)
            running[share.pid] = share
        pid, status = os.wait()
        yield running.pop(pid), status == 0


def shown(share: Share, ended_well: bool) -> bool:
    """Print it; whether all held."""
    fine = ended_well and share.tried >= FEWEST
    what = "" if fine else ", FAILED"
    print(f"{share.name:<17} {share.tried:>10,} inputs, {share.branches:>4} branches{what}", flush=True)
    if not fine:
        print(share.why or f"fewer than {FEWEST} inputs were tried", flush=True)
    if share.found is not None:
        print(f"the input, which becomes a seed of {share.name} once it is mended:\n{share.found!r}", flush=True)
    return fine


def main(arguments: Sequence[str] | None = None) -> int:
    """Fuzz and print; the exit status."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--seconds", type=float, default=60.0, help="of all parsers together")
    options.add_argument("--only", nargs="*", choices=KNOWN, default=[], metavar="NAME", help="some parsers alone")
    given = options.parse_args(arguments)
    chosen = {name: KNOWN[name] for name in given.only or KNOWN}
    began = time.monotonic()
    with TemporaryDirectory() as folder:
        place = Path(folder)
        ((control, _),) = all_of({"planted": CONTROL}, LONGEST_CONTROL, place)
        if control.found is None or not control.found.startswith(b"fault"):
            print(f"the planted fault was not found in {control.tried} inputs:\n{control.why}")
            return 1
        print(f"the planted fault  found, as it has to be, after {time.monotonic() - began:.0f} s", flush=True)
        seconds = max(SHORTEST, round(given.seconds * AT_ONCE / len(chosen)))
        fine = [shown(share, well) for share, well in all_of(chosen, seconds, place)]
    return int(not all(fine))


if __name__ == "__main__":
    sys.exit(main())

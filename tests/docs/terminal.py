"""A reader's terminal: runs the commands of a page with bash, and compares what they print with what the page shows."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import NamedTuple

from tests.acceptance.processes import PATIENCE, Http, Process, World
from tests.docs.pages import block

DONE = "the command ended with"
COMMANDS = f"""
cloudbeds-auth() {{ "{sys.executable}" -m cloudbeds_auth "$@"; }}
python() {{ "{sys.executable}" "$@"; }}
curl() {{ command curl --silent --show-error "$@"; }}
"""  # curl shows its progress only where it does not print to a terminal
AT_A_TERMINAL = """
import os, pty, sys
answers = sys.argv[1].split()
def answer(terminal):
    printed = os.read(terminal, 1024)
    if printed.endswith(b": ") and answers:
        os.write(terminal, answers.pop(0).encode() + b"\\n")
    return printed
pty.spawn([sys.executable, "-m", "cloudbeds_auth", *sys.argv[2:]], answer)
"""  # what is typed before the question is thrown away, as getpass does
OWN_LOG = '{"ts": '  # how a line of a service's log begins
LONG_RUNNING = re.compile(r"(?:\w+=\S+ )*(?:cloudbeds-auth serve|cloudbeds-auth simulate|flask .* run)\b")
ULID = "[0-9A-HJKMNP-TV-Z]{26}"
VARYING = re.compile(
    rf"""(?P<left_out>^…\n|\n…\Z|…)
    | (?P<id>(?:con|key|st)_(?:{ULID}|01J\b))
    | (?P<moment>\d{{4}}-\d\d-\d\dT\d\d:\d\d:\d\dZ)
    | (?P<time>\b\d\d:\d\d:\d\d\b)
    | (?P<duration>\b\d+(?:\.\d+)?[ ]m?s\b)
    | (?P<count>(?<=pid[ ])\d+ | (?<=127\.0\.0\.1:)\d+ | (?<=content-length:[ ])\d+)
    | (?P<bar>[█░·✗▶─]{{2,}})
    | (?P<random>\b[A-Za-z0-9_-]{{24,}})
    | (?P<space>[ ]+)""",
    re.VERBOSE | re.MULTILINE,
)
PATTERNS = {
    "left_out": r"[\s\S]*?",
    "moment": r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ",
    "time": r"\d\d:\d\d:\d\d",
    "duration": r"[\d.]+ m?s",
    "count": r"\d+",
    "bar": r"[█░·✗▶─]+",
    "random": r"[A-Za-z0-9_-]{16,}",
    "space": r"[ ]+",
}


class Command(NamedTuple):
    """What a reader types, and what the page shows below it."""

    typed: str
    shown: str


def commands(text: str) -> Iterator[Command]:
    """Those of a block: each begins with `$ `, or is a line where none does, and goes on behind a backslash."""
    if not text.startswith("$ "):
        yield from (Command(line, "") for line in re.findall(r"^(?!#)(?:.*\\\n)*.+$", text, re.MULTILINE))
        return
    for part in re.split(r"^\$ ", text, flags=re.MULTILINE)[1:]:
        typed, _, shown = re.sub(r"\\\n", "\0", part).partition("\n")
        yield Command(typed.replace("\0", "\\\n"), shown.replace("\0", "\\\n"))


def pattern(shown: str) -> str:
    """What an output looks like that a page shows: `…` is anything, and moments, ids and random words are any."""
    parts, at = [], 0
    for found in VARYING.finditer(shown):
        parts.append(re.escape(shown[at : found.start()]))
        kind = found.lastgroup or ""
        parts.append(f"{found[0].partition('_')[0]}_{ULID}" if kind == "id" else PATTERNS[kind])
        at = found.end()
    return "".join([*parts, re.escape(shown[at:])])


def assert_shown(printed: str, shown: str) -> None:
    """The page shows this output; what it leaves out is `…`."""
    lines = "\n".join(line.rstrip() for line in printed.strip().splitlines())
    assert re.fullmatch(pattern(shown.strip()), lines), f"shown:\n{shown}\nprinted:\n{lines}"


class Terminal:
    """A shell that lives for several blocks. Where pages have port 7000 it has the service's, for 7001 the simulator's,
    for 8000 an application's.

    `instead`: what a page has that is different here, such as the id of a connection.
    """

    def __init__(self, folder: Path, env: dict[str, str], ports: Mapping[str, str], **instead: str) -> None:
        self.folder, self.env, self.instead = folder, env, instead
        self.ports = ports
        self._shell = Process(
            "--noprofile", "--norc", env={"TERM": "dumb", "COLUMNS": "200", **env}, cwd=folder, command=("bash",)
        )
        self._running: list[Process] = []
        self._type(COMMANDS)

    @classmethod
    def of(cls, made: World, **instead: str) -> Terminal:
        """One with the settings of this world."""
        ports = {"7000": str(made.port), "7001": made.vendor.base.rpartition(":")[2]}
        return cls(made.folder, {**made.settings, "NO_PROXY": "*"}, ports, **instead)

    def __enter__(self) -> Terminal:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for process in (*reversed(self._running), self._shell):
            process.stop()

    def here(self, text: str) -> str:
        """The page's text with this machine's ports, and what is different here."""
        for there, own in self.instead.items():
            text = text.replace(there, own)
        return re.sub(r"\b(127\.0\.0\.1|localhost):(700[01]|8000)\b", self._there, text)

    def set(self, **variables: str) -> None:
        """Export these."""
        for name, value in variables.items():
            self._type(f"export {name}={shlex.quote(value)}\n")

    def _there(self, address: re.Match[str]) -> str:
        return f"{address[1]}:{self.ports.get(address[2], address[2])}"

    def run(self, name: str, then: Callable[[], object] | None = None) -> str:
        """Type every command of this block. What the page shows that it prints is compared, else it has to succeed.

        `then` is done once a service has begun. Returns what the last command printed.
        """
        printed = ""
        for typed, shown in commands(self.here(block(name))):
            if LONG_RUNNING.match(typed):
                self._begin(typed, shown)
                if then:
                    then()
                continue
            printed, status = self._ask(typed)
            if shown:
                assert_shown(printed, shown)
            else:
                assert status == 0, f"{typed}\n{printed}"
        return printed

    def _begin(self, typed: str, shown: str) -> None:
        """A command that runs until the terminal is closed; what is shown is what it prints at its start."""
        words = typed.partition("#")[0].split()
        set_here = [word for word in words if "=" in word]
        module, *arguments = (self.ports.get(word, word) for word in words[len(set_here) :])
        if "simulate" in arguments:
            arguments += ["--port", self.ports["7001"]]
        exported = self._ask("env")[0].splitlines()
        env = dict(line.split("=", 1) for line in [*exported, *set_here] if "=" in line)
        process = Process(module.replace("-", "_"), *arguments, env=env, cwd=self.folder)
        self._running.append(process)
        process.wait_for("listening on http|Running on http")
        if shown:
            last = next(line for line in reversed(shown.splitlines()) if line.strip() not in {"", "…"})
            process.wait_for(pattern(last.strip()))
            assert_shown("\n".join(line for line in process.lines if not line.startswith(OWN_LOG)), shown)

    def _type(self, text: str) -> None:
        assert self._shell.popen.stdin
        self._shell.popen.stdin.write(text)
        self._shell.popen.stdin.flush()

    def _ask(self, typed: str) -> tuple[str, int]:
        """What the shell prints for this command, and its exit status."""
        before = len(self._shell.lines)
        turn = f"{DONE} {before}"
        self._type(f"{{ {typed}\n}} < /dev/null 2>&1\nstatus=$?; echo; echo '{turn}' $status\n")
        if typed.startswith("cloudbeds-auth connect "):
            Http().start(self._shell.wait_for(r"(http://localhost\S+/connect/\S+)")[1], follow=True)
        status = int(self._shell.wait_for(rf"^{turn} (\d+)$")[1])
        return "\n".join(line for line in self._shell.lines[before:] if not line.startswith(turn)), status


def answered(typed: str, folder: Path, env: dict[str, str], *answers: str) -> str:
    """What this command of ours prints at a terminal, where it asks and is answered."""
    arguments = typed.removeprefix("cloudbeds-auth ")
    program = f"python -c {shlex.quote(AT_A_TERMINAL)} {shlex.quote(' '.join(answers))} {arguments} < /dev/null"
    return run_to_its_end(program, folder, env)


def run_to_its_end(command: str, folder: Path, env: dict[str, str]) -> str:
    """What this command prints, in a shell of its own."""
    base = {name: os.environ[name] for name in ("PATH", "LANG", "TMPDIR") if name in os.environ}
    done = subprocess.run(
        ["bash", "-c", 'eval "$(cat)"'], input=COMMANDS + command,  # arguments can be read by every user
        env={**base, "HOME": str(folder), **env}, cwd=folder, timeout=4 * PATIENCE,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
    )  # fmt: skip
    return done.stdout

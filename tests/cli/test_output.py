"""What is printed where: at terminals wide and narrow, with colours and without, dumb ones, and pipes."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path

import pytest
from tests.cli.fakes import FakeVault, invoke
from tests.support.terminal import Terminal, at_terminal

from cloudbeds_auth.cli import progress
from cloudbeds_auth.cli.output import Output
from cloudbeds_auth.cli.tables import LOOKS, with_badge
from cloudbeds_auth.rules.presentation import Badge

HEADINGS = ("connection", "state", "what to do")
ROWS = [
    ("con_01M86BK4AA8J8WT348EQ6VT39E", with_badge("healthy", Badge.HEALTHY), "-"),
    ("con_01M86BK4AA8J8WT348EQ6VT39F", with_badge("reconnect needed", Badge.ATTENTION),
     "send the hotel its connect link; the stored tokens are also retried"),
]  # fmt: skip
WORDS = {word for row in ROWS for cell in row for word in cell.split()} - {"-"}


class Screen(io.TextIOWrapper):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True

    @property
    def shown(self) -> str:
        """What it was sent."""
        self.flush()
        assert isinstance(self.buffer, io.BytesIO)
        return self.buffer.getvalue().decode(self.encoding)


@pytest.fixture(autouse=True)
def drawing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Terminals have 100 columns and colours."""
    for name, value in {"TERM": "xterm-256color", "COLUMNS": "100", "LINES": "30"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("NO_COLOR", raising=False)


def terminal(monkeypatch: pytest.MonkeyPatch, encoding: str = "utf-8") -> Screen:
    """Where everything is printed from now on."""
    made = Screen(io.BytesIO(), encoding=encoding, write_through=True)
    monkeypatch.setattr(sys, "stdout", made)
    return made


def test_a_wide_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """A table; each badge has its colour, and a symbol for who sees none; an id is whole in one line."""
    screen = terminal(monkeypatch)
    Output().table(HEADINGS, ROWS)
    assert "\x1b[32m✓ healthy" in screen.shown
    assert "\x1b[31m! reconnect needed" in screen.shown
    assert all(row[0] in screen.shown for row in ROWS)


@pytest.mark.parametrize("columns", [40, 60, 80])
def test_a_narrow_terminal(monkeypatch: pytest.MonkeyPatch, columns: int) -> None:
    """Columns are wrapped between words, or each row becomes fields: every word is there and whole, and no line is
    longer than the terminal, but for a word that is.
    """
    monkeypatch.setenv("COLUMNS", str(columns))
    monkeypatch.setenv("NO_COLOR", "1")
    screen = terminal(monkeypatch)
    Output().table(HEADINGS, ROWS)
    assert set(screen.shown.split()) >= WORDS
    assert all(len(line) <= columns or len(line.split()) <= 2 for line in screen.shown.splitlines())


@pytest.mark.parametrize("variable", ["TERM", "NO_COLOR"])
def test_a_terminal_without_colours(monkeypatch: pytest.MonkeyPatch, variable: str) -> None:
    """A dumb one, and one whose reader wants none: no escape code; the symbols stay."""
    monkeypatch.setenv(variable, "dumb")
    screen = terminal(monkeypatch)
    Output().table(HEADINGS, ROWS)
    assert "\x1b" not in screen.shown
    assert "✓ healthy" in screen.shown


def test_a_terminal_of_ascii(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the encoding has no more, no line is drawn, and symbols are letters that there are."""
    monkeypatch.setenv("NO_COLOR", "1")
    screen = terminal(monkeypatch, "ascii")
    Output().table(HEADINGS, ROWS)
    assert "?" not in screen.shown
    assert "+ healthy" in screen.shown
    assert set(screen.shown.split()) >= WORDS


@pytest.mark.parametrize(("term", "drawn"), [("xterm", "\x1b[31m✗\x1b[0m no"), ("dumb", "✗ no")])
def test_a_step(monkeypatch: pytest.MonkeyPatch, term: str, drawn: str) -> None:
    """It has a mark in its colour, and at a dumb terminal the mark alone."""
    monkeypatch.setenv("TERM", term)
    screen = terminal(monkeypatch)
    Output().step(False, "no", "because")
    assert screen.shown == f"{drawn}\n    because\n"


def test_a_name_that_steers_terminals(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a hotel calls itself draws nothing, in a table as elsewhere."""
    monkeypatch.setenv("NO_COLOR", "1")
    screen, out = terminal(monkeypatch), Output()
    out.table(("hotel",), [("\x1b[2J[red]Ritz[/red]",)])
    out.fields([("hotel", "\x1b[2JRitz")])
    out.cells("\x1b[2JRitz", with_badge("\x1b[2Jhealthy", Badge.HEALTHY))
    assert "\x1b" not in screen.shown
    assert "[red]Ritz[/red]" in screen.shown


def test_json_that_steers_terminals(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a guest calls himself draws nothing either, and is the same text to a program."""
    screen = terminal(monkeypatch)
    guest = {"name": "Zoë\x1b[2J\x9b31m\u202e\U000e0001 Ritz"}
    Output(as_json=True).document(guest)
    assert json.loads(screen.shown) == guest
    assert "Zoë" in screen.shown
    assert all(one.isprintable() for one in screen.shown.splitlines())


def test_each_badge_has_a_look_of_its_own() -> None:
    """None is left out, and no two look alike to who sees no colour."""
    assert set(LOOKS) == set(Badge)
    assert len({look.symbol for look in LOOKS.values()}) == len({look.plain for look in LOOKS.values()}) == len(LOOKS)


def test_a_pipe_has_the_words_alone(vault: FakeVault) -> None:
    """No symbol and no colour: a script reads the words that it always read."""
    assert " healthy " in invoke("connections").out
    assert not {look.symbol for look in LOOKS.values()} & set(invoke("connections").out.split())


# --- while it lasts


def test_progress_without_a_terminal(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """A line now and then, on standard error; none of what is done soon; with `--json` none at all."""
    with Output().progress("moving") as show:
        show("hotels", 1, 2)
    assert capsys.readouterr() == ("", "")
    monkeypatch.setattr(progress, "SAID_EVERY", 0.0)
    with Output().progress("moving") as show:
        show("hotels", 1, 2)
        show("hotels", 2, None)
    assert capsys.readouterr() == ("", "moving: 1 of 2 hotels\nmoving: 2 hotels\n")
    with Output(as_json=True).progress("moving") as show, Output(as_json=True).working("reading"):
        show("hotels", 1, 2)
    with Output().working("reading"):
        pass
    assert capsys.readouterr() == ("", "")


def listed(folder: Path, hotels: dict[str, str], columns: int, term: str = "xterm-256color") -> Terminal:
    """`connections`, at a real terminal."""
    with at_terminal("connections", settings=hotels, folder=folder, columns=columns, TERM=term) as ran:
        assert ran.end() == 0, ran.text
        return ran


def test_a_real_terminal(hotels: dict[str, str], tmp_path: Path) -> None:
    """Colours where there are some; a dumb one and one of 40 columns have all that is said."""
    assert "\x1b[32m✓ healthy" in listed(tmp_path, hotels, 200).sent
    narrow = listed(tmp_path, hotels, 40)
    dumb = listed(tmp_path, hotels, 40, "dumb")
    assert "\x1b" not in dumb.sent
    for ran in (narrow, dumb):
        assert {"con_0", "con_1", "con_2", "1000", "1001", "1002", "healthy"} <= set(ran.text.split())


def test_results_beside_a_bar_go_to_their_file(hotels: dict[str, str], tmp_path: Path) -> None:
    """Standard output is a file and standard error a terminal: the bar is at the one, the results are in the other."""
    code = (
        "import sys; from cloudbeds_auth.cli.output import Output; out = Output()\n"
        "sys.stdout = open('results', 'w')\n"
        "with out.progress('moving') as show:\n"
        "    show('hotels', 1, 2); out.line('the result')\n"
    )
    with at_terminal(settings={}, folder=tmp_path, program=("-c", code)) as ran:
        assert ran.end() == 0, ran.text
    assert (tmp_path / "results").read_text("utf-8") == "the result\n"
    assert "the result" not in ran.text
    assert "moving: hotels" in ran.text


def test_a_spinner(tmp_path: Path) -> None:
    """It says what the command does while that lasts; of what is done soon there is none."""
    code = (
        "from cloudbeds_auth.cli.output import Output; out = Output()\n"
        "with out.working('never seen'): pass\n"
        "with out.waiting('asking Cloudbeds'): input()\n"
    )
    with at_terminal(settings={}, folder=tmp_path, program=("-c", code)) as ran:
        ran.wait_for("asking Cloudbeds")
        ran.type("\n")
        assert ran.end() == 0, ran.text
    assert "never seen" not in ran.text


def test_a_spinner_of_work_that_takes_long(tmp_path: Path) -> None:
    """After a while it is there."""
    code = (
        "from cloudbeds_auth.cli import progress; from cloudbeds_auth.cli.output import Output; out = Output()\n"
        "with progress.spinner('asking Cloudbeds', 0.01): input()\n"
    )
    with at_terminal(settings={}, folder=tmp_path, program=("-c", code)) as ran:
        ran.wait_for("asking Cloudbeds")
        ran.type("\n")
        assert ran.end() == 0, ran.text

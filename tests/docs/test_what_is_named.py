"""What the documentation names is what there is: functions, settings, codes, routes, commands, states."""

from __future__ import annotations

import inspect
import re
from importlib import import_module
from pathlib import Path

import pytest
from tests.docs.pages import DOCS, PAGES, ROOT, drawer, first_cells, text_of, unfenced

from cloudbeds_auth import TokenVault, errors
from cloudbeds_auth.app import api, api_of_keys, problems
from cloudbeds_auth.database.bulk import TABLES
from cloudbeds_auth.rules.lifecycle import State
from cloudbeds_auth.rules.presentation import STATES
from cloudbeds_auth.settings import Settings, known, rows

TABLE = rows(Settings)
WALKS = (DOCS / "follow-a-token.md", DOCS / "how-it-works.md", DOCS / "rotation.md", *sorted(DOCS.glob("adr/0*.md")))
DOTTED = re.compile(r"`([a-z_]+(?:\.[A-Za-z_]+)+)`")
VARIABLE = re.compile(r"CLOUDBEDS_[A-Z_]*[A-Z]\b")
OTHERS_VARIABLES = {
    "CLOUDBEDS_AUTH_TEST_DATABASE_URL",  # the test suite's
    "CLOUDBEDS_AUTH_PORTT",  # a slip that a page shows
    "CLOUDBEDS_TOKEN", "CLOUDBEDS_URL",  # of a reader's own program
}  # fmt: skip
HEADING = re.compile(r"^#+ +(.*?) *$", re.MULTILINE)


def resolve(name: str) -> object:
    """The module, class, function or method of this dotted name below `cloudbeds_auth`; raises AttributeError."""
    parts = name.split(".")
    for length in range(len(parts), 0, -1):
        try:
            found: object = import_module(".".join(("cloudbeds_auth", *parts[:length])))
        except ModuleNotFoundError:
            continue
        for part in parts[length:]:
            found = getattr(found, part)
        return found
    raise AttributeError(name)


@pytest.mark.parametrize("page", WALKS, ids=lambda page: page.stem)
def test_every_function_that_a_walk_through_the_code_names_exists(page: Path) -> None:
    """`module.function` in these pages is an importable name, so a renamed function turns up here."""
    missing = []
    for name in DOTTED.findall(unfenced(page.read_text("utf-8"))):
        try:
            resolve(name)
        except AttributeError:
            missing.append(name)
    assert not missing


def test_the_tables_are_those_of_the_database() -> None:
    """Each has a row of the page that says what is in it."""
    rows = text_of("docs/how-it-works.md").partition("\n| table | |\n")[2].partition("\n\n")[0].splitlines()[1:]
    named = [name for row in rows for name in re.findall(r"`(\w+)`", row.split("|")[1])]
    assert sorted(named) == sorted([*TABLES, "meta"])


def test_the_token_is_followed_through_every_layer() -> None:
    """The walk names something of each layer that a token passes."""
    layers = {name.split(".")[0] for name in DOTTED.findall(text_of("docs/follow-a-token.md"))}
    assert {"app", "vault", "engine", "rules", "transactions", "wire", "system", "sync"} <= layers


def test_the_settings_page_shows_the_table_of_settings() -> None:
    """`python docs/draw_settings.py --write` mends it."""
    page = text_of("docs/settings.md")
    assert drawer("draw_settings").replaced(page) == page


def test_a_settings_page_without_a_place_for_a_setting_is_not_drawn() -> None:
    """The first table begins with the first setting, so that none is left out."""
    begun_late = text_of("docs/settings.md").replace("<!-- settings from CLOUDBEDS_CLIENT_ID -->", "")
    with pytest.raises(ValueError, match="CLOUDBEDS_CLIENT_ID"):
        drawer("draw_settings").replaced(begun_late)


def test_pages_and_help_name_only_variables_that_are_read() -> None:
    """A setting that is renamed or taken out turns up here, wherever people read of it; `serve` says its defaults."""
    helps = {" ".join(path): drawer("draw_help").help_of(path) for path in drawer("draw_help").commands()}
    texts = helps | {str(page.relative_to(ROOT)): page.read_text("utf-8") for page in PAGES}
    named = {(where, name) for where, text in texts.items() for name in VARIABLE.findall(text)}
    assert {(where, name) for where, name in named if name not in known() | OTHERS_VARIABLES} == set()
    usual = Settings(client_id="client-1")
    assert f"({usual.host}:{usual.port})" in helps["serve"]


def test_plain_defaults_on_the_settings_page_are_the_settings_own() -> None:
    """A default that is written as one value is the one that the program uses."""
    shown = {row[0].strip("`"): row[1] for row in first_cells(text_of("docs/settings.md"))}
    for attribute, row in TABLE.items():
        field = Settings.model_fields[attribute]
        cell = shown[row.name]
        if field.default_factory is not None or not re.fullmatch(r"`[^`{]+`", cell):
            continue
        given = Settings.model_validate({"client_id": "x", attribute: cell.strip("`")})
        assert getattr(given, attribute) == field.default, row.name


def slug(heading: str) -> str:
    """The anchor of a heading, as the site and the usual hosts of repositories make it."""
    return re.sub(r"[\s-]+", "-", re.sub(r"[^\w\s-]", "", heading).strip().lower())


def _codes(kind: type[errors.Error]) -> set[str]:
    return {kind.code}.union(*(_codes(below) for below in kind.__subclasses__()))


def test_the_errors_page_has_a_heading_for_every_code_and_no_other() -> None:
    """Each code has its heading; the tree's inner classes have no code of their own."""
    assert problems.Unexpected in errors.Error.__subclasses__()
    headings = re.findall(r"^### `([a-z_]+)`$", text_of("docs/errors.md"), re.MULTILINE)
    assert sorted(headings) == sorted(_codes(errors.Error) - {errors.Error.code})


def test_the_errors_page_says_what_the_errors_say() -> None:
    """`python docs/draw_errors.py --write` mends it. `GET /errors/{code}` shows the same."""
    page = text_of("docs/errors.md")
    assert drawer("draw_errors").replaced(page) == page


def test_every_code_says_whether_anything_is_lost_and_what_to_do() -> None:
    """Each heading of the errors page is followed by both."""
    sections = re.split(r"^##+ ", text_of("docs/errors.md"), flags=re.MULTILINE)
    for section in sections:
        if section.startswith("`"):
            assert "\n- Lost: " in section, section[:40]
            assert "\n- Next: " in section, section[:40]


def test_the_states_page_shows_every_state_with_the_words_people_read() -> None:
    """The table of states says what the program says."""
    page = text_of("docs/states.md").partition("\n## ")[0]
    shown = [(row[0].strip("`"), row[1]) for row in first_cells(page)]
    assert shown == [(state.value, STATES[state].words) for state in State]
    assert len(State) == 11
    assert "one of eleven states" in page


def test_the_http_page_lists_exactly_the_routes_of_the_api() -> None:
    """Method and path of every route under `/api/v1`, and those for machines."""
    documented = {row[0].strip("`") for row in first_cells(text_of("docs/http-api.md"))}
    served = {
        f"{method} {path.replace('{identifier}', '{id}').replace('{key_id}', '{id}')}"
        for router in (api.router, api_of_keys.router, api.machines)
        for route in router.routes
        if route.include_in_schema  # type: ignore[attr-defined]
        for path, method in ((route.path, method) for method in route.methods)  # type: ignore[attr-defined]
    }
    machines = {"GET /healthz", "GET /readyz", "GET /metrics"}
    assert {one for one in documented if "/api/v1/" in one or one in machines} == served


def test_the_readme_shows_the_programs_own_help() -> None:
    """`python docs/draw_help.py --write` mends it."""
    assert drawer("draw_help").readme_block() in text_of("README.md")


def test_the_command_line_page_shows_the_help_of_every_command() -> None:
    """`python docs/draw_help.py --write` mends it."""
    assert drawer("draw_help").page_block() in text_of("docs/command-line.md")


def test_the_picture_of_states_is_the_table() -> None:
    """`python docs/draw_lifecycle.py --write` mends it."""
    assert drawer("draw_lifecycle").block() in text_of("docs/rotation.md")


def test_the_tables_of_problems_and_of_histories_are_the_words_of_the_pages() -> None:
    """`python docs/draw_words.py --write` mends it."""
    assert drawer("draw_words").block() in text_of("docs/states.md")


def test_the_tables_of_events_and_metrics_are_the_enum() -> None:
    """`python docs/draw_events.py --write` mends it."""
    assert drawer("draw_events").block() in text_of("docs/observing.md")


def test_the_security_page_shows_every_row_with_its_tests() -> None:
    """`python docs/draw_security.py --write` mends it, and fails on a row without a test."""
    page = text_of("docs/security.md")
    assert drawer("draw_security").block() in page


def test_defences_are_taken_away_in_every_group() -> None:
    """In twenty rows at least, and in each group of the catalogue, a test sees what happens without them."""
    drawn = drawer("draw_security")
    rows = {row.id: row.group for row in drawn.catalogue()}
    controls = {one.row for one in drawn.marks() if one.control}
    assert len(controls) >= 20
    assert {rows[one] for one in controls} == {*rows.values()}


WORKED_OUT = """
CASES = {"A01": 1}
OTHERS = {"A02": 2}
def made(): return [pytest.mark.row(row) for row in ("F13", *CASES)]
@pytest.mark.parametrize("x", made())
def test_it(x): ...
@pytest.mark.row("F14")
def test_another(): ...
"""


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ('@pytest.mark.row("F13", "A01")\ndef test_it(): ...', [("A01", False), ("F13", False)]),
        ('@pytest.mark.row("F13", control=True)\nasync def test_it(): ...', [("F13", True)]),
        ('pytestmark = [pytest.mark.long, pytest.mark.row("F13")]\ndef test_it(): ...', [("F13", False)]),
        ('class TestIt:\n    @pytest.mark.row("F13")\n    def test_it(self): ...', [("F13", False)]),
        ('@pytest.mark.parametrize("x", [pytest.param(1, marks=pytest.mark.row("F13"))])\ndef test_it(x): ...',
         [("F13", False)]),
        (WORKED_OUT, [("A01", False), ("F13", False)]),
        ('# row("F13")\ndef test_it(): ...\n@pytest.mark.row("F13")\ndef helper(): ...', []),
    ],
)  # fmt: skip
def test_marks_are_read_as_pytest_reads_them(source: str, found: list[tuple[str, bool]]) -> None:
    """Of a test, a class, a module, a parameter, and those that a function makes."""
    read = drawer("draw_security").marks_in(source, Path("test_x.py"))
    assert [(one.row, one.control) for one in read if one.test == "test_it"] == found


def test_the_python_page_says_whether_open_takes_upkeep() -> None:
    """The block promises `open(upkeep=True)`; as long as it is not there, the page says so."""
    takes = "upkeep" in inspect.signature(TokenVault.open).parameters
    assert takes != ("`open()` takes no `upkeep`" in text_of("docs/python.md"))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_within_the_documentation_lead_somewhere(page: Path) -> None:
    """A relative link names a file that exists, and its anchor a heading of that file."""
    for target in re.findall(r"\]\(([^)\s]+)\)", unfenced(page.read_text("utf-8"))):
        if target.startswith(("http://", "https://", "mailto:")):
            continue
        path, _, anchor = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        assert file.exists(), f"{page.name}: {target}"
        if anchor:
            headings = {slug(one) for one in HEADING.findall(file.read_text("utf-8"))}
            assert anchor in headings, f"{page.name}: {target}"


def test_no_page_names_a_place_of_the_machine_it_was_written_on() -> None:
    """Real output is trimmed of folders that nobody else has."""
    told = {page.name: re.findall(r"(?:/work|/root|/home/\w+)/\S*", page.read_text("utf-8")) for page in PAGES}
    assert not {name: found for name, found in told.items() if found}

"""`connections import`: what it reads, what it asks, what it reports."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from tests.cli.fakes import ADA, FakeVault, invoke, put

from cloudbeds_auth import Page, errors
from cloudbeds_auth.cli import import_reader
from cloudbeds_auth.rules.imports import MEANINGS, Handover, Imported, Outcome
from cloudbeds_auth.rules.lifecycle import State
from cloudbeds_auth.rules.model import Connection
from cloudbeds_auth.rules.secret import Secret
from cloudbeds_auth.runtime import OpenEngine

HEADER = "reference,property,refresh_token\n"
TOKEN = "secret-refresh-token"


class Slow:
    """A clock that waits for nothing."""

    def __init__(self) -> None:
        self.slept: list[float] = []

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)


class ImportingVault(FakeVault):
    """Answers each import with the next of `outcomes`, then with the last for ever."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = Slow()
        self.outcomes: list[Outcome] = [Outcome.CONNECTED]
        self.hotels: list[Handover] = []
        self.raises: errors.Error | None = None
        self.refused: set[str] = set()

    @property
    def engine(self) -> OpenEngine:
        return cast("OpenEngine", SimpleNamespace(world=SimpleNamespace(clock=self.clock), importer=self))

    async def was_refused(self, hotel: Handover) -> bool:
        return hotel.refresh_token.reveal() in self.refused

    async def import_hotel(self, hotel: Handover) -> Imported:
        self.hotels.append(hotel)
        if self.raises is not None:
            raise self.raises
        outcome = self.outcomes.pop(0) if len(self.outcomes) > 1 else self.outcomes[0]
        connection: Connection = ADA
        if outcome is Outcome.REFUSED:
            connection = replace(ADA, connect_url="http://localhost:7000/connect/one-time")
        return Imported(outcome, connection, MEANINGS[outcome], 60.0 if outcome is Outcome.IN_DOUBT else None)


@pytest.fixture
def vault(monkeypatch: pytest.MonkeyPatch) -> ImportingVault:
    made = ImportingVault()
    put(monkeypatch, made)
    return made


def written(text: str) -> str:
    Path("hotels.csv").write_text(text, "utf-8")
    return "hotels.csv"


# --- reading


@pytest.mark.parametrize(
    "text",
    [
        HEADER + f"tenant-7,1000,{TOKEN}\n",
        "\ufeff" + HEADER + f" tenant-7 , 1000 , {TOKEN} \r\n",
        f"property,app,refresh_token,reference,scopes\n1000,,{TOKEN},tenant-7,\n",
        json.dumps([{"reference": "tenant-7", "property": 1000, "refresh_token": TOKEN}]),
        json.dumps({"hotels": [{"reference": "tenant-7", "property": "1000", "refresh_token": TOKEN}]}, indent=2),
        json.dumps({"reference": "tenant-7", "property": "1000", "refresh_token": TOKEN}) + "\n\n",
    ],
)
def test_every_form_of_a_list(text: str) -> None:
    """CSV with or without a mark of its encoding, a JSON list, a document, JSON lines: the same hotel."""
    (line,) = import_reader.read(text)
    hotel = line.hotel
    assert (hotel.property_id, hotel.reference, hotel.app, hotel.scopes) == ("1000", "tenant-7", "default", None)
    assert hotel.refresh_token.reveal() == TOKEN


def test_what_else_may_be_known() -> None:
    """An access token with its end, in both ways of writing a moment, and scopes."""
    text = "property,refresh_token,access_token,expires_at,scopes\n1,R-1,A-1,1790000000,read:hotel read:guest\n"
    text += "2,R-2,A-2,2026-11-24T15:00:00Z,\n3,R-3,A-3,2026-11-24 15:00,\n"
    one, two, three = [line.hotel for line in import_reader.read(text)]
    assert one.access_token is not None
    assert (one.access_token.reveal(), one.scopes) == ("A-1", ("read:hotel", "read:guest"))
    assert one.expires_at is not None
    assert one.expires_at.timestamp() == 1790000000
    assert two.expires_at == three.expires_at is not None
    (line,) = import_reader.read('{"property":"1","refresh_token":"R","scopes":["read:hotel"]}')
    assert line.hotel.scopes == ("read:hotel",)


def test_a_line_separator_within_a_value() -> None:
    """JSON lines end with a line feed: U+2028 and its like stand in a string as they are."""
    rows = [{"property": name, "refresh_token": f"R-{name}", "reference": f"a\u2028{name}"} for name in "12"]
    lines = [json.dumps(row, ensure_ascii=False) for row in rows]
    assert [line.hotel.reference for line in import_reader.read("\r\n".join(lines))] == ["a\u20281", "a\u20282"]


def test_json_lines() -> None:
    """Several objects, each on a line of its own; empty lines count."""
    one, two = [json.dumps({"property": name, "refresh_token": f"R-{name}"}) for name in "12"]
    assert [line.number for line in import_reader.read(f"{one}\n\n{two}\n")] == [1, 3]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "the header lacks property and refresh_token"),
        (HEADER, "the file contains no hotel"),
        ("reference,property\n", "the header lacks refresh_token"),
        ("property;refresh_token\n", ", separated by commas"),
        ("property,refresh_token, Refresh_Token\n1,r,s\n", "the header has refresh_token more than once"),
        (HEADER + "t,1000,\n", "line 2: refresh_token is empty"),
        (HEADER + "t,,R\n", "line 2: property is empty"),
        (HEADER + "t,con_1,R\n", "line 2: property must be the property id at Cloudbeds"),
        (HEADER + f"t,{'1' * 65},R\n", "line 2: property has more than 64 characters, or a control character"),
        ('{"property":"\\ud800","refresh_token":"R"}', "line 1: property has more than 64 characters, or a control"),
        ('{"property":1,"refresh_token":"R","scopes":["\\ud800"]}', "line 1: scopes contains a control character"),
        (HEADER + "t,1000,two words\n", "line 2: refresh_token does not look like a token"),
        (HEADER + "t" * 257 + ",1000,R\n", "line 2: a reference has at most 256 characters"),
        ("property,api_key\n1000,\n", "line 2: refresh_token is empty, and so is api_key"),
        ("property,api_key\n1000,R-1\n", "line 2: api_key does not begin with cbat_"),
        ("property,api_key\n1000,cbat_two words\n", "line 2: api_key does not look like a token"),
        ("property,api_key,refresh_token\n1000,cbat_1,R\n", "line 2: it has a refresh_token and an api_key"),
        ("property,api_key\n1000,cbat_1\n2000,cbat_1\n", "line 3: the same api_key as in line 2"),
        ("api_key\ncbat_1\n", "the header lacks property"),
        (HEADER + "t,1000,R,more\n", "line 2: it has more fields than the header"),
        (HEADER.strip() + ",colour\nt,1000,R,red\n", "line 2: unknown column 'colour'"),
        ("property,refresh_token,expires_at\n1,R,soon\n", "line 2: expires_at is neither"),
        (HEADER + "t,1000,R\nu,2000,R\n", "line 3: the same refresh_token as in line 2"),
        (HEADER + "t,1000,R\nu,1000,S\n", "line 3: the same property as in line 2"),
        ("[1]", "line 1: a hotel must be a JSON object"),
        ("[{", "line 1: it looks like JSON but is not valid"),
        ('{"hotels": 3}', "`hotels` must be a list of objects"),
        ('{"property":"1","refresh_token":"R"}\n{"property', "line 2: it looks like JSON but is not valid"),
        (f'property,refresh_token\n1,"{"x" * 140_000}"\n', "field larger than field limit"),
        (f"property,{'x' * 140_000}\n", "line 1: field larger than field limit"),
        ("property\rrefresh_token\n1,R\n", "line 1: new-line character seen in unquoted field"),
    ],
)
def test_a_mistake_is_told_with_its_line(text: str, told: str) -> None:
    """And nothing of a token."""
    with pytest.raises(errors.InvalidRequest) as refused:
        import_reader.read(text)
    assert told in refused.value.detail


def test_every_mistake_is_told_at_once_before_anything_is_sent(vault: ImportingVault) -> None:
    """All of them, without a token; exit status 1."""
    file = written(HEADER + f"t,,{TOKEN}-1\nu,2000,\nv,3000,{TOKEN}\nw,4000,{TOKEN}\n")
    result = invoke("connections", "import", file, "--yes")
    assert result.status == 1
    assert [f"line {number}:" in result.err for number in (2, 3, 5)] == [True] * 3
    assert TOKEN not in result.err
    assert vault.hotels == []


@pytest.mark.parametrize("dry", [True, False])
def test_an_app_that_there_is_not(vault: ImportingVault, dry: bool) -> None:
    """Told with its line, before anything is sent."""
    file = written("property,refresh_token,app\n1000,R-1,default\n2000,R-2,other\n")
    result = invoke("connections", "import", file, "--dry-run" if dry else "--yes")
    assert (result.status, "line 3: there is no app 'other'" in result.err) == (1, True)
    assert vault.hotels == []


def test_very_many_apps_are_named_once() -> None:
    """A line each for what is wrong with the file, and one for the apps, of which the first are named."""
    text = "property,refresh_token,app\n" + "".join(f"{number},R-{number},other\n" for number in range(300))
    with pytest.raises(errors.InvalidRequest) as refused:
        import_reader.refuse_unknown_apps(import_reader.read(text), [f"app-{number}" for number in range(2000)])
    *lines, apps = refused.value.detail.splitlines()
    assert lines == [f"line {number}: there is no app 'other'" for number in range(2, 302)]
    assert apps.startswith("apps that there are: app-0, app-1, ")
    assert apps.endswith("app-19, and 1980 more (see `cloudbeds-auth apps`)")


def test_a_dry_run_before_there_is_anything(vault: ImportingVault, monkeypatch: pytest.MonkeyPatch) -> None:
    """No database is made for it; what is wrong with the list is told all the same."""
    monkeypatch.setattr("cloudbeds_auth.cli.commands.database_exists", lambda: False)
    monkeypatch.setattr("cloudbeds_auth.cli.commands.opened", None)
    file = written(f"property,refresh_token,app\n1000,{TOKEN},\n")
    assert "would be connected" in invoke("connections", "import", file, "--dry-run").out
    file = written(f"property,refresh_token,app\n1000,{TOKEN},other\n")
    assert "line 2: there is no app 'other'" in invoke("connections", "import", file, "--dry-run").err


def test_a_file_that_is_no_text(vault: ImportingVault) -> None:
    """Says so."""
    Path("hotels.csv").write_bytes(b"\xff\xfe\x00property")
    result = invoke("connections", "import", "hotels.csv", "--yes")
    assert (result.status, "not UTF-8" in result.err) == (1, True)


# --- what would happen


@pytest.mark.parametrize(
    ("found", "would"),
    [
        ((), "would be connected"),
        ((replace(ADA, connected_at=None, state=State.IN_DOUBT),), "would be connected"),
        ((replace(ADA, state=State.REAUTHORIZATION_REQUIRED),), "would mend the connection that there is"),
        ((ADA,), "already connected, nothing is sent"),
    ],
)
def test_a_dry_run_sends_nothing(vault: ImportingVault, found: tuple[Connection, ...], would: str) -> None:
    """It says what would happen to each hotel, for people and for programs."""
    vault.pages = [Page(found, None)]
    file = written(HEADER + f"tenant-7,1000,{TOKEN}\n")
    shown = invoke("connections", "import", file, "--dry-run")
    assert (shown.status, would in shown.out) == (0, True)
    told = json.loads(invoke("connections", "import", file, "--dry-run", "--json").out)
    expected = {"line": 2, "property": "1000", "reference": "tenant-7", "would": would}
    assert told == {"dry_run": True, "hotels": [expected]}
    assert vault.hotels == []
    assert TOKEN not in shown.out + shown.err


def test_a_dry_run_knows_what_was_refused(vault: ImportingVault) -> None:
    """The import would send nothing and say so again, whatever else the hotel has."""
    vault.refused, vault.pages = {TOKEN}, [Page((ADA,), None)]
    told = json.loads(invoke("connections", "import", written(HEADER + f",1000,{TOKEN}\n"), "--dry-run", "--json").out)
    assert told["hotels"][0]["would"].startswith("imported before and refused for good")


# --- what happens


def test_it_asks_whether_the_old_script_is_stopped(vault: ImportingVault) -> None:
    """Where nobody can be asked, `--yes` says so; without it nothing is done."""
    file = written(HEADER + f"tenant-7,1000,{TOKEN}\n")
    result = invoke("connections", "import", file)
    assert (result.status, "Stop the old script" in result.err, "--yes" in result.err) == (2, True, True)
    assert vault.hotels == []


class Terminal:
    """`sys` of a terminal."""

    def __init__(self) -> None:
        self.stdin = self

    def isatty(self) -> bool:
        return True


def test_at_a_terminal_it_asks(vault: ImportingVault, monkeypatch: pytest.MonkeyPatch) -> None:
    """No: nothing is done."""
    file = written(HEADER + f"tenant-7,1000,{TOKEN}\n")
    monkeypatch.setattr("cloudbeds_auth.cli.commands.sys", Terminal())
    result = invoke("connections", "import", file, typed="n\n")
    assert (result.status, vault.hotels) == (1, [])
    assert invoke("connections", "import", file, typed="y\n").status == 0
    assert len(vault.hotels) == 1


def test_a_report_for_each_hotel(vault: ImportingVault) -> None:
    """Which connection, or why not and the link to send; a summary; and how the old script ends."""
    vault.outcomes = [Outcome.CONNECTED, Outcome.REFUSED]
    file = written(HEADER + f"tenant-7,1000,{TOKEN}\ntenant-8,2000,{TOKEN}-2\n")
    result = invoke("connections", "import", file, "--yes")
    assert result.status == 1
    assert "con_ADA" in result.out
    assert "link for property 2000: http://localhost:7000/connect/one-time" in result.out
    assert "1 connected, 1 refused" in result.out
    assert "The old script must stay stopped" in result.err
    assert "http://localhost:7000/api/v1/connections/ID/access-token" in result.err
    assert TOKEN not in result.out + result.err


def test_a_document_for_programs(vault: ImportingVault) -> None:
    """The same as one JSON document; the list may come through a pipe."""
    text = HEADER + f"tenant-7,1000,{TOKEN}\n"
    result = invoke("connections", "import", "-", "--yes", "--json", typed=text)
    assert result.status == 0
    told = json.loads(result.out)
    assert told["hotels"] == [
        {"line": 2, "property": "1000", "reference": "tenant-7", "outcome": "connected",
         "detail": MEANINGS[Outcome.CONNECTED], "connection_id": "con_ADA", "state": "fresh", "connect_url": None}
    ]  # fmt: skip
    assert told["counts"]["connected"] == 1
    assert vault.hotels[0].refresh_token.reveal() == TOKEN


DELETE = "Then delete FILE"
KEEP = "Keep FILE"


@pytest.mark.parametrize("outcome", Outcome)
def test_the_file_is_deleted_only_when_nothing_in_it_is_needed(vault: ImportingVault, outcome: Outcome) -> None:
    """A property that is wrong is corrected there, and imported again: the file is kept till every hotel is well."""
    vault.outcomes = [Outcome.CONNECTED, outcome]
    file = written(HEADER + f"tenant-7,1000,{TOKEN}\ntenant-8,2000,{TOKEN}-2\n")
    result = invoke("connections", "import", file, "--yes")
    fine = outcome in {Outcome.CONNECTED, Outcome.ALREADY_CONNECTED}
    assert (result.status, DELETE in result.err, KEEP in result.err) == (int(not fine), fine, not fine)
    assert "The old script must stay stopped" in result.err


def test_what_is_in_doubt_is_asked_again(vault: ImportingVault) -> None:
    """After as long as it says, without those that are settled."""
    vault.outcomes = [Outcome.IN_DOUBT, Outcome.CONNECTED, Outcome.CONNECTED]
    file = written(HEADER + f"tenant-7,1000,{TOKEN}\ntenant-8,2000,{TOKEN}-2\n")
    assert invoke("connections", "import", file, "--yes").status == 0
    assert [hotel.property_id for hotel in vault.hotels] == ["1000", "2000", "1000"]
    assert vault.clock.slept == [60.0]


def test_what_stays_in_doubt(vault: ImportingVault) -> None:
    """Three times, then it is left to the service or to the same command, and the exit status says so."""
    vault.outcomes = [Outcome.IN_DOUBT]
    result = invoke("connections", "import", written(HEADER + f"tenant-7,1000,{TOKEN}\n"), "--yes")
    assert (result.status, len(vault.hotels)) == (1, 3)
    assert "1 in doubt: run the same command again" in result.err


def test_an_error_of_everybody_ends_it(vault: ImportingVault) -> None:
    """The client secret is refused: no hotel is at fault, and the diagnosis says what to do."""
    vault.raises = errors.ClientRefused("Cloudbeds refuses this app's client id or secret")
    file = written(HEADER + "".join(f"t,{number},R-{number}\n" for number in range(20)))
    result = invoke("connections", "import", file, "--yes")
    assert (result.status, "client id or secret" in result.err) == (1, True)
    assert len(vault.hotels) < 20


# --- keys that hotels made by themselves

KEYS = "reference,property,api_key,app\n"


class KeyTakingVault(ImportingVault):
    """Answers each key with the next of `answers`, then with the last for ever."""

    def __init__(self) -> None:
        super().__init__()
        self.answers: list[errors.Error | None] = [None]
        self.given: list[dict[str, object]] = []

    async def add_api_key(self, api_key: str | Secret, **more: Any) -> Connection:
        self.given.append({"key": api_key.reveal() if isinstance(api_key, Secret) else api_key, **more})
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if answer is not None:
            raise answer
        return ADA


@pytest.fixture
def keys(monkeypatch: pytest.MonkeyPatch) -> KeyTakingVault:
    made = KeyTakingVault()
    put(monkeypatch, made)
    return made


def test_a_key_in_the_place_of_a_token(keys: KeyTakingVault) -> None:
    """Beside hotels that bring tokens; the property that is named is expected, and its app is its own unless named."""
    text = f"property,refresh_token,api_key,app\n1000,{TOKEN},,\n2000,,cbat_2,\n3000,,cbat_3,aurora\n"
    keys.apps.found.append(replace(keys.settings.app(), id="aurora"))
    result = invoke("connections", "import", written(text), "--yes", "--json")
    assert (result.status, [hotel.property_id for hotel in keys.hotels]) == (0, ["1000"])
    assert keys.given == [
        {"key": "cbat_2", "app": None, "reference": None, "expected_properties": ("2000",)},
        {"key": "cbat_3", "app": "aurora", "reference": None, "expected_properties": ("3000",)},
    ]
    told = json.loads(result.out)
    assert [one["connection_id"] for one in told["hotels"]] == ["con_ADA"] * 3
    assert "cbat_2" not in result.out + result.err


def test_keys_alone_ask_for_no_script_to_stop(keys: KeyTakingVault) -> None:
    """Nothing is refreshed; the hotels move."""
    file = written(KEYS + "tenant-7,1000,cbat_1,\n")
    refused = invoke("connections", "import", file)
    assert (refused.status, "old script" in refused.err, "moves to its key" in refused.err) == (2, False, True)
    done = invoke("connections", "import", file, "--yes")
    assert (done.status, "old script" in done.err, "Delete" in done.err) == (0, False, True)
    assert "the key takes the place of what there is" in invoke("connections", "import", file, "--dry-run").out


def test_what_becomes_of_each_key(keys: KeyTakingVault) -> None:
    """Refused, another hotel's, or to be tried again: nothing of these is stored, so no connection is named."""
    again = errors.TokenEndpointUnavailable("Cloudbeds could not be asked", retry_after=7.0)
    keys.answers = [errors.KeyRefused(), errors.PropertyMismatch("Cloudbeds names 9"), again, None]
    file = written(KEYS + "a,1000,cbat_1,\nb,2000,cbat_2,\nc,3000,cbat_3,\nd,4000,cbat_4,\n")
    result = invoke("connections", "import", file, "--yes", "--json")
    told = json.loads(result.out)["hotels"]
    assert result.status == 1
    assert [one["outcome"] for one in told] == ["refused", "other_property", "connected", "connected"]
    assert [one["connection_id"] for one in told] == [None, None, "con_ADA", "con_ADA"]
    assert keys.clock.slept == [7.0]
    keys.answers = [errors.KeyRefused()]
    assert "makes a new API key" in invoke("connections", "import", file, "--yes").out


def test_a_key_in_doubt_is_in_the_file_alone(keys: KeyTakingVault) -> None:
    """Cloudbeds cannot be asked: nothing was stored that a service could resume, so nobody is told to delete the file,
    or to leave it to the service; and a hotel with a token in doubt beside it is told apart.
    """
    keys.answers = [errors.TokenEndpointUnavailable("Cloudbeds could not be asked")]
    keys.outcomes = [Outcome.IN_DOUBT]
    alone = invoke("connections", "import", written(KEYS + "a,1000,cbat_1,\n"), "--yes")
    assert (alone.status, "not stored: Cloudbeds could not be asked" in alone.out) == (1, True)
    assert "1 API key in doubt, not stored: run the same command again; keep FILE" in alone.err
    assert not any(word in alone.err for word in ("Delete FILE", "nothing is lost", "cloudbeds-auth serve"))
    text = f"property,refresh_token,api_key\n1000,,cbat_1\n2000,,cbat_2\n3000,{TOKEN},\n"
    both = invoke("connections", "import", written(text), "--yes")
    assert "1 in doubt: run the same command again later, or leave it to `cloudbeds-auth serve`" in both.err
    assert "2 API keys in doubt, not stored: " in both.err
    assert (DELETE in both.err, KEEP in both.err) == (False, True)


def test_the_database_cannot_be_written(keys: KeyTakingVault) -> None:
    """No hotel is at fault, and the next one would meet it, too."""
    keys.answers = [errors.StoreUnavailable("the disk is full")]
    result = invoke("connections", "import", written(KEYS + "a,1000,cbat_1,\n"), "--yes")
    assert (result.status, "the disk is full" in result.err) == (1, True)


@pytest.mark.row("A78")
@pytest.mark.parametrize(
    "text", ["[" * 100_000, '{"hotels": ' + "[" * 100_000, '{"a": ' * 100_000], ids=["[", "{[", "{"]
)
def test_a_file_that_is_nested_too_deeply(tmp_path: Path, text: str) -> None:
    """A mistake in the file like any other."""
    (tmp_path / "deep.json").write_text(text)
    result = invoke("connections", "import", str(tmp_path / "deep.json"), "--dry-run")
    assert (result.status, result.out) == (1, "")
    assert "line 1: it looks like JSON but is not valid" in result.err

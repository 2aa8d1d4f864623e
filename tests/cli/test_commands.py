"""The commands over a vault: what they ask it, what they print, how they exit."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from tests.cli.fakes import ADA, FakeVault, invoke

from cloudbeds_auth import Page, errors
from cloudbeds_auth.rules.api_errors import DISABLED
from cloudbeds_auth.rules.lifecycle import State

CONTRACT_FIELDS = [
    *("id", "state", "app", "reference", "credential", "property_ids", "authorizing_user", "scopes", "generation"),
    *(
        "connected_at",
        "expires_at",
        "refreshed_at",
        "used_at",
        "problem",
        "next_step",
        "waits_for",
        "connect_url",
        "subscriptions",
    ),
]


# --- access-token


def test_access_token_is_bare(vault: FakeVault) -> None:
    """Nothing but the token and a newline, so that $(…) works."""
    result = invoke("access-token", "100001")
    assert result == (0, "the-token\n", "")
    assert vault.asked == [("access_token", "con_ADA", 60.0, None)]


def test_access_token_passes_its_options(vault: FakeVault) -> None:
    """The rejected generation is named, the validity too."""
    invoke("access-token", "con_ADA", "--rejected-generation", "3", "--min-valid", "120")
    assert vault.asked == [("access_token", "con_ADA", 120.0, 3)]


def test_access_token_json_is_the_contract(vault: FakeVault) -> None:
    """The same document as the HTTP API's."""
    document = json.loads(invoke("access-token", "con_ADA", "--json").out)
    assert document == {
        "access_token": "the-token",
        "token_type": "Bearer",
        "expires_at": "2026-11-24T08:00:00Z",
        "generation": 3,
    }


def test_unknown_connection(vault: FakeVault) -> None:
    """Exit 1, and how to find the right id."""
    result = invoke("access-token", "999")
    assert result.status == 1
    assert "cloudbeds-auth connections" in result.err


# --- call


def test_call_prints_the_body(vault: FakeVault) -> None:
    """JSON is indented; the path is passed on as it is: the vault knows what a short one means."""
    result = invoke("call", "con_ADA", "get", "userinfo")
    assert result.status == 0
    assert result.out == '{\n  "email": "ada@example.com"\n}\n'
    assert vault.asked == [("call", "con_ADA", "GET", "userinfo", {"params": None, "data": None, "json": None})]


def test_call_without_a_method_is_a_get(vault: FakeVault) -> None:
    """One word is the path; a body has its method named."""
    assert invoke("call", "con_ADA", "userinfo").status == 0
    assert vault.asked == [("call", "con_ADA", "GET", "userinfo", {"params": None, "data": None, "json": None})]
    for words in (("GET",), ("FETCH", "x"), ("GET", "x", "y"), (), ("x", "--form", "a=b"), ("x", "--json-body", "1")):
        assert invoke("call", "con_ADA", *words).status == 2, words
    assert len(vault.asked) == 1


@pytest.mark.row("A78")
@pytest.mark.parametrize("number", ["nan", "inf", "1e400", "-1", "9" * 30, "9" * 5000, "x", ""])
@pytest.mark.parametrize(
    "words",
    [
        ("access-token", "con_ADA", "--min-valid"),
        ("access-token", "con_ADA", "--rejected-generation"),
        ("connect", "--timeout"),
        ("connections", "list", "--limit"),
        ("connections", "show", "con_ADA", "--events"),
    ],
)
def test_absurd_numbers(vault: FakeVault, words: tuple[str, ...], number: str) -> None:
    """A usage error that names the option, and nothing is asked."""
    result = invoke(*words, number)
    assert (result.status, result.out) == (2, "")
    assert words[-1] in result.err
    assert vault.asked == []


def test_call_passes_query_and_form(vault: FakeVault) -> None:
    """Order and repeats survive."""
    invoke("call", "con_ADA", "PUT", "/x", "--query", "a=1", "--query", "a=2", "--form", "b=x=y", "--form", "b=z")
    extra = vault.asked[0][4]
    assert extra["params"] == [("a", "1"), ("a", "2")]
    assert extra["data"] == {"b": ["x=y", "z"]}


def test_call_json_body_from_text_and_file(vault: FakeVault, tmp_path: Path) -> None:
    """A JSON body is checked before anything is sent."""
    (tmp_path / "rates.json").write_text('{"rates": [1]}')
    invoke("call", "con_ADA", "PATCH", "patchRate", "--json-body", f"@{tmp_path / 'rates.json'}")
    invoke("call", "con_ADA", "PATCH", "patchRate", "--json-body", "[1]")
    assert [one[4]["json"] for one in vault.asked] == [{"rates": [1]}, [1]]
    assert invoke("call", "con_ADA", "PATCH", "patchRate", "--json-body", "{").status == 2
    assert invoke("call", "con_ADA", "PATCH", "patchRate", "--json-body", "@nowhere").status == 2
    assert invoke("call", "con_ADA", "POST", "x", "--json-body", "1", "--form", "a=b").status == 2
    assert invoke("call", "con_ADA", "POST", "x", "--form", "novalue").status == 2
    assert len(vault.asked) == 2


@pytest.mark.row("A78")
@pytest.mark.parametrize("body", ["NaN", "[1e999]", '"\\ud800"', "[" * 100_000, "9" * 5000], ids=lambda body: body[:9])
def test_call_json_body_that_cannot_be_sent(vault: FakeVault, body: str) -> None:
    """What is no JSON, or more than can be written again: a usage error that names the option."""
    result = invoke("call", "con_ADA", "POST", "x", "--json-body", body)
    assert (result.status, result.out, vault.asked) == (2, "", [])
    assert "--json-body" in result.err


@pytest.mark.row("A78")
@pytest.mark.parametrize("depth", [400, 900, 100_000])
def test_call_answered_with_deep_json(vault: FakeVault, depth: int) -> None:
    """Shown as the text that it is; deeper than it can be read, or than it can be written."""
    vault.body = b"[" * depth + b"]" * depth
    shown = invoke("call", "con_ADA", "x")
    assert (shown.status, shown.err) == (0, "")
    assert shown.out.count("[") == depth
    document = invoke("call", "con_ADA", "x", "--json")
    assert (document.status, document.err) == (0, "")
    assert document.out.count("[") == depth


@pytest.mark.parametrize(("status", "expected"), [(200, 0), (302, 0), (400, 1), (503, 1)])
def test_call_fails_from_400_on(vault: FakeVault, status: int, expected: int) -> None:
    """The body is printed all the same."""
    vault.status = status
    result = invoke("call", "con_ADA", "GET", "userinfo")
    assert result.status == expected
    assert "ada@example.com" in result.out


@pytest.mark.parametrize(
    "failure",
    [errors.UpstreamFailed("cannot be reached"), errors.OutcomeUnknown("was sent"), errors.ForeignOrigin("elsewhere")],
)
def test_call_without_an_answer(vault: FakeVault, failure: errors.Error) -> None:
    """What happened, whether anything is lost, what to do next; exit 1."""
    vault.failure = failure
    result = invoke("call", "con_ADA", "POST", "postNote")
    assert (result.status, result.out) == (1, "")
    assert result.err == f"{failure.diagnosis()}\n"


def test_call_other_bodies(vault: FakeVault) -> None:
    """Bytes pass untouched into a pipe; --json wraps them."""
    vault.body = b"\x89PNG"
    assert "PNG" in invoke("call", "con_ADA", "GET", "getPhoto", "--json").out
    vault.body = b"<html>"
    assert invoke("call", "con_ADA", "GET", "x").out == "<html>"


# --- simulate


@pytest.mark.parametrize(
    "wrong", [("--port", "70000"), ("--nope",), ("--hotels", "-1"), ("--variant", "V9/z")], ids=lambda words: words[0]
)
def test_simulate_with_a_wrong_option(wrong: tuple[str, ...], capfd: pytest.CaptureFixture[str]) -> None:
    """A usage error of the command that was typed."""
    assert invoke("simulate", *wrong) == (2, "", "")
    said = capfd.readouterr().err  # of the simulator's process
    assert said.startswith("usage: cloudbeds-auth simulate ")
    assert "cloudbeds-auth simulate: error: " in said
    assert wrong[0] in said


def test_simulate_is_stopped() -> None:
    """By SIGTERM: it ends with 0, and the simulator with it."""
    command = (sys.executable, "-m", "cloudbeds_auth", "simulate", "--port", "0")
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline().startswith("simulator listening on ")
        process.terminate()
        process.stdout.read()  # to its end: nothing holds the pipe any more
        assert process.wait() == 0


# --- connections


def test_list_is_aligned_text_in_a_pipe(vault: FakeVault) -> None:
    """One line per connection under headings; no colours, no boxes."""
    heading, line = invoke("connections").out.splitlines()
    assert heading.split("  ")[0] == "connection"
    assert line.split()[:3] == ["con_ADA", "healthy", "tenant-7"]
    assert heading.index("state") == line.index("healthy")


def test_list_json_and_filters(vault: FakeVault) -> None:
    """The contract's document, every filter passed on."""
    args = ["--state", "fresh", "--reference", "r", "--property", "1", "--app", "a", "--limit", "5", "--cursor", "c"]
    document = json.loads(invoke("connections", "list", *args, "--lacking-scopes", "--json").out)
    assert list(document["connections"][0]) == CONTRACT_FIELDS
    assert document["next"] is None
    assert vault.asked[0][1] == {
        "state": "fresh",
        "reference": "r",
        "property_id": "1",
        "app": "a",
        "cursor": "c",
        "limit": 5,
        "lacking_scopes": True,
    }


def test_list_says_when_there_is_nothing_or_more(vault: FakeVault) -> None:
    """An empty list says how to connect; a further page says how to get it, aside from the results."""
    vault.pages = [Page((), None)]
    assert "add one with `cloudbeds-auth connect` or `connections add-key`" in invoke("connections").out
    vault.pages = [Page((ADA,), "next-page")]
    result = invoke("connections", "list")
    assert "--cursor next-page" in result.err


def test_show(vault: FakeVault) -> None:
    """One connection with the newest of its history."""
    assert "The approval is in use from here on" in " ".join(invoke("connections", "show", "100001").out.split())
    document = json.loads(invoke("connections", "show", "con_ADA", "--json").out)
    assert list(document["events"][0]) == ["sequence", "at", "kind", "actor", "grant_id", "generation", "data"]
    assert (document["events"][0]["kind"], document["events"][0]["at"]) == ("promoted", "2026-11-24T08:00:00.000Z")
    assert list(document)[:-1] == CONTRACT_FIELDS


def test_show_with_a_picture(vault: FakeVault) -> None:
    """A bar for each pair, when it is looked after next; and for programs the data that it is drawn from."""
    shown = invoke("connections", "show", "con_ADA", "--picture").out
    assert "pair  " in shown
    assert "looked after next: in 6 hours" in shown
    document = json.loads(invoke("connections", "show", "con_ADA", "--picture", "--json").out)
    assert [(one["generation"], one["ended_by"]) for one in document["pairs"]] == [(1, None)]
    vault.history = ()
    assert "no token pairs in this history" in invoke("connections", "show", "con_ADA", "--picture").out


def test_refresh(vault: FakeVault) -> None:
    """The vault is asked once; the connection is shown."""
    result = invoke("connections", "refresh", "100001")
    assert (result.status, "con_ADA" in result.out) == (0, True)
    assert vault.asked == [("refresh", "con_ADA")]


def test_refresh_that_brought_nothing(vault: FakeVault) -> None:
    """An earlier attempt is still open and the old token still serves: said, and exit 1."""
    vault.failure = errors.RefreshInDoubt("nothing was sent", retry_after=300.0)
    result = invoke("connections", "refresh", "100001")
    assert (result.status, result.out) == (1, "")
    assert "nothing was sent" in result.err


def marked_hotels(vault: FakeVault) -> None:
    """Two that have to approve again, one that left at Cloudbeds, one that an operator disconnected."""
    needed = replace(ADA, state=State.REAUTHORIZATION_REQUIRED, problem="revoked")
    gone = replace(ADA, state=State.DISCONNECTED)
    vault.pages = [
        Page((replace(needed, id="con_1"),), "more"),
        Page((replace(needed, id="con_2"),), None),
        Page((replace(gone, id="con_3", problem="disabled"), replace(gone, id="con_4", problem=None)), None),
    ]


def test_refresh_marked(vault: FakeVault) -> None:
    """Every marked hotel is tried once, page by page; the report has each, and exit 1 says that not all recovered."""
    marked_hotels(vault)
    vault.failures = {
        "con_2": errors.ReauthorizationRequired("as before"),
        "con_3": errors.RefreshInDoubt("no answer"),
    }
    result = invoke("connections", "refresh", "--marked", "--json")
    assert [what[1] for what in vault.asked if what[0] == "refresh"] == ["con_1", "con_2", "con_3"]
    document = json.loads(result.out)
    assert [one["outcome"] for one in document["hotels"]] == [
        "recovered",
        "refused as before",
        "could not be tried: run this again",
    ]
    assert document["hotels"][1]["code"] == "reauthorization_required"
    assert result.status == 1


def test_refresh_marked_with_tokens_that_do_not_work(vault: FakeVault) -> None:
    """A pair came, and its proof did not: the hotel is marked as before, and none is said to have recovered."""
    marked_hotels(vault)
    vault.refreshed = replace(ADA, state=State.REAUTHORIZATION_REQUIRED, problem="revoked", generation=4)
    result = invoke("connections", "refresh", "--marked")
    assert (result.status, "recovered" in result.out) == (1, False)
    assert "3 new tokens that did not work yet" in result.out


def test_refresh_marked_when_all_recover(vault: FakeVault) -> None:
    """Counts for people, and exit 0; so it is where none is marked."""
    marked_hotels(vault)
    result = invoke("connections", "refresh", "--marked")
    assert (result.status, "3 recovered" in result.out) == (0, True)
    vault.pages = [Page((), None)]
    result = invoke("connections", "refresh", "--marked")
    assert (result.status, "no hotel has to approve again" in result.out) == (0, True)


def test_refresh_all(vault: FakeVault) -> None:
    """Every hotel with OAuth tokens, marked or not; one that is refused now has to approve again."""
    marked = replace(ADA, id="con_2", state=State.REAUTHORIZATION_REQUIRED)
    others = [replace(ADA, id="con_3", credential="api_key"), replace(ADA, id="con_4", state=State.DISCONNECTED)]
    vault.pages = [Page((ADA, marked, *others), "more"), Page((replace(ADA, id="con_5"),), None)]
    vault.failures = {"con_5": errors.ReauthorizationRequired("refused")}
    result = invoke("connections", "refresh", "--all", "--json")
    assert [what[1] for what in vault.asked if what[0] == "refresh"] == ["con_ADA", "con_2", "con_5"]
    assert [one["outcome"] for one in json.loads(result.out)["hotels"]] == [
        "refreshed", "recovered", "refused: the hotel has to approve again",
    ]  # fmt: skip
    assert result.status == 1
    vault.pages = [Page((), None)]
    result = invoke("connections", "refresh", "--all")
    assert (result.status, "no hotel has OAuth tokens" in result.out) == (0, True)


def test_refresh_all_reaches_what_is_not_served(vault: FakeVault) -> None:
    """What waits to be claimed, and what Cloudbeds calls disconnected, have tokens, too: what keeps those of before is
    named at the end, with what ends them.
    """
    waits = [replace(ADA, id=one, state=State.PARKED) for one in ("con_2", "con_3")]
    disabled = replace(ADA, id="con_4", state=State.DISCONNECTED, problem=DISABLED)
    vault.pages = [Page((*waits, disabled), None)]
    vault.failures = {"con_3": errors.Unclaimed(connection_id="con_3")}
    result = invoke("connections", "refresh", "--all")
    assert [what[1] for what in vault.asked if what[0] == "refresh"] == ["con_2", "con_3", "con_4"]
    assert (result.status, "con_2 has" in result.out, "con_4 has" in result.out) == (1, False, False)
    (told,) = [line for line in result.out.splitlines() if line.startswith("con_3 still has its former tokens: ")]
    assert ("connections claim" in told, "connections disconnect" in told) == (True, True)


@pytest.mark.parametrize("arguments", [(), ("con_ADA", "--marked"), ("con_ADA", "--all"), ("--marked", "--all")])
def test_refresh_one_or_all(vault: FakeVault, arguments: tuple[str, ...]) -> None:
    """Neither or both is a usage error, and nothing is asked."""
    assert invoke("connections", "refresh", *arguments).status == 2
    assert vault.asked == []


def test_claim(vault: FakeVault) -> None:
    """Under the operator's own name for the hotel; the connection is shown."""
    result = invoke("connections", "claim", "con_ADA", "--reference", "tenant-7")
    assert (result.status, "tenant-7" in result.out) == (0, True)
    assert vault.asked == [("claim", "con_ADA", "tenant-7")]


def test_claim_with_a_code_verifier(vault: FakeVault, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From a file or the environment; among the arguments it is refused, and not repeated."""
    verifier, file = "v" * 43, tmp_path / "verifier"
    file.write_text(f"{verifier}\n")
    file.chmod(0o600)
    assert invoke("connections", "claim", "con_ADA", "--verifier-file", str(file)).status == 0
    monkeypatch.setenv("CLOUDBEDS_CODE_VERIFIER", verifier)
    assert invoke("connections", "claim", "con_ADA").status == 0
    assert vault.asked == [("claim", "con_ADA", None, verifier)] * 2
    for wrong in ((f"--code-verifier={verifier}",), (verifier,)):
        refused = invoke("connections", "claim", "con_ADA", *wrong)
        assert (refused.status, "must not be an argument" in refused.err, verifier in refused.err) == (2, True, False)


def test_disconnect_asks_or_needs_yes(vault: FakeVault) -> None:
    """Where nobody can be asked, --yes is needed; --forget is passed on."""
    refused = invoke("connections", "disconnect", "con_ADA")
    assert refused.status == 2
    assert "--yes" in refused.err
    assert vault.asked == []
    document = json.loads(invoke("connections", "disconnect", "con_ADA", "--yes", "--forget", "--json").out)
    assert document["state"] == State.DISCONNECTED.value
    assert vault.asked == [("disconnect", "con_ADA", True)]


def test_those_that_lack_a_scope_are_listed_with_their_links(vault: FakeVault) -> None:
    """Below the table, one line each."""
    link = "http://localhost:7000/connect/one-time"
    vault.pages = [Page((replace(ADA, connect_url=link, next_step="send the hotel its connect link"),), None)]
    result = invoke("connections", "list", "--lacking-scopes")
    assert f"con_ADA: send the hotel its connect link: {link}" in result.out


def test_forget_asks_or_needs_yes(vault: FakeVault) -> None:
    """Where nobody can be asked, --yes is needed; nobody's name is left."""
    refused = invoke("connections", "forget", "con_ADA")
    assert (refused.status, "--yes" in refused.err, vault.asked) == (2, True, [])
    document = json.loads(invoke("connections", "forget", "con_ADA", "--yes", "--json").out)
    assert document["authorizing_user"] is None
    assert vault.asked == [("forget", "con_ADA")]


def test_a_hostile_name_cannot_steer_the_terminal(vault: FakeVault) -> None:
    """Control characters of somebody else's text are replaced."""
    vault.pages = [Page((replace(ADA, reference="\x1b[2Jgone"),), None)]
    assert "\x1b" not in invoke("connections").out

"""Settings that a program makes itself: what is wrong with them is an error of the library, as with those read."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import pytest
from pydantic import ValidationError

from cloudbeds_auth import ConfigurationError, Error, Settings, TokenVault, sync
from cloudbeds_auth.rules.secret import Secret
from cloudbeds_auth.settings import Need, load, loading

CANARY = "canary-9d41"
WRONG: dict[str, object] = {
    "redirect_uri": f"{CANARY}://", "credential": CANARY, "database_url": f"mysql://u:{CANARY}@h/d",
    "encryption_keys": (Secret(CANARY),), "admin_token": Secret(CANARY), "port": CANARY, "workers": -7_777_777,
    "body_limit": f"5{CANARY.replace('-', '_')}", "rate_limit": CANARY, "hook_secret": CANARY,
}  # fmt: skip


def refused(**given: Any) -> ConfigurationError:
    """The error for settings with a client id and these."""
    with pytest.raises(ConfigurationError) as raised:
        Settings(client_id="x", **given)
    return raised.value


def test_every_problem_at_once_and_no_value() -> None:
    """One line for each wrong argument, by its name and in the order of the table; none for what follows from it."""
    error = refused(**WRONG)
    assert [one.partition(":")[0] for one in error.problems] == list(WRONG)
    assert all("; write " in one for one in error.problems)
    shown = "\n".join((str(error), *error.diagnosis(), repr(error)))
    assert "canary" not in shown
    assert "7777777" not in shown
    assert "default" not in shown


def test_a_short_token() -> None:
    """It is worded as in the environment, with the name that the program wrote."""
    (problem,) = refused(admin_token=Secret("short")).problems
    with pytest.raises(ConfigurationError) as read:
        load({"CLOUDBEDS_AUTH_ADMIN_TOKEN": "short"}, None, need=Need.NOTHING)
    assert problem == read.value.problems[0].replace("CLOUDBEDS_AUTH_ADMIN_TOKEN", "admin_token")
    assert "is shorter than 32 characters" in problem


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"admin_tokn": CANARY}, "admin_tokn: is not a setting; did you mean admin_token?"),
        ({"colour": CANARY}, "colour: is not a setting"),
        ({"warnings": 5}, "warnings: input should be a valid tuple"),
    ],
)
def test_what_is_no_setting(given: dict[str, Any], said: str) -> None:
    """A misspelt argument is named, with what was probably meant."""
    assert refused(**given).problems == (said,)


@pytest.mark.parametrize("given", [{"admin_token": Secret("short")}, {"admin_tokn": "x"}, {"port": 70_000}])
async def test_one_except_around_opening(given: dict[str, Any]) -> None:
    """A program that catches the library's errors catches those of its settings, with either vault."""
    with pytest.raises(Error):
        async with TokenVault.open(Settings(client_id="x", **given)):
            pass
    with pytest.raises(Error), sync.TokenVault.open(Settings(client_id="x", **given)):
        pass


def test_other_ways_to_make_them() -> None:
    """A mapping, JSON, and something else altogether."""
    with pytest.raises(ConfigurationError, match=r"^port: .*; write a port"):
        Settings.model_validate({"client_id": "x", "port": "many"})
    with pytest.raises(ConfigurationError, match=r"^port: .*; write a port"):
        Settings.model_validate_json('{"client_id": "x", "port": "many"}')
    with pytest.raises(ConfigurationError, match="valid dictionary"):
        Settings.model_validate(5)


def test_those_that_are_read_are_worded_where_they_are_read() -> None:
    """pydantic's findings reach `loading`, which knows the variables; a unit that may be half a secret is not shown."""
    with pytest.raises(ValidationError):
        Settings.model_validate({"port": "many"}, context=loading.READ)
    assert Settings.model_validate({}, context=loading.READ).client_id == ""
    with pytest.raises(ConfigurationError, match="CLOUDBEDS_AUTH_BODY_LIMIT: has an unknown unit; write ") as raised:
        load({"CLOUDBEDS_AUTH_BODY_LIMIT": "5canary"}, None, need=Need.NOTHING)
    assert "canary" not in str(raised.value.diagnosis())


def test_copies() -> None:
    """Copied and changed as before; a pickle would hold the client secret, and is refused."""
    settings = Settings(client_id="x", port=8000)
    assert copy.copy(settings) == settings.model_copy() == settings
    assert settings.model_copy(update={"port": 9000}).port == 9000
    assert Settings.model_validate(settings) is settings
    with pytest.raises(TypeError, match="never pickled"):
        pickle.dumps(settings)

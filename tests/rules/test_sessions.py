"""What a browser holds of a session, and the token of its forms."""

from __future__ import annotations

import pytest

from cloudbeds_auth.rules.authentic import MacKey
from cloudbeds_auth.rules.secret import Secret
from cloudbeds_auth.rules.sessions import Session, read_session

ONE = Session("9G5FAV3KQ2", Secret("05R2g44A8n4VhY_ENAzeYqwb5gVL-zeQ4Yk2Wg0CrF0"))


def test_what_is_written_is_read() -> None:
    """Id and secret; who did what is shown by the id alone."""
    assert read_session(ONE.text.reveal()) == ONE
    assert ONE.actor == "session:9G5FAV3KQ2"
    assert ONE.secret.reveal() not in repr(ONE)


@pytest.mark.parametrize(
    "text",
    ["", ".", "9G5FAV3KQ2", "9G5FAV3KQ2.", ".secret", "a.b", "A.b.c", "A.b\n", "A b.c", "A.\u0435", "A" * 33 + ".b"],
)
def test_what_is_no_session(text: str) -> None:
    """No row is looked for."""
    assert read_session(text) is None


@pytest.mark.row("A79")
def test_what_was_made_here() -> None:
    """Is known by the installation's key, without any look; no other id, secret, part of it or key will do."""
    key = MacKey(bytes(32))
    made = Session.made(key, "S1", "random-bits")
    assert made.was_made(key)
    text = made.secret.reveal()
    for one in (
        Session("S2", made.secret), Session("S1r", Secret(text[1:])), Session("S1", Secret(f"x{text}")),
        Session("S1", Secret(text[:-1])), Session("S1", Secret(text.upper())), Session("S1", Secret("")), ONE,
    ):  # fmt: skip
        assert not one.was_made(key)
    assert not made.was_made(MacKey(bytes(31) + b"1"))


@pytest.mark.row("A17")
def test_the_token_of_its_forms() -> None:
    """Is its own, says nothing of the secret, and no other text is taken for it."""
    other = Session(ONE.id, Secret("another"))
    assert ONE.is_form_token(ONE.form_token)
    assert ONE.form_token != other.form_token
    assert ONE.secret.reveal() not in ONE.form_token
    for given in ("", other.form_token, ONE.form_token[:-1], ONE.form_token.upper(), "\u0435", "\ud800"):
        assert not ONE.is_form_token(given)

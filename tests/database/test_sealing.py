"""Sealing: what is stored opens only under its key, unaltered, at its place; and nothing is kept longer than needed."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.bench import SqliteBench, link
from tests.support.fakes import pair

from cloudbeds_auth.database import sealing
from cloudbeds_auth.database.sealing import AesGcmSealer
from cloudbeds_auth.ports import Place, SealBroken, Sealer
from cloudbeds_auth.rules.secret import Secret
from cloudbeds_auth.transactions.authorizations import add_link
from cloudbeds_auth.transactions.connections import disconnect

ONE, TWO = bytes(range(32)), bytes(range(1, 33))
PLACE = Place("tokens", "gra_1", 0, 7)


def test_round_trip() -> None:
    """What was sealed opens at its place, and is different bytes every time."""
    sealer: Sealer = AesGcmSealer([ONE])
    sealed = {sealer.seal(Secret("canary-token"), PLACE) for _ in range(100)}
    assert len(sealed) == 100
    assert all(sealer.open(one, PLACE) == Secret("canary-token") for one in sealed)
    assert all(b"canary" not in one for one in sealed)


@given(st.text(alphabet=st.characters(codec="utf-8")))
def test_any_text(text: str) -> None:
    """Empty, long, or with any character: it comes back as it was."""
    sealer = AesGcmSealer([ONE])
    assert sealer.open(sealer.seal(Secret(text), PLACE), PLACE).reveal() == text


@pytest.mark.row("A50", "F72", control=True)
@pytest.mark.parametrize(
    "other",
    [
        replace(PLACE, table="grants"),
        replace(PLACE, row="gra_2"),
        replace(PLACE, position=1),
        replace(PLACE, generation=6),
        Place("tokensg", "ra_1", 0, 7),
        Place("tokens", "gra_10", 0, 7),
        Place("tokens", "gra_1", 70, 0),
    ],
)
def test_moved(other: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """A value of another table, row, position or generation does not open: moved, swapped or rolled back. Were its
    place not authenticated, it would.
    """
    sealer = AesGcmSealer([ONE])
    with pytest.raises(SealBroken):
        sealer.open(sealer.seal(Secret("x"), PLACE), other)
    monkeypatch.setattr(sealing, "_associated", lambda place, key_id: b"")
    assert sealer.open(sealer.seal(Secret("x"), PLACE), other) == Secret("x")


@pytest.mark.row("A50")
def test_altered_anywhere() -> None:
    """Every single flipped bit, the format byte and key id included, and every truncation is noticed."""
    sealer = AesGcmSealer([ONE, TWO])
    sealed = sealer.seal(Secret("token"), PLACE)
    for index in range(len(sealed)):
        for bit in range(8):
            altered = sealed[:index] + bytes([sealed[index] ^ 1 << bit]) + sealed[index + 1 :]
            with pytest.raises(SealBroken):
                sealer.open(altered, PLACE)
        with pytest.raises(SealBroken):
            sealer.open(sealed[:index], PLACE)
    with pytest.raises(SealBroken):
        sealer.open(sealed + b"x", PLACE)


@pytest.mark.row("A50")
def test_key_id_swap() -> None:
    """A value relabelled as the other key's does not open, even where that key is configured."""
    sealer = AesGcmSealer([ONE, TWO])
    sealed = sealer.seal(Secret("x"), PLACE)
    other = bytes.fromhex(AesGcmSealer([TWO]).key_id)
    with pytest.raises(SealBroken):
        sealer.open(sealed[:1] + other + sealed[9:], PLACE)


@pytest.mark.row("F68")
def test_wrong_key() -> None:
    """Another key opens nothing, and the error says nothing of the content."""
    sealed = AesGcmSealer([ONE]).seal(Secret("canary-token"), PLACE)
    with pytest.raises(SealBroken) as raised:
        AesGcmSealer([TWO]).open(sealed, PLACE)
    assert "canary" not in str(raised.value)
    assert "key that is not configured" in str(raised.value)


def test_first_seals_all_open() -> None:
    """A new key in front takes over; values of the older one still open."""
    old, both = AesGcmSealer([ONE]), AesGcmSealer([TWO, ONE])
    sealed = old.seal(Secret("x"), PLACE)
    assert both.open(sealed, PLACE) == Secret("x")
    assert AesGcmSealer([TWO]).open(both.seal(Secret("x"), PLACE), PLACE) == Secret("x")
    assert both.key_id == AesGcmSealer([TWO]).key_id != old.key_id


def test_same_key_twice() -> None:
    """A key listed twice is one key."""
    assert repr(AesGcmSealer([ONE, ONE])).endswith("keys=1)")


@pytest.mark.long
@pytest.mark.row("A50")
def test_nonces_are_fresh() -> None:
    """Many values, as many nonces."""
    sealer, secret = AesGcmSealer([ONE]), Secret("x")
    assert len({sealer.seal(secret, PLACE)[9:21] for _ in range(1_000_000)}) == 1_000_000


@pytest.mark.row("A50")
def test_too_many_values(monkeypatch: pytest.MonkeyPatch) -> None:
    """After 2**32 random nonces one could repeat: nothing more is sealed under this key."""
    assert sealing.MOST_SEALS == 2**32
    monkeypatch.setattr(sealing, "MOST_SEALS", 2)
    sealer = AesGcmSealer([ONE])
    sealed = [sealer.seal(Secret("x"), PLACE) for _ in range(2)]
    with pytest.raises(SealBroken, match="put a new one first"):
        sealer.seal(Secret("x"), PLACE)
    assert sealer.open(sealed[0], PLACE) == Secret("x")


@pytest.mark.row("F67")
@pytest.mark.parametrize("keys", [[], [b""], [bytes(31)], [bytes(33)], [ONE, bytes(16)]])
def test_wrong_length(keys: list[bytes]) -> None:
    """No key, or one of another length than 32 bytes, is refused at once."""
    with pytest.raises(ValueError, match="key"):
        AesGcmSealer(keys)


@pytest.mark.row("A48")
def test_repr_shows_no_key() -> None:
    """The sealer shows its key's id, which is no secret and not a part of the key."""
    sealer = AesGcmSealer([ONE])
    assert sealer.key_id in repr(sealer)
    assert sealer.key_id not in ONE.hex()


def test_format_is_stable() -> None:
    """A value sealed by an earlier version still opens: the layout and the labels never change silently."""
    sealed = AesGcmSealer([ONE], random=lambda count: bytes(range(count))).seal(Secret("token"), PLACE)
    assert sealed.hex() == FROZEN
    assert AesGcmSealer([ONE]).open(bytes.fromhex(FROZEN), PLACE) == Secret("token")


FROZEN = "01bc4992453fa60df4000102030405060708090a0b17a57d10ffec68054200c866e907114b5ec811b5ea"


# --- what is in the file


DAY = 86400.0


@pytest.mark.row("A49")
async def test_tokens_rest_sealed(db: SqliteBench) -> None:
    """Neither the access token nor the refresh token is in the file in plain text."""
    await db.approved(pair("planted"))
    await db.close()
    image = db.path.read_bytes()
    assert b"planted" not in image
    assert b"candidate_received" in image


async def test_old_links_are_swept(db: SqliteBench) -> None:
    """A day after they expired."""
    await db.store.write(add_link(link("l1")))
    db.clock.pass_(60.0 + DAY + 1.0)
    await db.store.write(add_link(link("l2")))
    assert db.sql("SELECT hash FROM links") == [("l2",)]


@pytest.mark.row("A49")
async def test_forgotten_tokens_are_not_in_the_file(db: SqliteBench) -> None:
    """Sealed bytes of a hotel that left are overwritten (secure_delete), in the log too once it is folded in."""
    grant = await db.connected()
    (sealed,) = db.sql("SELECT sealed FROM tokens WHERE grant_id = ?", grant.id)[0]
    await db.store.write(disconnect(grant.connection_id, actor="operator"))
    await db.close()
    assert sealed not in db.path.read_bytes()

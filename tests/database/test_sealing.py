"""Sealing: what is stored opens only under its key, unaltered, at its place; and nothing is kept longer than needed."""

from __future__ import annotations

from dataclasses import replace

import pytest
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import ECB
from hypothesis import given
from hypothesis import strategies as st
from tests.support.bench import SqliteBench, link
from tests.support.fakes import pair

from cloudbeds_auth.database import sealing
from cloudbeds_auth.database.sealing import AesGcmSealer, _associated, _derived
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
    assert "which is not configured" in str(raised.value)


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


# --- one key for one value (A51)


def multiply(one: int, other: int) -> int:
    """In the field of GCM (NIST SP 800-38D section 6.3)."""
    found = 0
    for bit in range(127, -1, -1):
        found ^= one if other >> bit & 1 else 0
        one = one >> 1 ^ (0xE1 << 120 if one & 1 else 0)
    return found


def inverse(one: int) -> int:
    """The power 2**128 - 2."""
    found = 1 << 127
    for _ in range(127):
        one = multiply(one, one)
        found = multiply(found, one)
    return found


def blocks(content: bytes) -> list[int]:
    """Padded with zeros."""
    padded = content + bytes(-len(content) % 16)
    return [int.from_bytes(padded[at : at + 16], "big") for at in range(0, len(padded), 16)]


def tag_without(key: bytes, nonce: bytes, associated: bytes) -> tuple[int, int]:
    """Of one block of ciphertext: the tag if it were zero, and what the block is multiplied with."""
    encrypt = Cipher(AES(key), ECB()).encryptor().update
    power = int.from_bytes(encrypt(bytes(16)), "big")
    lengths = (len(associated) * 8).to_bytes(8, "big") + (128).to_bytes(8, "big")
    sum_ = 0
    for block in [*blocks(associated), 0, *blocks(lengths)]:
        sum_ = multiply(sum_ ^ block, power)
    return sum_ ^ int.from_bytes(encrypt(nonce + b"\0\0\0\1"), "big"), multiply(power, power)


def opens_under_both(nonce: bytes) -> bytes:
    """A ciphertext with its tag that AES-GCM takes for authentic under both keys, each with its own associated data."""
    tags, factors = [], []
    for key in (ONE, TWO):
        tag, factor = tag_without(
            _derived(key, b"cloudbeds-auth sealing 1", 32), nonce, _associated(PLACE, key_id(key))
        )
        tags.append(tag)
        factors.append(factor)
    block = multiply(tags[0] ^ tags[1], inverse(factors[0] ^ factors[1]))
    return block.to_bytes(16, "big") + (tags[0] ^ multiply(block, factors[0])).to_bytes(16, "big")


def key_id(key: bytes) -> bytes:
    return bytes.fromhex(AesGcmSealer([key]).key_id)


@pytest.mark.row("A51")
def test_a_ciphertext_for_two_keys() -> None:
    """AES-GCM commits to no key: a ciphertext can be made that is authentic under two. A sealed value has the id of one
    of them in front, which is derived from the key, and opens under no other.
    """
    nonce = bytes(12)
    both = opens_under_both(nonce)
    for key in (ONE, TWO):
        cipher = AESGCM(_derived(key, b"cloudbeds-auth sealing 1", 32))
        assert len(cipher.decrypt(nonce, both, _associated(PLACE, key_id(key)))) == 16
    sealed = sealing.FORMAT + key_id(ONE) + nonce + both
    with pytest.raises(UnicodeDecodeError):  # authentic, and no text
        AesGcmSealer([ONE]).open(sealed, PLACE)
    with pytest.raises(SealBroken, match="which is not configured"):
        AesGcmSealer([TWO]).open(sealed, PLACE)
    with pytest.raises(UnicodeDecodeError):
        AesGcmSealer([TWO, ONE]).open(sealed, PLACE)


@pytest.mark.row("A51")
def test_the_id_is_part_of_what_is_authentic() -> None:
    """A ciphertext for two keys whose associated data name one of them is authentic under that one alone."""
    nonce = bytes(12)
    cipher = AESGCM(_derived(TWO, b"cloudbeds-auth sealing 1", 32))
    stray = sealing.FORMAT + key_id(TWO) + nonce + cipher.encrypt(nonce, b"x", _associated(PLACE, key_id(ONE)))
    with pytest.raises(SealBroken):
        AesGcmSealer([ONE, TWO]).open(stray, PLACE)


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
    await db.store.write(disconnect(grant.connection_id))
    await db.close()
    assert sealed not in db.path.read_bytes()

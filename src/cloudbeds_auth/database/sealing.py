"""Seals secrets for storage: AES-256-GCM, under one of several keys, bound to the place that the value belongs to.

A sealed value is `format (1) | key id (8) | nonce (12) | ciphertext and tag`. Both the encryption key and the key id
are HKDF outputs (RFC 5869) of the configured key under different labels, so that the id commits to the key and reveals
nothing about it. The associated data contains format, table, row, position, generation and key id, each preceded by its
length: a value that is moved, swapped, rolled back or relabelled does not open.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from cloudbeds_auth.ports import KeyNotAtHand, Place, SealBroken
from cloudbeds_auth.rules.secret import Secret
from cloudbeds_auth.system import random_bytes

FORMAT = b"\x01"
KEY_BYTES = 32
KEY_ID_BYTES = 8
NONCE_BYTES = 12
HEADER_BYTES = 1 + KEY_ID_BYTES + NONCE_BYTES
KEY_ID = slice(1, 1 + KEY_ID_BYTES)  # of a sealed value


def _derived(key: bytes, label: bytes, length: int) -> bytes:
    return HKDF(algorithm=SHA256(), length=length, salt=None, info=label).derive(key)


def _key(key: bytes) -> tuple[bytes, AESGCM]:
    """The key's id and its cipher."""
    if len(key) != KEY_BYTES:
        raise ValueError(f"an encryption key has {KEY_BYTES} bytes")
    identity = _derived(key, b"cloudbeds-auth key id 1", KEY_ID_BYTES)
    return identity, AESGCM(_derived(key, b"cloudbeds-auth sealing 1", KEY_BYTES))


def _associated(place: Place, key_id: bytes) -> bytes:
    """The associated data: each part is preceded by its length, so that no two places have the same encoding."""
    parts = (
        FORMAT,
        place.table.encode(),
        place.row.encode(),
        str(place.position).encode(),
        str(place.generation).encode(),
        key_id,
    )
    return b"".join([len(part).to_bytes(4, "big") + part for part in parts])


class AesGcmSealer:
    """ports.Sealer: the first key seals, all keys open.

    `keys` have 32 bytes each; raises ValueError for another length, or for none. `random` returns so many random bytes.
    """

    def __init__(self, keys: Sequence[bytes], random: Callable[[int], bytes] = random_bytes) -> None:
        if not keys:
            raise ValueError("at least one encryption key is needed")
        made = [_key(key) for key in keys]
        self._identity, self._cipher = made[0]
        self._ciphers = dict(made)
        self._random = random
        self._sealed = 0

    def __repr__(self) -> str:
        return f"AesGcmSealer(key_id={self.key_id!r}, keys={len(self._ciphers)})"

    @property
    def key_id(self) -> str:
        """The id of the key that seals, in hex; not a secret."""
        return self._identity.hex()

    @property
    def key_ids(self) -> Sequence[str]:
        """The ids of all keys, the one that seals first."""
        return [key_id.hex() for key_id in self._ciphers]

    @property
    def sealed(self) -> int:
        """How many values this process has sealed; `transactions.seals` counts those of all processes."""
        return self._sealed

    def key_of(self, sealed: bytes) -> str:
        """The id of the key that sealed this value, in hex, whether that key is configured or not."""
        return sealed[KEY_ID].hex()

    def seal(self, secret: Secret, place: Place) -> bytes:
        """The sealed bytes, with a new nonce for every call. Never refuses: the secret may be the only living one."""
        self._sealed += 1
        nonce = self._random(NONCE_BYTES)
        sealed = self._cipher.encrypt(nonce, secret.reveal().encode(), _associated(place, self._identity))
        return FORMAT + self._identity + nonce + sealed

    def new_key(self) -> Secret:
        """256 random bits in hex."""
        return Secret(self._random(KEY_BYTES).hex())

    def open(self, sealed: bytes, place: Place) -> Secret:
        """The value; raises SealBroken for an unknown format, altered bytes or another place, and KeyNotAtHand for a
        key that is not configured.
        """
        key_id = sealed[KEY_ID]
        cipher = self._ciphers.get(key_id)
        if sealed[:1] != FORMAT or len(sealed) < HEADER_BYTES:
            raise SealBroken("its format is unknown")
        if cipher is None:
            raise KeyNotAtHand(f"it needs the key {key_id.hex()}, which is not configured")
        nonce = sealed[KEY_ID.stop : HEADER_BYTES]
        try:
            plain = cipher.decrypt(nonce, sealed[HEADER_BYTES:], _associated(place, key_id))
        except InvalidTag:
            raise SealBroken("it was altered, or belongs elsewhere") from None
        return Secret(plain.decode())

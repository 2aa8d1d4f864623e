"""What a process remembers about hotels between two reads: bounded, however many hotels there are."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import TypeVar

from cloudbeds_auth.rules.model import AccessToken

K = TypeVar("K")
V = TypeVar("V")
MOST = 200_000  # entries: more than are in use at a time, as a token is read again each minute in which it is lent


class Recent(OrderedDict[K, V]):
    """A dictionary of at most `MOST` entries: one more evicts the entry that was set longest ago.

    Entries in use are set again and again, so reads need not count as use. May be read from any thread.
    """

    def __setitem__(self, key: K, value: V) -> None:
        super().__setitem__(key, value)
        self.move_to_end(key)
        if len(self) > MOST:
            self.popitem(last=False)


@dataclass(frozen=True, slots=True)
class Cached:
    """A committed access token in this process's memory; times are of the steady clock. `client_id`: the client that
    the token was issued to, if known.
    """

    app: str
    client_id: str | None
    token: AccessToken
    look_again: float  # when the row has to be read before the token is lent: it is stale, or may have changed
    ends: float
    half_life: float

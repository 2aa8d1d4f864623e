"""What a process remembers of hotels between two reads: bounded, however many there are."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import TypeVar

from cloudbeds_auth.rules.model import AccessToken

K = TypeVar("K")
V = TypeVar("V")
MOST = 200_000  # entries; a token is read again each minute in which it is lent, so more than are in use at a time


class Recent(OrderedDict[K, V]):
    """A dictionary of at most `MOST` entries: where one more is set, that which was set longest ago goes.

    What is in use is set anew again and again, so reading one need not be noted. Read from any thread.
    """

    def __setitem__(self, key: K, value: V) -> None:
        super().__setitem__(key, value)
        self.move_to_end(key)
        if len(self) > MOST:
            self.popitem(last=False)


@dataclass(frozen=True, slots=True)
class Cached:
    """A committed access token of this process's memory; moments are of the steady clock. `client_id`: to which it was
    issued, where that is known.
    """

    app: str
    client_id: str | None
    token: AccessToken
    look_again: float  # from then on the row is read before it is lent: it is stale, or others may have changed it
    ends: float
    half_life: float

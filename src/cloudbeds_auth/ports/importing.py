"""How tokens that another program was given come in: stored first, known again, and never taken for another hotel's."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from cloudbeds_auth.rules.model import Pair


@dataclass(frozen=True, slots=True)
class NewImport:
    """A hotel's tokens as another program held them.

    `token_hash` knows the refresh token again. `pair.lifetime` is 0 or less where no access token came with it.
    """

    token_hash: str
    app: str
    reference: str | None
    property_id: str
    pair: Pair


@dataclass(frozen=True, slots=True)
class Placed:
    """Where an imported token is; `grant_id` is None where it was not stored: the hotel is connected already."""

    connection_id: str
    grant_id: str | None


class ImportStore(Protocol):
    """A part of `ports.store.Store`; every method is one transaction and may raise `errors.StoreUnavailable`."""

    async def add_import(self, new: NewImport, connection_id: str, grant_id: str) -> Placed:
        """Store the tokens as a candidate; of a token that was imported before, where it is, and nothing changes.

        The candidate belongs to the one connection of this app that covers the property and whose tokens are refused,
        forgotten or not proven yet, else to `connection_id`, made now. Nothing is stored where one covers it that
        works. A token that was dropped because it is another property's begins anew under the one that is named now.
        """
        ...

"""Keys for callers over HTTP, `/api/v1/keys`: all of them for administrators, its own children for any other key."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Final

from fastapi import APIRouter, Depends, Request

from cloudbeds_auth.app.permits import still_good
from cloudbeds_auth.app.problems import NotFound
from cloudbeds_auth.app.schemas import CreatedKeyShape, KeyShape, KeysShape, NewKeyShape
from cloudbeds_auth.engine.caller_keys import CallerKeys, unknown_key
from cloudbeds_auth.errors import Forbidden, InvalidRequest
from cloudbeds_auth.rules.caller_keys import ID_PREFIX, CallerKey
from cloudbeds_auth.rules.documents import key_document
from cloudbeds_auth.rules.permissions import Caller, Scope

PAGE = 100
router: Final = APIRouter(prefix="/api/v1/keys")


@dataclass(frozen=True, slots=True)
class Holder:
    """A caller and the keys it may manage: all of them with the scope `admin`, else its children."""

    caller: Caller
    keys: CallerKeys

    @property
    def parent(self) -> Caller | None:
        """The parent of keys created by this caller; None: they have no parent."""
        return None if Scope.ADMIN in self.caller.scopes else self.caller

    async def own(self, key_id: str) -> CallerKey:
        """One of the keys it may manage; raises NotFound for any other, as for one that does not exist."""
        try:
            key = await self.keys.get(key_id)
            if self.parent is not None and key.parent != self.parent.name:
                raise unknown_key(key_id)
        except InvalidRequest as error:
            raise NotFound(error.detail, next_step=error.next_step) from None
        return key


async def holder(request: Request) -> Holder:
    """The dependency of each route here; raises Unauthenticated, and Forbidden for a caller that is neither an
    administrator nor a key.
    """
    caller = await still_good(request)
    if Scope.ADMIN not in caller.scopes and not caller.name.startswith(ID_PREFIX):
        raise Forbidden(f"the scope `{Scope.ADMIN.value}` is needed")
    return Holder(caller, request.app.state.vault.keys)


Holding = Annotated[Holder, Depends(holder)]


@router.get("")
async def list_keys(holder: Holding, parent: str | None = None, cursor: str | None = None) -> KeysShape:
    """List keys for callers, newest first, including expired and revoked ones; with `parent`, only its children. A
    caller without the scope `admin` sees its own children.
    """
    above = parent if holder.parent is None else holder.parent.name
    page = await holder.keys.list(parent=above, cursor=cursor, limit=PAGE)
    return KeysShape(keys=[KeyShape.of(one) for one in page], next=page[-1].id if len(page) == PAGE else None)


@router.post("", status_code=201)
async def create_key(body: NewKeyShape, holder: Holding) -> CreatedKeyShape:
    """Create a key; its secret is returned only in this response. A caller without the scope `admin` creates a child,
    which has at most the caller's permissions, shares the caller's rate, and ends with the caller's key.
    """
    made = await holder.keys.create(**body.model_dump(), parent=holder.parent)
    return CreatedKeyShape.model_validate(key_document(made.key) | {"key": made.secret.reveal()})


@router.get("/{key_id}")
async def get_key(key_id: str, holder: Holding) -> KeyShape:
    """What a key may do, and when it was last used."""
    return KeyShape.of(await holder.own(key_id))


@router.delete("/{key_id}")
async def revoke_key(key_id: str, holder: Holding) -> KeyShape:
    """Revoke a key and its children: they are refused everywhere within a second."""
    await holder.own(key_id)
    return KeyShape.of(await holder.keys.revoke(key_id))

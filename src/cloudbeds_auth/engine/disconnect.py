"""The end of a connection, from either side.

Disconnected here: the vendor is notified with a living token, then the tokens are deleted. If the hotel approves again
meanwhile, the disconnect stops, and nothing is deleted (rule-13). Disconnected at Cloudbeds: learnt from its webhook,
which is a hint, and by asking now and then. Neither deletes anything. If Cloudbeds itself says `disabled`, for every
property of the grant, that is recorded, and the grant is checked as in `engine.refused_calls`: a token that works
withdraws it, and a grant that is dead twice, an interval apart, is shown as disconnected and retried like any other
marked grant (rule-12). A refusal instead of a state leads to the same check. A property-level client may not ask for an
app state, so for it there is only that check.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from itertools import count

from cloudbeds_auth.engine.access import Access
from cloudbeds_auth.engine.context import World, current_grant, resolve
from cloudbeds_auth.engine.lease import Lease, Leases
from cloudbeds_auth.engine.rate_limiter import BEHIND
from cloudbeds_auth.engine.refused_calls import RefusedCalls
from cloudbeds_auth.engine.single_flight import GrantSuperseded, ServedToken
from cloudbeds_auth.engine.subscriptions import Subscriber
from cloudbeds_auth.engine.tasks import Tasks, each
from cloudbeds_auth.errors import (
    ConnectionDisconnected,
    Error,
    ReauthorizationRequired,
    RefreshInDoubt,
    StoreReadOnly,
    TokenEndpointUnavailable,
    Unclaimed,
)
from cloudbeds_auth.rules.api_errors import Act, Refusal
from cloudbeds_auth.rules.auth_flow import MOST_SENDS
from cloudbeds_auth.rules.happenings import Happening
from cloudbeds_auth.rules.model import AccessToken, App, CredentialKind, Grant, Role
from cloudbeds_auth.rules.refresh import Ask
from cloudbeds_auth.rules.schedule import PAUSE
from cloudbeds_auth.rules.webhooks import APP_DISABLED, POLL, Hint, hint_of
from cloudbeds_auth.transactions.connections import disconnect, read_connection
from cloudbeds_auth.transactions.newest import must_be_newest, newest_ordinal
from cloudbeds_auth.transactions.refusals import note_disabled, note_problem
from cloudbeds_auth.transactions.statements import Call
from cloudbeds_auth.transactions.upkeep import claim_polls

Part = tuple[str, ...]  # one property, or none if none is known
APART = 30.0  # seconds between two confirmations of one connection
MOST_WAITING = 200  # hints that are followed at one time; what a dropped hint said is learnt by asking
MOST_REMEMBERED = 10_000
AT_ONCE = 4  # connections that one tick asks about
LEFT_OUT = "property_disconnected"
SUSPECTED = Refusal("app_state_refused", Act.SUSPECT)


class Disconnecter:
    """Disconnects hotels."""

    def __init__(self, world: World, access: Access, subscriber: Subscriber) -> None:
        self._world = world
        self._access = access
        self._subscriber = subscriber
        self._leases = Leases(world)

    async def disconnect(self, connection_id: str, *, forget: bool) -> None:
        """Notify the vendor, then delete the tokens. Unless `forget` is set, a failed notification raises, and nothing
        is lost.

        Disconnecting a disconnected hotel changes nothing. A read-only copy raises StoreReadOnly. If the hotel approves
        again meanwhile, that is what it wants now: InvalidRequest, and every token is kept.
        """
        if self._world.db.read_only:
            raise StoreReadOnly(connection_id=connection_id)
        newest = await self._world.db.read(newest_ordinal(connection_id))  # before all else: a later one is newer
        row = await current_grant(self._world.db, connection_id)
        if row is None:  # nothing of it is left
            await self._world.known(connection_id)
            return
        try:
            detail = await self._notify(connection_id, newest)
        except ConnectionDisconnected:
            if row.role is Role.DISCONNECTED:
                return
            detail = "the hotel disconnected the app at Cloudbeds before"
        except Error as error:
            if not forget:
                raise
            detail = f"the vendor could not be told ({error.code})"
        await self._under_lease(row, connection_id, newest, detail)
        self._access.forget(connection_id)
        self._world.observer.happened(Happening.DISCONNECTED, connection_id=connection_id)

    async def _notify(self, connection_id: str, newest: float) -> str:
        """Send `postAppState disabled`; returns the detail for the history."""
        try:
            noted = await self._notified(connection_id, newest)
        except ReauthorizationRequired:
            return "Cloudbeds refuses every token already"
        except Unclaimed:
            return "Cloudbeds refuses the token, and what waits to be claimed is not refreshed for this"
        if noted is None:
            return "a property-level client has no app state to disable"
        if not noted:
            raise TokenEndpointUnavailable(
                "Cloudbeds did not acknowledge the disconnect, so the tokens were kept",
                connection_id=connection_id,
                next_step="try again, or insist with `forget`",
            )
        return "Cloudbeds was told"

    async def _notified(self, connection_id: str, newest: float) -> bool | None:
        """Whether the vendor acknowledged; None if there is no state to disable. A dead token is refreshed (rule-9).

        The vendor says that `disabled` ends every session, and it is sent for each property: if the first one ends the
        session of all properties, the others can no longer be sent, and need not be.
        """
        token = await self._token(connection_id)
        found = await self._world.db.read(read_connection(connection_id))
        assert found is not None  # noqa: S101 - its token was just lent
        app = await self._world.app_of(found)
        check = must_be_newest(connection_id, newest)
        await self._world.db.read(check)  # else the token may be a newer approval's
        await self._subscriber.end(app, found, token)
        if app.level == "property":
            return None
        parts: list[Part] = [(one,) for one in found.property_ids] or [()]
        began = self._world.clock.steady()
        left = parts
        for _ in range(MOST_SENDS):
            left = await self._left(app, left, token, check)
            if not left:
                return True
            try:
                renewed = await self._access.access_token(connection_id, rejected=token)
            except RefreshInDoubt:
                if len(left) < len(parts) and await self._refused_since(began, connection_id):
                    return True
                raise
            if renewed.is_same(token):
                break  # the token works, so the vendor ignores these
            token = renewed
        return False

    async def _token(self, connection_id: str) -> AccessToken:
        row = await current_grant(self._world.db, connection_id)
        if row is not None and row.role in {Role.PARKED, Role.SET_ASIDE}:  # its token is used for the disconnect only
            await self._world.app_of(row)
            return row.token()
        return await self._access.access_token(connection_id)

    async def _left(self, app: App, parts: Sequence[Part], token: AccessToken, check: Call[None]) -> list[Part]:
        """Notify the vendor for each; returns those that it did not acknowledge."""
        left: list[Part] = []
        for part in parts:  # one request each, so one turn each
            disable = partial(self._disabled, token, part, check)
            if not await self._world.limiter(app).ask(self._world.timing.wait, disable):
                left.append(part)
        return left

    async def _disabled(self, token: AccessToken, part: Part, check: Call[None]) -> bool:
        """Whether the vendor acknowledged; its turn may come late, and `disabled` would end a newer approval, too."""
        await self._world.db.read(check)
        return await self._world.vendor.disable_app(token.value, part)

    async def _refused_since(self, began: float, connection_id: str) -> bool:
        """Whether the vendor has refused every token since it was first notified."""
        row = await current_grant(self._world.db, connection_id)
        return row is not None and row.refused_ago is not None and row.refused_ago <= self._world.clock.steady() - began

    async def _under_lease(self, row: Grant, connection_id: str, newest: float, detail: str) -> None:
        """Disconnect under the lease, so that no refresh is running (rule-15); waits no longer than a caller would."""
        world = self._world
        until = world.clock.steady() + world.timing.wait
        lease: Lease | ServedToken | None = None
        while not isinstance(lease, Lease):  # a refresh was committed meanwhile: ask with the present generation
            await world.db.read(must_be_newest(connection_id, newest))  # no newer approval's lease is taken
            current = await current_grant(world.db, connection_id) or row
            ask = Ask(current.id, current.generation, connection_id=current.connection_id)
            with suppress(GrantSuperseded):
                lease = await self._leases.take(ask, until)
        async with self._leases.keep(lease):  # given back if a newer approval came
            await world.db.write(disconnect(connection_id, detail=detail, newest=newest))


class AppStates:
    """Follows hints, and asks about app states on its own."""

    def __init__(self, world: World, access: Access, refused_calls: RefusedCalls) -> None:
        self._world = world
        self._access = access
        self._refused_calls = refused_calls
        self._following = Tasks()
        self._numbers = count(1)
        self._waiting: set[str] = set()
        self._not_before: dict[str, float] = {}

    def hint(self, body: bytes) -> None:
        """Take a payload that came with the right secrets. Returns at once; it is confirmed in the background."""
        hint = None if self._world.db.read_only else hint_of(body)  # a copy cannot record anything
        if hint is None or len(self._following) >= MOST_WAITING:
            self._world.observer.happened(Happening.HINT_IGNORED if hint is None else Happening.HINT_DROPPED)
            return
        self._world.observer.happened(Happening.HINT_RECEIVED, property=hint.property_id)
        self._following.begin(f"follow hint {next(self._numbers)}", partial(self._follow, hint))

    async def stop(self) -> None:
        """Cancel what runs: what an unfollowed hint said is learnt by asking."""
        await self._following.stop()

    async def tick(self) -> float:
        """Ask about a few connections whose turn it is; seconds until the next tick. Raises StoreUnavailable."""
        claimed = await self._world.db.write(claim_polls(AT_ONCE, POLL))
        await each(claimed, partial(self._confirm, hint=None), self._failed)
        return 0.0 if len(claimed) == AT_ONCE else PAUSE

    async def _follow(self, hint: Hint) -> None:
        with suppress(Error):
            for connection_id in await resolve(self._world.db, hint.property_id):
                await self._rested(connection_id, hint)

    async def _rested(self, connection_id: str, hint: Hint) -> None:
        """Confirm, at least `APART` seconds after the last time; hints that come meanwhile share the confirmation."""
        clock = self._world.clock
        if connection_id in self._waiting:
            return
        self._waiting.add(connection_id)
        try:
            wait = self._not_before.get(connection_id, 0.0) - clock.steady()
            if wait > 0:
                await clock.sleep(wait)
        finally:
            self._waiting.discard(connection_id)
        if len(self._not_before) >= MOST_REMEMBERED:
            self._not_before.clear()
        self._not_before[connection_id] = clock.steady() + APART
        await each([connection_id], partial(self._confirm, hint=hint), self._failed)

    def _failed(self, connection_id: str, error: Exception) -> None:
        """Report it; the connection is asked about again."""
        code = getattr(error, "code", type(error).__name__)
        self._world.observer.happened(Happening.APP_STATE_FAILED, connection_id=connection_id, error=code)

    async def _confirm(self, connection_id: str, hint: Hint | None) -> None:
        """Ask Cloudbeds, and act on its own answer."""
        row = await current_grant(self._world.db, connection_id)
        if row is None or row.role is not Role.ACTIVE or row.reauth:
            return
        app = await self._world.app_of(row)
        # A key may belong to the second set of credentials that a move was made with (docs/keys.md).
        if hint is not None and row.kind is CredentialKind.OAUTH and hint.client_id not in {"", app.client_id}:
            return
        token = await self._access.access_token(connection_id)
        if token.grant_id != row.id:
            return  # the hotel approved again meanwhile
        if app.level == "property":
            await self._look(token)
            return
        disabled = await self._disabled_parts(app, token, _parts(row, hint))
        if len(disabled) == len(_parts(row, hint)):
            # One answer may be wrong, so it is a hint, believed only once the grant is dead, too (rule-12).
            if await self._world.db.write(note_disabled(row.id, token.generation)):
                self._world.observer.happened(Happening.DISABLED_SAID, connection_id=connection_id)
            await self._look(token)
            return
        if disabled:
            said = {"properties": ", ".join(disabled)}
            await self._world.db.write(note_problem(row.id, token.generation, LEFT_OUT, said))

    async def _disabled_parts(self, app: App, token: AccessToken, parts: list[str | None]) -> list[str]:
        """The properties for which Cloudbeds says that the app is disabled, up to the first where it says otherwise."""
        disabled: list[str] = []
        for part in parts:
            answer = await self._world.limiter(app).ask(
                BEHIND, partial(self._world.vendor.app_state, token.value, part)
            )
            if answer.refused:
                await self._look(token)
            if answer.state != APP_DISABLED:
                break
            disabled.append(part or "")
        return disabled

    async def _look(self, token: AccessToken) -> None:
        """Have `/userinfo` asked whether the grant is alive."""
        self._refused_calls.note_refusal(token, SUSPECTED, "GET", "getAppState")


def _parts(row: Grant, hint: Hint | None) -> list[str | None]:
    """The properties to ask about, the hinted one first; the grant's own (None) if none is known."""
    first = [hint.property_id] if hint is not None and hint.property_id in row.property_ids else []
    found: list[str | None] = list(dict.fromkeys((*first, *row.property_ids)))
    return found or [None]

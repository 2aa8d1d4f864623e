"""The vendor as a pure model: no I/O, no clock (``now`` is Unix seconds), no dice (``mint`` makes token values).

A refusal is a value, ``Rejected``; which status and words it gets is decided in ``answers``.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable, Iterable

from cloudbeds_simulator import keys, variants
from cloudbeds_simulator.keys import Keyring
from cloudbeds_simulator.records import App, Approval, Code, Grant, Hotel, Keyed, Rejected, Tokens
from cloudbeds_simulator.rotation import Issued, Pair, Rotation
from cloudbeds_simulator.settings import Settings
from cloudbeds_simulator.subscriptions import Subscriptions


class Model:
    """Everything the vendor knows. Hotels keep the order in which they were added."""

    def __init__(self, mint: Callable[[str], str], settings: Settings | None = None) -> None:
        self.mint = mint
        self.settings = settings or Settings()
        self.apps: dict[str, App] = {}
        self.hotels: dict[str, Hotel] = {}
        self.codes: dict[str, Code] = {}
        self.grants: list[Grant] = []
        self.app_states: dict[tuple[str, str], str] = {}
        self.subscriptions = Subscriptions()
        self.chosen: tuple[str, ...] = ()
        self._by_access: dict[str, Grant] = {}
        self._by_refresh: dict[str, Grant] = {}
        self._keys = Keyring(mint)

    # --- registrations and switches

    def add_app(self, app: App) -> None:
        """Register a client, or replace the registration of the same client id (a secret reset is that too)."""
        self.apps[app.client_id] = app

    def add_hotel(self, hotel: Hotel) -> None:
        """Add a property, or replace the one with the same id. One that joins a group is covered from then on by the
        grants of the whole group; one that leaves it is not covered any more by those that cover more of it.
        """
        one, former = hotel.property_id, self.hotels.get(hotel.property_id)
        left, joined = former.group if former else None, hotel.group
        self.hotels[one] = hotel
        if left == joined:
            return
        for grant in self.grants:
            covered = grant.approval.property_ids
            if one in covered and self._of_group(left) & {*covered}:
                grant.cover(tuple(other for other in covered if other != one))
            elif one not in covered and (others := self._of_group(joined) - {one}) and others <= {*covered}:
                grant.cover((*covered, one))

    def _of_group(self, group: str | None) -> set[str]:
        """The properties of a group; of none, none."""
        return {one.property_id for one in self.hotels.values() if group is not None and one.group == group}

    def configure(self, changes: dict[str, object]) -> Settings:
        """Change some settings, for living grants too. Raises ValueError, changing nothing, when one is impossible."""
        self.settings = self.settings.changed(changes)
        for grant in self.grants:
            grant.rotation.variant = variants.parse(self.settings.variant)
            grant.rotation.lifetime = self.settings.expires_in
        return self.settings

    def choose(self, property_ids: Iterable[str]) -> tuple[str, ...]:
        """The properties the next automatic approval grants. Raises ValueError for an unknown one."""
        self.chosen = self._known(property_ids)
        return self.chosen

    def begin_again(self, apps: Iterable[App], hotels: Iterable[Hotel], settings: Settings) -> None:
        """Forget everything; then these are all there is."""
        for kept in (self.apps, self.hotels, self.codes, self.app_states, self._by_access, self._by_refresh):
            kept.clear()
        self.subscriptions.known.clear()
        self.subscriptions.due.clear()
        self.grants.clear()
        self._keys.clear()
        self.chosen, self.settings = (), settings
        for app in apps:
            self.add_app(app)
        for hotel in hotels:
            self.add_hotel(hotel)

    # --- authorization endpoint

    def registration(self, client_id: str, redirect_uri: str, response_type: str) -> App | Rejected:
        """The app an authorization request comes from, or why it is shown to the user instead of sent back."""
        app = self.apps.get(client_id)
        if app is None:
            return Rejected("unknown_client")
        if redirect_uri not in app.redirect_uris:
            return Rejected("redirect_uri", f"not registered: {redirect_uri}")
        if response_type != "code":
            return Rejected("response_type", response_type)
        return app

    def authorize(
        self, client_id: str, redirect_uri: str, property_ids: Iterable[str], scopes: Iterable[str], now: float
    ) -> str:
        """A hotel user approves: the code. No scope asked for means the whole ceiling; scopes above it are left out.

        Raises ValueError for an unknown property, or none. The user who approves is the first property's.
        """
        app = self.apps[client_id]
        known = self._known(property_ids)
        asked = set(scopes)
        granted = tuple(scope for scope in app.scopes if not asked or scope in asked)
        approval = Approval(client_id, known, self.hotels[known[0]].user, granted)
        code = Code(self.mint("code"), redirect_uri, approval, now)
        self.codes[code.value] = code
        return code.value

    def take_choice(self) -> tuple[str, ...]:
        """What an automatic approval grants: the chosen properties, once, or else the first hotel."""
        chosen, self.chosen = self.chosen, ()
        return chosen or tuple(self.hotels)[:1]

    # --- token endpoint

    def client(self, client_id: str, client_secret: str) -> App | Rejected:
        """The registration these credentials open."""
        app = self.apps.get(client_id)
        if app is None:
            return Rejected("unknown_client")
        if not hmac.compare_digest(app.client_secret.encode(), client_secret.encode()):
            return Rejected("bad_secret")
        return app

    def exchange(
        self, client_id: str, client_secret: str, code: str, redirect_uri: str, now: float, *, key: bool = False
    ) -> Tokens | Keyed | Rejected:
        """``grant_type=authorization_code`` or, for a ``key``, the API key's: a new grant with its first pair, or with
        a key and no pair; a code works once.
        """
        app = self.client(client_id, client_secret)
        if isinstance(app, Rejected):
            return app
        found = self.codes.get(code)
        if found is None or found.approval.client_id != client_id or found.redirect_uri != redirect_uri:
            return Rejected("bad_code", "unknown, or of another client or redirect URI")
        if found.spent or now - found.issued_at >= self.settings.code_lifetime:
            return Rejected("bad_code", "spent before" if found.spent else "older than its lifetime")
        found.spent = True
        grant = self._grant(found.approval, now, key=key)
        return self._keys.issue(grant, now) if key else Tokens(grant, self._index(grant, grant.rotation.current))

    def refresh(self, client_id: str, client_secret: str, refresh_token: str, now: float) -> Tokens | Rejected:
        """``grant_type=refresh_token``: what this R gives under the grant's variant."""
        app = self.client(client_id, client_secret)
        if isinstance(app, Rejected):
            return app
        grant = self._by_refresh.get(refresh_token)
        if grant is None or grant.approval.client_id != client_id:
            return Rejected("refused", "unknown")
        if now - grant.last_used_at >= self.settings.idle_lifetime:
            self.end(grant, "idle")
        outcome = grant.rotation.present(refresh_token, now)
        if isinstance(outcome, Issued):
            grant.last_used_at = now
            keys.refreshed(grant)
            return Tokens(grant, self._index(grant, outcome.pair), outcome.repeated)
        if outcome.reason == "reuse":
            grant.ended = "reuse"
        return Rejected("refused", outcome.reason, grant)

    def exchange_for_key(self, client_id: str, client_secret: str, refresh_token: str, now: float) -> Keyed | Rejected:
        """``grant_type=refresh_token_exchange``: an API key for a living R, which rotates nothing.

        It may be another registered client that asks: the move to keys needs a second set of credentials.
        """
        app = self.client(client_id, client_secret)
        if isinstance(app, Rejected):
            return app
        if self.settings.exchange == "not_offered":
            return Rejected("grant_type", "not arranged")
        grant = self._by_refresh.get(refresh_token)
        if grant is None:
            return Rejected("refused", "unknown")
        refused = grant.rotation.show(refresh_token)
        if refused is None:
            return self._keys.exchange(grant, self.settings, now)
        if refused.reason == "reuse":
            grant.ended = "reuse"
        return Rejected("refused", refused.reason, grant)

    # --- resources

    def find(self, access_token: str, now: float) -> Grant | Rejected:
        """The living grant of this A or API key, without counting it as a use."""
        if access_token.startswith(keys.PREFIX):
            found = self._keys.find(access_token, self.settings, now)
            return found if isinstance(found, Rejected) else found[0]
        grant = self._by_access.get(access_token)
        if grant is None:
            return Rejected("denied", "unknown")
        if grant.rotation.revoked:
            return Rejected("dead", grant.ended or "revoked", grant)
        if not grant.rotation.alive(access_token, now):
            superseded = access_token != grant.rotation.current.access_token
            return Rejected("denied", "superseded" if superseded else "expired", grant)
        return grant

    def resource(self, access_token: str, now: float, successful: bool = True) -> Grant | Rejected:
        """A protected method was asked with this A and answers 2xx or not; an accepted one counts as a use."""
        grant = self.find(access_token, now)
        if isinstance(grant, Grant):
            if not self._keys.used(access_token, now):
                grant.rotation.use(access_token, now, successful)
            grant.last_used_at = now
        return grant

    # --- the end of grants

    def end(self, grant: Grant, reason: str, face: str = "denied") -> None:
        """Revoke one grant; ``face`` is how resources answer from now on, ``reason`` is for the glass box."""
        grant.rotation.revoke()
        grant.ended = grant.ended or reason
        grant.face = face

    def set_app_state(self, client_id: str, property_id: str, state: str, now: float, keep: bool = False) -> None:
        """``enabled``, ``pending``, ``installing`` or ``disabled``, which removes every session of the app there.

        ``keep``: not yet; the documentation does not say how soon.
        """
        before = self.app_states.get((client_id, property_id), "enabled")
        self.app_states[client_id, property_id] = state
        if state != before:
            self.subscriptions.changed(client_id, property_id, before, state, now)
        if keep:
            return
        if state == "disabled":
            for grant in self.covering(property_id, client_id):
                if self.settings.disabling_ends == "grant" or self._left_everywhere(grant):
                    self.end(grant, "app state disabled", grant.face)

    def _left_everywhere(self, grant: Grant) -> bool:
        """Whether the app is disabled at every property of the grant."""
        approval = grant.approval
        return all(self.app_states.get((approval.client_id, one)) == "disabled" for one in approval.property_ids)

    def covering(self, property_id: str, client_id: str | None = None) -> list[Grant]:
        """The living grants that cover this property, of one app or of all."""
        return [
            grant
            for grant in self.grants
            if not grant.rotation.revoked
            and property_id in grant.approval.property_ids
            and client_id in (None, grant.approval.client_id)
        ]

    def _known(self, property_ids: Iterable[str]) -> tuple[str, ...]:
        known = tuple(dict.fromkeys(str(one) for one in property_ids))
        unknown = [one for one in known if one not in self.hotels]
        if unknown or not known:
            raise ValueError(f"unknown property {unknown[0]}" if unknown else "no property chosen")
        return known

    def _grant(self, approval: Approval, now: float, *, key: bool) -> Grant:
        if self.settings.reauthorization_revokes:
            for one in approval.property_ids:
                for earlier in self.covering(one, approval.client_id):
                    self.end(earlier, "re-authorized")
        variant = variants.parse(self.settings.variant)
        rotation = Rotation(variant, self.mint, now, self.settings.expires_in, empty=key)
        grant = Grant(len(self.grants) + 1, approval, rotation, now, now)
        self.grants.append(grant)
        for one in approval.property_ids:
            self.app_states[approval.client_id, one] = "enabled"
        return grant

    def _index(self, grant: Grant, pair: Pair) -> Pair:
        self._by_access[pair.access_token] = grant
        self._by_refresh[pair.refresh_token] = grant
        return pair

"""The vendor as a pure model: no I/O, no clock (``now`` is Unix seconds), no randomness (``mint`` makes token values).

A refusal is a value, ``Rejection``; ``answers`` decides which status and words it gets.

API keys are given for a code or in exchange for a refresh token, or created by a hotel user. They are never refreshed;
a key is ended by a refresh of the tokens that it was exchanged for. Documented: a key begins with ``cbat_``, has no
expiry, dies after 30 days without use, and "if you generate a new access token with the refresh token, it will
invalidate the new API key". What a repeated exchange gives is not documented, so it is a setting.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable, Iterable
from dataclasses import replace

from cloudbeds_simulator.records import (
    ALL_SCOPES,
    Hotel,
    HotelApproval,
    IssuedKey,
    IssuedTokens,
    Rejection,
    VendorApp,
    VendorCode,
    VendorGrant,
    VendorKey,
)
from cloudbeds_simulator.rotation import IssuedPair, Rotation, TokenPair, variant_of
from cloudbeds_simulator.switches import SimulatorSettings
from cloudbeds_simulator.webhooks import Subscriptions

KEY_PREFIX = "cbat_"


class VendorModel:
    """Everything the vendor knows. Hotels keep the order in which they were added."""

    def __init__(self, mint: Callable[[str], str], settings: SimulatorSettings | None = None) -> None:
        self.mint = mint
        self.settings = settings or SimulatorSettings()
        self.apps: dict[str, VendorApp] = {}
        self.hotels: dict[str, Hotel] = {}
        self.codes: dict[str, VendorCode] = {}
        self.grants: list[VendorGrant] = []
        self.app_states: dict[tuple[str, str], str] = {}
        self.subscriptions = Subscriptions()
        self.chosen: tuple[str, ...] = ()
        self._by_access: dict[str, VendorGrant] = {}
        self._by_refresh: dict[str, VendorGrant] = {}
        self._by_key: dict[str, tuple[VendorGrant, VendorKey]] = {}

    # --- registrations and switches

    def add_app(self, app: VendorApp) -> None:
        """Register a client, or replace the registration with the same client id, as for a secret reset."""
        self.apps[app.client_id] = app

    def add_hotel(self, hotel: Hotel) -> None:
        """Add a property, or replace the one with the same id. If it joins a group, the grants of the whole group cover
        it from then on; if it leaves one, grants that cover more of that group no longer cover it.
        """
        one, former = hotel.property_id, self.hotels.get(hotel.property_id)
        left, joined = former.group if former else None, hotel.group
        self.hotels[one] = hotel
        if left == joined:
            return
        for grant in self.grants:
            covered = grant.approval.property_ids
            if one in covered and self._of_group(left) & {*covered}:
                covered = tuple(other for other in covered if other != one)
            elif one not in covered and (others := self._of_group(joined) - {one}) and others <= {*covered}:
                covered = (*covered, one)
            grant.approval = replace(grant.approval, property_ids=covered)

    def _of_group(self, group: str | None) -> set[str]:
        """The properties of a group; none for None."""
        return {one.property_id for one in self.hotels.values() if group is not None and one.group == group}

    def configure(self, changes: dict[str, object]) -> SimulatorSettings:
        """Change some settings, for living grants too. Raises ValueError, and changes nothing, if one is impossible."""
        self.settings = self.settings.changed(changes)
        for grant in self.grants:
            grant.rotation.variant = variant_of(self.settings.variant)
            grant.rotation.lifetime = self.settings.expires_in
        return self.settings

    def choose(self, property_ids: Iterable[str]) -> tuple[str, ...]:
        """Set the properties that the next automatic approval grants. Raises ValueError for an unknown one."""
        self.chosen = self._known(property_ids)
        return self.chosen

    # --- authorization endpoint

    def registration(self, client_id: str, redirect_uri: str, response_type: str) -> VendorApp | Rejection:
        """The app of an authorization request, or why the request is shown to the user instead of redirected back."""
        app = self.apps.get(client_id)
        if app is None:
            return Rejection("unknown_client")
        if redirect_uri not in app.redirect_uris:
            return Rejection("redirect_uri", f"not registered: {redirect_uri}")
        if response_type != "code":
            return Rejection("response_type", response_type)
        return app

    def authorize(
        self, client_id: str, redirect_uri: str, property_ids: Iterable[str], scopes: Iterable[str], now: float
    ) -> str:
        """A hotel user approves: returns the code. If no scope is asked for, all of the app's are granted; others are
        left out.

        Raises ValueError for an unknown property, or none. The user who approves is that of the first property.
        """
        known = self._known(property_ids)
        granted = self.apps[client_id].granted(scopes)
        approval = HotelApproval(client_id, known, self.hotels[known[0]].user, granted)
        code = VendorCode(self.mint("code"), redirect_uri, approval, now)
        self.codes[code.value] = code
        return code.value

    def take_choice(self) -> tuple[str, ...]:
        """The properties that an automatic approval grants: those chosen, once, or else the first hotel."""
        chosen, self.chosen = self.chosen, ()
        return chosen or tuple(self.hotels)[:1]

    # --- token endpoint

    def client(self, client_id: str, client_secret: str) -> VendorApp | Rejection:
        """The registration that these credentials belong to."""
        app = self.apps.get(client_id)
        if app is None:
            return Rejection("unknown_client")
        if not hmac.compare_digest(app.client_secret.encode(), client_secret.encode()):
            return Rejection("bad_secret")
        return app

    def exchange(
        self, client_id: str, code: str, redirect_uri: str, now: float, *, key: bool = False
    ) -> IssuedTokens | IssuedKey | Rejection:
        """``grant_type=authorization_code`` or, for a ``key``, the API key's grant type: a new grant with its first
        pair, or with a key and no pair. A code works once.
        """
        found = self.codes.get(code)
        if found is None or found.approval.client_id != client_id or found.redirect_uri != redirect_uri:
            return Rejection("bad_code", "unknown, or of another client or redirect URI")
        if found.spent or now - found.issued_at >= self.settings.code_lifetime:
            return Rejection("bad_code", "spent before" if found.spent else "older than its lifetime")
        found.spent = True
        grant = self._grant(found.approval, now, key=key)
        return self._new_key(grant, now) if key else self._indexed(grant, grant.rotation.current)

    def refresh(self, client_id: str, refresh_token: str, now: float) -> IssuedTokens | Rejection:
        """``grant_type=refresh_token``: what this R gives under the grant's variant. The grant's keys end."""
        grant = self._by_refresh.get(refresh_token)
        if grant is None or grant.approval.client_id != client_id:
            return Rejection("refused", "unknown")
        if now - grant.last_used_at >= self.settings.idle_lifetime:
            self.end(grant, "idle")
        outcome = grant.rotation.present(refresh_token, now)
        if not isinstance(outcome, IssuedPair):
            return self._refused(grant, outcome.reason)
        grant.last_used_at = now
        grant.end_keys("refreshed")
        return self._indexed(grant, outcome.pair, outcome.repeated)

    def exchange_for_key(self, refresh_token: str, now: float) -> IssuedKey | Rejection:
        """``grant_type=refresh_token_exchange``: an API key for a living R, which rotates nothing.

        Another registered client may ask, because the move to keys needs a second set of credentials.
        """
        if self.settings.exchange == "not_offered":
            return Rejection("grant_type", "not arranged")
        grant = self._by_refresh.get(refresh_token)
        if grant is None:
            return Rejection("refused", "unknown")
        refusal = grant.rotation.show(refresh_token)
        if refusal is not None:
            return self._refused(grant, refusal.reason)
        living = next((key for key in reversed(grant.keys) if key.ended is None), None)
        if living is None or self.settings.repeated_exchange == "new":
            grant.end_keys("exchanged again")
            return self._new_key(grant, now)
        if self.settings.repeated_exchange == "refused":
            return Rejection("refused", "exchanged before", grant)
        return IssuedKey(grant, living, repeated=True)

    def make_key(self, property_ids: Iterable[str], scopes: Iterable[str], now: float) -> IssuedKey:
        """A hotel user creates an API key: API credentials of the hotel's own, whose client id no partner has.

        If no scope is named, all are granted. Raises ValueError for an unknown property, or none.
        """
        known = self._known(property_ids)
        client_id = self.mint("client")
        self.add_app(VendorApp(client_id, self.mint("secret"), "API credentials", frozenset(), ALL_SCOPES, "property"))
        user = self.hotels[known[0]].user
        approval = HotelApproval(client_id, known, user, self.apps[client_id].granted(scopes))
        return self._new_key(self._grant(approval, now, key=True), now)

    # --- resources

    def find(self, credential: str, now: float) -> VendorGrant | Rejection:
        """The living grant of this A or API key, without counting it as a use."""
        if credential.startswith(KEY_PREFIX):
            return self._find_key(credential, now)
        grant = self._by_access.get(credential)
        if grant is None:
            return Rejection("denied", "unknown")
        if grant.rotation.revoked:
            return Rejection("dead", grant.ended or "revoked", grant)
        if not grant.rotation.alive(credential, now):
            superseded = credential != grant.rotation.current.access_token
            return Rejection("denied", "superseded" if superseded else "expired", grant)
        return grant

    def _find_key(self, value: str, now: float) -> VendorGrant | Rejection:
        if value not in self._by_key:
            return Rejection("key", "unknown")
        grant, key = self._by_key[value]
        if grant.rotation.revoked:
            return Rejection("dead", grant.ended or "revoked", grant)
        if now - key.last_used_at >= self.settings.key_idle_lifetime:
            key.ended = key.ended or "idle"
        return Rejection("key", key.ended, grant) if key.ended else grant

    def resource(self, credential: str, now: float, successful: bool = True) -> VendorGrant | Rejection:
        """A protected method was called with this A or key, and answers 2xx or not; if accepted, that is a use."""
        grant = self.find(credential, now)
        if isinstance(grant, VendorGrant):
            if credential in self._by_key:
                self._by_key[credential][1].last_used_at = now
            else:
                grant.rotation.use(credential, now, successful)
            grant.last_used_at = now
        return grant

    # --- the end of grants

    def end(self, grant: VendorGrant, reason: str, face: str = "denied") -> None:
        """Revoke one grant; ``face`` is how resources answer from now on, ``reason`` is for the glass box."""
        grant.rotation.revoke()
        grant.ended = grant.ended or reason
        grant.face = face

    def set_app_state(self, client_id: str, property_id: str, state: str, now: float, keep: bool = False) -> None:
        """``enabled``, ``pending``, ``installing`` or ``disabled``, which ends every session of the app there.

        ``keep``: not yet; the documentation does not say how soon.
        """
        before = self.app_states.get((client_id, property_id), "enabled")
        self.app_states[client_id, property_id] = state
        if state != before:
            self.subscriptions.changed(client_id, property_id, before, state, now)
        if state == "disabled" and not keep:
            for grant in self.covering(property_id, client_id):
                states = {self.app_states.get((client_id, one)) for one in grant.approval.property_ids}
                if self.settings.disabling_ends == "grant" or states == {"disabled"}:
                    self.end(grant, "app state disabled", grant.face)

    def covering(self, property_id: str, client_id: str | None = None) -> list[VendorGrant]:
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

    def _grant(self, approval: HotelApproval, now: float, *, key: bool) -> VendorGrant:
        if self.settings.reauthorization_revokes:
            for one in approval.property_ids:
                for earlier in self.covering(one, approval.client_id):
                    self.end(earlier, "re-authorized")
        variant = variant_of(self.settings.variant)
        rotation = Rotation(variant, self.mint, now, self.settings.expires_in, empty=key)
        grant = VendorGrant(len(self.grants) + 1, approval, rotation, now, now)
        self.grants.append(grant)
        for one in approval.property_ids:
            self.app_states[approval.client_id, one] = "enabled"
        return grant

    def _indexed(self, grant: VendorGrant, pair: TokenPair, repeated: bool = False) -> IssuedTokens:
        """The answer with this pair, whose tokens can be found from now on."""
        self._by_access[pair.access_token] = self._by_refresh[pair.refresh_token] = grant
        return IssuedTokens(grant, pair, repeated)

    def _new_key(self, grant: VendorGrant, now: float) -> IssuedKey:
        key = VendorKey(f"{KEY_PREFIX}{self.mint('key')}", now, now)
        grant.keys.append(key)
        self._by_key[key.value] = (grant, key)
        return IssuedKey(grant, key)

    def _refused(self, grant: VendorGrant, reason: str) -> Rejection:
        if reason == "reuse":
            grant.ended = reason
        return Rejection("refused", reason, grant)

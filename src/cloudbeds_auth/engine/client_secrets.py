"""Which client secret to present: a refused secret is not tried by every process (F35, F36).

A circuit belongs to an app and the fingerprint of a secret, so a machine with a new secret continues while another one
still has the old secret. A refused secret gets one trial at a time, in case the vendor accepts it again.
"""

from __future__ import annotations

import hashlib
from collections.abc import Container, Mapping
from contextlib import suppress
from dataclasses import dataclass

from cloudbeds_auth.engine.context import World
from cloudbeds_auth.errors import ClientRefused
from cloudbeds_auth.rules.happenings import Happening
from cloudbeds_auth.rules.lifecycle import UNAUTHORIZED_CLIENT
from cloudbeds_auth.rules.model import App, Grant
from cloudbeds_auth.rules.presentation import remedy_of
from cloudbeds_auth.rules.secret import Secret
from cloudbeds_auth.transactions.apps import close_circuit, open_circuit, open_circuits

AGREE_WITHIN = 600.0  # seconds within which the answers for two grants agree about the client
OTHERS_FIRST = 600.0  # seconds for which a due trial is left to grants for which the client was not refused


@dataclass(frozen=True, slots=True)
class ClientSecretChoice:
    """The secret to present, of `app` as it is now; `on_trial` if it was refused before."""

    app: App
    secret: Secret
    fingerprint: str
    on_trial: bool


def fingerprint(app: App, secret: Secret) -> str:
    """Identifies a secret without revealing it: 64 bits of a hash over it and the client id."""
    return hashlib.sha256(f"{app.client_id}\0{secret.reveal()}".encode()).hexdigest()[:16]


class ClientSecrets:
    """Chooses secrets, and remembers whether they were accepted."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._unauthorized: dict[str, tuple[str, float]] = {}  # by app: the grant refused, and when

    async def choose(self, app: App, grant: Grant | None = None) -> ClientSecretChoice:
        """The first secret that is not refused, else one that is due for a trial, which `trying` takes. Raises
        ClientRefused if there is none, if the secret belongs to another origin, or if `grant`, whose token is sent with
        it, was issued to another client id.
        """
        await self._world.must_be_bound_here(app)
        waits = await self._world.db.read(open_circuits(app.id))
        app, known = await self._known(app, waits)
        if grant is not None:  # a corrected registration may be another client
            self._world.must_match(grant, app)
        for name, secret in known.items():
            if name not in waits:
                return ClientSecretChoice(app, secret, name, on_trial=False)
        # If the client was refused for this grant alone, others get the trial first, unless none of them comes (F104).
        later = OTHERS_FIRST if grant is not None and grant.problem == UNAUTHORIZED_CLIENT else 0.0
        for name, secret in known.items():
            if waits[name] + later <= 0:
                return ClientSecretChoice(app, secret, name, on_trial=True)
        raise self.error(app, retry_after=min((max(0.0, waits[name] + later) for name in known), default=None))

    async def trying(self, chosen: ClientSecretChoice) -> None:
        """To be called before a request is sent with this secret: a secret on trial is sent by no other request then.

        The trial is not taken when the secret is chosen: the attempt may end before its request, and would have taken
        the trial from other callers for nothing. Raises ClientRefused while another request has the trial.
        """
        if not chosen.on_trial:
            return
        wait = (await self._world.db.read(open_circuits(chosen.app.id))).get(chosen.fingerprint)
        if wait is not None and wait > 0:
            raise self.error(chosen.app, retry_after=wait)
        if wait is not None:
            await self._hold(chosen.app, chosen.fingerprint)

    async def is_open(self, app: App) -> bool:
        """Whether every secret of this app is refused, or none can be decrypted."""
        waits = await self._world.db.read(open_circuits(app.id))
        app, _ = await self._known(app, waits)
        return all_refused(app, waits)

    async def _known(self, app: App, waits: Mapping[str, float]) -> tuple[App, dict[str, Secret]]:
        """The app and its secrets by fingerprint.

        If every secret is refused they are read again: a corrected one is used without a restart (F35).
        """
        known = _fingerprints(app)
        if all(name in waits for name in known):
            self._world.reread_apps()
            app = await self._world.find(app.id) or app
            known = _fingerprints(app)
        return app, known

    def error(self, app: App, detail: str = "", *, retry_after: float | None = None) -> ClientRefused:
        """The error where no secret of this app is left to present."""
        if not app.secrets:
            detail = f"the client secret of the app {app.id!r} does not open: its row was altered or belongs elsewhere"
        step = None if app.id in self._world.apps else remedy_of(app.id, app)
        return ClientRefused(detail, next_step=step, retry_after=retry_after)

    async def refused(self, chosen: ClientSecretChoice) -> bool:
        """The vendor refused this secret. Returns whether another one may be presented now.

        If this one was accepted until now, the vendor may have changed to one it refused before: those get a trial now.
        """
        app, db = chosen.app, self._world.db
        await self._hold(app, chosen.fingerprint)
        self._world.observer.happened(Happening.CLIENT_REFUSED, app=app.id)
        waits = await db.read(open_circuits(app.id))
        others = [name for name in _fingerprints(app) if name in waits and name != chosen.fingerprint]
        if chosen.on_trial:
            return any(waits[name] <= 0 for name in others) or not await self.is_open(app)
        for name in others:
            await db.write(open_circuit(app.id, name, trial_after=0.0))
        return bool(others) or not await self.is_open(app)

    def agreed(self, chosen: ClientSecretChoice, grant_id: str) -> bool:
        """The client was refused for one grant. Returns whether it was lately refused for another grant, too, and not
        accepted since: then the client itself is refused (F104).
        """
        now = self._world.clock.steady()
        other, at = self._unauthorized.get(chosen.app.id, (grant_id, now))
        if other != grant_id and now - at <= AGREE_WITHIN:
            return True
        self._unauthorized[chosen.app.id] = (grant_id, now)
        return False

    async def accepted(self, chosen: ClientSecretChoice) -> None:
        """The vendor accepted this secret. A pair from its answer may be in hand, so nothing here raises: what cannot
        be stored is found out by the next trial.
        """
        self._unauthorized.pop(chosen.app.id, None)
        if chosen.on_trial:
            with suppress(Exception):
                await self._world.db.write(close_circuit(chosen.app.id, chosen.fingerprint))

    async def _hold(self, app: App, name: str) -> None:
        await self._world.db.write(open_circuit(app.id, name, trial_after=self._world.timing.backoff_cap))


def all_refused(app: App, refused: Container[str]) -> bool:
    """Whether each secret of this app has one of these fingerprints, or none can be decrypted."""
    return all(name in refused for name in _fingerprints(app))


def _fingerprints(app: App) -> dict[str, Secret]:
    return {fingerprint(app, secret): secret for secret in app.secrets}

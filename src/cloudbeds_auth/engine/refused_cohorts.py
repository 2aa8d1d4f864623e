"""Whether our own credentials are refused for a connection: the app's secrets, or tokens that came from elsewhere. No
connection stores that, so whole cohorts are judged (`rules.origins`), however many hotels each has.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, field, replace
from typing import Literal

from cloudbeds_auth.engine.client_secrets import ClientSecrets, all_refused
from cloudbeds_auth.engine.context import World
from cloudbeds_auth.rules.lifecycle import State
from cloudbeds_auth.rules.model import App, CredentialKind
from cloudbeds_auth.rules.origins import Cohort, Foreign, Source
from cloudbeds_auth.transactions.apps import read_registrations
from cloudbeds_auth.transactions.connections import read_cohorts

LIVING = (State.FRESH, State.STALE, State.REFRESHING, State.IN_DOUBT, State.BACKING_OFF)
NEVER_STORED = (State.CLIENT_REFUSED, State.READ_ONLY)  # how a living connection is shown meanwhile
BY_REFUSAL = (*LIVING, *NEVER_STORED)
MOST_COHORTS = 10_000  # in the query for one page
COHORTS_AT_ONCE = 1_000  # read by one transaction
REMEMBERED = 10.0  # seconds for which a judgement of more than that is reused


@dataclass(frozen=True, slots=True)
class KnownApps:
    """Registrations by name, the origins that apps are bound to, and the apps (`shut`) whose client secrets are all
    refused, do not open, or are gone. `refusal` judges by them, one connection as well as a whole cohort.
    """

    world: World
    apps: Mapping[str, App]
    issuers: Mapping[str, str]
    shut: Set[str]

    def refusal(self, registration: str, credential: str, source: Source) -> Foreign | Literal["secret"] | None:
        """Why credentials from `source` by this registration are refused; None: they are not."""
        source = replace(source, issuer=source.issuer or self.issuers.get(registration))
        foreign = self.world.foreign(registration, source, self.apps.get(registration))
        if foreign is not None:
            return foreign
        needs_secret = credential != CredentialKind.API_KEY
        return "secret" if needs_secret and registration in self.shut else None


@dataclass(frozen=True, slots=True)
class Judged:
    """Cohorts by how they are shown: our secret is refused, they came from elsewhere, or neither."""

    refused: list[Cohort] = field(default_factory=list)
    foreign: list[Cohort] = field(default_factory=list)
    others: list[Cohort] = field(default_factory=list)

    def add(self, one: Cohort, refusal: Foreign | Literal["secret"] | None) -> None:
        """Add a cohort where it belongs."""
        (self.others if refusal is None else self.refused if refusal == "secret" else self.foreign).append(one)


class Cohorts:
    """Judges cohorts by the present settings and store."""

    def __init__(self, world: World, client_secrets: ClientSecrets) -> None:
        self._world = world
        self._client_secrets = client_secrets
        self._last_judged, self._judged_until = Judged(), -math.inf

    async def looking_like(self, wanted: State | None) -> Sequence[Cohort] | None:
        """The cohorts of all connections that look like this; None: any cohort, or too many to query for."""
        if wanted not in BY_REFUSAL or wanted is State.READ_ONLY:
            return None
        judged = await self._judged()
        if wanted is State.CLIENT_REFUSED:
            return _few([*judged.refused, *judged.foreign])
        return _few(judged.others) if judged.refused or judged.foreign else None

    async def refused_by_secret(self) -> Sequence[Cohort] | None:
        """The cohorts whose client secret is refused, and that did not come from elsewhere; None: too many."""
        return _few((await self._judged()).refused)

    async def _judged(self) -> Judged:
        """All cohorts; if very many, as they were some seconds ago."""
        if self._world.clock.steady() < self._judged_until:
            return self._last_judged
        judged, after, reads = Judged(), "", 0
        while True:
            cohorts = await self._world.db.browse(read_cohorts(after, COHORTS_AT_ONCE))
            known, reads = await self.registrations({one.registration for one in cohorts}), reads + 1
            for one in cohorts:
                judged.add(one, known.refusal(one.registration, one.kind, one.source))
            if len(cohorts) < COHORTS_AT_ONCE:
                break
            after = cohorts[-1].key
        self._last_judged = judged
        self._judged_until = self._world.clock.steady() + (REMEMBERED if reads > 1 else 0.0)
        return judged

    async def registrations(self, names: Set[str]) -> KnownApps:
        """What decides whether our credentials are refused for connections by these registrations."""
        world, stored = self._world, await self._world.db.browse(read_registrations(sorted(names)))
        further = {name: app for name, app in stored.apps.items() if name not in world.apps}
        shut = {name for name, app in further.items() if all_refused(app, stored.refused.get(name, ()))}
        for name in names & world.apps.keys():
            if await self._client_secrets.is_open(world.apps[name]):  # which rereads the settings
                shut.add(name)
        apps = {**further, **world.apps}
        return KnownApps(world, apps, stored.issuers, shut | (names - apps.keys()))


def _few(cohorts: Sequence[Cohort]) -> Sequence[Cohort] | None:
    """These; None if they are too many to query for."""
    return cohorts if len(cohorts) <= MOST_COHORTS else None

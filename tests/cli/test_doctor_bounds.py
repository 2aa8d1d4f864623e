"""`doctor` over more hotels than it looks at: it says how many those are, and of the others it claims nothing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from tests.cli.fakes import ADA, FakeVault
from tests.cli.test_doctor import levels, subject

from cloudbeds_auth import Page
from cloudbeds_auth.doctor import hotels
from cloudbeds_auth.doctor.examination import Finding, Level, ok
from cloudbeds_auth.rules.lifecycle import State
from cloudbeds_auth.rules.subscriptions import Subscription
from cloudbeds_auth.transactions.verification import AlteredRows

DOUBTED = replace(ADA, state=State.IN_DOUBT, problem="property_unknown")
UNNAMED = replace(DOUBTED, problem="hotel_scope_missing", next_step="ask for the scope")
MANY, FEW = "newest 10000", "newest 500"
NOBODY = [Page((), None)] * 3  # pages of hotels that need a person
END = Page((), None)


class Fleet(FakeVault):
    """Pages as they come; rows in database order, of which `altered` begins with so many connections and keys."""

    def __init__(self, connections: int = 0, keys: int = 0, problems: Sequence[str] = ()) -> None:
        super().__init__()
        self.rows = {"connections": connections, "keys": keys}
        self.found = problems

    @property
    def engine(self) -> Any:
        views = {**vars(super().engine.views), "altered": self._altered, "altered_keys": self._altered_keys}
        return SimpleNamespace(world=super().engine.world, views=SimpleNamespace(**views))

    async def _altered(self, before: str | None, limit: int, *, histories: bool) -> AlteredRows:
        return self._page("connections", before, limit)

    async def _altered_keys(self, before: str | None, limit: int) -> AlteredRows:
        return self._page("keys", before, limit)

    def _page(self, rows: str, before: str | None, limit: int) -> AlteredRows:
        read = int(before or 0) + limit
        return AlteredRows(self.found, str(read) if read <= self.rows[rows] else None)


async def test_a_stuck_hotel_beyond_the_first_page(tmp_path: Path) -> None:
    """All pages of hotels in doubt are read: 200 that settle by themselves hide none that does not."""
    vault = Fleet()
    vault.pages = [*NOBODY, Page((DOUBTED,) * 200, "more"), Page((), "more"), Page((UNNAMED,), None), END]
    assert [one.mend for one in await hotels.need_a_person(subject(tmp_path, vault))] == ["ask for the scope"]


async def test_very_many_stuck_hotels(tmp_path: Path) -> None:
    """The newest are named, and where to see the others."""
    vault = Fleet()
    vault.pages = [*NOBODY, Page((UNNAMED,) * 40, "more"), Page((UNNAMED,) * 40, "more"), END]
    *named, more = await hotels.need_a_person(subject(tmp_path, vault))
    assert len(named) == hotels.MOST
    assert more == Finding(Level.PROBLEM, "and more", "cloudbeds-auth connections list --state in_doubt")


async def test_more_hotels_in_doubt_than_are_looked_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is not said that no hotel needs attention."""
    monkeypatch.setattr(hotels, "MOST_PAGES", 3)
    vault = Fleet()
    vault.pages = [*NOBODY, *[Page((DOUBTED,) * 200, "more")] * 3, END]
    (found,) = await hotels.need_a_person(subject(tmp_path, vault))
    assert (found.level, found.what) == (
        Level.WARNING, "of the hotels that are in doubt, only the newest 600 were looked at",
    )  # fmt: skip
    assert found.mend == "cloudbeds-auth connections list --state in_doubt"


async def test_very_many_moves_hide_no_problem(tmp_path: Path) -> None:
    """Those that upkeep resumes are not counted against those that it cannot: the last hotel of the page is named."""
    vault = Fleet()
    moving = replace(ADA, state=State.REFRESHING, problem="migration_under_way", moving_under="client-1")
    stuck = replace(moving, id="con_LAST", problem="migration_client_unknown", next_step="go on with it")
    vault.pages = [*NOBODY, END, Page((*(moving,) * 60, stuck), None), END]
    problem, *warnings, more = await hotels.need_a_person(subject(tmp_path, vault))
    assert (problem.level, problem.what.split()[0], problem.mend) == (Level.PROBLEM, "con_LAST", "go on with it")
    assert levels(warnings) == [Level.WARNING] * hotels.MOST
    assert more == Finding(Level.WARNING, "and more", "cloudbeds-auth connections list --state refreshing")


@pytest.mark.parametrize("check", [hotels.calls_refused, hotels.at_risk, hotels.subscribed])
async def test_more_hotels_than_the_other_checks_look_at(
    check: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each says that it looked at the newest, also if no page was full; and nothing of it where it looked at all."""
    monkeypatch.setattr(hotels, "MOST_PAGES", 3)
    given = {
        "hook_secret": "a-path-that-nobody-guesses-0123456789", "hook_header": "a-header-that-nobody-guesses-0123456",
        "public_url": "https://auth.example.com",
    }  # fmt: skip
    there = Subscription("100001", "guest/created", "https://app.example/hook", "X-Hook-Secret", id="sub_1")
    served = replace(ADA, subscriptions=(there,))
    vault = Fleet()
    vault.pages = [Page((served,), "more")]
    (found,) = await check(subject(tmp_path, vault, **given))
    assert (found.level, "the newest" in found.what) == (Level.OK, True)
    vault.pages = [Page((served,), None)]
    (found,) = await check(subject(tmp_path, vault, **given))
    assert (found.level, "the newest" in found.what) == (Level.OK, False)


@pytest.mark.parametrize(
    ("connections", "keys", "said"),
    [
        (499, 9_999, "links, keys for callers and histories are unaltered"),
        (501, 0, "links, keys for callers and histories of the newest 500 hotels are unaltered"),
        (
            20_000,
            20_000,
            f"links of the {MANY} hotels, the {MANY} keys for callers and histories of the {FEW} hotels are unaltered",
        ),
    ],
)
async def test_which_rows_were_verified(connections: int, keys: int, said: str, tmp_path: Path) -> None:
    """Fewer histories than links: what was not read is not called unaltered."""
    rest = "; `cloudbeds-auth database check` verifies all" if "newest" in said else ""
    assert await hotels.altered(subject(tmp_path, Fleet(connections, keys))) == ok(said + rest)


async def test_a_row_that_was_altered_is_named_once(tmp_path: Path) -> None:
    """Links are verified twice, with histories and without."""
    found = await hotels.altered(subject(tmp_path, Fleet(20_000, 0, ["con_1: altered"])))
    assert (levels(found), found[0].what) == ([Level.PROBLEM], "con_1: altered")

"""What an operator sees of the service itself in a browser: apps, the audit, work, settings."""

from __future__ import annotations

import re
from base64 import b64encode
from dataclasses import replace

import pytest
from tests.app.operators import Operator, signed_in
from tests.app.running import Running, Vendor, a_service
from tests.app.test_dashboard import following
from tests.app.vaults import ADMIN_TOKEN, RealVault, given

from cloudbeds_auth.app import service_pages
from cloudbeds_auth.app.pages.operator_pages import when
from cloudbeds_auth.app.service_pages import JOBS, up_to
from cloudbeds_auth.engine.jobs import JobRecord
from cloudbeds_auth.engine.workload import MOST_APPS, ClientWindow, Workload
from cloudbeds_auth.rules.event_words import KINDS
from cloudbeds_auth.rules.model import moment
from cloudbeds_auth.rules.rate_limit import Limit, Rate, WindowUse
from cloudbeds_auth.settings import Settings, rows
from cloudbeds_auth.transactions.outbox import Outbox
from cloudbeds_auth.transactions.upkeep import Queue, Queued

WEBHOOK_SECRET = f"whsec_{b64encode(bytes(range(32))).decode()}"
PATHS = ("/apps", "/audit", "/work", "/settings")


@pytest.fixture
async def operator(service: Running[RealVault]) -> Operator:
    """Signed in."""
    return await signed_in(service)


async def test_each_page_says_where_it_is(operator: Operator) -> None:
    """And has the way to every other one, and past the bar."""
    for path, name in [("/", "Hotels"), ("/keys", "Keys"), *((path, path[1:].title()) for path in PATHS)]:
        status, _, page = await operator.open(path)
        assert status == 200, path
        assert re.findall(r'<a href="[^"]*" aria-current="page">(\w+)</a>', page) == [name]
        for other in PATHS:
            assert f'<a href="{other}"' in page
        assert '<a class="skip" href="#content">' in page
        assert page.count("<h1") == page.count('<main id="content"') == 1


async def test_apps(operator: Operator, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each with its hotels, where they are listed, and whether it is in order; never its secret."""
    monkeypatch.setattr(service_pages, "ROWS", 1)
    vault = operator.service.vault
    for name in ("aurora", "boreal"):
        await vault.apps.add(name, client_id=f"client-{name}", client_secret=f"THE-SECRET-OF-{name}-0123456789")
    _, _, page = await operator.open("/apps")
    assert ("client-1" in page, "client-aurora" in page, "client-boreal" in page) == (True, True, False)
    assert 'href="/connections?app=default">1<' in page
    assert page.count('class="badge healthy"') == 2
    _, _, rest = await operator.open(following(page, "apps"))
    assert ("client-1" in rest, "client-boreal" in rest) == (False, True)
    _, _, none = await operator.open(following(rest, "apps"))
    assert "There are no more apps." in none
    for shown in (page, rest):
        assert "SECRET" not in shown
        assert "secret-1" not in shown


async def test_an_app_that_is_refused(operator: Operator) -> None:
    """Says so, and what to do."""
    vault = operator.service.vault
    await vault.apps.add("aurora", client_id="client-2", client_secret="A-SECRET-OF-THE-HOTEL")
    vault.sql("UPDATE apps SET generation = 2")
    _, _, page = await operator.open("/apps")
    assert "<strong>Its secret does not open.</strong>" in page
    assert "<code>cloudbeds-auth apps rotate-secret aurora</code>" in page


async def test_the_audit(operator: Operator, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who did what, about what, and from where, a page at a time, in words."""
    monkeypatch.setattr(service_pages, "ROWS", 2)
    vault = operator.service.vault
    await vault.keys.create("a job", scopes=["read"])
    await operator.press("/connections/con_1/disconnect")
    _, _, page = await operator.open("/audit")
    assert 'href="/connections/con_1">con_1</a>' in page
    assert "the signed-in operator" in page
    assert "127.0.0.1" in page
    seen = re.findall(r"UTC</td><td>[^<]*</td><td>([^<]*)</td>", page)
    while following(page, "audit"):
        _, _, page = await operator.open(following(page, "audit"))
        seen += re.findall(r"UTC</td><td>[^<]*</td><td>([^<]*)</td>", page)
    assert seen == [KINDS["disconnected"], "Key created", "Signed in"]
    oldest = (await vault.engine.audit.entries())[-1].id
    assert "There are no earlier entries." in (await operator.open(f"/audit?cursor={oldest}"))[2]


async def test_an_audit_of_nothing(operator: Operator) -> None:
    """Says so."""
    operator.service.vault.sql("DELETE FROM audit")
    assert "Nobody did anything yet." in (await operator.open("/audit"))[2]


async def test_every_job_has_words(operator: Operator) -> None:
    """And no words are of a job that is gone."""
    names = operator.service.vault.engine.jobs.records.keys()
    assert JOBS.keys() - names == {"webhooks"}  # which runs where an address is set
    assert names <= JOBS.keys()


async def test_work(operator: Operator) -> None:
    """What waits, and that nothing is sent where no address is set."""
    _, _, page = await operator.open("/work")
    for said in ("Refreshes and keep-alive", "No limit applies", "No webhook URL is set, so nothing is sent."):
        assert said in page


FINE, LATE = Queued(0, 12, 0.0), Queued(10_000, 10_000, 4000.0)
WELL = Outbox(0, 0.0, 0, None)
LIMITED = Limit(Rate(9))


@pytest.mark.parametrize(
    ("outbox", "badge", "said"),
    [
        (WELL, "healthy", "Every message was delivered."),
        (Outbox(3, 60.0, 0, None), "healthy", "Waiting to be delivered: 3, the oldest for 1 minute."),
        (Outbox(3, 7200.0, 0, None), "attention", "Is the receiver reachable"),
        (Outbox(3, 60.0, 2, "HTTP 500"), "attention", "Given up: 2, the last because of HTTP 500. Waiting: 3."),
    ],
)
async def test_messages(
    operator: Operator, monkeypatch: pytest.MonkeyPatch, outbox: Outbox, badge: str, said: str
) -> None:
    """Delivered, on their way, late, or given up."""
    await shown(operator, monkeypatch, Workload({}, [], outbox, {}))
    operator.service.vault.change(webhook_url="https://app.example/hook")
    _, _, page = await operator.open("/work")
    assert f'<span class="badge {badge}">{badge.capitalize()}</span> ' in page
    assert said in page


async def test_what_is_late_or_in_use(operator: Operator, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each number has a word that says whether it is normal."""
    app = operator.service.vault.settings.app()
    now = operator.service.vault.clock.wall()
    uses = [
        WindowUse(0, 0, 0.0, False),
        WindowUse(9, 3, 0.0, False),
        WindowUse(0, 0, 9.0, True),
        WindowUse(0, 0, 0.0, True),
    ]
    windows = [ClientWindow(replace(app, id=f"app-{at}"), LIMITED, use, at) for at, use in enumerate(uses)]
    many = [windows[0]] * MOST_APPS
    jobs = {
        "well": JobRecord(now - 5, now - 9, 1, "ValueError"),
        "ill": JobRecord(now - 9, now - 5, 2, "OSError"),
        "new": JobRecord(),
    }
    queues = {Queue.UPKEEP: LATE, Queue.RETRIES: FINE, Queue.LISTINGS: Queued(1, 0, 300.0)}
    await shown(operator, monkeypatch, Workload(queues, [*windows, *many], WELL, jobs))
    _, _, page = await operator.open("/work")
    for said in (
        "10,000 or more", '"badge attention">Attention</span> 1 hour', '"badge recovering">Recovering</span> 5 minutes',
        "all in use: further requests wait their turn", "nothing is sent for 9 seconds", "requests are spaced evenly",
        "9 within 1.25 s", "5 seconds ago: OSError", "not yet", f"the first {MOST_APPS} by name",
    ):  # fmt: skip
        assert said in page, said
    assert page.count("below the limit") == 1 + MOST_APPS


async def shown(operator: Operator, monkeypatch: pytest.MonkeyPatch, found: Workload) -> None:
    """This is what there is to do."""

    async def read() -> Workload:
        return found

    monkeypatch.setattr(operator.service.vault.engine.workloads, "read", read)


async def test_settings(vendor: Vendor) -> None:
    """Every one as it was read, with where it is from and its sentence; of a secret only whether there is one."""
    secrets = {
        "admin_token": ADMIN_TOKEN, "webhook_url": "https://app.example/hook?token=IN-THE-ADDRESS",
        "webhook_secrets": WEBHOOK_SECRET, "client_secret": "THE-CLIENT-SECRET",
    }  # fmt: skip
    settings = given(base_url=vendor.base_url, **secrets).model_copy(
        update={"env_file": "/etc/x.env", "from_env_file": ("CLOUDBEDS_CLIENT_ID",), "warnings": ("a warning",)}
    )
    async with a_service(RealVault(settings)) as service:
        _, _, page = await (await signed_in(service)).open("/settings")
    table = dict(re.findall(r'<th scope="row"><code>(\w+)</code></th><td>(.*?)</td>', page))
    assert table.keys() == {row.name for row in rows(Settings).values()}
    assert table["CLOUDBEDS_CLIENT_SECRET"] == table["CLOUDBEDS_AUTH_WEBHOOK_URL"] == "set"
    assert table["CLOUDBEDS_AUTH_DATABASE_URL"] == "set"
    assert table["CLOUDBEDS_AUTH_HOOK_SECRET"] == table["CLOUDBEDS_AUTH_INSTANCE"] == "not set"
    assert table["CLOUDBEDS_AUTH_OPEN_CONNECT"] == "<code>true</code>"
    assert table["CLOUDBEDS_AUTH_BODY_LIMIT"] == "<code>512KiB</code>"
    assert table["CLOUDBEDS_AUTH_TOKEN_TIMEOUT"] == "<code>20</code>"
    assert table["CLOUDBEDS_SCOPES"] == "<code>read:hotel</code>"
    for secret in (ADMIN_TOKEN, "IN-THE-ADDRESS", WEBHOOK_SECRET, "THE-CLIENT-SECRET"):
        assert secret not in page
    for said in (
        "<code>/etc/x.env</code>",
        "the environment",
        "the default",
        "A warning.",
        "Identifies the app at Cloudbeds.",
    ):
        assert said in page, said


def test_words_of_numbers() -> None:
    """Moments in UTC, counts that went no further."""
    assert when(None) is None
    assert when(moment(1_764_000_000.0)) == "24 Nov 2025, 16:00 UTC"
    assert (up_to(1234, 9999), up_to(9999, 9999)) == ("1,234", "9,999 or more")

"""What rests in the file: sealed tokens, and nothing longer than it is needed."""

from __future__ import annotations

from tests.database.bench import SqliteBench, link
from tests.support.fakes import pair

from cloudbeds_auth.transactions.authorizations import add_link
from cloudbeds_auth.transactions.connections import disconnect

DAY = 86400.0


async def test_tokens_rest_sealed(db: SqliteBench) -> None:
    """Neither the access token nor the refresh token is in the file in plain text."""
    await db.approved(pair("planted"))
    await db.close()
    image = db.path.read_bytes()
    assert b"planted" not in image
    assert b"candidate_received" in image


async def test_old_links_are_swept(db: SqliteBench) -> None:
    """A day after they expired."""
    await db.store.write(add_link(link("l1")))
    db.clock.pass_(60.0 + DAY + 1.0)
    await db.store.write(add_link(link("l2")))
    assert db.sql("SELECT hash FROM links") == [("l2",)]


async def test_forgotten_tokens_are_not_in_the_file(db: SqliteBench) -> None:
    """Sealed bytes of a hotel that left are overwritten (secure_delete), in the log too once it is folded in."""
    grant = await db.connected()
    (sealed,) = db.sql("SELECT sealed FROM tokens WHERE grant_id = ?", grant.id)[0]
    await db.store.write(disconnect(grant.connection_id, actor="operator"))
    await db.close()
    assert sealed not in db.path.read_bytes()

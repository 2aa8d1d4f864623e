"""`keys`: credentials for the programs that call the service, each with only the permissions it needs."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

import click

from cloudbeds_auth.cli.commands import READING, Checked, command, confirm, group, takes_yes, with_vault
from cloudbeds_auth.cli.output import Output
from cloudbeds_auth.rules.caller_keys import CallerKey, limits_of, reach_of
from cloudbeds_auth.rules.documents import key_document, stamp
from cloudbeds_auth.rules.permissions import Scope

if TYPE_CHECKING:
    from cloudbeds_auth.vault import TokenVault

HEADINGS = ("key", "name", "scopes", "for", "limits", "ends", "last used")
LIFE: Final = re.compile(r"([0-9]{1,9})([smhd])\Z")
UNITS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}


def _life(text: str) -> int:
    """`90d`, `12h`, `30m`, `45s`: seconds. Raises ValueError for anything else."""
    found = LIFE.match(text)
    if found is None:
        raise ValueError
    return int(found[1]) * UNITS[found[2]]


DURATION = Checked("duration like 90d, 12h, 30m or 45s", _life, float)


@group(
    "keys",
    "cloudbeds-auth keys",
    "cloudbeds-auth keys create reports --scope read --scope proxy --read-only",
    "cloudbeds-auth keys revoke key_01J9Z3NDEKTSV4RRFFQ69G5FAV",
    short_help="List, create, show and revoke keys for the programs that call the service.",
    default="list",
)
def keys() -> None:
    """Keys for the programs that call the service: unlike the admin token, each may do only what it needs.

    Only a hash of a key is stored: the key is printed once, when it is created. Without a subcommand, list them.
    """


@command("list", "cloudbeds-auth keys list", "cloudbeds-auth keys list --parent key_01J… --json", group=keys)
@click.option("--parent", metavar="ID", help="Only the children of this key, which end with it.")
@click.option("--created-by", metavar="ID", help="Only keys created by this one, whether its children or not.")
def list_keys(out: Output, parent: str | None, created_by: str | None) -> None:
    """List keys, newest first, including expired and revoked ones."""

    async def all_of(vault: TokenVault) -> list[CallerKey]:
        found: list[CallerKey] = []
        while page := await vault.keys.list(parent=parent, cursor=found[-1].id if found else None):
            found.extend(page)
        return found

    with out.working(READING):
        found = [key for key in with_vault(all_of) if created_by in {None, key.created_by}]
    out.document({"keys": [key_document(key) for key in found]})
    out.table(HEADINGS, [_row(key) for key in found])


@command(
    "create",
    "cloudbeds-auth keys create website --scope proxy --scope read            for all hotels",
    "cloudbeds-auth keys create partner --scope proxy --property 1000 --read-only --expires-in 90d",
    "cloudbeds-auth keys create sync --scope proxy --method getReservations --method getGuest",
    "cloudbeds-auth keys create prometheus --scope metrics",
    group=keys,
)
@click.argument("name")
@click.option(
    "--scope",
    "scopes",
    type=click.Choice([scope.value for scope in Scope]),
    multiple=True,
    required=True,
    help="What the key may do; repeatable.",
)
@click.option(
    "--connection", "connections", metavar="ID", multiple=True, help="Allow this connection only; repeatable."
)
@click.option("--property", "properties", metavar="ID", multiple=True, help="Allow this property only; repeatable.")
@click.option("--reference", "references", metavar="NAME", multiple=True, help="Allow this reference only; repeatable.")
@click.option("--read-only", is_flag=True, help="Allow only GET, HEAD and OPTIONS at Cloudbeds.")
@click.option("--method", "methods", metavar="METHOD", multiple=True, help="Allow only this API method; repeatable.")
@click.option("--rate", type=float, metavar="NUMBER", help="Requests per second to Cloudbeds, over all processes.")
@click.option("--expires-in", type=DURATION, metavar="DURATION", help="Lifetime: 90d, 12h, 30m.  [default: unlimited]")
def create(
    out: Output,
    name: str,
    scopes: tuple[str, ...],
    connections: tuple[str, ...],
    properties: tuple[str, ...],
    references: tuple[str, ...],
    read_only: bool,
    methods: tuple[str, ...],
    rate: float | None,
    expires_in: float | None,
) -> None:
    """Create a key. NAME is for people.

    Without --connection, --property and --reference the key is for all hotels; otherwise for every hotel that one of
    them names. A key for some properties of a group may call for those only, but reads the whole connection. The key is
    the only line on standard output.
    """
    made = with_vault(
        lambda vault: vault.keys.create(
            name, scopes=scopes, connections=connections or None, properties=properties or None,
            references=references or None, read_only=read_only, methods=methods or None, rate=rate,
            expires_in=expires_in,
        )
    )  # fmt: skip
    out.document(key_document(made.key) | {"key": made.secret.reveal()})
    out.line(made.secret.reveal())
    out.hint(f"{made.key.id}: it cannot be shown again; programs send it in `Authorization: Bearer …` or `X-API-Key`")


@command("show", "cloudbeds-auth keys show key_01J9Z3NDEKTSV4RRFFQ69G5FAV", group=keys)
@click.argument("key_id", metavar="ID")
def show(out: Output, key_id: str) -> None:
    """Show what a key may do and when it was last used, never the key itself."""
    _show(out, with_vault(lambda vault: vault.keys.get(key_id)))


@command("revoke", "cloudbeds-auth keys revoke key_01J9Z3NDEKTSV4RRFFQ69G5FAV --yes", group=keys)
@click.argument("key_id", metavar="ID")
@takes_yes
def revoke(out: Output, key_id: str, yes: bool) -> None:
    """Revoke a key and its children: running services refuse them within a second.

    Keys created by a key with the scope `admin` have no parent and remain valid: the command says how many there are.
    """

    async def end(vault: TokenVault) -> tuple[CallerKey, Sequence[CallerKey]]:
        return await vault.keys.revoke(key_id), await vault.keys.left_by(key_id)

    confirm(f"Revoke {key_id}?", "programs that use it will be refused", yes=yes)
    ended, left = with_vault(end)
    _show(out, ended, f"{key_id} is revoked", still_good=[key.id for key in left])
    if left:
        out.line(
            f"keys that it created and that remain valid: {len(left)}; "
            f"see `cloudbeds-auth keys list --created-by {key_id}`"
        )


def _show(out: Output, key: CallerKey, done: str | None = None, **more: object) -> None:
    out.document(key_document(key) | more)
    if done is not None:
        out.line(done)
    out.fields([
        ("key", key.id), ("name", key.name), ("scopes", " ".join(sorted(key.scopes))), ("for", reach_of(key)),
        ("limits", limits_of(key)), ("made by", key.created_by), ("made", stamp(key.created_at)), ("ends", _end(key)),
        ("last used", _used(key)),
    ])  # fmt: skip


def _row(key: CallerKey) -> tuple[str, ...]:
    return key.id, key.name, " ".join(sorted(key.scopes)), reach_of(key), limits_of(key), _end(key), _used(key)


def _end(key: CallerKey) -> str:
    if key.ended_at is not None:
        return f"revoked {stamp(key.ended_at)}"
    return stamp(key.expires_at) or "never"


def _used(key: CallerKey) -> str:
    return "never" if key.used_at is None else f"{stamp(key.used_at)} from {key.used_from}"

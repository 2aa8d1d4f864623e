"""Checks everything an installation needs and says what to fix; secrets are never shown.

Reading order: `examination` (what is examined, findings, running the checks), then the checks: `installation`,
`database`, `hotels`. A new check is a function there and a row here.
"""

from cloudbeds_auth.doctor import database, hotels, installation
from cloudbeds_auth.doctor.examination import Check

CHECKS: dict[str, Check] = {
    "settings": installation.settings_complete,
    "redirect URI": installation.redirect_uri,
    "addresses": installation.addresses,
    "database": database.opens,
    "durability": database.durability,
    "histories": database.histories,
    "move": database.moving,
    "database privacy": database.permissions,
    "SQLite": database.sqlite_version,
    "Cloudbeds": installation.vendor_reachable,
    "token endpoint": installation.token_endpoint,
    "clock": installation.clock,
    "port": installation.listening_port,
    "client secret": hotels.client_secret,
    "apps": hotels.further_apps,
    "origins": hotels.where_from,
    "hotels": hotels.need_a_person,
    "upkeep": hotels.looked_after,
    "calls": hotels.calls_refused,
    "risks": hotels.at_risk,
    "altered": hotels.altered,
    "kept tokens": hotels.kept_tokens,
    "webhooks": hotels.delivered,
    "subscriptions": hotels.subscribed,
}
"""All checks by name, in the order in which they run and are shown."""

"""Settings: read once from the environment and `.env`, every problem reported at once and by name.

Reading order: `variables` (the table of names), `values` (what a value must look like), `model` (the settings),
`sources` (environment, `.env`, secret files), `loading` (all of it, with the findings);
`registration` (further apps, which are no settings and look like them).
"""

from cloudbeds_auth.settings.loading import Need, env_file, load, load_from_environment, written
from cloudbeds_auth.settings.model import Settings
from cloudbeds_auth.settings.registration import further_app, redirect_uri_of
from cloudbeds_auth.settings.values import admin_token, base_url, is_loopback, key_bytes

__all__ = [
    "Need",
    "Settings",
    "admin_token",
    "base_url",
    "env_file",
    "further_app",
    "is_loopback",
    "key_bytes",
    "load",
    "load_from_environment",
    "redirect_uri_of",
    "written",
]

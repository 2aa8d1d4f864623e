"""Settings: read once from the environment and `.env`, every problem reported at once and by name.

Reading order: `row` and `table` (one row a setting), `needs` (when one is required), `values` and `secret_values` (what
a value must look like), `wrong_values` (what is wrong with it, in our words), `loading` (the environment, `.env` and
secret files), `registration` (further apps, which are no settings and look like them).
"""

from cloudbeds_auth.settings.loading import env_file, known, load, load_from_environment, written
from cloudbeds_auth.settings.registration import further_app, redirect_uri_of
from cloudbeds_auth.settings.row import Need, Setting, rows
from cloudbeds_auth.settings.secret_values import admin_token, key_bytes
from cloudbeds_auth.settings.table import Settings
from cloudbeds_auth.settings.values import as_variable, base_url, is_loopback, is_our_path

__all__ = [
    "Need",
    "Setting",
    "Settings",
    "admin_token",
    "as_variable",
    "base_url",
    "env_file",
    "further_app",
    "is_loopback",
    "is_our_path",
    "key_bytes",
    "known",
    "load",
    "load_from_environment",
    "redirect_uri_of",
    "rows",
    "written",
]

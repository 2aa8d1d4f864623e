"""The key file and the admin token file: created once beside the SQLite database, with mode 0600. A missing key file is
not created again once there is data.
"""

from __future__ import annotations

import base64
import os
import stat
from contextlib import suppress
from pathlib import Path

from cloudbeds_auth.errors import ConfigurationError
from cloudbeds_auth.os_files import private_folder, write_private
from cloudbeds_auth.rules.secret import Secret
from cloudbeds_auth.settings import Settings, admin_token, key_bytes
from cloudbeds_auth.system import random_bytes

LARGEST = 4096  # bytes


def key_file(database: Path) -> Path:
    """The path of a SQLite database's encryption key, if the settings contain no keys."""
    return database.with_name(f"{database.name}.key")


def admin_token_file(database: Path) -> Path:
    """The path of the admin token, if the settings contain none."""
    return database.with_name(f"{database.name}.admin-token")


def load_keys(settings: Settings, *, database_has_rows: bool) -> tuple[bytes, ...]:
    """The encryption keys, the sealing key first: those of the settings, else the key file's, which is created if
    missing.

    `database_has_rows`: whether values are sealed already. If so, a missing key file raises ConfigurationError, because
    a new key would open none of them. So does a file that is unreadable, open to other users, or not a key.
    """
    if settings.encryption_keys:
        return tuple(key_bytes(key) for key in settings.encryption_keys)
    settings.require("encryption_keys")
    path = key_file(settings.database_path)
    if not path.exists() and not path.is_symlink():
        if database_has_rows:
            raise ConfigurationError(
                f"the key file {path} is missing, and the database holds values sealed with it",
                next_step=f"restore {path} from its backup, or set CLOUDBEDS_AUTH_ENCRYPTION_KEYS to that key",
            )
        _make(path, base64.b64encode(random_bytes(32)), settings.database_path)
    try:
        return (key_bytes(_read(path, settings.database_path)),)
    except ValueError as error:
        raise ConfigurationError(
            f"the key file {path} {error}", next_step=f"restore {path} from its backup; never make a new key over data"
        ) from None


def ensure_admin_token(settings: Settings) -> tuple[Secret, Path | None]:
    """The admin token and the file that contains it (None: the settings do); created if there is none.

    Raises ConfigurationError where the settings must contain it (when listening beyond this machine), or when the file
    cannot be used.
    """
    if settings.admin_token is not None:
        return settings.admin_token, None
    settings.require("admin_token")
    path = admin_token_file(settings.database_path)
    if not path.exists() and not path.is_symlink():
        _make(path, base64.urlsafe_b64encode(random_bytes(32)).rstrip(b"="), settings.database_path)
    token = _read(path, settings.database_path)
    try:
        return admin_token(token.reveal()), path
    except ValueError as error:
        raise ConfigurationError(
            f"the admin token file {path} holds a token that {error}",
            next_step=f"delete {path}; a new token is made at the next start",
        ) from None


def _make(path: Path, content: bytes, database: Path) -> None:
    """Write the file, unless another process that starts at the same time was first: then that file is used."""
    private_folder(path.parent)
    try:
        write_private(path, content + b"\n", exclusive=True, beside=database)
    except FileExistsError:
        return
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be written: {error.strerror}") from None


def _read(path: Path, database: Path) -> Secret:
    """The single line of a private file, which must belong to this user or root, and be closed to all others. Root also
    reads a file of the database's owner.
    """
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        what = "is a symbolic link" if path.is_symlink() else f"cannot be read: {error.strerror}"
        raise ConfigurationError(f"{path} {what}") from None
    try:
        _check(path, os.fstat(handle), database)  # first: a directory can be opened, but no file can be made of it
        with os.fdopen(handle, "rb", closefd=False) as file:
            content = file.read(LARGEST)
    finally:
        os.close(handle)
    try:
        return Secret(content.decode("ascii").strip())
    except UnicodeDecodeError:
        raise ConfigurationError(f"{path} holds something that is not text") from None


def _check(path: Path, found: os.stat_result, database: Path) -> None:
    if stat.S_ISDIR(found.st_mode):
        raise ConfigurationError(
            f"{path} is not a file but a directory",
            next_step=f"put the file in place of {path}: Docker makes a directory where a file to mount is missing",
        )
    if not stat.S_ISREG(found.st_mode):
        raise ConfigurationError(f"{path} is not a file")
    owners = {os.geteuid(), 0}
    if os.geteuid() == 0:
        with suppress(OSError):  # there is no database yet
            owners.add(database.lstat().st_uid)
    if found.st_uid not in owners:
        raise ConfigurationError(
            f"{path} belongs to another user", next_step=f"run `chown {os.geteuid()} {path}` as root, then start again"
        )
    if found.st_mode & 0o077:
        raise ConfigurationError(
            f"{path} is open to other users of this machine (mode {stat.S_IMODE(found.st_mode):04o})",
            next_step=f"run `chmod 600 {path}`",
        )

"""Changing a `.env` file: some variables are set, every other line stays as it is."""

from __future__ import annotations

import io
import re
from collections.abc import Mapping
from pathlib import Path

from cloudbeds_auth import errors

PLAIN = re.compile(r"[A-Za-z0-9_./:@%+~-]+")
HEADER = "# Settings of cloudbeds-auth. The client secret is in here: keep this file to yourself.\n"


def changed(text: str, values: Mapping[str, str]) -> str:
    """The text with these variables set: in place where they are, at the end where they are not; duplicates go."""
    from dotenv.parser import parse_stream

    left = dict(values)
    parts: list[str] = []
    for binding in parse_stream(io.StringIO(text)):
        if binding.key not in values:
            parts.append(binding.original.string)
        elif binding.key in left:
            # What the parser gives as one binding may begin with the blank lines before it.
            blank = re.match(r"\s*", binding.original.string)
            parts.append((blank.group() if blank else "") + _line(binding.key, left.pop(binding.key)))
    kept = "".join(parts) or HEADER
    ended = kept if kept.endswith("\n") else kept + "\n"
    return ended + "".join(_line(name, value) for name, value in left.items())


def read(path: Path) -> str:
    """The file's text; empty when there is none yet. Raises ConfigurationError."""
    try:
        return path.read_text("utf-8") if path.exists() else ""
    except (OSError, UnicodeDecodeError) as error:
        raise errors.ConfigurationError(
            f"{path} cannot be read: {error}", next_step="make it a readable text file, or name another with --file"
        ) from None


def write(path: Path, values: Mapping[str, str]) -> None:
    """Set variables in the file, whole or not at all, readable by its owner only. Raises ConfigurationError."""
    from cloudbeds_auth.os_files import write_private

    target = path.resolve()  # a link stays a link
    text = changed(read(target), values)
    try:
        write_private(target, text.encode(), exclusive=False)
    except OSError as error:
        raise errors.ConfigurationError(
            f"{path} cannot be written: {error.strerror}", next_step="name another place with --file"
        ) from None


def _line(name: str, value: str) -> str:
    if PLAIN.fullmatch(value):
        return f"{name}={value}\n"
    quoted = value.replace("\\", "\\\\").replace("'", "\\'")
    return f"{name}='{quoted}'\n"

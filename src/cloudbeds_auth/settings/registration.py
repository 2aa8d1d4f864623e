"""A further registration at Cloudbeds: not a setting, but checked like one; what is not given is taken from the
settings.
"""

from __future__ import annotations

import re
from typing import Annotated, ClassVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PlainValidator, ValidationError

from cloudbeds_auth.errors import InvalidRequest
from cloudbeds_auth.rules.model import App
from cloudbeds_auth.rules.secret import Secret
from cloudbeds_auth.settings import values
from cloudbeds_auth.settings.table import Credential, Level, RedirectUri, Scopes, Settings, kind_of
from cloudbeds_auth.settings.wrong_values import worded

APP_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,39}")
AGAIN = "correct what is named above, then add the app again"
ONE_SCHEME = "must be https if CLOUDBEDS_REDIRECT_URI is https, and http if it is http; a service uses only one scheme"


def app_name(value: object) -> str:
    """A word that needs no quoting in URLs and command lines."""
    if not isinstance(value, str) or not APP_NAME.fullmatch(value):
        raise ValueError("must be at most 40 lower-case letters, digits and `-`, and must not begin with `-`")
    return value


def client_secret(value: object) -> Secret:
    """A secret that is not empty."""
    found = values.secret(value)
    if not found:
        raise ValueError("is empty")
    return found


class Registration(BaseModel):
    """One registration, checked."""

    model_config: ClassVar[ConfigDict] = ConfigDict(
        frozen=True, extra="forbid", hide_input_in_errors=True, defer_build=True
    )

    name: Annotated[str, BeforeValidator(app_name)]
    client_id: Annotated[str, Field(min_length=1), BeforeValidator(values.text)]
    client_secret: Annotated[Secret, PlainValidator(client_secret)]
    level: Level
    redirect_uri: RedirectUri
    scopes: Scopes
    credential: Credential


def further_app(settings: Settings, **given: object) -> App:
    """The App from `given`; what is None is taken from the settings. Raises InvalidRequest with every problem."""
    usual = {
        "redirect_uri": redirect_uri_of(settings, str(given.get("name"))), "scopes": settings.scopes,
        "credential": settings.credential,
    }  # fmt: skip
    parts = usual | {name: value for name, value in given.items() if value is not None}
    try:
        made = Registration.model_validate(parts)
    except ValidationError as error:
        failures = error.errors(include_url=False)
        problems = "; ".join(f"{str(one['loc'][0]).replace('_', ' ')}: {worded(one['msg'])}" for one in failures)
        raise InvalidRequest(problems, next_step=AGAIN) from None
    # The cookie that binds an approval to its browser has one form for all apps.
    where = values.url(made.redirect_uri)
    if where.scheme != values.url(settings.redirect_uri).scheme:
        raise InvalidRequest(f"redirect uri: {ONE_SCHEME}", next_step=AGAIN)
    if values.is_our_path(where.path, settings.public_url):
        raise InvalidRequest("redirect uri: its path belongs to this service", next_step=AGAIN)
    secrets, kind = (made.client_secret,), kind_of(made.credential)
    return App(made.name, made.client_id, secrets, made.redirect_uri, made.scopes, made.level, kind)


def redirect_uri_of(settings: Settings, name: str) -> str:
    """The default redirect URI of a further app: the settings' one with the app's name appended to the path."""
    return f"{settings.redirect_uri.rstrip('/')}/{name}"

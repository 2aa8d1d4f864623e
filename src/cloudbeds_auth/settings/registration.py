"""What a further registration at Cloudbeds must look like; what is not said follows from the settings' own."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PlainValidator, ValidationError

from cloudbeds_auth.errors import InvalidRequest
from cloudbeds_auth.rules.model import App, CredentialKind
from cloudbeds_auth.rules.secret import Secret
from cloudbeds_auth.settings import values
from cloudbeds_auth.settings.model import Settings

AGAIN = "mend what is named above, then add the app again"
ONE_SCHEME = "is https where CLOUDBEDS_REDIRECT_URI is http, or the other way round; one service takes one of the two"


class Registration(BaseModel):
    """One registration, checked."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    name: Annotated[str, BeforeValidator(values.app_name)]
    client_id: Annotated[str, Field(min_length=1), BeforeValidator(values.text)]
    client_secret: Annotated[Secret, PlainValidator(values.client_secret)]
    level: Literal["partner", "property"]
    redirect_uri: Annotated[str, BeforeValidator(values.redirect_uri)]
    scopes: Annotated[tuple[str, ...], BeforeValidator(values.scopes)]
    credential: Annotated[Literal["oauth", "api-key"], BeforeValidator(values.word)]


def further_app(settings: Settings, **given: object) -> App:
    """The App of what was given; None: what follows from the settings. Raises InvalidRequest with every problem."""
    usual = {
        "redirect_uri": redirect_uri_of(settings, str(given.get("name"))), "scopes": settings.scopes,
        "credential": settings.credential,
    }  # fmt: skip
    parts = usual | {name: value for name, value in given.items() if value is not None}
    try:
        made = Registration.model_validate(parts)
    except ValidationError as error:
        problems = "; ".join(_problem(one["loc"][0], one["msg"]) for one in error.errors(include_url=False))
        raise InvalidRequest(problems, next_step=AGAIN) from None
    if not same_scheme(settings, made.redirect_uri):
        raise InvalidRequest(f"redirect uri: {ONE_SCHEME}", next_step=AGAIN)
    kind = CredentialKind.API_KEY if made.credential == "api-key" else CredentialKind.OAUTH
    return App(made.name, made.client_id, (made.client_secret,), made.redirect_uri, made.scopes, made.level, kind)


def redirect_uri_of(settings: Settings, name: str) -> str:
    """The redirect URI of a further app unless it has another: below the settings' own, a path for itself."""
    return f"{settings.redirect_uri.rstrip('/')}/{name}"


def same_scheme(settings: Settings, redirect_uri: str) -> bool:
    """Whether the cookie that binds an approval to its browser is of the same kind as for the settings' own app."""
    return values.url(redirect_uri).scheme == values.url(settings.redirect_uri).scheme


def _problem(field: int | str, message: str) -> str:
    what = message.removeprefix("Value error, ")
    return f"{str(field).replace('_', ' ')}: {what[:1].lower()}{what[1:]}"

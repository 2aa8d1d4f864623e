"""What operators write: settings, registrations, lists of hotels."""

from __future__ import annotations

import io
import json
from functools import cache
from typing import Any

from dotenv import dotenv_values
from tests.fuzzing.parsers import parser

from cloudbeds_auth.cli import import_reader
from cloudbeds_auth.errors import ConfigurationError, InvalidRequest
from cloudbeds_auth.rules.inputs import is_text, is_token
from cloudbeds_auth.settings import Need, Settings, further_app, load, loading
from cloudbeds_auth.settings.registration import APP_NAME, Registration

CANARY = "canary-0123456789abcdef0123456789"
NAMES = (
    "CLOUDBEDS_CLIENT_ID CLOUDBEDS_CLIENT_SECRET CLOUDBEDS_REDIRECT_URI CLOUDBEDS_SCOPES CLOUDBEDS_BASE_URL "
    "CLOUDBEDS_AUTH_DATABASE_URL CLOUDBEDS_AUTH_ENCRYPTION_KEYS CLOUDBEDS_AUTH_ADMIN_TOKEN "
    "CLOUDBEDS_AUTH_HOST CLOUDBEDS_AUTH_PORT "
    "CLOUDBEDS_AUTH_PUBLIC_URL CLOUDBEDS_AUTH_ALLOWED_HOSTS CLOUDBEDS_AUTH_TRUSTED_PROXIES "
    "CLOUDBEDS_AUTH_RETURN_ORIGINS "
    "CLOUDBEDS_AUTH_RATE_LIMIT CLOUDBEDS_AUTH_BODY_LIMIT CLOUDBEDS_AUTH_WEBHOOK_URL CLOUDBEDS_AUTH_WEBHOOK_SECRET "
    "CLOUDBEDS_AUTH_HOOK_SECRET CLOUDBEDS_AUTH_SUBSCRIPTIONS CLOUDBEDS_AUTH_RETENTION_DAYS"
)
ORDINARY = (
    b"CLOUDBEDS_CLIENT_ID=a\nCLOUDBEDS_CLIENT_SECRET=b\nCLOUDBEDS_REDIRECT_URI=https://app.example/back\n"
    b"CLOUDBEDS_BASE_URL=http://127.0.0.1:7001\nCLOUDBEDS_AUTH_RATE_LIMIT=observe\nCLOUDBEDS_AUTH_BODY_LIMIT=1MiB"
)


@parser(
    ORDINARY,
    b"CLOUDBEDS_AUTH_TRUSTED_PROXIES=10.0.0.1,fd00::/8\nCLOUDBEDS_AUTH_ALLOWED_HOSTS='A.example b.example'",
    b"CLOUDBEDS_AUTH_RETURN_ORIGINS=https://A.example:443\nCLOUDBEDS_AUTH_DATABASE_URL=postgresql://u:p@h/d",
    b"CLOUDBEDS_AUTH_ENCRYPTION_KEYS=" + CANARY.encode(),
    b"CLOUDBEDS_AUTH_PORT=1e400\nCLOUDBEDS_AUTH_HOTS=a",
    words=f"{NAMES} https:// http:// 127.0.0.1 localhost [::1] fd00::/8 0.0.0.0/0 postgresql:// "
    f"sqlite:/// :7000 observe 1MiB whsec_ {CANARY}",
)
def settings(data: bytes) -> bool:
    """What is wrong is said in one error that repeats no secret; what is read, read again, is the same."""
    written = dotenv_values(stream=io.StringIO(data.decode("utf-8", "replace")), interpolate=False)
    environ = {name: value or "" for name, value in written.items() if not name.endswith("_FILE")}
    try:
        found = load(environ, None, need=Need.NOTHING)
    except ConfigurationError as error:
        if CANARY in "".join(error.problems) and CANARY not in "".join(environ):
            raise AssertionError("a secret is repeated") from None
        return False
    noted = {"warnings", "env_file", "from_env_file"}
    given = {name: getattr(found, name) for name in found.model_fields_set - noted}
    again = Settings.model_validate(given, context=loading.READ)
    assert {name: getattr(again, name) for name in given} == given
    return True


@cache
def _usual() -> Settings:
    return load({"CLOUDBEDS_CLIENT_ID": "a", "CLOUDBEDS_CLIENT_SECRET": "b"}, None, need=Need.APP)


@parser(
    b'{"name":"aurora","client_id":"c","client_secret":"s","level":"partner"}',
    b'{"name":"aurora","client_id":"c","client_secret":"s","level":"property","redirect_uri":"http://localhost:7000/x"}',
    b'{"name":"../x","client_id":""}',
    words="name client_id client_secret level partner redirect_uri scopes credential oauth api-key "
    "http://localhost:7000/ https://",
)
def registration(data: bytes) -> bool:
    """A further app is complete, or InvalidRequest says what is wrong with it."""
    try:
        given: Any = json.loads(data)
    except (ValueError, RecursionError):
        return False
    if not isinstance(given, dict):
        return False
    known = {name: value for name, value in given.items() if name in Registration.model_fields}
    try:
        app = further_app(_usual(), **known)
    except InvalidRequest:
        return False
    assert APP_NAME.fullmatch(app.id)
    assert app.client_id
    assert app.secrets[0]
    assert app.redirect_uri.startswith("http://")
    return True


@parser(
    b"property,refresh_token,reference\n1000,R-1,tenant-1\n1001,R-2,\n",
    b'{"hotels":[{"property":1000,"refresh_token":"R","access_token":"A","expires_at":1e9,"scopes":["a"]}]}',
    b'{"property":"1000","api_key":"cbat_1"}\n{"property":"1001","refresh_token":"R","expires_at":"2026-11-24T15:00:00Z"}',
    b"property,refresh_token\n1000,\n",
    b"property\rrefresh_token\n1000,R\n",
    b'{"property":"\\ud800","refresh_token":"R","scopes":["\\u0000"]}',
    b'[{"property":"con_1"}]',
    words='property refresh_token api_key cbat_ reference expires_at scopes app hotels [{" "}] , '
    "0001-01-01T00:00:00+14:00 9999-12-31T23:59:59-14:00",
)
def import_file(data: bytes) -> bool:
    """Each hotel has a property and one credential that may be sent; written as JSON, it is read as the same."""
    try:
        lines = import_reader.read(data.decode("utf-8", "replace"))
    except InvalidRequest as error:
        error.detail.encode()
        return False
    hotels = [_written(line) for line in lines]
    for line in lines:
        hotel = line.hotel
        assert hotel.property_id
        assert not hotel.property_id.startswith("con_")
        assert all(map(is_text, (hotel.property_id, *(hotel.scopes or ()))))
        assert bool(hotel.refresh_token) != bool(line.api_key)
        assert is_token((line.api_key or hotel.refresh_token).reveal())
        assert hotel.expires_at is None or hotel.expires_at.timestamp() > -1e12
    assert [line.hotel for line in import_reader.read(json.dumps(hotels))] == [line.hotel for line in lines]
    return True


def _written(line: import_reader.Line) -> dict[str, object]:
    hotel = line.hotel
    return {
        "property": hotel.property_id,
        "refresh_token": hotel.refresh_token.reveal(),
        "api_key": line.api_key and line.api_key.reveal(),
        "access_token": hotel.access_token and hotel.access_token.reveal(),
        "reference": hotel.reference,
        "app": hotel.app,
        "expires_at": hotel.expires_at and hotel.expires_at.isoformat(),
        "scopes": None if hotel.scopes is None else list(hotel.scopes),
    }

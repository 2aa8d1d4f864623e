"""The API as people read it: its OpenAPI document taken apart into groups of operations, each with a request to copy.

Pure but for the scopes, which are the routes' own dependencies.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Final
from urllib.parse import urlencode

from fastapi.routing import APIRoute

from cloudbeds_auth.app import api, api_of_keys
from cloudbeds_auth.app.permits import SCOPES

Schema = Mapping[str, Any]
GROUPS: Final = {
    "/api/v1/authorizations": "Links for hotels",
    "/api/v1/connections": "Hotels",
    "/api/v1/keys": "Keys for callers",
    "/api/v1/audit": "Who did what",
    "/": "For machines",
}
"""Title by the beginning of a path; the first that fits."""
OF_HOLDER: Final = "admin, or a key for children of its own"
ANYONE: Final = "none: anyone may ask"
SHOWN_AS: Final = {"identifier": "id", "key_id": "id"}  # parameters of paths, as the documentation writes them
EXAMPLES: Final[Mapping[str, Any]] = {
    "identifier": "100001", "id": "con_01M86BK4AA8J8WT348EQ6VT39E", "key_id": "key_01M86BK4AA8J8WT348EQ6VT39F",
    "connection_id": "con_01M86BK4AA8J8WT348EQ6VT39E", "state": "fresh", "app": "default", "reference": "tenant-7",
    "property": "100001", "property_ids": ["100001"], "expected_properties": ["100001"], "properties": ["100001"],
    "connections": ["con_01M86BK4AA8J8WT348EQ6VT39E"], "references": ["tenant-7"], "scopes": ["read", "proxy"],
    "methods": ["getReservations"], "name": "our-app", "key": "cbk_…", "api_key": "cbat_…", "access_token": "…",
    "token_type": "Bearer", "generation": 3, "rejected_generation": 3, "min_valid": 60, "expires_in": 86400,
    "email": "ada.lindqvist@hotel-1.example", "credential": "oauth", "event": "reservation/created",
    "kind": "pair_committed", "actor": "vault", "action": "link_created", "cursor": "…", "status": "ok",
    "connect_url": "http://localhost:7000/connect/…", "key_url": "http://localhost:7000/paste-key/…",
    "connected_at": "2026-11-24T07:00:00Z", "created_at": "2026-11-24T07:00:00Z", "at": "2026-11-24T07:00:00.123Z",
    "expires_at": "2026-11-24T15:00:00Z", "refreshed_at": "2026-11-24T07:00:00Z", "used_at": "2026-11-24T07:30:00Z",
    "problem": None, "next_step": None, "waits_for": None, "next": None, "parent": None, "revoked_at": None,
    "data": {}, "rate": 5, "address": "127.0.0.1", "created_by": "admin", "sequence": 12,
    "return_to": "https://app.example/connected", "code_challenge": None, "code_verifier": None, "grant_id": "gra_…",
}  # fmt: skip
"""By the name of a member or parameter; others are shown by their type."""
BY_TYPE: Final[Mapping[str, Any]] = {"string": "…", "integer": 1, "number": 1.5, "boolean": False}
TYPES: Final = {"string": "text", "integer": "whole number", "number": "number", "boolean": "true or false"}
ALWAYS_SHOWN: Final = frozenset({"reference"})  # of a body, beside what is required


@dataclass(frozen=True, slots=True)
class ApiField:
    """A parameter, or a member of a body."""

    name: str
    where: str
    kind: str
    required: bool
    said: str


@dataclass(frozen=True, slots=True)
class ApiOperation:
    """One method of a path. `anchor` names it in the page; `title` is the beginning of what is `said`; `answer` is an
    example, None where it is the vendor's.
    """

    method: str
    path: str
    anchor: str
    title: str
    said: str
    scope: str
    fields: Sequence[ApiField]
    curl: str
    status: str
    answer: str | None


@dataclass(frozen=True, slots=True)
class ApiGroup:
    """Operations on one thing."""

    title: str
    operations: Sequence[ApiOperation]


def api_reference(document: Schema, public_url: str) -> Sequence[ApiGroup]:
    """The operations of an OpenAPI document in groups; `public_url` is where they are asked."""
    found: dict[str, list[ApiOperation]] = {title: [] for title in GROUPS.values()}
    schemas = document["components"]["schemas"]
    for path, operations in document["paths"].items():
        title = next(title for begins, title in GROUPS.items() if path.startswith(begins))
        for method, operation in operations.items():
            found[title].append(_operation(method.upper(), path, operation, schemas, public_url))
    return [ApiGroup(title, operations) for title, operations in found.items() if operations]


@cache
def scopes() -> Mapping[tuple[str, str], str]:
    """By method and path, the scope that the route's own dependency asks for."""
    found: dict[tuple[str, str], str] = {}
    for router in (api.machines, api.router, api_of_keys.router):
        for route in router.routes:
            if isinstance(route, APIRoute):
                asked = [one.call for one in route.dependant.dependencies]
                named = [SCOPES[call].value for call in asked if call in SCOPES]
                named += [OF_HOLDER for call in asked if call is api_of_keys.holder]
                found.update({(method, route.path): name for method in route.methods or () for name in named})
    return found


def _operation(method: str, path: str, operation: Schema, schemas: Schema, public_url: str) -> ApiOperation:
    parameters, said = operation.get("parameters", ()), " ".join(operation["description"].split())
    body = _json(operation.get("requestBody", {}))
    status, answer = next((status, one) for status, one in operation["responses"].items() if status.startswith("2"))
    shown = path
    for name, letter in SHOWN_AS.items():
        shown = shown.replace(f"{{{name}}}", f"{{{letter}}}")
    example, schema = _body_example(body, schemas), _json(answer)
    return ApiOperation(
        method=method,
        path=shown,
        anchor=f"{method}{shown}".lower().translate({ord("/"): "-", ord("{"): None, ord("}"): None}),
        title=re.split(r"[.:;] ", said)[0].rstrip("."),
        said=said,
        scope=scopes().get((method, path), ANYONE),
        fields=[*_parameters(parameters, schemas), *_members(body, schemas)],
        curl=_curl(method, public_url + _with_examples(path, parameters), example),
        status=status,
        answer=json.dumps(example_of(schema, schemas), indent=2, ensure_ascii=False) if schema else None,
    )


def _json(content: Schema) -> Schema:
    """The schema of what has a content of JSON; empty where it has none, or says nothing of its shape."""
    found: Schema = content.get("content", {}).get("application/json", {}).get("schema", {})
    return found


def example_of(schema: Schema, schemas: Schema, name: str = "") -> Any:
    """Something that fits the schema, with the values that the documentation uses."""
    if "$ref" in schema:
        return example_of(resolved(schema, schemas), schemas, name)
    if name in EXAMPLES:
        return EXAMPLES[name]
    if "enum" in schema:
        return schema["enum"][0]
    if "anyOf" in schema:
        return example_of(_not_null(schema), schemas, name)
    if schema.get("type") == "array":
        return [example_of(schema.get("items", {}), schemas)]
    if "properties" in schema:
        return {member: example_of(one, schemas, member) for member, one in schema["properties"].items()}
    return BY_TYPE.get(schema.get("type", ""), {})


def resolved(schema: Schema, schemas: Schema) -> Schema:
    """What a reference means; any other schema as it is."""
    found: Schema = schemas[schema["$ref"].rpartition("/")[2]] if "$ref" in schema else schema
    return found


def _not_null(schema: Schema) -> Schema:
    found: Schema = next((one for one in schema["anyOf"] if one.get("type") != "null"), {})
    return found


def kind_of(schema: Schema, schemas: Schema) -> str:
    """The type in words."""
    schema = resolved(schema, schemas)
    if "anyOf" in schema:
        return kind_of(_not_null(schema), schemas)
    if "enum" in schema:
        return f"one of {', '.join(map(str, schema['enum']))}"
    if schema.get("type") == "array":
        return f"list of {kind_of(schema.get('items', {}), schemas)}"
    return TYPES.get(schema.get("type", ""), "object")


def _bounds(schema: Schema) -> str:
    """The limits that a schema states."""
    schema = {**schema, **(_not_null(schema) if "anyOf" in schema else {})}
    said = [
        f"at least {schema['minimum']:.12g}" if "minimum" in schema else "",
        f"above {schema['exclusiveMinimum']:.12g}" if "exclusiveMinimum" in schema else "",
        f"at most {schema['maximum']:.12g}" if "maximum" in schema else "",
        f"at most {schema['maxLength']} characters" if "maxLength" in schema else "",
        f"at most {schema['maxItems']} entries" if "maxItems" in schema else "",
        f"{json.dumps(schema['default'])} where it is left out" if schema.get("default") not in (None, []) else "",
    ]
    return ", ".join(filter(None, said))


def _parameters(parameters: Sequence[Schema], schemas: Schema) -> Iterator[ApiField]:
    for one in parameters:
        schema, where = one["schema"], "path" if one["in"] == "path" else "query"
        name = str(SHOWN_AS.get(one["name"], one["name"]) if where == "path" else one["name"])
        yield ApiField(name, where, kind_of(schema, schemas), one.get("required", False), _bounds(schema))


def _members(body: Schema, schemas: Schema) -> Iterator[ApiField]:
    schema = resolved(body, schemas)
    for name, one in schema.get("properties", {}).items():
        yield ApiField(name, "body", kind_of(one, schemas), name in schema.get("required", ()), _bounds(one))


def _body_example(body: Schema, schemas: Schema) -> Mapping[str, Any] | None:
    """What has to be sent, and a reference."""
    if not body:
        return None
    schema = resolved(body, schemas)
    wanted = ALWAYS_SHOWN | set(schema.get("required", ()))
    return {name: example_of(one, schemas, name) for name, one in schema["properties"].items() if name in wanted}


def _with_examples(path: str, parameters: Sequence[Schema]) -> str:
    """The path with something in the place of its parameters, and what the query has to have."""
    for one in parameters:
        path = path.replace(f"{{{one['name']}}}", str(EXAMPLES.get(one["name"], "…")))
    query = {one["name"]: EXAMPLES[one["name"]] for one in parameters if one["in"] == "query" and one.get("required")}
    return f"{path}?{urlencode(query)}" if query else path


def _curl(method: str, url: str, body: Mapping[str, Any] | None) -> str:
    parts = ["curl", *(["-X", method] if method != "GET" else []), '-H "Authorization: Bearer $TOKEN"']
    if body is not None:
        parts += ["-H 'Content-Type: application/json'", f"-d '{json.dumps(body, ensure_ascii=False)}'"]
    return " ".join([*parts, url])

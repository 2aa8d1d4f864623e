"""The description of the API (OpenAPI): what FastAPI derives from the routes, plus the credentials and problems."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any, Final

from fastapi import FastAPI

from cloudbeds_auth.app.problems import PROBLEM, BodyTooLarge, LengthRequired, Unexpected
from cloudbeds_auth.app.schemas import ProblemShape
from cloudbeds_auth.errors import Error, by_code

OPEN: Final = frozenset({"/healthz", "/readyz"})  # for anyone
CREDENTIALS: Final = {
    "bearer": {"type": "http", "scheme": "bearer"},
    "key": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
}
NEVER: Final = ("HTTPValidationError", "ValidationError")  # FastAPI's own refusal, in whose place there is a problem
PASSED_ON: Final = "/userinfo"  # how a path ends whose answers are the vendor's


def describe_api(app: FastAPI) -> dict[str, Any]:
    """The document. Operations that need a credential list every status that a problem may have."""
    found = app.openapi()  # made once, and completed again without effect
    for path, operations in found["paths"].items():
        for operation in operations.values():
            if path in OPEN:
                operation["security"] = []
            else:
                operation["responses"] = _answers(path, operation["responses"])
    schemas = found["components"]["schemas"]
    for name in NEVER:
        schemas.pop(name, None)
    schemas[ProblemShape.__name__] = ProblemShape.model_json_schema()
    found["components"]["securitySchemes"] = CREDENTIALS
    found["security"] = [{name: []} for name in CREDENTIALS]
    return found


def _answers(path: str, own: dict[str, Any]) -> dict[str, Any]:
    """What a route answers, and the problems; a status of the vendor's may be any."""
    kinds: list[type[Error]] = [*by_code().values(), BodyTooLarge, LengthRequired]
    content = {PROBLEM: {"schema": {"$ref": f"#/components/schemas/{ProblemShape.__name__}"}}}
    problems = {
        str(status): {"description": HTTPStatus(status).phrase, "content": content}
        for status in sorted({kind.status for kind in kinds} - {Unexpected.status})
    }
    passed_on = {"default": {"description": "What Cloudbeds answered"}} if path.endswith(PASSED_ON) else {}
    return {status: answer for status, answer in own.items() if status.startswith("2")} | problems | passed_on

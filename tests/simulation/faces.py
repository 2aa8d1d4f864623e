"""Answers that are not the vendor's, or not as it would write them: of gateways and portals, odd bodies, redirects."""

from __future__ import annotations

import json

from cloudbeds_simulator.answers import SimulatedAnswer, html_page, json_answer

GATEWAY_OF_TOKEN = (
    html_page(500, "500 Internal Server Error"),
    html_page(502, "502 Bad Gateway"),
    json_answer(503, {"error": "server_error"}),
    html_page(504, "504 Gateway Timeout"),
    html_page(200, "Welcome to the hotel's wireless network"),
    SimulatedAnswer(200, b"", "application/json"),
    json_answer(400, {"error": "server_error", "message": "The refresh token is invalid."}),
    json_answer(401, {"error": "server_error", "error_description": "Something went wrong"}),
    json_answer(400, {"error": "invalid_request", "message": "The request is malformed."}),
)
GATEWAY_OF_RESOURCE = (
    html_page(500, "500 Internal Server Error"),
    html_page(502, "502 Bad Gateway"),
    json_answer(404, {"status": False, "error": "Unknown method."}),
    json_answer(403, {"error": "forbidden"}),
    html_page(200, "Welcome to the hotel's wireless network"),
    json_answer(200, {"success": False, "message": "Something went wrong", "user_id": "1"}),
    html_page(401, "401 Authorization Required"),
)
MENTIONED = (  # a refresh token, and nothing is said of it
    json_answer(403, {"error": "access_denied", "message": "Too many refresh token requests"}),
    json_answer(400, {"error": "temporarily_unavailable", "message": "The refresh token could not be checked."}),
    json_answer(409, {"error": "invalid_request", "message": "The refresh token is invalid."}),
    json_answer(400, {"error": "invalid_request", "message": "The refresh token could not be checked; try later."}),
)
RATE_LIMITED = tuple(
    SimulatedAnswer(429, b'{"error": "too_many_requests"}', headers=headers)
    for headers in (
        {},
        {"retry-after": "7"},
        {"retry-after": "1000000000"},
        {"retry-after": "Fri, 15 Jan 2027 08:00:30 GMT", "date": "Fri, 15 Jan 2027 08:00:00 GMT"},
        {"retry-after": "soon"},
    )
)
TRY_LATER = (json_answer(408, {"error": "timeout"}), html_page(408, "Timeout"), json_answer(425, {"error": "early"}))
REDIRECTS = tuple(
    SimulatedAnswer(status, b"", headers={"location": location})
    for status in (301, 302, 307, 308)
    for location in ("http://169.254.169.254/", "http://hotels.example/api/v1.3/access_token", "//portal.example/x", "")
)
ODD_BODIES = (
    b"null",
    b"[]",
    b'"access"',
    b"[" * 10_000 + b"]" * 10_000,
    b'{"access_token": "a", "access_token": "b", "refresh_token": "c"}',
    b'{"access_token": 7, "error": "odd", "refresh_token": "c"}',
    b'{"access_token": "a\\r\\nX-Y: z", "error": "odd", "refresh_token": "c"}',
    b'{"access_token": "", "error": "odd", "refresh_token": ""}',
    b'{"access_token": "a", "error": "odd", "refresh_token": null, "expires_in": NaN}',
    b'{"access_token": "a", "error": "odd", "refresh_token": ["c"]}',
    b'\xef\xbb\xbf{"access_token": "a"}',
    '{"access_token": "a"}'.encode("utf-16"),
    b'{"access_token": "a\xff"}',
)
ODD = (
    *(SimulatedAnswer(200, body) for body in ODD_BODIES),
    SimulatedAnswer(200, b'{"access_token": "a"}', "text/plain"),
    SimulatedAnswer(200, b"\x1f\x8b\x08\x00", headers={"content-encoding": "gzip"}),
)
LIFETIMES = (None, 0, -5, "3600", "soon", 1, 1e12)  # of `expires_in`; None: left out


def with_lifetime(answer: SimulatedAnswer, lifetime: object) -> SimulatedAnswer:
    """A token answer that says something else about its lifetime; any other answer is as it was."""
    if answer.status != 200:
        return answer
    content = json.loads(answer.body)
    content.pop("expires_in", None)
    return json_answer(200, content if lifetime is None else content | {"expires_in": lifetime})

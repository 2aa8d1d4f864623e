"""Cloudbeds' endpoints in a hundred lines of standard library: not our simulator, and sharing nothing with it.

One hotel, approved without asking. A refresh kills the old access token and gives a new pair; nothing else is checked
than what the vendor's pages say. `GET /expire` ends the access token, `GET /told` lists what was asked.
"""

from __future__ import annotations

import json
import secrets
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

CLIENT_ID, CLIENT_SECRET = sys.argv[1], sys.argv[2]
codes: set[str] = set()
current: dict[str, str] = {}
told: list[str] = []


class Vendor(BaseHTTPRequestHandler):
    """Answers as Cloudbeds' pages describe it."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        """Approval, protected calls, and two addresses for the test."""
        url = urlsplit(self.path)
        asked = {name: values[0] for name, values in parse_qs(url.query).items()}
        if url.path == "/told":
            return self.answer(200, told)
        if url.path == "/expire":
            current["access_token"] = "ended"
            return self.answer(200, {})
        if url.path.endswith("/oauth"):
            code = secrets.token_hex(16)
            codes.add(code)
            back = urlencode({"code": code, "state": asked.get("state", "")})
            return self.redirect(f"{asked['redirect_uri']}?{back}")
        return self.protected(url.path)

    def do_POST(self) -> None:
        """The token endpoint, and protected calls."""
        body = self.rfile.read(int(self.headers.get("Content-Length", 0))).decode()
        if not self.path.endswith("/access_token"):
            return self.protected(self.path)
        form = {name: values[0] for name, values in parse_qs(body).items()}
        told.append(form.get("grant_type", ""))
        if (form.get("client_id"), form.get("client_secret")) != (CLIENT_ID, CLIENT_SECRET):
            return self.answer(401, {"error": "invalid_client", "message": "Client authentication failed"})
        if form["grant_type"] == "authorization_code" and form.get("code") in codes:
            codes.discard(form["code"])
            return self.issue()
        if form["grant_type"] == "refresh_token" and form.get("refresh_token") == current.get("refresh_token"):
            return self.issue()
        return self.answer(400, {"error": "invalid_request", "message": "The refresh token is invalid."})

    def issue(self) -> None:
        """A new pair; the old access token is dead from here on."""
        current.update(access_token=secrets.token_hex(20), refresh_token=secrets.token_hex(20))
        self.answer(200, {**current, "token_type": "Bearer", "expires_in": 28800})

    def protected(self, path: str) -> None:
        """A call that needs the current access token."""
        told.append(path)
        if self.headers.get("Authorization") != f"Bearer {current.get('access_token')}":
            return self.answer(401, {"error": "access_denied", "hint": "Access token is invalid"})
        if path.endswith("/userinfo"):
            return self.answer(200, {"user_id": 77, "first_name": "Grace", "last_name": "H", "email": "g@example.com"})
        if path.endswith("/getHotels"):
            return self.answer(200, {"success": True, "data": [{"propertyID": "4711", "propertyName": "Stub Inn"}]})
        return self.answer(404, {"status": False, "error": "Unknown method."})

    def redirect(self, location: str) -> None:
        """Send the browser on."""
        self.send_response(302)
        self.send_header("Location", location)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def answer(self, status: int, value: Any) -> None:
        """One JSON answer."""
        body = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Quiet."""


server = ThreadingHTTPServer(("127.0.0.1", 0), Vendor)
print(f"listening on http://127.0.0.1:{server.server_port}", flush=True)
server.serve_forever()

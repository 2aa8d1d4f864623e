"""The headers of every answer that is ours and not the vendor's."""

from __future__ import annotations

from typing import Any

from starlette.types import Message, Send

CODE = "x-cloudbeds-auth-code"
_CODE = CODE.encode()

# Our answers are not cached, framed, sniffed or disclosed to the next site; a page loads style and images from us only.
SECURITY: tuple[tuple[bytes, bytes], ...] = (
    (b"cache-control", b"no-store"),
    (b"referrer-policy", b"no-referrer"),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (
        b"content-security-policy",
        b"; ".join(
            (
                b"default-src 'none'",
                b"style-src 'self'",
                b"img-src 'self'",
                b"form-action 'self'",
                b"base-uri 'none'",
                b"frame-ancestors 'none'",
            )
        ),
    ),
)

# What we add to the vendor's own answers: shared caches between us and the caller keep none of them.
VENDOR: tuple[tuple[bytes, bytes], ...] = ((b"cache-control", b"no-store"), (b"x-content-type-options", b"nosniff"))


class Ours:
    """A `send` that completes the head of an answer, and remembers the status for the log."""

    __slots__ = ("_send", "_state", "status")

    def __init__(self, send: Send, state: dict[str, Any]) -> None:
        self._send = send
        self._state = state
        self.status = 0

    async def __call__(self, message: Message) -> None:
        """Pass a message on; heads get the headers, unless a route marked its answer as the vendor's."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            message = {**message, "headers": self._complete(list(message.get("headers", [])))}
        await self._send(message)

    def _complete(self, headers: list[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
        fixed = VENDOR if self._state.get("vendor") else SECURITY
        names = {name for name, _ in fixed}
        headers = [(name, value) for name, value in headers if name.lower() not in names]
        headers.extend(fixed)
        if not self._state.get("vendor") and all(name.lower() != _CODE for name, _ in headers):
            headers.append((_CODE, b"ok"))
        return headers

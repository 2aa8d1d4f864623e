"""The service: one gateway, behind it a proxy in raw ASGI, and a framework for every path that need not be as fast.

Reading order: `gateway` (which requests are admitted), `proxy` with `relaying` (a call on its way to the vendor), `api`
with `schemas` (JSON), `browser` with `cookies` and `pages` (the hotel's way), `problems` (errors over HTTP), `limits`
(what one caller may take), `application` (wiring and lifespan), `server` with `http_limits` and `http_connections`.
"""

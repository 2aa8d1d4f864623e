"""The service: one door, behind it a proxy in raw ASGI, and a framework for every path that need not be as fast.

Reading order: `gateway` (which requests are admitted), `public_paths` (which paths need no credential), `proxy` with
`body` and `relaying` (a call on its way to the vendor), `api` with `shapes` (JSON), `browser` with `pages` (the hotel's
two pages), `problems` (errors over HTTP), `health`, `application` (composition and lifespan), `server` (uvicorn).
"""

"""The service: one door, a proxy behind it, and a framework for everything that is not in a hurry.

Reading order: `door` (who comes in), `access` (which paths need no credential), `proxy` with `body` and `relaying`
(a call on its way to the vendor), `api` with `shapes` (JSON), `browser` with `pages` (the hotel's two pages),
`problems` (how errors look), `health`, `service` (all of it put together and its life), `server` (uvicorn).
"""
